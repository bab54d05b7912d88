//! What a seed does: how many nodes and clients there are, and which faults strike how often.
//! Each seed switches some kinds of faults off, so that others are seen alone.

use std::{
    collections::BTreeMap,
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use steadfast_core::chance::{Chance, Seeded};

const CALM: Duration = Duration::from_hours(12);

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A node ends between two polls, and starts again later.
    Crash,
    /// A node is told to stop, ends in its own time, and starts again later.
    Restart,
    /// A node starts with the code of before.
    OldCode,
    /// A node stands still for longer than its lease, and then goes on.
    Freeze,
    /// A node's wall clock is set forward or back.
    ClockJump,
    /// A commit is refused, and nothing happened.
    CommitRefused,
    /// A commit happened, and nobody learns of it.
    AnswerLost,
    /// A commit did not happen, and nobody learns of that either.
    CommitLost,
    /// A commit or a read takes its time.
    Slow,
    /// A read fails.
    ReadFails,
    /// For a while the store's disk has no room.
    DiskFull,
    /// The store's disk fails to write.
    WriteFails,
    /// The store's disk fails to sync: what was written may be lost.
    SyncFails,
    /// The power goes, for the store and all nodes.
    PowerLoss,
    /// A request never arrives.
    RequestLost,
    /// The answer to a request never arrives.
    ReplyLost,
    /// A request arrives twice.
    Duplicated,
    /// A request arrives late, after others.
    Delayed,
    /// An action outside fails, and may be tried again.
    ActionFails,
    /// An action outside acts, and its answer is lost.
    ActionAnswerLost,
    /// An action outside takes longer than its timeout.
    ActionSlow,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::Crash,
        Self::Restart,
        Self::OldCode,
        Self::Freeze,
        Self::ClockJump,
        Self::CommitRefused,
        Self::AnswerLost,
        Self::CommitLost,
        Self::Slow,
        Self::ReadFails,
        Self::DiskFull,
        Self::WriteFails,
        Self::SyncFails,
        Self::PowerLoss,
        Self::RequestLost,
        Self::ReplyLost,
        Self::Duplicated,
        Self::Delayed,
        Self::ActionFails,
        Self::ActionAnswerLost,
        Self::ActionSlow,
    ];

    /// How often it strikes, of ten thousand chances, where it is on.
    const fn rate(self) -> u64 {
        match self {
            Self::Crash
            | Self::Restart
            | Self::Freeze
            | Self::ClockJump
            | Self::DiskFull
            | Self::WriteFails
            | Self::SyncFails
            | Self::PowerLoss => 20,
            Self::OldCode => 3_000,
            Self::CommitRefused | Self::AnswerLost | Self::CommitLost | Self::ReadFails => 200,
            Self::Slow
            | Self::RequestLost
            | Self::ReplyLost
            | Self::Duplicated
            | Self::Delayed
            | Self::ActionFails
            | Self::ActionAnswerLost => 1_000,
            Self::ActionSlow => 300,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{self:?}");
        for (i, letter) in name.char_indices() {
            if i > 0 && letter.is_ascii_uppercase() {
                f.write_str("-")?;
            }
            write!(f, "{}", letter.to_ascii_lowercase())?;
        }
        Ok(())
    }
}

impl FromStr for Fault {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|fault| fault.to_string() == text);
        found.ok_or_else(|| {
            let all: Vec<String> = Self::ALL.iter().map(Self::to_string).collect();
            format!("{text:?} is no kind of fault: one of {}", all.join(", "))
        })
    }
}

/// One simulation, wholly.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Everything random comes from here.
    pub seed: u64,
    /// Nodes on the one store.
    pub nodes: usize,
    /// Requests that clients make.
    pub requests: usize,
    /// The kinds of faults that strike.
    pub faults: Vec<Fault>,
    /// Simulated time in which everything must have ended once no fault strikes any more.
    pub calm: Duration,
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let chance = Seeded::new(seed);
        let nodes = usize::try_from(1 + chance.below(3)).unwrap_or(1);
        let requests = usize::try_from(5 + chance.below(25)).unwrap_or(5);
        // One seed in eight knows no faults at all: then what fails is plainly wrong.
        let none = chance.below(8) == 0;
        let on = |_: &Fault| !none && chance.below(3) > 0;
        let faults = Fault::ALL.into_iter().filter(on).collect();
        Self { seed, nodes, requests, faults, calm: CALM }
    }
}

/// Decides whether a fault strikes, and counts those that did.
#[derive(Clone)]
pub struct Fate(Arc<Inner>);

struct Inner {
    chance: Seeded,
    state: Mutex<State>,
}

struct State {
    on: Vec<Fault>,
    struck: BTreeMap<Fault, u64>,
}

impl Fate {
    pub(crate) fn new(plan: &Plan) -> Self {
        let state = State { on: plan.faults.clone(), struck: BTreeMap::new() };
        Self(Arc::new(Inner { chance: Seeded::new(plan.seed ^ 0xFA7E), state: Mutex::new(state) }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does it strike now?
    pub fn strikes(&self, fault: Fault) -> bool {
        let mut state = self.lock();
        let struck = state.on.contains(&fault) && self.0.chance.below(10_000) < fault.rate();
        if struck {
            *state.struck.entry(fault).or_default() += 1;
        }
        struck
    }

    /// A number below `bound`, from the seed.
    pub fn below(&self, bound: u64) -> u64 {
        self.0.chance.below(bound)
    }

    /// No fault strikes any more.
    pub(crate) fn rest(&self) {
        self.lock().on.clear();
    }

    pub(crate) fn struck(&self) -> BTreeMap<Fault, u64> {
        self.lock().struck.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named_and_found_by_their_names() {
        for fault in Fault::ALL {
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        assert!("flood".parse::<Fault>().is_err());
    }
}
