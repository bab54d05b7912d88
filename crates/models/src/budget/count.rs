//! How much a stream said, where nobody tells.
//!
//! Bytes of text, since no token has less than one. The most common events, as most providers
//! write them, are looked through for their text; others are walked. Of those without any text
//! that is known every byte counts.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::{
    call::Operation,
    wire::strings::{Is, walk},
};

static CONTENT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"content\":\""));
static DELTA: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"delta\":\""));
static TEXT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"text\":\""));
static MORE: LazyLock<[Finder<'static>; 4]> = LazyLock::new(|| {
    [&b"\"tool_calls\":["[..], b"\"reasoning", b"\"refusal\":\"", b"\"audio\":{"].map(Finder::new)
});

/// Members whose texts a model made.
const MADE: [&str; 14] = [
    "content",
    "text",
    "delta",
    "reasoning_content",
    "reasoning",
    "reasoningContent",
    "thinking",
    "summary",
    "refusal",
    "name",
    "arguments",
    "input",
    "partial_json",
    "data",
];

/// At least as many as the tokens that an event brought.
pub(crate) fn said(operation: Operation, event: &[u8]) -> u64 {
    let all = u64::try_from(event.len()).unwrap_or(u64::MAX);
    let finder = match operation {
        Operation::Messages => &*TEXT,
        Operation::Responses | Operation::Transcription => &*DELTA,
        Operation::Chat | Operation::Embeddings => &*CONTENT,
    };
    let mut found = 0;
    for at in finder.find_iter(event) {
        let start = at + finder.needle().len();
        found += text_length(event.get(start..).unwrap_or_default());
    }
    if found == 0 || MORE.iter().any(|finder| finder.find(event).is_some()) {
        found = walked(event);
    }
    if found == 0 { all } else { u64::try_from(found).unwrap_or(all) }
}

/// The same, however the event is written.
fn walked(event: &[u8]) -> usize {
    let mut found = 0;
    for line in event.split(|byte| *byte == b'\n') {
        let Some(Ok(json)) = line.strip_prefix(b"data:").map(str::from_utf8) else { continue };
        walk(json, |it| {
            // In an object that is given to a tool the model made everything.
            if it.free || (it.is == Is::Text && MADE.contains(&it.name)) {
                found += it.at.len();
            }
        });
    }
    found
}

/// How long a JSON string is, up to its closing quote.
fn text_length(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(next) = memchr::memchr2(b'"', b'\\', text.get(at..).unwrap_or_default()) {
        if text[at + next] == b'"' {
            return at + next;
        }
        at += next + 2;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_counts_by_its_bytes_and_what_is_not_known_with_all_of_them() {
        let chat = |event: &str| said(Operation::Chat, event.as_bytes());
        for (event, bytes) in [
            (r#"data: {"choices":[{"delta":{"content":"hello \"you\""}}]}"#, 13),
            (r#"data: {"choices":[{"delta":{"content":"a"}},{"delta":{"content":"bc"}}]}"#, 3),
            (r#"data: {"choices": [{"delta": {"role": "assistant", "content": "ab"}}]}"#, 2),
            (r#"data: {"choices":[{"delta":{"content":"","reasoning_content":"hm"}}]}"#, 2),
            (r#"data: {"choices":[{"delta":{"reasoning":"hmm"}}]}"#, 3),
            (r#"data: {"choices":[{"delta":{"function_call":{"arguments":"x"}}}]}"#, 1),
            (
                r#"data: {"choices":[{"delta":{"content":"a","tool_calls":[{"id":"1","function":{"name":"f","arguments":"{}"}}]}}]}"#,
                4,
            ),
        ] {
            assert_eq!(chat(event), bytes, "{event}");
        }
        let unknown = r#"data: {"choices":[{"delta":{"hologram":"a"}}]}"#;
        assert_eq!(chat(unknown), unknown.len() as u64);
        let delta = r#"data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"hé"}}"#;
        assert_eq!(said(Operation::Messages, delta.as_bytes()), 3);
        assert_eq!(chat(r#"data: {"content":"never ends\"#), 11);
    }
}
