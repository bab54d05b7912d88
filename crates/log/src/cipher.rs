use steadfast_core::secret::{Keyring, SealError};

/// The hook that all payload bytes pass on their way to and from the store.
pub trait Cipher: Send + Sync + 'static {
    /// The stored form of `plain`; `scope` is bound to it.
    fn encrypt(&self, scope: &[u8], plain: &[u8]) -> Vec<u8>;
    /// The reverse.
    fn decrypt(&self, scope: &[u8], stored: &[u8]) -> Result<Vec<u8>, SealError>;
}

/// Stores bytes as they are; for a disk that is itself encrypted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain;

const PLAIN: u8 = 0;
const SEALED: u8 = 1;

impl Cipher for Plain {
    fn encrypt(&self, _: &[u8], plain: &[u8]) -> Vec<u8> {
        [&[PLAIN], plain].concat()
    }
    fn decrypt(&self, _: &[u8], stored: &[u8]) -> Result<Vec<u8>, SealError> {
        match stored.split_first() {
            Some((&PLAIN, plain)) => Ok(plain.to_vec()),
            _ => Err(SealError::UnknownKey("configured under [store]".into())),
        }
    }
}

impl Cipher for Keyring {
    #[expect(clippy::cast_possible_truncation, reason = "key ids are names of at most 64 bytes")]
    fn encrypt(&self, scope: &[u8], plain: &[u8]) -> Vec<u8> {
        let id = self.key_id().as_bytes();
        let mut stored = vec![SEALED, id.len() as u8];
        stored.extend_from_slice(id);
        stored.extend_from_slice(&self.seal_bytes(scope, plain));
        stored
    }
    /// Also opens what was stored before a key was configured.
    fn decrypt(&self, scope: &[u8], stored: &[u8]) -> Result<Vec<u8>, SealError> {
        match stored {
            [SEALED, len, rest @ ..] if rest.len() >= usize::from(*len) => {
                let (id, bytes) = rest.split_at(usize::from(*len));
                self.open_bytes(&String::from_utf8_lossy(id), scope, bytes)
            }
            _ => Plain.decrypt(scope, stored),
        }
    }
}

#[cfg(test)]
mod tests {
    use steadfast_core::{World, secret::Secret};

    use super::*;

    #[test]
    fn a_key_added_later_still_opens_what_was_stored_plain() {
        let ring = Keyring::new("k", &Secret::new([1; 32]), World::manual(1).0);
        let plain = Plain.encrypt(b"s", b"value");
        assert_eq!(ring.decrypt(b"s", &plain).expect("opens"), b"value");
        let sealed = ring.encrypt(b"s", b"value");
        assert_eq!(ring.decrypt(b"s", &sealed).expect("opens"), b"value");
        assert!(ring.decrypt(b"other", &sealed).is_err());
        assert!(Plain.decrypt(b"s", &sealed).is_err());
    }
}
