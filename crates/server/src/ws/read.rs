//! Reads a client's frame, strictly, and says what is wrong with one that does not read.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::Value;
use steadfast_core::{Failure, shown};

use super::{ClientFrame, ServerFrame};

const UUID: &str = "a UUID such as 0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e, in quotes";
const TYPES: &str = "\"message\", \"confirm\" or \"resume\"";
/// A wrong value is told back up to here; so is what the JSON reader says, which may quote one.
const SHOWN_CHARS_MAX: usize = 120;

impl ClientFrame {
    /// What a client sent, whose `text` may have so many bytes; or what to answer to it.
    pub fn read(text: &str, text_max: u64) -> Result<Self, ServerFrame> {
        let mut members: Members = serde_json::from_str(text).map_err(|error| {
            let error = cut(&error.to_string());
            let message = format!("the frame does not read: {error}; send one JSON object with a `type`");
            ServerFrame::error(None, &Failure::refused("frame.invalid_json", message))
        })?;
        let request_id = members.0.get("request_id").and_then(id);
        members
            .frame(text_max)
            .map_err(|message| ServerFrame::error(request_id, &Failure::refused("frame.invalid", message)))
    }
}

/// What an object has; none of it twice.
struct Members(BTreeMap<String, Value>);

impl Members {
    fn frame(&mut self, text_max: u64) -> Result<ClientFrame, String> {
        let kind: String = self.required("type", TYPES, |it| it.as_str().map(Into::into))?;
        let (frame, fields) = match kind.as_str() {
            "message" => (self.message(text_max)?, "request_id, session_id and text"),
            "confirm" => (self.confirm()?, "request_id and accept"),
            "resume" => (self.resume()?, "session_id and after"),
            _ => return Err(wrong("type", &kind.into(), TYPES)),
        };
        match self.0.keys().next() {
            None => Ok(frame),
            Some(extra) => Err(format!(
                "`{}` is no field of a {kind} frame, which has {fields}: leave it out",
                cut(extra)
            )),
        }
    }
    fn message(&mut self, text_max: u64) -> Result<ClientFrame, String> {
        let text: String = self.required("text", "text", |it| it.as_str().map(Into::into))?;
        if text.trim().is_empty() {
            return Err(wrong("text", &text.into(), "something to be answered, not blank"));
        }
        if text.len() as u64 > text_max {
            let bytes = text.len();
            return Err(format!("`text` has {bytes} bytes: send at most {text_max} at once"));
        }
        Ok(ClientFrame::Message {
            request_id: self.optional("request_id", UUID, id)?,
            session_id: self.optional("session_id", UUID, id)?,
            text,
        })
    }
    fn confirm(&mut self) -> Result<ClientFrame, String> {
        Ok(ClientFrame::Confirm {
            request_id: self.required("request_id", UUID, id)?,
            accept: self.required("accept", "true or false", Value::as_bool)?,
        })
    }
    fn resume(&mut self) -> Result<ClientFrame, String> {
        Ok(ClientFrame::Resume {
            session_id: self.required("session_id", UUID, id)?,
            after: self.optional("after", "a whole number, 0 or more", Value::as_u64)?.unwrap_or(0),
        })
    }
    fn required<T>(
        &mut self,
        name: &str,
        rule: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<T, String> {
        let Some(value) = self.0.remove(name) else {
            return Err(format!("`{name}` is missing: send {rule}"));
        };
        read(&value).ok_or_else(|| wrong(name, &value, rule))
    }
    /// `null` says that it is left out.
    fn optional<T>(
        &mut self,
        name: &str,
        rule: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, String> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::Null) => {
                self.0.remove(name);
                Ok(None)
            }
            Some(_) => self.required(name, rule, read).map(Some),
        }
    }
}

fn id<T: std::str::FromStr>(value: &Value) -> Option<T> {
    value.as_str()?.parse().ok()
}

fn wrong(name: &str, value: &Value, rule: &str) -> String {
    format!("`{name}` is {}: send {rule}", cut(&value.to_string()))
}

fn cut(text: &str) -> String {
    shown(text, SHOWN_CHARS_MAX)
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if members.contains_key(&name) {
                return Err(A::Error::custom(format_args!("`{}` is there twice", cut(&name))));
            }
            members.insert(name, value);
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e";

    #[test]
    fn frames_read_as_they_are_written() {
        let (request_id, session_id) = (ID.parse().expect("an id"), ID.parse().expect("an id"));
        for (text, frame) in [
            (
                r#"{"type":"message","text":"hola"}"#.to_owned(),
                ClientFrame::Message { request_id: None, session_id: None, text: "hola".into() },
            ),
            (
                format!(r#"{{"type":"message","text":"hola","request_id":"{ID}","session_id":null}}"#),
                ClientFrame::Message { request_id: Some(request_id), session_id: None, text: "hola".into() },
            ),
            (
                format!(r#" {{"accept":false,"request_id":"{ID}","type":"confirm"}} "#),
                ClientFrame::Confirm { request_id, accept: false },
            ),
            (
                format!(r#"{{"type":"resume","session_id":"{ID}"}}"#),
                ClientFrame::Resume { session_id, after: 0 },
            ),
            (
                format!(r#"{{"type":"resume","session_id":"{ID}","after":18446744073709551615}}"#),
                ClientFrame::Resume { session_id, after: u64::MAX },
            ),
        ] {
            assert_eq!(ClientFrame::read(&text, 4), Ok(frame.clone()), "{text}");
            let written = serde_json::to_string(&frame).expect("JSON");
            assert_eq!(ClientFrame::read(&written, 4), Ok(frame), "{written}");
        }
    }

    #[test]
    fn what_does_not_read_is_told_with_field_value_rule_and_fix() {
        for (text, said) in [
            ("", "send one JSON object with a `type`"),
            ("nonsense", "send one JSON object"),
            ("[]", "expected an object"),
            (r#"["message","hola"]"#, "expected an object"),
            (r#""message""#, "expected an object"),
            ("{} {}", "trailing characters"),
            (r#"{"type":"message","text":"a","text":"b"}"#, "`text` is there twice"),
            (r#"{"type":"message","\u0074ext":"a","text":"b"}"#, "`text` is there twice"),
            (r#"{"text":"a"}"#, "`type` is missing: send \"message\", \"confirm\" or \"resume\""),
            (r#"{"type":"Message","text":"a"}"#, "`type` is \"Message\": send \"message\","),
            (r#"{"type":null}"#, "`type` is null"),
            (r#"{"type":"message"}"#, "`text` is missing"),
            (r#"{"type":"message","text":7}"#, "`text` is 7: send text"),
            (r#"{"type":"message","text":null}"#, "`text` is null"),
            (r#"{"type":"message","text":" \n"}"#, "`text` is \" \\n\": send something"),
            (r#"{"type":"message","text":"adios"}"#, "`text` has 5 bytes: send at most 4"),
            (
                r#"{"type":"message","text":"a","lang":"es"}"#,
                "`lang` is no field of a message frame, which has request_id, session_id and text: leave it out",
            ),
            (r#"{"type":"message","text":"a","request_id":7}"#, "`request_id` is 7: send a UUID"),
            (r#"{"type":"message","text":"a","request_id":"7"}"#, "`request_id` is \"7\": send a UUID"),
            (
                r#"{"type":"confirm","request_id":"0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e","accept":"yes"}"#,
                "`accept` is \"yes\": send true or false",
            ),
            (r#"{"type":"confirm","accept":true}"#, "`request_id` is missing"),
            (
                r#"{"type":"resume","session_id":"0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e","after":-1}"#,
                "`after` is -1: send a whole number",
            ),
            (
                r#"{"type":"resume","session_id":"0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e","after":1.5}"#,
                "`after` is 1.5",
            ),
        ] {
            match ClientFrame::read(text, 4) {
                Err(ServerFrame::Error { message, retryable: false, code, .. }) => {
                    assert!(message.contains(said), "{text}: {message}");
                    assert!(code.starts_with("frame.invalid"), "{text}: {code}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_complaint_carries_the_request_id_where_there_is_one() {
        let text = format!(r#"{{"type":"huh","request_id":"{ID}"}}"#);
        let Err(ServerFrame::Error { request_id, .. }) = ClientFrame::read(&text, 4) else {
            panic!("it read");
        };
        assert_eq!(request_id, ID.parse().ok());
    }

    #[test]
    fn depth_and_long_values_do_no_harm() {
        assert!(ClientFrame::read(&"[".repeat(60_000), 4).is_err());
        let deep = format!(r#"{{"type":{}0{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
        assert!(ClientFrame::read(&deep, 4).is_err());
        let long = format!(r#"{{"type":"{}"}}"#, "é".repeat(30_000));
        for long in [long, format!("\"{}\"", "x".repeat(60_000))] {
            let Err(ServerFrame::Error { message, .. }) = ClientFrame::read(&long, 4) else {
                panic!("it read");
            };
            assert!(message.len() < 400, "{message}");
        }
    }
}
