//! Embeddings by Titan, which takes one text a call.

use std::{
    borrow::Cow,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use steadfast_core::shown;

use super::{Bedrock, Reply};
use crate::{
    answer::Usage,
    failure::{Class, Failed},
    providers::{Order, no_such},
    wire::{There, WORDS_MAX, error_within, not_json},
};

/// The most texts of one call, which is OpenAI's limit as well.
const TEXTS_MAX: usize = 2_048;
/// How many of them are under way at once.
const AT_ONCE: usize = 8;

#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow)]
    input: &'a RawValue,
    dimensions: Option<u32>,
    #[serde(borrow)]
    encoding_format: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    input_text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Titan {
    embedding: Option<Box<RawValue>>,
    #[serde(default)]
    input_text_token_count: u64,
    #[serde(default)]
    message: There,
}

#[derive(Serialize)]
struct Answer<'a> {
    object: &'static str,
    data: Vec<Vector>,
    model: &'a str,
    usage: Tokens,
}

#[derive(Serialize)]
struct Vector {
    object: &'static str,
    index: usize,
    embedding: Box<RawValue>,
}

#[derive(Serialize)]
struct Tokens {
    prompt_tokens: u64,
    total_tokens: u64,
}

fn refused(error: &serde_json::Error) -> Failed {
    let words = shown(&error.to_string(), WORDS_MAX);
    Failed::new(Class::Refused, format!("the request does not read: {words}"))
}

impl Bedrock {
    pub(super) async fn embed(&self, order: &Order<'_>) -> Result<Reply, Failed> {
        if !order.model.contains("titan-embed-text") {
            return Err(no_such(order.call.operation));
        }
        let body = order.call.body.clone();
        let asked: Asked<'_> = serde_json::from_slice(&body).map_err(|error| refused(&error))?;
        let texts = texts(asked.input)?;
        // What was embedded before one text failed is paid all the same.
        let (paid, dimensions) = (&AtomicU64::new(0), asked.dimensions);
        let one = |text: Text<'_>| {
            let text = text.0.into_owned();
            async move {
                let titan = self.vector(order, &text, dimensions).await?;
                paid.fetch_add(titan.input_text_token_count, Relaxed);
                Ok(titan)
            }
        };
        let vectors = stream::iter(texts).map(one).buffered(AT_ONCE).try_collect().await;
        let vectors: Vec<Titan> =
            vectors.map_err(|failed: Failed| Failed { used: paid.load(Relaxed), ..failed })?;
        let tokens = vectors.iter().map(|it| it.input_text_token_count).fold(0, u64::saturating_add);
        let packed = asked.encoding_format.as_deref() == Some("base64");
        let data = vectors.into_iter().enumerate().map(|(index, titan)| {
            let embedding = titan.embedding.unwrap_or_default();
            let embedding = if packed { pack(&embedding)? } else { embedding };
            Ok(Vector { object: "embedding", index, embedding })
        });
        let answer = Answer {
            object: "list",
            data: data.collect::<Result<_, Failed>>()?,
            model: order.model,
            usage: Tokens { prompt_tokens: tokens, total_tokens: tokens },
        };
        let body = serde_json::to_vec(&answer).map_err(|error| not_json(&error))?;
        Ok(Reply::Whole(body.into(), Some(Usage { input: tokens, ..Usage::default() })))
    }
    async fn vector(&self, order: &Order<'_>, text: &str, dimensions: Option<u32>) -> Result<Titan, Failed> {
        self.guard(order, text).await?;
        let body = serde_json::to_vec(&Request { input_text: text, dimensions })
            .map_err(|error| not_json(&error))?;
        let response = self.post(order, "invoke", Bytes::from(body)).await?;
        let body = self.http.whole(response, order.deadline).await?;
        let titan: Titan = serde_json::from_slice(&body).map_err(|error| not_json(&error))?;
        match &titan.embedding {
            Some(_) => Ok(titan),
            None if titan.message.0 => Err(error_within(&body)),
            None => Err(Failed::malformed("the provider's answer has no embedding")),
        }
    }
}

/// One text or several. Tokens of another model's say nothing to this one.
fn texts(input: &RawValue) -> Result<Vec<Text<'_>>, Failed> {
    let texts: Vec<Text<'_>> = if input.get().starts_with('"') {
        vec![serde_json::from_str(input.get()).map_err(|error| refused(&error))?]
    } else if input.get()[1..].trim_start().starts_with(['"', ']']) {
        serde_json::from_str(input.get()).map_err(|error| refused(&error))?
    } else {
        return Err(Failed::unsupported("the provider embeds texts alone"));
    };
    if texts.is_empty() || texts.len() > TEXTS_MAX {
        let message = format!("expected 1 to {TEXTS_MAX} texts to embed, found {}", texts.len());
        return Err(Failed::new(Class::Refused, message));
    }
    Ok(texts)
}

/// The numbers as OpenAI packs them: four bytes each, the lowest first, in Base64.
fn pack(numbers: &RawValue) -> Result<Box<RawValue>, Failed> {
    let numbers: Vec<f32> = serde_json::from_str(numbers.get()).map_err(|error| not_json(&error))?;
    let bytes: Vec<u8> = numbers.into_iter().flat_map(f32::to_le_bytes).collect();
    RawValue::from_string(format!("\"{}\"", STANDARD.encode(bytes))).map_err(|error| not_json(&error))
}
