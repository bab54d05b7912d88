//! The most tokens that a call can need.
//!
//! *In*: one token for each byte of the body. Tokenisers of today end at bytes: every token
//! stands for one byte of text at least, a character that they do not know for as many tokens
//! as it has bytes, and JSON never writes a text in fewer bytes than it has. What providers put
//! around messages is shorter than the JSON around them. What does not stand in the body as
//! text counts with figures of the configuration: pictures, files and sound wherever they occur
//! in the conversation, and what is added for tools.
//!
//! A recording has no more seconds than its bytes allow, at the lowest rate that the
//! configuration takes for possible. What the provider remembers of a conversation counts as a
//! file.
//!
//! *Out*: what the client allows, or what the gateway then tells the provider, for each answer
//! that is asked for.
//!
//! Not bounded is what a provider fetches by itself while it answers, such as the pages of a
//! web search. It is paid in full at the end, also where it goes beyond what was reserved.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::{
    call::{Call, Operation},
    config::BudgetConfig,
};

/// The most tokens that a second of sound is, and that are said in one: three times what models
/// make of it.
const SOUND_TOKENS: u64 = 50;
/// The most tokens of what a model is told beside a recording.
const PROMPT_TOKENS: u64 = 1_000;

/// The most tokens of a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) input: u64,
    pub(crate) output: u64,
    /// Of sound.
    pub(crate) seconds: u64,
    /// Is there sound or film in the conversation?
    pub(crate) audible: bool,
}

impl Bound {
    /// Of `call`, whose answers have `output_max` tokens each if it does not say.
    pub(crate) fn of(call: &Call, config: &BudgetConfig) -> Self {
        let mut input = u64::try_from(call.body.len()).unwrap_or(u64::MAX);
        if call.operation == Operation::Transcription {
            return Self::of_sound(input, config);
        }
        let mut audible = false;
        if call.operation != Operation::Embeddings {
            let mut parts = Parts { files: u64::from(call.asked.elsewhere), ..Parts::default() };
            for at in call.asked.at.said() {
                let said = call.body.get(at).unwrap_or_default();
                parts.add(&serde_json::from_slice(said).unwrap_or_else(|_| Parts::unread(said)));
            }
            input = input
                .saturating_add(parts.images.saturating_mul(config.image_tokens.into()))
                .saturating_add(parts.files.saturating_mul(config.file_tokens.into()));
            audible = parts.audible;
        }
        if call.asked.tools {
            input = input.saturating_add(config.tools_tokens.into());
        }
        let output = match call.operation {
            Operation::Embeddings | Operation::Transcription => 0,
            Operation::Chat | Operation::Messages | Operation::Responses => {
                let each = call.asked.output_max.unwrap_or(config.output_max.get().into());
                each.saturating_mul(u64::from(call.asked.choices).max(1))
            }
        };
        Self { input, output, seconds: 0, audible }
    }
    fn of_sound(bytes: u64, config: &BudgetConfig) -> Self {
        let seconds = bytes.div_ceil(u64::from(config.sound_bytes.get()));
        let tokens = seconds.saturating_mul(SOUND_TOKENS);
        let input = tokens.saturating_add(PROMPT_TOKENS);
        Self { input, output: tokens, seconds, audible: false }
    }
}

/// What is no text, counted at any depth: tools answer with pictures too.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parts {
    images: u64,
    files: u64,
    audible: bool,
}

impl Parts {
    /// Of what is JSON, or the call would not have been read, but with numbers or a depth
    /// beyond all measure: whatever could be a part counts as a file.
    fn unread(said: &[u8]) -> Self {
        let objects = memchr::memchr_iter(b'{', said).count();
        Self { images: 0, files: u64::try_from(objects).unwrap_or(u64::MAX), audible: objects > 0 }
    }
    fn add(&mut self, other: &Self) {
        self.images += other.images;
        self.files += other.files;
        self.audible |= other.audible;
    }
}

impl<'de> Deserialize<'de> for Parts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk)
    }
}

/// Goes through everything, and keeps nothing but counts.
struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = Parts;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<Parts, E> {
        Ok(Parts::default())
    }
    fn visit_i64<E>(self, _: i64) -> Result<Parts, E> {
        Ok(Parts::default())
    }
    fn visit_u64<E>(self, _: u64) -> Result<Parts, E> {
        Ok(Parts::default())
    }
    fn visit_f64<E>(self, _: f64) -> Result<Parts, E> {
        Ok(Parts::default())
    }
    fn visit_str<E>(self, text: &str) -> Result<Parts, E> {
        let begins = |with: &str| text.get(..with.len()).is_some_and(|it| it.eq_ignore_ascii_case(with));
        Ok(Parts { audible: begins("data:audio/") || begins("data:video/"), ..Parts::default() })
    }
    fn visit_unit<E>(self) -> Result<Parts, E> {
        Ok(Parts::default())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Parts, A::Error> {
        let mut all = Parts::default();
        while let Some(part) = items.next_element::<Parts>()? {
            all.add(&part);
        }
        Ok(all)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Parts, A::Error> {
        let mut all = Parts::default();
        while let Some(Key(key)) = members.next_key()? {
            match &*key {
                "type" => match members.next_value::<Kind>()? {
                    Kind::Image => all.images += 1,
                    Kind::File => all.files += 1,
                    Kind::Audible => (all.files, all.audible) = (all.files + 1, true),
                    Kind::Other => {}
                },
                // The most of a conversation: nothing in it is a part unless it has parts.
                "text" | "role" | "name" | "arguments" => {
                    members.next_value::<IgnoredAny>()?;
                }
                _ => all.add(&members.next_value()?),
            }
        }
        Ok(all)
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// What a part's `type` says.
enum Kind {
    Image,
    File,
    /// A file with sound.
    Audible,
    Other,
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Kind;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_str<E>(self, kind: &str) -> Result<Kind, E> {
                let is = |words: &[&str]| words.iter().any(|word| kind.contains(word));
                Ok(if is(&["image"]) {
                    Kind::Image
                } else if is(&["audio", "video"]) {
                    Kind::Audible
                } else if is(&["file", "document", "upload"]) {
                    Kind::File
                } else {
                    Kind::Other
                })
            }
            fn visit_bool<E>(self, _: bool) -> Result<Kind, E> {
                Ok(Kind::Other)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Kind, E> {
                Ok(Kind::Other)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Kind, E> {
                Ok(Kind::Other)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Kind, E> {
                Ok(Kind::Other)
            }
            fn visit_unit<E>(self) -> Result<Kind, E> {
                Ok(Kind::Other)
            }
            // A member that happens to be called `type`, and holds more.
            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Kind, A::Error> {
                Walk.visit_seq(items).map(Kind::of)
            }
            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Kind, A::Error> {
                Walk.visit_map(members).map(Kind::of)
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl Kind {
    fn of(parts: Parts) -> Self {
        match parts {
            Parts { audible: true, .. } => Self::Audible,
            Parts { files: 1.., .. } => Self::File,
            Parts { images: 1.., .. } => Self::Image,
            Parts { .. } => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::Caller;

    fn call(operation: Operation, body: &Value) -> Call {
        let body = Bytes::from(body.to_string());
        Call::read("1".into(), operation, &HeaderMap::new(), body, Caller::default()).expect("reads")
    }

    fn bound(operation: Operation, body: &Value) -> Bound {
        Bound::of(&call(operation, body), &BudgetConfig::default())
    }

    #[test]
    fn every_byte_counts_and_every_answer_at_its_longest() {
        let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }], "n": 3, "max_tokens": 7 });
        let length = body.to_string().len() as u64;
        assert_eq!(
            bound(Operation::Chat, &body),
            Bound { input: length, output: 21, seconds: 0, audible: false }
        );
        let silent = json!({ "model": "m", "messages": [] });
        assert_eq!(bound(Operation::Chat, &silent).output, 4_096);
        // Which of the two a provider reads, nobody knows.
        let both = json!({ "model": "m", "messages": [], "max_tokens": 100, "max_completion_tokens": 5 });
        assert_eq!(bound(Operation::Chat, &both).output, 100);
        assert_eq!(bound(Operation::Chat, &json!({ "model": "m", "messages": [], "n": 0 })).output, 4_096);
        // What this operation does not have, no provider reads.
        for (operation, body) in [
            (Operation::Chat, json!({ "model": "m", "messages": [], "max_output_tokens": 1 })),
            (Operation::Messages, json!({ "model": "m", "messages": [], "max_completion_tokens": 1 })),
            (Operation::Messages, json!({ "model": "m", "messages": [], "max_output_tokens": 1 })),
            (Operation::Responses, json!({ "model": "m", "input": "hi", "max_tokens": 1 })),
        ] {
            assert_eq!(bound(operation, &body).output, 4_096, "{body}");
        }
        let embed = json!({ "model": "m", "input": [1, 2, 3] });
        assert_eq!(bound(Operation::Embeddings, &embed).output, 0);
    }

    #[test]
    fn pictures_and_files_count_wherever_and_however_they_are_written() {
        let url = json!({ "type": "image_url", "image_url": { "url": "https://x/y.png" } });
        let nested = json!({ "type": "tool_result", "content": [
            { "type": "image", "source": { "type": "url", "url": "https://x" } },
            { "type": "document", "source": { "type": "url", "url": "https://y" } },
        ] });
        let body = json!({ "model": "m", "messages": [
            { "role": "user", "content": [{ "type": "text", "text": "\"type\":\"image\"" }, url] },
            { "role": "user", "content": [nested] },
        ] });
        let escaped =
            body.to_string().replace("\"image", "\"\\u0069mage").replace("\"type\"", "\"t\\u0079pe\"");
        for text in [body.to_string(), escaped] {
            let length = text.len() as u64;
            let body = Bytes::from(text);
            let call =
                Call::read("1".into(), Operation::Messages, &HeaderMap::new(), body, Caller::default());
            let bound = Bound::of(&call.expect("reads"), &BudgetConfig::default());
            assert_eq!(bound.input, length + 2 * 50_000 + 1_000_000);
        }
    }

    #[test]
    fn what_a_provider_remembers_counts_as_a_file_and_sound_by_its_bytes() {
        let body =
            json!({ "model": "m", "input": "hi", "previous_response_id": "r", "max_output_tokens": 9 });
        let input = body.to_string().len() as u64 + 1_000_000;
        assert_eq!(
            bound(Operation::Responses, &body),
            Bound { input, output: 9, seconds: 0, audible: false }
        );
        for (item, kept) in [
            (json!({ "type": "item_reference", "id": "msg_1" }), true),
            (json!({ "id": "msg_1" }), true),
            (json!({ "type": "reasoning", "id": "rs_1", "summary": [] }), true),
            (json!({ "type": "reasoning", "id": "rs_1", "encrypted_content": null }), true),
            (json!({ "type": "reasoning", "id": "rs_1", "encrypted_content": "gAAAA" }), false),
            (json!({ "type": "function_call_output", "call_id": "c", "output": "x" }), false),
            (json!({ "role": "user", "content": "hi" }), false),
            (json!("what is it?"), true),
        ] {
            let body = json!({ "model": "m", "input": [{ "role": "user", "content": "hi" }, item] });
            let input = body.to_string().len() as u64 + 1_000_000 * u64::from(kept);
            assert_eq!(bound(Operation::Responses, &body).input, input, "{body}");
        }
        assert_eq!(Bound::of_sound(25_001, &BudgetConfig::default()).seconds, 101);
    }

    #[test]
    fn sound_and_film_are_heard_wherever_they_are() {
        let said = |part: Value| {
            let turn = json!({ "role": "user", "content": [{ "type": "text", "text": "audio" }, part] });
            bound(Operation::Chat, &json!({ "model": "m", "messages": [turn] })).audible
        };
        for part in [
            json!({ "type": "input_audio", "input_audio": { "data": "AA", "format": "wav" } }),
            json!({ "type": "video_url", "video_url": { "url": "https://example.org/a" } }),
            json!({ "type": "file", "file": { "file_data": "data:Audio/mpeg;base64,AA" } }),
            json!({ "type": "tool_result", "content": [{ "type": "input_audio" }] }),
        ] {
            assert!(said(part.clone()), "{part}");
        }
        assert!(!said(json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,AA" } })));
    }

    #[test]
    fn what_does_not_read_is_not_taken_for_text() {
        let text = r#"{"model":"m","messages":[{"x":1e999,"type":"image"}]}"#;
        let call = Call::read("1".into(), Operation::Chat, &HeaderMap::new(), text.into(), Caller::default());
        let bound = Bound::of(&call.expect("reads"), &BudgetConfig::default());
        assert_eq!(bound.input, text.len() as u64 + 1_000_000);
    }

    #[test]
    fn tools_cost_what_providers_say_about_them() {
        let body = json!({ "model": "m", "messages": [], "tools": [{}] });
        assert_eq!(bound(Operation::Chat, &body).input, body.to_string().len() as u64 + 2_500);
    }

    proptest! {
        #[test]
        fn any_text_has_fewer_bytes_than_its_bound(text in "\\PC{0,200}") {
            let body = json!({ "model": "m", "messages": [{ "role": "user", "content": text }] });
            prop_assert!(bound(Operation::Chat, &body).input >= text.len() as u64);
        }
        #[test]
        fn no_conversation_breaks_the_walk(value in any_json()) {
            let body = json!({ "model": "m", "messages": [value] });
            prop_assert!(bound(Operation::Chat, &body).input > 0);
            let text = body["messages"].to_string();
            prop_assert!(serde_json::from_str::<Parts>(&text).is_ok(), "{}", text);
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-z\"\\\\é]{0,8}".prop_map(Value::from),
        ];
        let key = prop_oneof![Just("type".to_owned()), Just("text".to_owned()), "[a-z]{1,4}"];
        leaf.prop_recursive(4, 32, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key.clone(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }
}
