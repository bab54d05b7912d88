//! What a client may get, and what not.

use serde_json::Value;
use steadfast_models_mock::Plan;

/// Which API a call is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Chat,
    Messages,
    Responses,
    Embeddings,
}

impl Shape {
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Messages => "/v1/messages",
            Self::Responses => "/v1/responses",
            Self::Embeddings => "/v1/embeddings",
        }
    }
}

/// What one event of a stream says.
enum Said {
    Text(String),
    End,
    Error,
    Other,
}

fn said(shape: Shape, event: &str) -> Result<Said, String> {
    if event == "[DONE]" {
        return Ok(Said::End);
    }
    let event: Value = serde_json::from_str(event).map_err(|_| format!("an event is no JSON: {event}"))?;
    let text = |value: &Value| value.as_str().map(|text| Said::Text(text.to_owned()));
    let kind = event["type"].as_str().unwrap_or_default();
    if event["error"].is_object() || kind == "error" {
        return Ok(Said::Error);
    }
    Ok(match (shape, kind) {
        (Shape::Messages, "message_stop") | (Shape::Responses, "response.completed") => Said::End,
        (Shape::Messages, "content_block_delta") => text(&event["delta"]["text"]).unwrap_or(Said::Other),
        (Shape::Responses, "response.output_text.delta") => text(&event["delta"]).unwrap_or(Said::Other),
        (Shape::Chat, _) => text(&event["choices"][0]["delta"]["content"]).unwrap_or(Said::Other),
        _ => Said::Other,
    })
}

/// A stream is whole, or it ends with one error; never with both, nor with neither.
pub(super) fn stream(shape: Shape, body: &str) -> Result<&'static str, String> {
    let wrong = |what: &str| Err(format!("{what}: {body}"));
    if !body.ends_with("\n\n") {
        return wrong("a stream ends inside of an event");
    }
    let (mut all, mut end) = (String::new(), None);
    for event in body.split("\n\n").filter_map(|event| event.split("data: ").nth(1)) {
        if end.is_some() {
            return wrong("something comes after the end");
        }
        match said(shape, event)? {
            Said::Text(text) => all.push_str(&text),
            Said::End => end = Some(true),
            Said::Error => end = Some(false),
            Said::Other => {}
        }
    }
    let whole = Plan::default().text();
    match end {
        None => wrong("a stream has no end"),
        Some(true) if all == whole => Ok("streams that are whole"),
        Some(false) if whole.starts_with(&all) => Ok("streams that end with an error"),
        Some(true) => wrong("a stream says that it is whole, and is not"),
        Some(false) => wrong("a stream has text that nobody said"),
    }
}

/// A whole answer.
pub(super) fn whole(shape: Shape, body: &str) -> Result<&'static str, String> {
    let wrong = || Err(format!("not an answer: {body}"));
    let Ok(json) = serde_json::from_str::<Value>(body) else { return wrong() };
    let text = match shape {
        Shape::Chat => &json["choices"][0]["message"]["content"],
        Shape::Messages => &json["content"][0]["text"],
        Shape::Responses => &json["output"][0]["content"][0]["text"],
        Shape::Embeddings => {
            return if json["data"][0]["embedding"].is_array() { Ok("embeddings") } else { wrong() };
        }
    };
    if *text == Plan::default().text() { Ok("whole answers") } else { wrong() }
}

/// An error, in the shape of the API that was called, with the id of the answer.
pub(super) fn error(shape: Shape, status: u16, id: &str, body: &str) -> Result<String, String> {
    let json: Value = serde_json::from_str(body).unwrap_or_default();
    let error = &json["error"];
    let told = ["message", "type", "code"].iter().all(|member| error[member].is_string());
    let shaped = match shape {
        Shape::Messages => json["type"] == "error" && json["request_id"] == id,
        Shape::Chat | Shape::Responses | Shape::Embeddings => error["support_id"] == id,
    };
    let expected = matches!(status, 402 | 429 | 502 | 503 | 504);
    if !(told && shaped && expected) {
        return Err(format!("status {status} with {body}"));
    }
    Ok(format!("{status} {}", error["code"].as_str().unwrap_or_default()))
}
