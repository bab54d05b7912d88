//! Who decides: the holder of one lease, so that deciders of several nodes rarely meet.
//!
//! The lease gives liveness only. Whatever happens to it, a commit rests on the exact
//! versions it was decided on, so two deciders at once cost conflicts, never money. What
//! the lease buys is knowing that memory is current: as long as it was held without a
//! gap, nobody else wrote, and nothing has to be read again.
//!
//! A holder that hears that another node waits goes on for a quantum, lets its commits
//! finish, gives the lease back and rests long enough for the other to take it. One that
//! has nothing to do lets the lease run out: if nobody took it, it is still current.

use std::time::Duration;

use steadfast_log::{Lease, ReadError};

/// The lease's name in the store.
pub(super) const LEASE: &str = "bank/ledger";

/// Where a decider stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// It has not got the lease and is not asking for it.
    Out,
    /// It is asking, or waiting to ask again.
    Asking,
    /// It has the lease. Times are the clock's monotonic ones.
    In { since: Duration, renewed: Duration },
    /// It is letting its commits finish, to give the lease back.
    Yielding,
}

/// What the decider should do about its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Todo {
    /// Ask for it; decide meanwhile if it is held.
    Ask,
    /// Give it back, then rest for a quantum.
    Release,
    /// Nothing now.
    Nothing,
}

/// The state of one decider's lease; no IO.
#[derive(Debug)]
pub(super) struct Tenure {
    stand: Stand,
    ttl: Duration,
    quantum: Duration,
    renewing: bool,
    wanted: bool,
    /// Counts the tenures: what was learned in an earlier one may be out of date.
    number: u64,
}

impl Tenure {
    pub(super) fn new(ttl: Duration, quantum: Duration) -> Self {
        Self {
            stand: Stand::Out,
            ttl,
            // Renewed well before it runs out.
            quantum: quantum.min(ttl / 2),
            renewing: false,
            wanted: false,
            number: 1,
        }
    }

    /// What was learned in this tenure is current.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// May it decide?
    pub(super) fn holds(&self, now: Duration) -> bool {
        matches!(self.stand, Stand::In { renewed, .. } if now.saturating_sub(renewed) < self.ttl)
    }

    /// What to do, given whether there is work and whether commits are under way.
    pub(super) fn todo(&mut self, now: Duration, work: bool, commits: bool) -> Todo {
        match self.stand {
            Stand::Out if work => {
                self.stand = Stand::Asking;
                Todo::Ask
            }
            Stand::In { since, .. } if self.wanted && now.saturating_sub(since) >= self.quantum => {
                self.stand = Stand::Yielding;
                self.todo(now, work, commits)
            }
            Stand::In { renewed, .. }
                if work && !self.renewing && now.saturating_sub(renewed) >= self.quantum =>
            {
                self.renewing = true;
                Todo::Ask
            }
            Stand::Yielding if !commits && !self.renewing => {
                self.stand = Stand::Asking;
                self.wanted = false;
                Todo::Release
            }
            Stand::Out | Stand::Asking | Stand::In { .. } | Stand::Yielding => Todo::Nothing,
        }
    }

    /// The store answered a question asked at `asked`. False if somebody else decides.
    pub(super) fn answered(&mut self, asked: Duration, answer: &Result<Lease, ReadError>) -> bool {
        self.renewing = false;
        let since = match self.stand {
            Stand::In { since, .. } => Some(since),
            Stand::Out | Stand::Asking | Stand::Yielding => None,
        };
        match answer {
            Ok(Lease::Held { again, wanted }) => {
                self.wanted |= wanted;
                if !again {
                    self.number += 1;
                }
                if self.stand != Stand::Yielding {
                    let since = since.filter(|_| *again).unwrap_or(asked);
                    self.stand = Stand::In { since, renewed: asked };
                }
                true
            }
            Ok(Lease::Taken { .. }) => {
                self.stand = Stand::Asking;
                self.number += 1;
                false
            }
            // No lease to be had: go on, and trust nothing but versions.
            Err(_) => {
                self.number += 1;
                self.stand = Stand::In { since: since.unwrap_or(asked), renewed: asked };
                true
            }
        }
    }

    /// The rest is over: it may ask again when there is work.
    pub(super) fn rested(&mut self) {
        if self.stand == Stand::Asking {
            self.stand = Stand::Out;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_millis(100);
    const QUANTUM: Duration = Duration::from_millis(15);

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }
    const fn held(again: bool, wanted: bool) -> Lease {
        Lease::Held { again, wanted }
    }

    #[test]
    fn a_wanted_lease_is_given_back_after_its_quantum_and_once_commits_are_done() {
        let mut tenure = Tenure::new(TTL, QUANTUM);
        assert_eq!(tenure.todo(ms(0), false, false), Todo::Nothing);
        assert_eq!(tenure.todo(ms(0), true, false), Todo::Ask);
        assert!(tenure.answered(ms(0), &Ok(held(false, false))));
        assert!(tenure.holds(ms(99)) && !tenure.holds(ms(100)));
        assert_eq!(tenure.todo(ms(15), true, true), Todo::Ask);
        assert!(tenure.answered(ms(15), &Ok(held(true, true))));
        assert_eq!(tenure.todo(ms(16), true, true), Todo::Nothing);
        assert!(!tenure.holds(ms(16)));
        assert_eq!(tenure.todo(ms(17), true, false), Todo::Release);
        assert_eq!(tenure.todo(ms(17), true, false), Todo::Nothing);
        tenure.rested();
        assert_eq!(tenure.todo(ms(30), true, false), Todo::Ask);
    }

    #[test]
    fn memory_is_current_only_while_nobody_else_held_the_lease() {
        let mut tenure = Tenure::new(TTL, QUANTUM);
        tenure.todo(ms(0), true, false);
        tenure.answered(ms(0), &Ok(held(false, false)));
        let first = tenure.number();
        // Idle beyond its time, and nobody took it.
        assert!(!tenure.holds(ms(500)));
        assert_eq!(tenure.todo(ms(500), true, false), Todo::Ask);
        tenure.answered(ms(500), &Ok(held(true, false)));
        assert!(tenure.holds(ms(500)));
        assert_eq!(tenure.number(), first);
        // Somebody took it.
        tenure.todo(ms(900), true, false);
        tenure.answered(ms(900), &Ok(held(false, false)));
        assert_ne!(tenure.number(), first);
        // The store cannot say.
        let second = tenure.number();
        tenure.todo(ms(950), true, false);
        assert!(tenure.answered(ms(950), &Err(ReadError::Unavailable("down".into()))));
        assert_ne!(tenure.number(), second);
    }
}
