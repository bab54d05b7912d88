//! Secrets and sealed personal data: values that never print.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::World;

/// A value that Debug and JSON do not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Hides `value`.
    pub const fn new(value: T) -> Self {
        Self(value)
    }
    /// The value itself. Say at the call why it is needed.
    pub const fn reveal(&self) -> &T {
        &self.0
    }
}

impl Secret<[u8; 32]> {
    /// A key as it is written: 64 hexadecimal digits. Blanks around them do not count.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut key = [0; 32];
        hex::decode_to_slice(text.trim(), &mut key).ok()?;
        Some(Self(key))
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Personal data at rest: ciphertext and the id of the key that opens it.
/// Destroying the key forgets the person; ids and money stay outside.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed<T> {
    /// Which key opens it.
    pub key_id: String,
    #[serde(with = "hex::serde")]
    bytes: Vec<u8>,
    #[serde(skip)]
    of: std::marker::PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Sealed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[sealed by {}]", self.key_id)
    }
}

/// Bytes that could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The key is not on this ring.
    #[error("no key {0:?}: it was destroyed, or this node's key file is not the one that sealed this")]
    UnknownKey(String),
    /// Wrong key, or changed bytes.
    #[error("sealed bytes do not open with key {0:?}: they were changed")]
    Tampered(String),
    /// The opened bytes are not the expected value.
    #[error("sealed bytes hold something else: {0}")]
    Shape(String),
}

/// AES-256-GCM keys by id. The first one seals; all of them open.
#[derive(Clone)]
pub struct Keyring {
    keys: Vec<(String, std::sync::Arc<LessSafeKey>)>,
    world: World,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(id, _)| id)).finish()
    }
}

impl Keyring {
    /// A ring of one key; nonces come from `world`.
    pub fn new(id: impl Into<String>, key: &Secret<[u8; 32]>, world: World) -> Self {
        let mut ring = Self { keys: Vec::new(), world };
        ring.add(id, key);
        ring
    }
    /// Adds a key that opens what was sealed with it.
    #[expect(clippy::expect_used, reason = "AES-256 takes every 32-byte key")]
    pub fn add(&mut self, id: impl Into<String>, key: &Secret<[u8; 32]>) {
        let key = UnboundKey::new(&AES_256_GCM, key.reveal()).expect("32 bytes are an AES-256 key");
        self.keys.push((id.into(), std::sync::Arc::new(LessSafeKey::new(key))));
    }
    /// The id of the key that seals.
    pub fn key_id(&self) -> &str {
        &self.keys[0].0
    }
    /// Nonce, ciphertext and tag; `scope` is authenticated with it.
    #[expect(clippy::expect_used, reason = "AES-GCM fails only beyond 64 GiB")]
    pub fn seal_bytes(&self, scope: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        nonce[..8].copy_from_slice(&self.world.chance().bits().to_be_bytes());
        nonce[8..].copy_from_slice(&self.world.chance().bits().to_be_bytes()[..4]);
        let mut bytes = nonce.to_vec();
        let mut text = plain.to_vec();
        self.keys[0]
            .1
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(scope), &mut text)
            .expect("payloads are below 64 GiB");
        bytes.extend_from_slice(&text);
        bytes
    }
    /// The reverse of [`Keyring::seal_bytes`].
    pub fn open_bytes(&self, key_id: &str, scope: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (_, key) = self
            .keys
            .iter()
            .find(|(id, _)| id == key_id)
            .ok_or_else(|| SealError::UnknownKey(key_id.into()))?;
        let tampered = || SealError::Tampered(key_id.into());
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or_else(tampered)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| tampered())?;
        let mut text = text.to_vec();
        let plain = key.open_in_place(nonce, Aad::from(scope), &mut text).map_err(|_| tampered())?;
        Ok(plain.to_vec())
    }
    /// Seals a value.
    pub fn seal<T: Serialize>(&self, value: &T) -> Result<Sealed<T>, SealError> {
        let plain = serde_json::to_vec(value).map_err(|error| SealError::Shape(error.to_string()))?;
        Ok(Sealed {
            key_id: self.key_id().into(),
            bytes: self.seal_bytes(b"sealed", &plain),
            of: std::marker::PhantomData,
        })
    }
    /// Opens a sealed value.
    pub fn open<T: DeserializeOwned>(&self, sealed: &Sealed<T>) -> Result<T, SealError> {
        let plain = self.open_bytes(&sealed.key_id, b"sealed", &sealed.bytes)?;
        serde_json::from_slice(&plain).map_err(|error| SealError::Shape(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_only_unchanged_and_with_its_key() {
        let ring = Keyring::new("k1", &Secret::new([7; 32]), World::manual(1).0);
        let sealed = ring.seal(&"ana@example.com".to_owned()).expect("seals");
        assert_eq!(ring.open(&sealed).expect("opens"), "ana@example.com");
        assert!(!format!("{sealed:?}").contains("ana"));
        assert!(!serde_json::to_string(&sealed).expect("json").contains("ana"));

        let mut changed = sealed.clone();
        changed.bytes[20] ^= 1;
        assert_eq!(ring.open(&changed), Err(SealError::Tampered("k1".into())));
        let other = Keyring::new("k2", &Secret::new([7; 32]), World::manual(2).0);
        assert_eq!(other.open(&sealed), Err(SealError::UnknownKey("k1".into())));
    }
}
