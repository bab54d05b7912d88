//! Which texts of a call somebody wrote, by the members that they are.

use std::borrow::Cow;

use serde::Deserialize;

use crate::wire::{
    There,
    strings::{Found, Is},
};

/// Members whose texts are no texts, whatever stands beside them.
const NO_TEXT: [&str; 20] = [
    "type",
    "role",
    "id",
    "call_id",
    "item_id",
    "tool_call_id",
    "tool_use_id",
    "url",
    "image_url",
    "file_data",
    "file_url",
    "file_id",
    "signature",
    "encrypted_content",
    "media_type",
    "format",
    "detail",
    "status",
    "model",
    "ttl",
];

/// What somebody wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    /// Anything.
    Text,
    /// The name of who says a message, in which providers allow letters, digits, `_` and `-`.
    Name,
}

/// What stands beside a member.
#[derive(Deserialize)]
struct Beside<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    role: Option<Cow<'a, str>>,
    #[serde(borrow)]
    media_type: Option<Cow<'a, str>>,
    #[serde(default)]
    arguments: There,
    #[serde(default)]
    input: There,
    #[serde(default)]
    input_schema: There,
}

impl<'a> Beside<'a> {
    fn of(found: &Found<'_>, json: &'a str) -> Option<Self> {
        let mut object = serde_json::Deserializer::from_str(json.get(found.object..)?);
        Self::deserialize(&mut object).ok()
    }
    /// Is `data` text, and not bytes in letters?
    fn is_text(&self) -> bool {
        let text = |it: &str| it.get(..5).is_some_and(|it| it.eq_ignore_ascii_case("text/"));
        self.kind.as_deref() == Some("text") || self.media_type.as_deref().is_some_and(text)
    }
    /// Is `name` a tool's?
    fn is_tool(&self) -> bool {
        let given = self.arguments.0 || self.input.0 || self.input_schema.0;
        given || matches!(self.role.as_deref(), Some("function" | "tool"))
    }
}

/// What of `json` was found, if somebody wrote it. `free` says that names of members say nothing
/// about that.
pub(super) fn writing(found: &Found<'_>, json: &str, free: bool) -> Option<Writing> {
    let free = free || found.free;
    let text = match found.is {
        Is::Name => false,
        Is::Number => free && found.at.len() >= 7,
        Is::Text if free => true,
        // What cannot be read here is taken for text.
        Is::Text if found.name == "data" => Beside::of(found, json).is_none_or(|it| it.is_text()),
        Is::Text if found.name == "name" => match Beside::of(found, json) {
            Some(beside) if beside.is_tool() => false,
            Some(Beside { role: Some(_), .. }) => return Some(Writing::Name),
            _ => true,
        },
        Is::Text => !NO_TEXT.contains(&found.name),
    };
    text.then_some(Writing::Text)
}
