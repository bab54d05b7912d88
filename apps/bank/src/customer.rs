//! Customers: whom they know, and whether they may act. A stream for each user, beside
//! the ledger, since there is no money in it: what is to be written is decided on the
//! newest state and appended with the version it was decided on, and decided again when
//! somebody else was first.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use lru::LruCache;
use serde::{Deserialize, Serialize};
use steadfast_core::{Coded, Failure, Principal, TenantId, World};
use steadfast_log::{
    ClaimKey, Commit, CommitError, DecodeError, Expect, Log, NewEvent, ReadError, Recorded, Snapshot,
    StreamId, events_through,
};

use crate::{
    Bank, BankConfig, Contact,
    books::unreadable,
    events::{ContactAdded, ContactRemoved, SCHEMA, StandingChanged, decode, encode, kind, unknown},
    names::{CUSTOMER, SYSTEM},
};

/// What the bank says of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Customer {
    /// They have an account.
    pub exists: bool,
    /// They exist and may pay, buy and begin conversations.
    pub active: bool,
}

/// How long a standing that was read is relied on. What this node writes, it knows at
/// once; what another node wrote, it learns when this has passed.
const FRESH: Duration = Duration::from_secs(3);
/// How often one change is decided before the caller is told to ask again.
const ATTEMPTS: usize = 8;
const PAGE: usize = 500;

/// A fact of a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Added(ContactAdded),
    Removed(ContactRemoved),
    Deactivated(StandingChanged),
    Activated(StandingChanged),
}

impl Change {
    fn encode(&self) -> (&'static str, Bytes) {
        match self {
            Self::Added(body) => (kind::CONTACT_ADDED, encode(body)),
            Self::Removed(body) => (kind::CONTACT_REMOVED, encode(body)),
            Self::Deactivated(body) => (kind::CUSTOMER_DEACTIVATED, encode(body)),
            Self::Activated(body) => (kind::CUSTOMER_ACTIVATED, encode(body)),
        }
    }
    fn decode(recorded: &Recorded) -> Result<Self, DecodeError> {
        Ok(match &*recorded.event.kind {
            kind::CONTACT_ADDED => Self::Added(decode(recorded)?),
            kind::CONTACT_REMOVED => Self::Removed(decode(recorded)?),
            kind::CUSTOMER_DEACTIVATED => Self::Deactivated(decode(recorded)?),
            kind::CUSTOMER_ACTIVATED => Self::Activated(decode(recorded)?),
            _ => return Err(unknown(recorded)),
        })
    }
}

/// A customer as the facts tell it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// In the order they were added.
    pub(crate) contacts: Vec<Contact>,
    pub(crate) inactive: bool,
}

impl State {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Added(ContactAdded { name, user }) => {
                self.contacts.push(Contact { name: name.clone(), user: user.clone() });
            }
            Change::Removed(ContactRemoved { name }) => self.contacts.retain(|it| it.name != *name),
            Change::Deactivated(_) => self.inactive = true,
            Change::Activated(_) => self.inactive = false,
        }
    }
}

/// A state, and how new it is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// The last event in it.
    pub(crate) version: u64,
    pub(crate) state: Arc<State>,
    /// The last event in the stream's snapshot.
    snapshot: u64,
    /// By the clock's `elapsed`: it was the newest state at this moment, or later.
    read: Duration,
}

impl Known {
    /// A snapshot of a shape that is not ours is as good as none.
    fn from_snapshot(snapshot: Snapshot) -> Self {
        let version = snapshot.version;
        let state =
            (snapshot.schema == SCHEMA).then(|| serde_json::from_slice(&snapshot.body).ok()).flatten();
        let known = |state| Self { version, snapshot: version, state: Arc::new(state), ..Self::default() };
        state.map(known).unwrap_or_default()
    }
    fn apply(&mut self, change: &Change) {
        Arc::make_mut(&mut self.state).apply(change);
        self.version += 1;
    }
    fn expect(&self) -> Expect {
        match self.version {
            0 => Expect::New,
            version => Expect::Exact(version),
        }
    }
}

/// Is the snapshot of a customer's stream what its events amount to?
pub(crate) async fn check(log: &dyn Log, stream: &StreamId, snapshot: Snapshot) -> Result<bool, ReadError> {
    let (kept, mut fold) = (Known::from_snapshot(snapshot), Known::default());
    let there = events_through(log, stream, kept.version, |recorded| {
        fold.apply(&Change::decode(recorded).map_err(|error| ReadError::Corrupt(error.to_string()))?);
        Ok(())
    });
    Ok(there.await? && fold.state == kept.state)
}

/// The customers lately looked at.
pub(crate) struct Customers {
    log: Arc<dyn Log>,
    world: World,
    snapshot_every: u64,
    known: Mutex<LruCache<StreamId, Known>>,
}

impl Customers {
    pub(crate) fn new(log: Arc<dyn Log>, world: World, config: &BankConfig) -> Self {
        let cached = NonZeroUsize::new(config.cached).unwrap_or(NonZeroUsize::MIN);
        let known = Mutex::new(LruCache::new(cached));
        Self { log, world, snapshot_every: config.snapshot_every, known }
    }

    fn known(&self) -> MutexGuard<'_, LruCache<StreamId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A slow reader must not hide what a writer has put here meanwhile.
    fn keep(&self, stream: &StreamId, known: Known) {
        let mut all = self.known();
        if all.peek(stream).is_none_or(|there| (there.version, there.read) < (known.version, known.read)) {
            all.put(stream.clone(), known);
        }
    }

    /// The state that was the newest at most [`FRESH`] ago; no read while that is known.
    async fn recent(&self, stream: &StreamId) -> Result<Known, Failure> {
        let oldest = self.world.clock().elapsed().saturating_sub(FRESH);
        let known = self.known().get(stream).filter(|known| known.read >= oldest).cloned();
        match known {
            Some(known) => Ok(known),
            None => self.newest(stream).await,
        }
    }

    /// The newest durable state: what is known, else its snapshot, and what came after.
    pub(crate) async fn newest(&self, stream: &StreamId) -> Result<Known, Failure> {
        let read = self.world.clock().elapsed();
        let known = self.known().get(stream).cloned();
        let mut known = match known {
            Some(known) => known,
            None => self.last_snapshot(stream).await?,
        };
        known.read = read;
        loop {
            let page = self.log.read_stream(stream, known.version + 1, PAGE).await;
            let page = page.map_err(|error| unreadable(&error))?;
            for recorded in &page {
                let change = Change::decode(recorded);
                known.apply(&change.map_err(|e| Failure::internal("store.corrupt", e.to_string()))?);
            }
            if page.len() < PAGE {
                self.keep(stream, known.clone());
                return Ok(known);
            }
        }
    }

    async fn last_snapshot(&self, stream: &StreamId) -> Result<Known, Failure> {
        let snapshot = self.log.snapshot(stream).await.map_err(|error| unreadable(&error))?;
        Ok(snapshot.map(Known::from_snapshot).unwrap_or_default())
    }

    /// Writes what `decide` makes of the newest state, whole or not at all; nothing when
    /// it wants nothing written. Returns what came of it, and whether anything was written.
    pub(crate) async fn change(
        &self,
        stream: &StreamId,
        decide: impl Fn(&Known) -> Result<Vec<Change>, Failure>,
    ) -> Result<(Arc<State>, bool), Failure> {
        for _ in 0..ATTEMPTS {
            let mut known = self.newest(stream).await?;
            let changes = decide(&known)?;
            if changes.is_empty() {
                return Ok((known.state, false));
            }
            let event = |change: &Change| {
                let (kind, body) = change.encode();
                NewEvent::new(&self.world, kind, SCHEMA, body)
            };
            let events = changes.iter().map(event).collect();
            match self.log.commit(Commit::append(stream.clone(), known.expect(), events)).await {
                Ok(_) => {
                    for change in &changes {
                        known.apply(change);
                    }
                    self.keep(stream, known.clone());
                    self.snapshot(stream, &known).await;
                    return Ok((known.state, true));
                }
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.failure()),
            }
        }
        let mut failure = Failure::internal("customer.busy", "others change this customer too: ask again");
        failure.nothing_happened = true;
        Err(failure.retryable())
    }

    /// Costs reading only when it is lost.
    async fn snapshot(&self, stream: &StreamId, known: &Known) {
        if known.version - known.snapshot < self.snapshot_every {
            return;
        }
        let snapshot = Snapshot { version: known.version, schema: SCHEMA, body: encode(&known.state) };
        if self.log.put_snapshot(stream.clone(), snapshot).await.is_ok() {
            let mut all = self.known();
            if let Some(there) = all.peek_mut(stream) {
                there.snapshot = there.snapshot.max(known.version);
            }
        }
    }
}

pub(crate) fn stream_of(tenant: &TenantId, user: &str) -> StreamId {
    StreamId::new(tenant, CUSTOMER, user)
}

impl Bank {
    /// Is somebody of that name a customer, and may they act?
    pub async fn customer(&self, tenant: &TenantId, user: &str) -> Result<Customer, Failure> {
        let exists = user != SYSTEM && self.directory.is_user(tenant, user).await?;
        let active = exists && !self.customers.newest(&stream_of(tenant, user)).await?.state.inactive;
        Ok(Customer { exists, active })
    }

    /// Lets a customer act, or no longer; for operators. Money still comes in, and what
    /// was accepted before goes on.
    pub async fn set_active(
        &self,
        operator: &Principal,
        user: &str,
        active: bool,
    ) -> Result<Customer, Failure> {
        if !operator.operates() {
            let message = "whether a customer may act is for operators to say";
            return Err(Failure::refused("auth.forbidden", message));
        }
        self.must_exist(&operator.tenant, user).await?;
        let changed = || StandingChanged { by: operator.user.as_str().into() };
        let stream = stream_of(&operator.tenant, user);
        let decide = |known: &Known| {
            Ok(match (active, known.state.inactive) {
                (true, true) => vec![Change::Activated(changed())],
                (false, false) => vec![Change::Deactivated(changed())],
                (true, false) | (false, true) => Vec::new(),
            })
        };
        self.customers.change(&stream, decide).await?;
        Ok(Customer { exists: true, active })
    }

    /// Refuses with `customer.inactive` whoever may not act. Asked at every door through
    /// which customers pay, buy or begin a conversation, before anything is accepted.
    /// `key`, where there is one, is what the request will be remembered by: the repeat of
    /// one that was accepted gets its answer whoever asks.
    pub async fn admit(&self, principal: &Principal, key: Option<ClaimKey>) -> Result<(), Failure> {
        let stream = stream_of(&principal.tenant, &principal.user);
        if !self.customers.recent(&stream).await?.state.inactive {
            return Ok(());
        }
        if let Some(key) = key {
            let claim = self.log.claim(key).await.map_err(|error| unreadable(&error))?;
            // One that lapses before the answer is there would be taken anew.
            let answered = self.world.now().after(self.config.answer_within.get());
            if claim.is_some_and(|claim| claim.live(answered)) {
                return Ok(());
            }
        }
        let message = "you cannot pay, buy or begin conversations at present: ask the bank to let you";
        Err(Failure::refused("customer.inactive", message))
    }

    /// Refuses whoever is no customer, with `user.not_found`, or may not act: see [`Bank::admit`].
    pub async fn admit_customer(&self, principal: &Principal) -> Result<(), Failure> {
        self.must_exist(&principal.tenant, &principal.user).await?;
        self.admit(principal, None).await
    }

    pub(crate) async fn must_exist(&self, tenant: &TenantId, user: &str) -> Result<(), Failure> {
        if user != SYSTEM && self.directory.is_user(tenant, user).await? {
            return Ok(());
        }
        let shown: String = user.chars().take(64).collect();
        let message = format!("there is no customer {shown:?}: name a user who has an account");
        Err(Failure::refused("user.not_found", message))
    }
}
