//! Small calls that show whether a model answers.
//!
//! Nobody says what a model is for, so it is asked for chat, and if it is told to be no model
//! for that, for an embedding, and then for what is said in a second of silence.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use serde_json::json;
use steadfast_resilience::Deadline;

use super::{Routes, choice::Target};
use crate::{
    call::{Call, Caller, Operation},
    config::{Kind, ProviderConfig},
    failure::{Class, Failed},
};

/// The most tokens that a trial may be answered with: enough for models that think first to
/// say something.
const TOKENS: u32 = 64;
const FORM: HeaderValue = HeaderValue::from_static("multipart/form-data; boundary=steadfast");
/// Samples of a second, a byte each.
const SAMPLES: u32 = 8_000;

/// A second of silence: a WAV of one channel, 8 bits a sample.
fn silence() -> Vec<u8> {
    let mut wav = Vec::new();
    for part in [&b"RIFF"[..], &(36 + SAMPLES).to_le_bytes(), b"WAVEfmt ", &16_u32.to_le_bytes()] {
        wav.extend_from_slice(part);
    }
    for number in [1_u16, 1] {
        wav.extend_from_slice(&number.to_le_bytes());
    }
    for number in [SAMPLES, SAMPLES] {
        wav.extend_from_slice(&number.to_le_bytes());
    }
    for number in [1_u16, 8] {
        wav.extend_from_slice(&number.to_le_bytes());
    }
    wav.extend_from_slice(b"data");
    wav.extend_from_slice(&SAMPLES.to_le_bytes());
    // Such samples have no sign: the middle is silent.
    wav.resize(wav.len() + SAMPLES as usize, 0x80);
    wav
}

fn body(operation: Operation, model: &str, config: &ProviderConfig) -> Bytes {
    match operation {
        Operation::Embeddings => json!({ "model": model, "input": "hello" }).to_string().into(),
        Operation::Transcription => {
            let name = "--steadfast\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n";
            let file = "\r\n--steadfast\r\nContent-Disposition: form-data; name=\"file\"; \
                filename=\"silence.wav\"\r\nContent-Type: audio/wav\r\n\r\n";
            let parts =
                [name.as_bytes(), model.as_bytes(), file.as_bytes(), &silence(), b"\r\n--steadfast--\r\n"];
            parts.concat().into()
        }
        Operation::Chat | Operation::Messages | Operation::Responses => {
            let legacy = config.legacy_max_tokens || operation == Operation::Messages;
            let most = if legacy { "max_tokens" } else { "max_completion_tokens" };
            let said = [json!({ "role": "user", "content": "Say hello." })];
            json!({ "model": model, most: TOKENS, "messages": said }).to_string().into()
        }
    }
}

impl Routes {
    /// Asks past breakers and limits, or says how it failed: a code, and words.
    pub(super) async fn try_out(
        &self,
        target: &Target,
        model: &str,
        deadline: &Deadline,
    ) -> Result<(), (String, String)> {
        let config = target.upstream.config();
        let talk = if config.kind == Kind::Anthropic { Operation::Messages } else { Operation::Chat };
        let mut told: Option<Failed> = None;
        for operation in [talk, Operation::Embeddings, Operation::Transcription] {
            let mut headers = HeaderMap::new();
            if operation == Operation::Transcription {
                headers.insert(CONTENT_TYPE, FORM);
            }
            let id: Arc<str> = self.world.uuid().to_string().into();
            let body = body(operation, model, config);
            let call = Call::read(id, operation, &headers, body, Caller::default())
                .map_err(|error| ("request.invalid".to_owned(), error.to_string()))?;
            let Err(failed) = target.upstream.probe(&call, model, deadline).await else { return Ok(()) };
            let other = matches!(failed.class, Class::NoModel | Class::Refused | Class::Unsupported);
            // What is wrong if it is for nothing at all is what was said first.
            told.get_or_insert(failed);
            if !other {
                break;
            }
        }
        told.map_or(Ok(()), |failed| Err(in_words(failed)))
    }
}

fn in_words(failed: Failed) -> (String, String) {
    let words = failed.body.as_deref().and_then(crate::wire::words);
    let words = words.map(|words| steadfast_core::shown(&words, crate::wire::WORDS_MAX));
    let message = match words {
        Some(words) if !failed.message.contains(&words) => format!("{}: {words}", failed.message),
        _ => failed.message,
    };
    (failed.class.code().into(), message)
}
