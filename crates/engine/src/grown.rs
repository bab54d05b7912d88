//! Inputs that grow. A step that calls a model is given the whole conversation so far:
//! what the call before was given, what that one answered, and what came since. Its input
//! is recorded as just that, so that a run stores the length of its conversation, not its
//! square.
//!
//! 1. Only the record is short. The step is performed with the whole input, and whoever
//!    loads a run with its values gets whole inputs.
//! 2. A part is named by the step that it belongs to. Within the turns of a generation that
//!    count, a step is asked for once and succeeds once, and it stands before what refers
//!    to it: in an earlier turn, or, a result, among the deliveries of the same turn.
//! 3. The stream holds everything that it refers to, so nothing of another run is needed.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use steadfast_log::limits;

use crate::{
    Data, StepId,
    history::History,
    record::{Ask, Delivery, Turn, What},
};

/// Inputs that begin with fewer bytes of an earlier one are recorded whole.
const PREFIX_MIN: usize = 4 * 1024;
/// Shorter results are recorded again, as are shorter ends.
const PART_MIN: usize = 256;
const BLOCK: usize = 512;
/// So many earlier inputs, and bytes of them, are remembered: agents that take turns in one
/// run have conversations of their own.
const REMEMBERED: usize = 8;
const REMEMBERED_BYTES: usize = limits::PAYLOAD_BYTES;

/// A text in parts, most of which the run's record has already.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grown {
    #[serde(rename = "p")]
    parts: Vec<Part>,
    /// What the record does not have yet, as one string.
    #[serde(rename = "t")]
    pub(crate) text: Data,
}

/// From which byte on, and how many.
type Span = (usize, usize);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Part {
    /// Of the input that this step was asked with.
    #[serde(rename = "i")]
    Input(StepId, Span),
    /// Of this step's result.
    #[serde(rename = "r")]
    Result(StepId, Span),
    /// So many of the next bytes that are new.
    #[serde(rename = "t")]
    Text(usize),
}

/// A [`Grown`] in the making.
#[derive(Default)]
struct Growing {
    parts: Vec<Part>,
    text: String,
}

impl Growing {
    fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.parts.push(Part::Text(text.len()));
            self.text.push_str(text);
        }
    }
}

/// Earlier inputs of a run, the newest last.
#[derive(Debug, Default)]
pub(crate) struct Inputs(VecDeque<(StepId, Data)>);

impl Inputs {
    /// Those that the turns of a history leave behind.
    pub(crate) fn of(history: &History) -> Self {
        let mut inputs = Self::default();
        for (_, turn) in &history.turns {
            inputs.remember(&turn.asked);
        }
        inputs
    }

    /// These are on the log now.
    pub(crate) fn remember(&mut self, asked: &[Ask]) {
        for ask in asked {
            if let What::Action { input, .. } = &ask.what
                && inline(input).is_some_and(|text| text.len() >= PREFIX_MIN)
            {
                self.0.push_back((ask.step.clone(), input.clone()));
            }
        }
        let bytes = |inputs: &Self| inputs.texts().map(|(_, text)| text.len()).sum::<usize>();
        while self.0.len() > REMEMBERED || (self.0.len() > 1 && bytes(self) > REMEMBERED_BYTES) {
            self.0.pop_front();
        }
    }

    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }

    /// The turn as it is to be recorded, if that is another than it is.
    pub(crate) fn shorten(&self, turn: &Turn) -> Option<Turn> {
        let mut shorter: Option<Turn> = None;
        for (place, ask) in turn.asked.iter().enumerate() {
            if let What::Action { input, .. } = &ask.what
                && let Some(text) = inline(input)
                && let Some(grown) = self.grown(text, &turn.delivered)
            {
                let turn = shorter.get_or_insert_with(|| turn.clone());
                if let What::Action { input, .. } = &mut turn.asked[place].what {
                    *input = Data::Grown(Arc::new(grown), text.len() as u64);
                }
            }
        }
        shorter
    }

    fn grown(&self, text: &str, delivered: &[Delivery]) -> Option<Grown> {
        if text.len() < PREFIX_MIN {
            return None;
        }
        let longest = self.texts().map(|(step, earlier)| (shared(text, earlier), step, earlier));
        let (prefix, step, earlier) = longest.max_by_key(|(prefix, ..)| *prefix)?;
        if prefix < PREFIX_MIN {
            return None;
        }
        let mut grown = Growing::default();
        grown.parts.push(Part::Input(step.clone(), (0, prefix)));
        let mut rest = &text[prefix..];
        for (step, result) in delivered.iter().filter_map(result) {
            let (from, result) = longest_string(result);
            if result.len() >= PART_MIN
                && let Some((before, after)) = rest.split_once(result)
            {
                grown.text(before);
                grown.parts.push(Part::Result(step.clone(), (from, result.len())));
                rest = after;
            }
        }
        // What always stands behind the conversation.
        let end = shared_end(rest, earlier);
        if end >= PART_MIN {
            grown.text(&rest[..rest.len() - end]);
            grown.parts.push(Part::Input(step.clone(), (earlier.len() - end, end)));
        } else {
            grown.text(rest);
        }
        Some(Grown { parts: grown.parts, text: Data::of(&grown.text).ok()? })
    }

    fn texts(&self) -> impl Iterator<Item = (&StepId, &str)> {
        self.0.iter().filter_map(|(step, input)| Some((step, inline(input)?)))
    }
}

/// Makes the inputs of a history whole, whose stored values have been loaded.
pub(crate) fn make_whole(history: &mut History) -> Result<(), String> {
    let (mut inputs, mut results) = (HashMap::new(), HashMap::new());
    for (_, turn) in &mut history.turns {
        for delivery in &turn.delivered {
            if let Delivery::Result { step, outcome: Ok(value), .. } = delivery {
                results.insert(step.clone(), value.clone());
            }
        }
        for ask in &mut turn.asked {
            let What::Action { input, .. } = &mut ask.what else { continue };
            if let Data::Grown(grown, bytes) = input {
                let whole = whole(grown, *bytes, &inputs, &results);
                *input = whole.ok_or_else(|| format!("the input of step {} does not add up", ask.step))?;
            }
        }
        for ask in &turn.asked {
            if let What::Action { input, .. } = &ask.what {
                inputs.insert(ask.step.clone(), input.clone());
            }
        }
    }
    Ok(())
}

fn whole(
    grown: &Grown,
    bytes: u64,
    inputs: &HashMap<StepId, Data>,
    results: &HashMap<StepId, Data>,
) -> Option<Data> {
    let mut text = String::with_capacity(usize::try_from(bytes).ok()?.min(limits::PAYLOAD_BYTES));
    let added: String = grown.text.read().ok()?;
    let mut added = added.as_str();
    for part in &grown.parts {
        text.push_str(match part {
            Part::Input(step, span) => cut(inputs.get(step)?, *span)?,
            Part::Result(step, span) => cut(results.get(step)?, *span)?,
            Part::Text(bytes) => {
                let (text, rest) = added.split_at_checked(*bytes)?;
                added = rest;
                text
            }
        });
    }
    (text.len() as u64 == bytes).then(|| Data::parse(&text).ok()).flatten()
}

fn cut(data: &Data, (from, bytes): Span) -> Option<&str> {
    inline(data)?.get(from..from.checked_add(bytes)?)
}

fn inline(data: &Data) -> Option<&str> {
    match data {
        Data::Inline(raw) => Some(raw.get()),
        Data::Stored(..) | Data::Grown(..) => None,
    }
}

fn result(delivery: &Delivery) -> Option<(&StepId, &str)> {
    match delivery {
        Delivery::Result { step, outcome: Ok(value), .. } => Some((step, inline(value)?)),
        _ => None,
    }
}

/// How many bytes two texts begin with together.
fn shared(one: &str, other: &str) -> usize {
    // Long ones are compared by the block, which the machine is quick at.
    let blocks = one.as_bytes().chunks(BLOCK).zip(other.as_bytes().chunks(BLOCK));
    let equal: usize = blocks.take_while(|(a, b)| a == b).map(|(a, _)| a.len()).sum();
    let after = one.bytes().skip(equal).zip(other.bytes().skip(equal));
    one.floor_char_boundary(equal + after.take_while(|(a, b)| a == b).count())
}

/// How many bytes two texts end with together.
fn shared_end(one: &str, other: &str) -> usize {
    let end = one.bytes().rev().zip(other.bytes().rev()).take_while(|(a, b)| a == b).count();
    one.len() - one.ceil_char_boundary(one.len() - end)
}

/// The longest string in a JSON text, with its quotes, and where it begins: a result is
/// passed on as it is or in another wrapping, and most of it is one text.
fn longest_string(json: &str) -> (usize, &str) {
    let mut longest = (0, "");
    let (mut began, mut escaped) = (None, false);
    for (at, byte) in json.bytes().enumerate() {
        match (byte, began) {
            _ if escaped => escaped = false,
            (b'\\', Some(_)) => escaped = true,
            (b'"', None) => began = Some(at),
            (b'"', Some(from)) => {
                if at + 1 - from > longest.1.len() {
                    longest = (from, &json[from..=at]);
                }
                began = None;
            }
            _ => {}
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(step: &str, input: &serde_json::Value) -> Ask {
        let input = Data::of(input).expect("json");
        let what = What::Action { action: "model".into(), input, within_ms: 1, on_log: false };
        Ask { step: step.into(), what, undo: None }
    }

    fn answered(step: &str, answer: &serde_json::Value) -> Delivery {
        let outcome = Ok(Data::of(answer).expect("json"));
        Delivery::Result { step: step.into(), outcome, failed_attempts: Vec::new() }
    }

    fn words(seed: u64, count: usize) -> String {
        (0..count).map(|n| format!("ñ\"{}\n", seed * 1_000_003 + n as u64)).collect::<Vec<_>>().concat()
    }

    /// What is recorded of the second of two inputs, and how long it is.
    fn recorded(
        first: &serde_json::Value,
        answer: &serde_json::Value,
        second: &serde_json::Value,
    ) -> Option<usize> {
        let mut inputs = Inputs::default();
        inputs.remember(&[asked("a", first)]);
        let turn = Turn {
            delivered: vec![answered("a", answer)],
            asked: vec![asked("b", second)],
            ..Turn::default()
        };
        let shorter = inputs.shorten(&turn)?;
        let text = serde_json::to_string(&shorter.asked).expect("json");
        let read: Vec<Ask> = serde_json::from_str(&text).expect("reads as it was written");
        let What::Action { input: Data::Grown(grown, bytes), .. } = &read[0].what else {
            panic!("it is in parts: {text}");
        };
        let inputs = HashMap::from([("a".into(), Data::of(first).expect("json"))]);
        let results = HashMap::from([("a".into(), Data::of(answer).expect("json"))]);
        let whole = whole(grown, *bytes, &inputs, &results).expect("adds up");
        assert_eq!(whole.text(), Data::of(second).expect("json").text());
        Some(text.len())
    }

    #[test]
    fn an_input_that_grew_by_an_answer_is_recorded_as_where_its_parts_are() {
        let (system, answer) = (words(1, 2_000), words(2, 500));
        let tools = words(3, 100);
        let first = serde_json::json!({ "messages": [system], "tools": tools });
        for answered in [serde_json::json!(answer), serde_json::json!({ "text": answer, "cost": 7 })] {
            let second =
                serde_json::json!({ "messages": [system, { "said": answer }, "and?"], "tools": tools });
            let length = recorded(&first, &answered, &second).expect("shorter");
            assert!(length < 400, "{length}");
        }
    }

    #[test]
    fn what_the_record_does_not_have_stands_in_the_input() {
        let system = words(1, 2_000);
        let second = serde_json::json!([system, "é", words(5, 300)]);
        let length = recorded(&serde_json::json!([system, "è"]), &serde_json::json!(1), &second);
        assert!((3_000..9_000).contains(&length.expect("shorter")));
    }

    #[test]
    fn inputs_that_share_little_are_recorded_whole() {
        let big = serde_json::json!(words(1, 2_000));
        assert_eq!(recorded(&big, &big, &serde_json::json!(words(2, 2_000))), None);
        assert_eq!(recorded(&serde_json::json!("a"), &serde_json::json!(1), &serde_json::json!("a")), None);
    }

    #[test]
    fn parts_that_are_not_there_do_not_add_up() {
        let grown = Grown { parts: vec![Part::Input("x".into(), (0, 9))], text: Data::of("").expect("json") };
        let nothing = HashMap::new();
        assert!(whole(&grown, 9, &nothing, &nothing).is_none());
        let short = HashMap::from([("x".into(), Data::of("ñañ").expect("json"))]);
        assert!(whole(&grown, 9, &short, &nothing).is_none());
        let split = Grown { parts: vec![Part::Input("x".into(), (2, 3))], ..grown };
        assert!(whole(&split, 3, &short, &nothing).is_none());
    }

    #[test]
    fn only_a_few_inputs_are_remembered() {
        let mut inputs = Inputs::default();
        for n in 0..20_u64 {
            inputs.remember(&[asked(&format!("s{n}"), &serde_json::json!(words(n, 400)))]);
        }
        assert_eq!(inputs.0.len(), REMEMBERED);
        let huge = serde_json::json!("x".repeat(REMEMBERED_BYTES));
        inputs.remember(&[asked("huge", &huge)]);
        assert_eq!(inputs.0.len(), 1);
    }
}
