//! What makes two calls the same: who asks, for whom, by which way, and what.

use sha2::{Digest as _, Sha256};

use super::canonical;
use crate::{Call, Operation, config::ShareWith};

/// Raised when keys mean something else than before.
const VERSION: u8 = 1;

/// Members of a body that do not change what is answered, or are looked at in another way.
/// Any other member counts, also one that nobody here knows.
const LEFT_OUT: [&str; 8] = [
    "stream",
    "stream_options",
    "user",
    "metadata",
    "store",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_retention",
];

/// Headers that change what is answered.
const HEADERS: [&str; 3] = ["anthropic-beta", "anthropic-version", "openai-beta"];
/// What stands for no `anthropic-version`.
const ANTHROPIC_VERSION: &[u8] = b"2023-06-01";

/// What an answer is found by: a hash of all that it depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(pub(super) [u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(&self.0[..6]))
    }
}

impl Key {
    /// The key of `call`, if its body were `body`. `route` says by which way it goes. None if
    /// the body does not read.
    pub(super) fn of(call: &Call, body: &[u8], route: &str, share: ShareWith) -> Option<Self> {
        let mut text = Vec::with_capacity(body.len() + 256);
        let mut part = |bytes: &[u8]| {
            text.extend_from_slice(&bytes.len().to_le_bytes());
            text.extend_from_slice(bytes);
        };
        part(&[VERSION, u8::from(call.asked.stream), u8::from(call.asked.usage_in_stream)]);
        part(call.caller.tenant.as_str().as_bytes());
        part(call.operation.name().as_bytes());
        part(route.as_bytes());
        part(call.options.persona.as_deref().unwrap_or_default().as_bytes());
        for name in HEADERS {
            let values = call.forwarded.get_all(name);
            let none = if name == "anthropic-version" && call.operation == Operation::Messages {
                ANTHROPIC_VERSION
            } else {
                b""
            };
            let mut any = false;
            for value in values {
                part(value.as_bytes());
                any = true;
            }
            if !any {
                part(none);
            }
            part(b"");
        }
        // What was personal in a request is nobody else's, though it is not in the bytes any more.
        match if call.redacted { ShareWith::User } else { share } {
            ShareWith::Tenant => part(b"tenant"),
            ShareWith::User => {
                part(b"user");
                for owner in owners(call) {
                    part(owner.unwrap_or_default().as_bytes());
                }
            }
        }
        canonical::write(&mut text, body, &LEFT_OUT).ok()?;
        Some(Self(Sha256::digest(&text).into()))
    }
    /// Another key, for `self` together with `more`.
    pub(super) fn with(self, more: &[u8]) -> Self {
        Self(Sha256::new().chain_update(self.0).chain_update(more).finalize().into())
    }
}

/// Whose a call is: the user who is known, the user whom the client names, and where neither
/// is there, the key it came under.
pub(super) fn owners(call: &Call) -> [Option<&str>; 3] {
    let known = call.caller.user.as_deref().filter(|name| !name.is_empty());
    let named = call.asked.user.as_deref().filter(|name| !name.is_empty());
    let key = call.caller.key.as_deref().filter(|_| known.is_none() && named.is_none());
    [known, named, key]
}
