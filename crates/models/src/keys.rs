//! Virtual keys: what clients of the gateway show instead of a provider's key.
//!
//! A key is 256 random bits, shown once. Only its hash is kept, in the event on the log that
//! made it; a plain hash is enough for what nobody can guess. All keys are in memory, by their
//! hashes, so that a call costs one hash and one look.

mod key;

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
    sync::{Arc, PoisonError, RwLock},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use steadfast_core::{
    Failure, TenantId, Time, World, canonical::Hash, observe::Observer, principal::check_name,
};
use steadfast_log::{
    Commit, CommitError, DecodeError, Expect, Log, NewEvent, ReadError, Recorded, StreamId, Upcasters,
    written,
};
use steadfast_resilience::Site;

pub(crate) use key::{Key, Taken};

use crate::{Caller, config::Window, rejected::Rejected, usd::Usd};

/// What every key begins with.
pub const PREFIX: &str = "sk-sf-";
const SCHEMA: u16 = 1;
/// Events read at once.
const PAGE: usize = 500;
/// Tries when others make keys at the same time.
const TRIES: u32 = 8;

steadfast_log::event_types! {
    schema SCHEMA;
    /// [`super::KeyCreated`]
    CREATED = "model_key.created": KeyCreated;
    /// [`super::KeyRevoked`]
    REVOKED = "model_key.revoked": KeyRevoked;
}

fn decode<T: DeserializeOwned>(recorded: &Recorded) -> Result<T, DecodeError> {
    Upcasters::default().decode(recorded, SCHEMA)
}

/// How much may be spent under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyBudget {
    /// So many dollars.
    pub limit: Usd,
    /// When it begins anew.
    #[serde(default)]
    pub window: Window,
}

/// What a key is made for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyRequest {
    /// For people.
    pub name: String,
    /// Whose calls they are.
    pub tenant: TenantId,
    /// Which user's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// Routes that may be used. Empty for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
    /// Until when it is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
    /// What its calls are labelled with, whatever they say themselves.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Calls a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<NonZeroU32>,
    /// Tokens a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<NonZeroU32>,
    /// What it may spend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<KeyBudget>,
}

impl KeyRequest {
    /// What of it cannot be, or follows no rule for names, in words.
    pub fn check(&self, now: Time) -> Result<(), String> {
        if self.name.trim().is_empty() {
            return Err("name: a key has a name, which says what it is for".into());
        }
        if self.expires.is_some_and(|at| at <= now) {
            return Err("expires: that time is over".into());
        }
        let names = self.labels.iter().flat_map(|(name, value)| [("label", name.as_str()), ("label", value)]);
        let user = self.user.iter().map(|user| ("user", &**user));
        for (what, name) in names.chain(user) {
            check_name(what, name).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// A key was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyCreated {
    /// Its id.
    pub id: Arc<str>,
    /// Of the key itself.
    pub hash: Hash,
    /// Who made it.
    pub by: String,
    /// What for.
    pub key: KeyRequest,
}

/// A key is good no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRevoked {
    /// Its id.
    pub id: Arc<str>,
    /// Who said so.
    pub by: String,
}

/// A key, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyInfo {
    /// Its id.
    pub id: Arc<str>,
    /// When it was made.
    pub created: Time,
    /// `active`, `expired` or `revoked`.
    pub state: &'static str,
    /// What for.
    #[serde(flatten)]
    pub key: KeyRequest,
}

/// Keys that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The log says no.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log says no.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// An event of a key does not read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// There is no such key.
    #[error("there is no key {0:?}")]
    Unknown(String),
    /// There is no log to keep them on.
    #[error("keys are kept on the log, and this gateway has none")]
    NoLog,
}

#[derive(Default)]
struct State {
    by_hash: HashMap<Hash, Arc<Key>>,
    by_id: HashMap<Arc<str>, (Hash, Arc<Key>)>,
    version: u64,
}

/// All virtual keys.
pub struct Keys {
    state: RwLock<State>,
    log: Option<Arc<dyn Log>>,
    world: World,
    observer: Arc<dyn Observer>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

fn stream() -> StreamId {
    StreamId::new(&TenantId::default(), "model-keys", "all")
}

impl Keys {
    /// None, and no way to make any.
    pub(crate) fn none(world: &World, observer: &Arc<dyn Observer>) -> Self {
        Self { state: RwLock::default(), log: None, world: world.clone(), observer: observer.clone() }
    }
    /// Those on the log.
    pub(crate) async fn on(
        log: Arc<dyn Log>,
        world: &World,
        observer: &Arc<dyn Observer>,
    ) -> Result<Self, KeyError> {
        let keys = Self { log: Some(log), ..Self::none(world, observer) };
        keys.catch_up().await?;
        Ok(keys)
    }
    fn log(&self) -> Result<&Arc<dyn Log>, KeyError> {
        self.log.as_ref().ok_or(KeyError::NoLog)
    }
    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
    /// Reads what was written since.
    async fn catch_up(&self) -> Result<(), KeyError> {
        loop {
            let from = self.read(|state| state.version) + 1;
            let events = self.log()?.read_stream(&stream(), from, PAGE).await?;
            for event in &events {
                self.apply(event)?;
            }
            if events.len() < PAGE {
                return Ok(());
            }
        }
    }
    fn apply(&self, recorded: &Recorded) -> Result<(), DecodeError> {
        let made = match &*recorded.event.kind {
            kind::CREATED => Some(decode::<KeyCreated>(recorded)?),
            _ => None,
        };
        let gone = match &*recorded.event.kind {
            kind::REVOKED => Some(decode::<KeyRevoked>(recorded)?),
            _ => None,
        };
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if recorded.version <= state.version {
            return Ok(());
        }
        state.version = recorded.version;
        if let Some(made) = made {
            let key = self.key(made.id, recorded.event.time, made.key, false);
            state.by_id.insert(key.id.clone(), (made.hash, key.clone()));
            state.by_hash.insert(made.hash, key);
        }
        if let Some(KeyRevoked { id, .. }) = gone
            && let Some((hash, key)) = state.by_id.get(&id).cloned()
        {
            let key = self.key(id.clone(), key.created, key.request.clone(), true);
            state.by_id.insert(id, (hash, key.clone()));
            state.by_hash.insert(hash, key);
        }
        Ok(())
    }
    fn key(&self, id: Arc<str>, created: Time, request: KeyRequest, revoked: bool) -> Arc<Key> {
        let site = Site::new("model_key", &self.world, &self.observer);
        Arc::new(Key::new(id, created, request, revoked, &site))
    }
    async fn commit(&self, kind: &'static str, body: bytes::Bytes) -> Result<(), KeyError> {
        let mut tries = TRIES;
        loop {
            let version = self.read(|state| state.version);
            let expect = if version == 0 { Expect::New } else { Expect::Exact(version) };
            let event = NewEvent::new(&self.world, kind, SCHEMA, body.clone());
            let done = self.log()?.commit(Commit::append(stream(), expect, vec![event])).await;
            self.catch_up().await?;
            match done {
                Ok(_) => return Ok(()),
                Err(CommitError::Conflict { .. }) if tries > 1 => tries -= 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
    /// Makes a key. The key itself is returned here and nowhere else.
    pub async fn create(&self, request: KeyRequest, by: &str) -> Result<(String, KeyInfo), KeyError> {
        let mut bits = [0_u8; 32];
        for part in bits.chunks_exact_mut(8) {
            part.copy_from_slice(&self.world.chance().bits().to_be_bytes());
        }
        let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bits));
        let id: Arc<str> = format!("key-{}", self.world.uuid().simple()).into();
        let hash = Hash::of_bytes(secret.as_bytes());
        let created = KeyCreated { id: id.clone(), hash, by: by.into(), key: request };
        self.commit(kind::CREATED, written(&created)).await?;
        Ok((secret, self.show(&id)?))
    }
    /// Ends a key, at once and for good.
    pub async fn revoke(&self, id: &str, by: &str) -> Result<KeyInfo, KeyError> {
        if self.show(id)?.state != "revoked" {
            let revoked = KeyRevoked { id: id.into(), by: by.into() };
            self.commit(kind::REVOKED, written(&revoked)).await?;
        }
        self.show(id)
    }
    fn info(&self, key: &Key) -> KeyInfo {
        let state = key.state(self.world.now());
        KeyInfo { id: key.id.clone(), created: key.created, state, key: key.request.clone() }
    }
    /// One of them.
    pub fn show(&self, id: &str) -> Result<KeyInfo, KeyError> {
        let key = self.find(id).ok_or_else(|| KeyError::Unknown(steadfast_core::shown(id, 64)))?;
        Ok(self.info(&key))
    }
    /// All of them, the oldest first.
    pub fn list(&self) -> Vec<KeyInfo> {
        let mut all: Vec<_> =
            self.read(|state| state.by_id.values().map(|(_, key)| self.info(key)).collect());
        all.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        all
    }
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Key>> {
        self.read(|state| state.by_id.get(id).map(|(_, key)| key.clone()))
    }
    /// Who calls with this key.
    pub fn identify(&self, secret: &str) -> Result<Caller, Rejected> {
        let refused = |code: &str, message: &str| {
            Rejected::new(Failure::refused(code, message), StatusCode::UNAUTHORIZED)
        };
        let hash = Hash::of_bytes(secret.as_bytes());
        let Some(key) = self.read(|state| state.by_hash.get(&hash).cloned()) else {
            return Err(refused(
                "key.invalid",
                "this key is not known here: make one with `steadfast keys create`",
            ));
        };
        match key.state(self.world.now()) {
            "active" => Ok(key.caller()),
            "expired" => Err(refused("key.expired", "this key has expired: make another one")),
            _ => Err(refused("key.revoked", "this key was revoked: make another one")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use steadfast_core::observe::silent;
    use steadfast_log::MemoryLog;

    use super::*;

    #[test]
    fn a_key_without_a_name_or_for_the_past_is_none() {
        let now = Time::from_micros(1_000);
        let of = |name: &str, expires| KeyRequest {
            name: name.into(),
            expires: Some(Time::from_micros(expires)),
            ..KeyRequest::default()
        };
        assert_eq!(of("web", 1_001).check(now), Ok(()));
        for (wrong, what) in
            [(of("", 1_001), "name: "), (of(" ", 1_001), "name: "), (of("web", 1_000), "expires: ")]
        {
            assert!(wrong.check(now).is_err_and(|words| words.starts_with(what)), "{what}");
        }
    }

    #[tokio::test]
    async fn a_key_is_shown_once_kept_as_a_hash_and_found_again_after_a_restart() {
        let (world, clock) = World::manual(1);
        let log: Arc<dyn Log> = Arc::new(MemoryLog::new(world.clone()));
        let start = async || Keys::on(log.clone(), &world, &silent()).await.expect("read");
        let keys = start().await;
        let request = KeyRequest {
            name: "ana's".into(),
            user: Some("ana".into()),
            expires: Some(world.now().after(Duration::from_secs(60))),
            ..KeyRequest::default()
        };
        let (secret, info) = keys.create(request, "root").await.expect("made");
        assert!(secret.starts_with(PREFIX) && secret.len() == PREFIX.len() + 43);
        let (other, _) = keys.create(KeyRequest::default(), "root").await.expect("made");
        assert_ne!(secret, other);
        let events = log.read_stream(&stream(), 1, 10).await.expect("read");
        assert!(
            events
                .iter()
                .all(|it| !String::from_utf8_lossy(&it.event.body).contains(&secret[PREFIX.len()..]))
        );

        let again = start().await;
        let caller = again.identify(&secret).expect("known");
        assert_eq!((caller.user.as_deref(), caller.key), (Some("ana"), Some(info.id.clone())));
        assert_eq!(again.list(), keys.list());
        again.revoke(&again.list()[1].id, "root").await.expect("revoked");
        let code = |keys: &Keys, secret: &str| {
            let refused = keys.identify(secret).expect_err("refused");
            (refused.status.as_u16(), refused.failure.code)
        };
        assert_eq!(code(&again, &other), (401, "key.revoked".into()));
        assert_eq!(code(&start().await, &other), (401, "key.revoked".into()));
        clock.advance(Duration::from_secs(60));
        assert_eq!(code(&again, &secret), (401, "key.expired".into()));
        assert_eq!(code(&again, "sk-sf-guess"), (401, "key.invalid".into()));
        assert!(matches!(again.revoke("key-x", "root").await, Err(KeyError::Unknown(_))));
        // One that has not heard of the last event makes a key all the same.
        keys.create(KeyRequest::default(), "root").await.expect("made behind another's");
        assert_eq!(keys.list().len(), 3);
    }
}
