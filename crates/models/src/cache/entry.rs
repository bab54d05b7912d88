//! One answer that is kept, and how it is given again.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::stream;
use serde::{Deserialize, Serialize};
use steadfast_core::{TenantId, Time};

use super::{key::owners, similar::Near};
use crate::{
    Call, Operation,
    answer::{About, Body, CacheResult, Frame, Frames, Sense, Usage},
};

/// What an entry takes in memory beside its texts: about what its parts and places in maps
/// are large.
const OVERHEAD: usize = 700;

/// What is known about a kept answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(super) operation: Operation,
    pub(super) tenant: TenantId,
    /// Whose it is: names of users, or the id of a key.
    pub(super) owners: Vec<String>,
    pub(super) tags: Vec<String>,
    pub(super) route: Arc<str>,
    pub(super) provider: Arc<str>,
    pub(super) model: Arc<str>,
    pub(super) usage: Option<Usage>,
    pub(super) created: Time,
    /// From then on it is given only where nobody can be asked.
    pub(super) expires: Time,
    /// By what it is found for the same question in other words.
    pub(super) near: Option<Near>,
}

impl Kept {
    /// What is kept about an answer to `call`.
    pub(super) fn new(
        call: &Call,
        about: &About,
        usage: Option<Usage>,
        created: Time,
        expires: Time,
    ) -> Self {
        Self {
            operation: call.operation,
            tenant: call.caller.tenant.clone(),
            owners: owners(call).into_iter().flatten().map(str::to_owned).collect(),
            tags: call.options.tags.clone(),
            route: about.route.clone(),
            provider: about.provider.clone(),
            model: about.model.clone(),
            usage,
            created,
            expires,
            near: None,
        }
    }
}

/// How an answer's bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Form {
    /// A body.
    Whole,
    /// Events, each after its sense and length.
    Stream,
}

/// A kept answer.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(super) kept: Arc<Kept>,
    pub(super) form: Form,
    /// How many bytes there are when it is not compressed; `None` while it is not.
    pub(super) unpacked: Option<usize>,
    pub(super) bytes: Bytes,
}

/// Bytes that do not come out as they went in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a kept answer does not unpack")]
pub(super) struct Damaged;

impl Entry {
    pub(super) fn whole(kept: Kept, bytes: Bytes) -> Self {
        // What came may be a part of something larger, which would be kept with it.
        Self {
            kept: Arc::new(kept),
            form: Form::Whole,
            unpacked: None,
            bytes: Bytes::copy_from_slice(&bytes),
        }
    }
    pub(super) fn stream<'a>(kept: Kept, frames: impl Iterator<Item = &'a Frame> + Clone) -> Self {
        let shown = frames.filter(|frame| !frame.bytes.is_empty());
        let size = shown.clone().map(|frame| frame.bytes.len() + 5).sum();
        let mut bytes = BytesMut::with_capacity(size);
        for frame in shown {
            let Some(sense) = sense_code(&frame.sense) else { continue };
            bytes.put_u8(sense);
            bytes.put_u32(u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX));
            bytes.extend_from_slice(&frame.bytes);
        }
        Self { kept: Arc::new(kept), form: Form::Stream, unpacked: None, bytes: bytes.freeze() }
    }
    /// What it takes in memory.
    pub(super) fn size(&self) -> usize {
        let kept = &self.kept;
        let texts: usize = kept.owners.iter().chain(&kept.tags).map(|text| text.len() + 24).sum();
        let near = kept.near.as_ref().map_or(0, Near::size);
        OVERHEAD + self.bytes.len() + texts + near
    }
    /// The same in less space, if it takes less.
    pub(super) fn packed(&self) -> Option<Self> {
        if self.unpacked.is_some() {
            return None;
        }
        let packed = zstd::bulk::compress(&self.bytes, zstd::DEFAULT_COMPRESSION_LEVEL).ok()?;
        if packed.len() >= self.bytes.len() {
            return None;
        }
        // It came in a space for the worst case.
        let bytes = packed.into_boxed_slice().into();
        Some(Self { unpacked: Some(self.bytes.len()), bytes, ..self.clone() })
    }
    fn unpack(&self) -> Result<Bytes, Damaged> {
        match self.unpacked {
            None => Ok(self.bytes.clone()),
            Some(size) => zstd::bulk::decompress(&self.bytes, size).map(Bytes::from).map_err(|_| Damaged),
        }
    }
    /// As an answer.
    pub(super) fn answer(&self, cache: CacheResult) -> Result<crate::Answer, Damaged> {
        let bytes = self.unpack()?;
        let body = match self.form {
            Form::Whole => Body::Whole(bytes),
            Form::Stream => Body::Stream(replay(bytes, self.kept.usage)?),
        };
        let kept = &self.kept;
        let about = About {
            route: kept.route.clone(),
            provider: kept.provider.clone(),
            model: kept.model.clone(),
            usage: kept.usage,
            cache: Some(cache),
            ..About::default()
        };
        Ok(crate::Answer { status: http::StatusCode::OK, body, about })
    }
}

const fn sense_code(sense: &Sense) -> Option<u8> {
    match sense {
        Sense::Opening => Some(0),
        Sense::Content => Some(1),
        Sense::Closing => Some(2),
        Sense::End => Some(3),
        Sense::Idle | Sense::Moved(_) | Sense::Failed(_) => None,
    }
}

/// The events of a kept stream, at once.
fn replay(mut bytes: Bytes, usage: Option<Usage>) -> Result<Frames, Damaged> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        if bytes.len() < 5 {
            return Err(Damaged);
        }
        let head = bytes.split_to(5);
        let size = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let size = usize::try_from(size).map_err(|_| Damaged)?;
        let sense = match head[0] {
            0 => Sense::Opening,
            1 => Sense::Content,
            2 => Sense::Closing,
            3 => Sense::End,
            _ => return Err(Damaged),
        };
        if size > bytes.len() {
            return Err(Damaged);
        }
        frames.push(Frame::new(bytes.split_to(size), sense));
    }
    match frames.last_mut() {
        Some(last) if last.sense == Sense::End => last.usage = usage,
        _ => return Err(Damaged),
    }
    Ok(Box::pin(stream::iter(frames)))
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    pub(crate) fn kept() -> Kept {
        Kept {
            operation: Operation::Chat,
            tenant: TenantId::default(),
            owners: vec!["ana".into()],
            tags: Vec::new(),
            route: "m".into(),
            provider: "p".into(),
            model: "gpt".into(),
            usage: Some(Usage { input: 3, output: 4, ..Usage::default() }),
            created: Time::default(),
            expires: Time::NEVER,
            near: None,
        }
    }

    #[tokio::test]
    async fn a_stream_comes_out_event_by_event_as_it_went_in_packed_or_not() {
        let frame = |text: &'static str, sense| Frame::new(Bytes::from_static(text.as_bytes()), sense);
        let frames = [
            frame("data: a\n\n", Sense::Opening),
            frame(": ping\n\n", Sense::Idle),
            frame("data: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\n\n", Sense::Content),
            frame("", Sense::Closing),
            frame("data: [DONE]\n\n", Sense::End),
        ];
        let entry = Entry::stream(kept(), frames.iter());
        let packed = entry.packed().expect("smaller");
        assert!(packed.bytes.len() < entry.bytes.len());
        for entry in [entry, packed] {
            let Body::Stream(replayed) = entry.answer(CacheResult::Hit).expect("whole").body else {
                panic!("a stream is a stream");
            };
            let replayed: Vec<_> = replayed.collect().await;
            let expected: Vec<_> = [&frames[0], &frames[2], &frames[4]].map(|it| it.bytes.clone()).into();
            assert_eq!(replayed.iter().map(|it| it.bytes.clone()).collect::<Vec<_>>(), expected);
            assert_eq!(replayed[2].usage, kept().usage);
        }
    }

    #[test]
    fn bytes_that_were_cut_are_no_answer() {
        let end = [Frame::new(Bytes::from_static(b"data: [DONE]\n\n"), Sense::End)];
        let entry = Entry::stream(kept(), end.iter());
        for size in 0..entry.bytes.len() {
            let cut = Entry { bytes: entry.bytes.slice(..size), ..entry.clone() };
            assert_eq!(cut.answer(CacheResult::Hit).err(), Some(Damaged));
        }
    }
}
