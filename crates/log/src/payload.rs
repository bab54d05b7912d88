use std::{fmt, str::FromStr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use steadfast_core::canonical::Hash;

use crate::StreamId;

/// Where a large value is stored, once: a keyed hash within one scope.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PayloadId(pub Hash);

impl PayloadId {
    /// `key` is the log's own secret, `scope` names tenant and data subject: equal bytes
    /// of two people are two payloads, so that one can be forgotten and neither guessed.
    pub fn of(key: &[u8], scope: &str, bytes: &[u8]) -> Self {
        Self(Hash::of_parts(&[b"payload", key, scope.as_bytes(), bytes]))
    }
}

impl fmt::Display for PayloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
impl fmt::Debug for PayloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
impl FromStr for PayloadId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes: [u8; 32] = hex_bytes(text).ok_or_else(|| format!("{text:?} is not a payload id"))?;
        Ok(Self(Hash(bytes)))
    }
}

fn hex_bytes(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

/// A large value that an event of the same commit refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// Its name.
    pub id: PayloadId,
    /// The stream that refers to it and keeps it alive.
    pub stream: StreamId,
    /// The value; `None` when it is known to be stored already, else refused.
    pub bytes: Option<Bytes>,
}
