//! Ids are UUIDv7 newtypes, one per thing, so that two of them cannot be swapped.

/// Declares a UUID newtype with text, JSON and byte forms.
#[macro_export]
macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, $crate::id::Serialize, $crate::id::Deserialize)]
        #[serde(transparent, crate = "serde")]
        pub struct $name(pub $crate::id::Uuid);

        impl $name {
            /// The next id: ordered by the world's clock, unique by its chance.
            pub fn next(world: &$crate::World) -> Self {
                Self(world.uuid())
            }
            /// An id that is a pure function of `parts`, for things that must be
            /// found again without having been written down (UUIDv8 of SHA-256).
            pub fn derived(parts: &[&[u8]]) -> Self {
                Self($crate::id::derive(stringify!($name), parts))
            }
            /// The sixteen bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
            /// From sixteen bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self($crate::id::Uuid::from_bytes(bytes))
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(&self.0, f)
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(&self.0, f)
            }
        }
        impl std::str::FromStr for $name {
            type Err = $crate::id::InvalidId;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::id::Uuid::try_parse(text)
                    .map(Self)
                    .map_err(|_| $crate::id::InvalidId { what: stringify!($name) })
            }
        }
    };
}

use sha2::{Digest, Sha256};

#[doc(hidden)]
pub use serde::{Deserialize, Serialize};
#[doc(hidden)]
pub use uuid::Uuid;

/// A text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {}: an id is a UUID such as 0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e", spoken(.what))]
pub struct InvalidId {
    /// The kind of id that was wanted.
    pub what: &'static str,
}

/// `RunId` as people say it: `the id of a run`.
fn spoken(what: &str) -> String {
    let mut words = String::from("the id of a");
    for letter in what.trim_end_matches("Id").chars() {
        if letter.is_ascii_uppercase() {
            let vowel = words.ends_with(" a") && "AEIOU".contains(letter);
            words.push_str(if vowel { "n " } else { " " });
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

#[doc(hidden)]
pub fn derive(kind: &str, parts: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(kind.as_bytes());
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

id_type!(
    /// One event on the log.
    EventId
);
id_type!(
    /// One durable execution of a workflow.
    RunId
);
id_type!(
    /// One process that runs the engine; new at every start.
    NodeId
);
id_type!(
    /// What ties together everything done for one outside request.
    CorrelationId
);
id_type!(
    /// One conversation.
    SessionId
);
id_type!(
    /// One message of a conversation, as its sender calls it; a repeat has the same one.
    RequestId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_id_depends_on_every_part_and_its_bounds() {
        let a = RunId::derived(&[b"ab", b"c"]);
        assert_eq!(a, RunId::derived(&[b"ab", b"c"]));
        assert_ne!(a, RunId::derived(&[b"a", b"bc"]));
        assert_ne!(a.0, EventId::derived(&[b"ab", b"c"]).0);
    }

    #[test]
    fn text_that_is_no_id_names_what_was_wanted() {
        let error = "seven".parse::<RunId>().expect_err("not an id");
        assert!(error.to_string().starts_with("not the id of a run: an id is a UUID"), "{error}");
        assert_eq!(spoken("DeadLetterId"), "the id of a dead letter");
        assert_eq!(spoken("EventId"), "the id of an event");
    }
}
