//! What clients want, and what they know that it must come to.

pub(crate) mod ledger;
mod looks;
pub(crate) mod mistakes;
pub(crate) mod money;
mod people;
mod runs;

use steadfast_core::RunId;
use steadfast_sim::Fate;

use crate::{
    calls::{Call, Demand},
    clients::Notes,
    workflows::{Order, Play},
};

/// Who they are. They have accounts, and know each other.
pub(crate) const USERS: [&str; 3] = ["ana", "luis", "marta"];
/// Whoever sees to everything.
pub(crate) const OPERATOR: &str = "olga";

/// Something wanted, under a key of its own.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) key: String,
    pub(crate) demand: Demand,
    pub(crate) what: What,
}

/// What it is to those who judge.
#[derive(Debug, Clone)]
pub(crate) enum What {
    Run {
        play: Play,
        order: Order,
    },
    Purchase,
    Transfer {
        from: &'static str,
        to: String,
        amount: i64,
    },
    Signal,
    Cancel(RunId),
    Kill(RunId),
    /// An operation of the ledger.
    Ledger,
    /// Something that may be or not be: any final answer is good.
    Try,
    /// A run that is asked for once, and never again.
    Once,
    /// The same, by somebody impatient: it is sent twice at once.
    TryTwice,
    /// Only a look: it must be answered with 200.
    Look,
    /// A request that is wrong: it must be answered with one of these codes.
    Mistake(Vec<&'static str>),
}

impl What {
    /// Is a repeat under the same key answered with what was answered first (G5)?
    pub(crate) fn remembers(&self) -> bool {
        matches!(self, Self::Run { .. } | Self::Purchase | Self::Transfer { .. } | Self::Ledger)
    }
}

/// Chooses what to want, from a seed and from what is known.
pub(crate) struct Chooser<'a> {
    pub(crate) fate: &'a Fate,
    pub(crate) notes: &'a Notes,
    /// Nodes are set up for little, and one of those who ask knows all they may.
    pub(crate) narrow: bool,
    pub(crate) key: String,
}

impl Chooser<'_> {
    pub(crate) fn wish(&self) -> Wish {
        let wish = match self.below(100) {
            0..34 => Some(self.run()),
            34..38 => self.signal(),
            38..43 => self.cancel(),
            43..46 => self.kill(),
            46..58 => Some(self.transfer()),
            58..64 => Some(self.purchase()),
            64..72 => Some(self.operation()),
            72..78 => Some(self.people()),
            78..83 => Some(self.replay()),
            83..87 => Some(self.look()),
            _ => Some(self.mistake()),
        };
        wish.unwrap_or_else(|| self.run())
    }

    fn http(&self, call: Call, what: What) -> Wish {
        Wish { key: self.key.clone(), demand: Demand::Http(call), what }
    }
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.fate.below(bound)
    }
    /// One of these, and in every other case the last.
    fn late_one<'a, T>(&self, of: &'a [T]) -> Option<&'a T> {
        if self.once_in(2) { of.last() } else { self.one(of) }
    }
    /// In one of so many cases.
    fn once_in(&self, many: u64) -> bool {
        self.below(many) == 0
    }
    fn one<'a, T>(&self, of: &'a [T]) -> Option<&'a T> {
        let nth = self.below(of.len().max(1) as u64);
        of.get(usize::try_from(nth).unwrap_or(0))
    }
    fn user(&self) -> &'static str {
        self.one(&USERS).copied().unwrap_or(USERS[0])
    }
    /// A user and another one.
    fn two(&self) -> (&'static str, &'static str) {
        let nth = usize::try_from(self.below(3)).unwrap_or(0);
        let other = (nth + 1 + usize::try_from(self.below(2)).unwrap_or(0)) % 3;
        (USERS[nth], USERS[other])
    }
}
