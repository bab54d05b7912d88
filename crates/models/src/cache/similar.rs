//! The same question in other words.
//!
//! Two gates, and both must open: all that could change the answer is equal ([`slots`]),
//! and the embeddings are near. What stands around the question is equal as well: whose it
//! is, the route, the model, the system prompt, the messages before it, the parameters. No
//! tools. Where something was found in this way, the answer says so.

use std::{collections::HashMap, ops::Range, sync::Arc};

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use steadfast_resilience::Deadline;

use super::{Key, slots::slots};
use crate::{Call, Operation, config::ShareWith, providers::local_vector, record::Bill, wire::edit::Edits};

/// Answers to one question in other words; more are not needed.
const ALIKE_MAX: usize = 8;
/// Numbers in an embedding that is made here.
const DIMENSIONS: u64 = 256;

/// A call with a question, and who pays for what it needs to be answered: nobody, if nobody waits.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) call: &'a Call,
    pub(crate) bill: Option<&'a Arc<Bill>>,
}

/// Turns a text into a point, such that texts of one meaning are near each other.
pub(crate) trait Embedder: Send + Sync {
    /// The point, of length 1; none if it cannot be had in time. `asker` is whose text it is.
    fn embed<'a>(
        &'a self,
        asker: Asker<'a>,
        text: &'a str,
        deadline: &'a Deadline,
    ) -> BoxFuture<'a, Option<Vec<f32>>>;
}

/// Counts words and parts of words; always the same, and without asking anybody.
pub(crate) struct Counting;

impl Embedder for Counting {
    fn embed<'a>(&'a self, _: Asker<'a>, text: &'a str, _: &'a Deadline) -> BoxFuture<'a, Option<Vec<f32>>> {
        let point = local_vector(&text.to_lowercase(), DIMENSIONS);
        Box::pin(async move { Some(point) })
    }
}

/// By what an answer is found for the same question in other words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Near {
    /// What must be equal.
    #[serde(with = "super::file::hex_key")]
    pub(super) same: Key,
    /// What must be near.
    pub(super) point: Vec<f32>,
}

impl Near {
    pub(super) fn size(&self) -> usize {
        2 * size_of_val(&self.point[..])
    }
}

/// The question of a call, and what must be equal for another one to be the same.
pub(super) struct Question {
    pub(super) text: String,
    pub(super) same: Key,
}

#[derive(Deserialize)]
struct Message<'a> {
    role: &'a str,
    #[serde(borrow)]
    content: &'a RawValue,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
}

/// The question that a call ends with, if it is plain text of a user and nothing else.
pub(super) fn question(call: &Call, route: &str, share: ShareWith) -> Option<Question> {
    // Placeholders of another request may stand for other things.
    let text = matches!(call.operation, Operation::Chat | Operation::Messages);
    if !text || call.asked.tools || call.redacted {
        return None;
    }
    let messages = call.body.get(call.asked.at.messages.clone())?;
    let messages: Vec<&RawValue> = serde_json::from_slice(messages).ok()?;
    let last: Message<'_> = serde_json::from_str(messages.last()?.get()).ok()?;
    if last.role != "user" {
        return None;
    }
    let said = if last.content.get().starts_with('"') {
        last.content
    } else {
        let parts: Vec<Part<'_>> = serde_json::from_str(last.content.get()).ok()?;
        let [Part { kind: "text", text: Some(text) }] = parts[..] else { return None };
        text
    };
    let text: String = serde_json::from_str(said.get()).ok()?;
    let slots = slots(&text)?;
    let mut edits = Edits::default();
    edits.replace(place(&call.body, said), "\"\"");
    let around = Key::of(call, &edits.apply(&call.body), route, share)?;
    Some(Question { same: around.with(slots.join("\u{1f}").as_bytes()), text })
}

fn place(body: &[u8], of: &RawValue) -> Range<usize> {
    let start = (of.get().as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    start..start + of.get().len()
}

/// Which answers are to one question in other words.
#[derive(Default)]
pub(super) struct Index(HashMap<Key, Vec<(Key, Vec<f32>)>>);

impl Index {
    pub(super) fn add(&mut self, key: Key, near: &Near) {
        let alike = self.0.entry(near.same).or_default();
        alike.retain(|(other, _)| *other != key);
        if alike.len() == ALIKE_MAX {
            alike.remove(0);
        }
        alike.push((key, near.point.clone()));
    }
    pub(super) fn remove(&mut self, key: Key, near: &Near) {
        if let Some(alike) = self.0.get_mut(&near.same) {
            alike.retain(|(other, _)| *other != key);
            if alike.is_empty() {
                self.0.remove(&near.same);
            }
        }
    }
    /// Answers to the same question, the nearest first.
    pub(super) fn find(&self, near: &Near, threshold: f64) -> Vec<Key> {
        let alike = self.0.get(&near.same).map(Vec::as_slice).unwrap_or_default();
        let mut found: Vec<_> = alike
            .iter()
            .map(|(key, point)| (cosine(point, &near.point), *key))
            .filter(|(likeness, _)| *likeness >= threshold)
            .collect();
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        found.into_iter().map(|(_, key)| key).collect()
    }
}

/// The cosine of the angle between two points; 0 if they are not of one kind.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() {
        return 0.0;
    }
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;
    use serde_json::{Value, json};
    use steadfast_core::World;

    use super::*;
    use crate::{Caller, config::SimilarConfig};

    fn pairs(text: &'static str) -> Vec<(&'static str, &'static str)> {
        text.lines().map(|line| line.split_once('\t').expect("two questions")).collect()
    }

    /// Would the answer to one be given to the other? And how near are they?
    fn alike(a: &str, b: &str) -> (bool, f64) {
        let near = cosine(&point(a), &point(b));
        let same = slots(a).is_some_and(|slots_a| slots(b) == Some(slots_a));
        (same && near >= SimilarConfig::default().threshold.get(), near)
    }

    fn point(text: &str) -> Vec<f32> {
        local_vector(&text.to_lowercase(), DIMENSIONS)
    }

    /// The published figures. `cargo test -p steadfast-models opposites -- --nocapture`
    #[test]
    fn opposites_are_never_taken_for_each_other() {
        let opposites = pairs(include_str!("../../tests/similar/opposites.tsv"));
        let paraphrases = pairs(include_str!("../../tests/similar/paraphrases.tsv"));
        assert!(opposites.len() >= 60 && paraphrases.len() >= 60);
        let mut false_hits = Vec::new();
        let mut by_nearness_alone = 0;
        for (a, b) in &opposites {
            for (a, b) in [(a, b), (b, a)] {
                let (hit, near) = alike(a, b);
                by_nearness_alone += usize::from(near >= SimilarConfig::default().threshold.get());
                if hit {
                    false_hits.push(format!("{a} | {b}: {:?}", slots(a)));
                }
            }
            let polite = format!("Please, {a}");
            assert!(!alike(&polite, b).0, "{polite} | {b}");
        }
        let hits = paraphrases.iter().filter(|(a, b)| alike(a, b).0).count();
        #[expect(clippy::print_stdout, reason = "the figures are published from here")]
        {
            println!("pairs of opposites: {}, taken for each other: {}", opposites.len(), false_hits.len());
            println!("by nearness alone it would have been {} of {}", by_nearness_alone / 2, opposites.len());
            println!("pairs of paraphrases: {}, found: {hits}", paraphrases.len());
            for (a, b) in paraphrases.iter().filter(|(a, b)| !alike(a, b).0) {
                println!("  not found: {a} | {b}: {:?} {:?} {:.2}", slots(a), slots(b), alike(a, b).1);
            }
        }
        assert!(false_hits.is_empty(), "{false_hits:#?}");
        assert!(hits * 2 > paraphrases.len(), "half of the paraphrases: {hits}");
    }

    /// Of a file of lines `label TAB question`: how many pairs of questions would be taken for
    /// each other, and how many of these have different labels.
    #[test]
    #[ignore = "needs a file of labelled questions, named by STEADFAST_LABELLED"]
    fn labelled_questions_that_are_taken_for_each_other_have_one_label() {
        let file = std::env::var("STEADFAST_LABELLED").expect("STEADFAST_LABELLED");
        let text = std::fs::read_to_string(file).expect("a file");
        let mut groups: HashMap<Vec<String>, Vec<(&str, &str)>> = HashMap::new();
        for (label, question) in text.lines().filter_map(|line| line.split_once('\t')) {
            if let Some(slots) = slots(question) {
                groups.entry(slots).or_default().push((label, question));
            }
        }
        let (mut taken, mut wrong) = (0, 0);
        for group in groups.values() {
            for (i, a) in group.iter().enumerate() {
                for b in &group[i + 1..] {
                    if a.1.to_lowercase() != b.1.to_lowercase() && alike(a.1, b.1).0 {
                        taken += 1;
                        wrong += usize::from(a.0 != b.0);
                        #[expect(clippy::print_stdout, reason = "the figures are read from here")]
                        if a.0 != b.0 {
                            println!("{a:?} | {b:?}");
                        }
                    }
                }
            }
        }
        #[expect(clippy::print_stdout, reason = "the figures are read from here")]
        {
            println!(
                "questions: {}, pairs taken for each other: {taken}, of different labels: {wrong}",
                text.lines().count()
            );
        }
    }

    #[test]
    fn a_word_or_a_place_more_is_another_question() {
        let base = "please transfer 500 from my savings account to Luis on Friday";
        let words: Vec<_> = base.split(' ').collect();
        for i in 0..words.len() {
            let mut without = words.clone();
            let left_out = without.remove(i);
            let harmless = ["please", "my"].contains(&left_out);
            assert_eq!(alike(base, &without.join(" ")).0, harmless, "without {left_out}");
            let mut other = words.clone();
            other[i] = "gloves";
            assert!(!alike(base, &other.join(" ")).0, "gloves instead of {left_out}");
        }
    }

    fn same(change: impl Fn(&mut Value)) -> Option<Key> {
        let mut body = json!({ "model": "m", "temperature": 0, "messages": [
            { "role": "system", "content": "be brief" },
            { "role": "user", "content": "hello" },
            { "role": "assistant", "content": "hi" },
            { "role": "user", "content": "What is my balance?" },
        ]});
        change(&mut body);
        let caller = Caller { user: body["as"].as_str().map(Into::into), ..Caller::default() };
        let body: Bytes = body.to_string().into();
        let call = Call::read("1".into(), Operation::Chat, &HeaderMap::new(), body, caller).expect("reads");
        question(&call, "route", ShareWith::User).map(|it| it.same)
    }

    #[test]
    fn all_that_stands_around_the_question_must_be_equal() {
        let base = same(|_| ()).expect("a question");
        let last = |body: &mut Value, content: Value| body["messages"][3]["content"] = content;
        assert_eq!(same(|body| last(body, json!("what's my balance, please"))), Some(base));
        let part = json!([{ "type": "text", "text": "What is the balance?" }]);
        assert!(same(|body| last(body, part.clone())).is_some());
        let others: [fn(&mut Value); 8] = [
            |body| body["messages"][0]["content"] = json!("be long"),
            |body| body["messages"][1]["content"] = json!("hullo"),
            |body| body["messages"][2]["content"] = json!("hi!"),
            |body| body["model"] = json!("other"),
            |body| body["temperature"] = json!(0.1),
            |body| body["stream"] = json!(true),
            |body| body["user"] = json!("ana"),
            |body| body["messages"][3]["content"] = json!("What is my limit?"),
        ];
        for (i, other) in others.into_iter().enumerate() {
            let other = same(other);
            assert!(other.is_some() && other != Some(base), "{i}");
        }
        let none: [fn(&mut Value); 5] = [
            |body| body["tools"] = json!([{ "type": "function" }]),
            |body| body["messages"][3]["role"] = json!("assistant"),
            |body| {
                body["messages"][3]["content"] =
                    json!([{ "type": "image_url", "image_url": { "url": "x" } }]);
            },
            |body| {
                body["messages"][3]["content"] =
                    json!([{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }]);
            },
            |body| body["messages"][3]["content"] = json!("please!"),
        ];
        for (i, none) in none.into_iter().enumerate() {
            assert_eq!(same(none), None, "{i}");
        }
    }

    #[test]
    fn of_several_answers_the_nearest_is_taken_and_none_that_is_too_far() {
        let mut index = Index::default();
        let bucket = Key([0; 32]);
        let near = |text: &str| Near { same: bucket, point: point(text) };
        let key = |byte: u8| Key([byte; 32]);
        let world = World::manual(1).0;
        for (byte, text) in [(1, "block my card"), (2, "block the card please"), (3, "weather")] {
            index.add(key(byte), &near(text));
        }
        assert_eq!(index.find(&near("block my card"), 0.5), [key(1), key(2)]);
        index.remove(key(1), &near("block my card"));
        assert_eq!(index.find(&near("block my card"), 0.5), [key(2)]);
        for byte in 4..100 {
            index.add(key(byte), &near(&world.chance().bits().to_string()));
        }
        assert_eq!(index.0[&bucket].len(), ALIKE_MAX);
    }
}
