//! One suite that every store runs: the rules of [`Log`](crate::Log), each as a named
//! check, and random operations against the model.

mod beside;
mod commits;
mod lists;
mod random;
mod reads;

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use steadfast_core::{TenantId, World, canonical::Hash, time::ManualClock};

use crate::{Claim, ClaimChange, ClaimKey, Commit, CommitError, Committed, Expect, Log, NewEvent, StreamId};

pub use random::{Differential, Seen, differential};

/// A fresh store and the world it lives in.
struct Fixture {
    log: Arc<dyn Log>,
    world: World,
    clock: Arc<ManualClock>,
}

impl Fixture {
    fn event(&self) -> NewEvent {
        NewEvent::new(&self.world, "test.happened", 1, Bytes::from_static(b"{}"))
    }
    fn events(&self, count: usize) -> Vec<NewEvent> {
        (0..count).map(|_| self.event()).collect()
    }
    fn one(&self, name: &str, expect: Expect) -> Commit {
        Commit::append(stream(name), expect, self.events(1))
    }
    async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        self.log.commit(commit).await
    }
    /// Commits what must be accepted.
    async fn write(&self, commit: Commit) -> Committed {
        self.commit(commit).await.expect("an accepted commit")
    }
}

fn stream(name: &str) -> StreamId {
    StreamId::new(&TenantId::default(), "test", name)
}

fn key(name: &str) -> ClaimKey {
    ClaimKey::new(&TenantId::default(), "ana", "test", name)
}

fn take(name: &str, claim: &Claim) -> ClaimChange {
    ClaimChange::Take(key(name), claim.clone())
}

fn claim(answer: &str) -> Claim {
    Claim { request: Hash::of_bytes(answer.as_bytes()), answer: answer.into(), expires: None }
}

/// Runs every check, each on a store of its own made by `make`. Panics with the check's
/// name and the rule it broke.
pub async fn all<F>(make: impl Fn(World) -> F)
where
    F: Future<Output = Arc<dyn Log>>,
{
    macro_rules! run {
        ($($module:ident :: $check:ident),* $(,)?) => {$(
            let (world, clock) = World::manual(1);
            let log = make(world.clone()).await;
            let fixture = Fixture { log, world, clock };
            tracing::debug!(check = stringify!($check), "conformance");
            $module::$check(&fixture).await;
        )*};
    }
    run!(
        commits::a_commit_is_bounded_in_every_dimension,
        commits::a_commit_without_sense_is_refused,
        commits::an_append_holds_only_at_the_expected_version,
        commits::a_refused_commit_writes_nothing,
        commits::refusals_come_in_the_order_of_the_contract,
        commits::one_of_many_at_once_wins,
        commits::commits_are_applied_in_the_order_they_were_made,
        commits::a_commit_over_several_streams_is_one,
        commits::a_commit_of_checkpoints_alone_stays_at_the_end,
        beside::a_claim_is_taken_once_until_its_window_ends,
        beside::a_key_taken_twice_in_one_commit_is_refused,
        beside::settling_what_nobody_claimed_does_nothing,
        beside::a_payload_is_stored_once_and_must_be_there_when_referred_to,
        beside::a_snapshot_replaces_the_one_before,
        beside::a_checkpoint_is_what_was_last_written,
        beside::a_lease_has_one_holder_until_it_runs_out,
        lists::wake_ups_come_in_order_and_page_without_loss,
        lists::a_wake_up_is_replaced_and_cleared_by_its_name,
        lists::listings_come_newest_first_and_page_without_loss,
        lists::every_filter_of_a_list_narrows_it_and_the_count,
        lists::a_listing_put_again_replaces_row_and_labels,
        reads::an_event_comes_back_as_it_was_written,
        reads::a_stream_is_read_from_either_end,
        reads::a_read_that_nobody_polls_keeps_no_other_waiting,
        reads::a_page_of_the_log_never_cuts_a_commit,
        reads::reading_on_from_every_page_gives_the_whole_log,
        reads::the_tail_moves_with_every_commit_and_never_with_a_refusal,
        reads::a_subscription_goes_on_where_it_stopped,
        reads::what_is_derived_is_the_fold_of_the_log,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryLog;

    #[tokio::test]
    async fn the_model_keeps_the_contract() {
        all(|world| async { Arc::new(MemoryLog::new(world)) as Arc<dyn Log> }).await;
    }

    #[tokio::test]
    async fn the_model_equals_itself() {
        let (world, clock) = World::manual(1);
        let (one, other) = (MemoryLog::new(world.clone()), MemoryLog::new(world.clone()));
        let run = Differential { seed: 1, sequences: 20, length: 20 };
        let seen = differential(&one, &other, &world, &clock, run).await;
        assert!(seen.accepted > 20 && seen.refused > 20, "{seen:?}");
    }
}
