//! What Amazon Bedrock says: Converse, its streams in frames with checksums, Titan's
//! embeddings, and a guardrail that minds one word.

use bytes::{BufMut as _, Bytes, BytesMut};
use serde_json::{Value, json};

use crate::{
    Plan,
    speak::{CACHED, INPUT, Request, Said, arguments, halves},
};

/// The word that its guardrail does not let pass.
pub const FORBIDDEN: &str = "forbidden";

/// Which operation a path names, if it is one of Bedrock's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Converse,
    ConverseStream,
    Invoke,
    Guard,
}

impl Verb {
    pub(crate) fn of(path: &str) -> Option<Self> {
        let verb = match path.rsplit('/').next()? {
            "converse" => Self::Converse,
            "converse-stream" => Self::ConverseStream,
            "invoke" => Self::Invoke,
            "apply" if path.contains("/guardrail/") => Self::Guard,
            _ => return None,
        };
        Some(verb)
    }
}

/// The model that a path names.
pub(crate) fn model(path: &str) -> Option<String> {
    let segment = path.split("/model/").nth(1)?.split('/').next()?;
    let mut bytes = Vec::new();
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        let hex = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|it| u8::try_from(it).ok());
        match byte {
            b'%' => bytes.push(hex(rest.next())? * 16 + hex(rest.next())?),
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// The name of the error that has this status.
pub(crate) const fn error_name(status: u16) -> &'static str {
    match status {
        400 => "ValidationException",
        403 => "AccessDeniedException",
        404 => "ResourceNotFoundException",
        408 => "ModelTimeoutException",
        424 => "ModelErrorException",
        429 => "ThrottlingException",
        503 => "ServiceUnavailableException",
        _ => "InternalServerException",
    }
}

pub(crate) fn error(status: u16) -> Value {
    json!({ "message": format!("mock error {status}") })
}

fn usage(output: usize) -> Value {
    json!({ "inputTokens": INPUT - CACHED, "outputTokens": output, "totalTokens": INPUT + output as u64,
            "cacheReadInputTokens": CACHED, "cacheWriteInputTokens": 0 })
}

/// Is there a guardrail, and the word in what is asked?
fn intervenes(request: &Request) -> bool {
    request.guardrail() && request.says(FORBIDDEN)
}

fn tool_use(tool: usize) -> Value {
    json!({ "toolUseId": format!("tooluse_{tool}"), "name": "weather" })
}

fn stop_reason(request: &Request, plan: &Plan) -> &'static str {
    match plan.tools {
        _ if intervenes(request) => "guardrail_intervened",
        0 => "end_turn",
        _ => "tool_use",
    }
}

/// A whole answer.
pub(crate) fn whole(verb: Verb, request: &Request, plan: &Plan) -> Value {
    if verb == Verb::Guard {
        let action = if request.says(FORBIDDEN) { "GUARDRAIL_INTERVENED" } else { "NONE" };
        return json!({ "usage": { "topicPolicyUnits": 1 }, "action": action, "outputs": [], "assessments": [] });
    }
    if verb == Verb::Invoke {
        return json!({ "embedding": [0.25, -0.5, 0.75], "inputTextTokenCount": INPUT });
    }
    let pieces = pieces(request, plan);
    let mut content = vec![json!({ "text": pieces.concat() })];
    if plan.tools > 0 {
        let call = |tool| {
            let mut call = tool_use(tool);
            call["input"] = arguments(tool);
            json!({ "toolUse": call })
        };
        content = (0..plan.tools).map(call).collect();
    }
    json!({ "output": { "message": { "role": "assistant", "content": content } },
            "stopReason": stop_reason(request, plan), "usage": usage(pieces.len()),
            "metrics": { "latencyMs": 12 } })
}

fn pieces(request: &Request, plan: &Plan) -> Vec<String> {
    if intervenes(request) { vec!["Sorry, not that.".into()] } else { request.pieces(plan) }
}

/// A stream's frames.
pub(crate) fn events(request: &Request, plan: &Plan) -> Vec<Said> {
    let mut said = Vec::new();
    let mut say = |kind: &str, payload: &Value, piece: bool| {
        said.push(Said { bytes: event(kind, payload.to_string().as_bytes()), piece });
    };
    let pieces = pieces(request, plan);
    say("messageStart", &json!({ "role": "assistant", "p": "abcdefgh" }), false);
    for number in 0..plan.thoughts {
        let delta = json!({ "reasoningContent": { "text": Plan::thought(number) } });
        say("contentBlockDelta", &json!({ "contentBlockIndex": 0, "delta": delta }), true);
    }
    if plan.thoughts > 0 {
        say("contentBlockStop", &json!({ "contentBlockIndex": 0 }), false);
    }
    for tool in 0..plan.tools.max(1) {
        let index = tool + usize::from(plan.thoughts > 0);
        let deltas: Vec<Value> = if plan.tools > 0 {
            let start = json!({ "contentBlockIndex": index, "start": { "toolUse": tool_use(tool) } });
            say("contentBlockStart", &start, false);
            let part = |part: &&str| json!({ "toolUse": { "input": part } });
            halves(&arguments(tool).to_string()).iter().map(part).collect()
        } else {
            pieces.iter().map(|text| json!({ "text": text })).collect()
        };
        for delta in deltas {
            say("contentBlockDelta", &json!({ "contentBlockIndex": index, "delta": delta, "p": "ab" }), true);
        }
        say("contentBlockStop", &json!({ "contentBlockIndex": index }), false);
    }
    say("messageStop", &json!({ "stopReason": stop_reason(request, plan) }), false);
    say("metadata", &json!({ "usage": usage(pieces.len()), "metrics": { "latencyMs": 12 } }), false);
    said
}

/// An error in a stream.
pub(crate) fn error_event() -> Bytes {
    let headers = [(":exception-type", "modelStreamErrorException"), (":message-type", "exception")];
    framed(&headers, error(500).to_string().as_bytes())
}

/// A piece whose checksum is not its own.
pub(crate) fn bad_event() -> Bytes {
    let mut bytes = BytesMut::from(&event("contentBlockDelta", br#"{"delta":{"text":"?"}}"#)[..]);
    if let Some(byte) = bytes.last_mut() {
        *byte ^= 1;
    }
    bytes.freeze()
}

/// An event as it goes over the wire.
pub fn event(kind: &str, payload: &[u8]) -> Bytes {
    framed(
        &[(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")],
        payload,
    )
}

/// A message of an event stream: sizes, their checksum, headers, payload, checksum of all.
pub fn framed(headers: &[(&str, &str)], payload: &[u8]) -> Bytes {
    const TEXT: u8 = 7;
    let mut head = BytesMut::new();
    for (name, value) in headers {
        head.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
        head.put_slice(name.as_bytes());
        head.put_u8(TEXT);
        head.put_u16(u16::try_from(value.len()).unwrap_or(u16::MAX));
        head.put_slice(value.as_bytes());
    }
    message(&head, payload)
}

/// A message whose headers are these bytes.
pub fn message(head: &[u8], payload: &[u8]) -> Bytes {
    let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    let mut out = BytesMut::new();
    out.put_u32(size(16 + head.len() + payload.len()));
    out.put_u32(size(head.len()));
    out.put_u32(crc32fast::hash(&out));
    out.put_slice(head);
    out.put_slice(payload);
    out.put_u32(crc32fast::hash(&out));
    out.freeze()
}
