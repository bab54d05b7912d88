//! OpenAI's embeddings: answers that pass through.

use serde::Deserialize;

use crate::{
    answer::Usage,
    failure::Failed,
    wire::{There, chat::WireUsage, error_within, not_json},
};

#[derive(Deserialize)]
struct Whole {
    #[serde(default)]
    error: There,
    #[serde(default)]
    data: There,
    usage: Option<WireUsage>,
}

/// Checks an answer, and reads its usage.
pub(crate) fn read_whole(body: &[u8]) -> Result<Option<Usage>, Failed> {
    let whole: Whole = serde_json::from_slice(body).map_err(|error| not_json(&error))?;
    if whole.error.0 {
        return Err(error_within(body));
    }
    if !whole.data.0 {
        return Err(Failed::malformed("the provider's answer has no data"));
    }
    Ok(whole.usage.map(Into::into))
}
