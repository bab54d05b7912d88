//! What becomes durable beside a run or a signal: all of it or nothing, and once.

use steadfast_core::{Failure, RunId, Time, canonical::Hash};
use steadfast_engine::{Accepted, Ctx, Data, Engine, Signal, Start, Status, WorkflowOptions};
use steadfast_log::{Append, ClaimKey, Expect, Log as _, NewEvent, Position, StreamId};
use uuid::Uuid;

use crate::house::{House, accept, finish, reach, start, tenant};

fn side() -> StreamId {
    StreamId::new(&tenant(), "side", "one")
}

fn key() -> ClaimKey {
    ClaimKey::new(&tenant(), "ana", "test", "the key")
}

fn hash(request: &str) -> Hash {
    Hash::of_bytes(request.as_bytes())
}

impl House {
    fn beside(&self, expect: Expect) -> Vec<Append> {
        let event = NewEvent::new(&self.world, "side.noted", 1, b"{}".to_vec());
        vec![Append { stream: side(), expect, events: vec![event] }]
    }
    async fn noted(&self) -> u64 {
        self.log.head(&side()).await.expect("reads")
    }
    /// How many events there are, whether the key is taken, and how many runs are listed.
    async fn traces(&self) -> (usize, bool, usize) {
        let events = self.log.read_all(Position::START, usize::MAX).await.expect("reads").events.len();
        let taken = self.log.claim(key()).await.expect("reads").is_some();
        (events, taken, self.log.derived().listings.len())
    }
}

/// Waits for one signal and answers with it.
fn waiting(house: &House) -> Engine {
    let mut registry = house.registry();
    registry.workflow("wait", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.signal::<u64>("go", "go").await
    });
    house.engine(registry)
}

fn code(refused: Result<Accepted, Failure>) -> String {
    refused.expect_err("refused").code
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_neighbour_is_not_where_it_is_expected_is_not_accepted() {
    let house = House::new();
    let engine = waiting(&house);
    // Whoever begins a run beside something names it in both; each try has an id of its own.
    let begin = |request: &str, beside| Start {
        key: Some((key(), hash(request))),
        run: Some(RunId::next(&house.world)),
        beside,
        ..start("wait", &())
    };
    for wrong in [Expect::Exact(3), Expect::Exact(1)] {
        let refused = engine.start(begin("one", house.beside(wrong))).await.expect_err("refused");
        assert_eq!((refused.code.as_str(), refused.nothing_happened), ("commit.conflict", true));
        assert_eq!(house.traces().await, (0, false, 0));
    }
    let begun = begin("one", house.beside(Expect::New));
    let accepted = engine.start(begun.clone()).await.expect("accepted");
    assert_eq!((Some(accepted.run), accepted.replayed), (begun.run, false));
    assert_eq!(house.noted().await, 1);
    // The repeat comes as it was sent, or by somebody who has read the neighbour anew.
    for expect in [Expect::New, Expect::Exact(1), Expect::Any] {
        let again = engine.start(begin("one", house.beside(expect))).await.expect("the same answer");
        assert_eq!(again, Accepted { replayed: true, ..accepted });
        let reused = engine.start(begin("another", house.beside(expect))).await;
        assert_eq!(code(reused), "idempotency_key_reused");
    }
    assert_eq!((house.noted().await, house.traces().await.2), (1, 1));
    house.audit().await;
}

#[tokio::test(start_paused = true)]
async fn a_signal_whose_neighbour_is_not_where_it_is_expected_is_not_accepted() {
    let house = House::new();
    let engine = waiting(&house);
    let run = accept(&engine, "wait", &()).await.run;
    reach(&engine, run, Status::Waiting).await;
    let signal = |id: u128, request: &str, beside| Signal {
        tenant: tenant(),
        run,
        id: Uuid::from_u128(id),
        from: "ana".into(),
        name: "go".into(),
        value: Data::of(&7).expect("json"),
        key: Some((key(), hash(request), Time::NEVER)),
        beside,
    };
    let before = house.traces().await;
    let refused = engine.send_signal(signal(1, "one", house.beside(Expect::Exact(3)))).await;
    let refused = refused.expect_err("refused");
    assert_eq!((refused.code.as_str(), refused.nothing_happened), ("commit.conflict", true));
    assert_eq!(house.traces().await, before, "neither heard nor claimed");

    let accepted = engine.send_signal(signal(1, "one", house.beside(Expect::New))).await.expect("accepted");
    assert_eq!(accepted, Accepted { run, replayed: false });
    for ended in [false, true] {
        // Under its own id, and under the key alone while the run can still hear.
        for id in if ended { 1..2 } else { 1..3 } {
            for expect in [Expect::New, Expect::Exact(1), Expect::Any] {
                let again = engine.send_signal(signal(id, "one", house.beside(expect))).await;
                assert_eq!(again.expect("the same answer"), Accepted { run, replayed: true });
                let reused = engine.send_signal(signal(id, "another", house.beside(expect))).await;
                assert_eq!(code(reused), "idempotency_key_reused", "id {id}, ended: {ended}");
            }
        }
        assert_eq!(finish(&engine, run).await.outcome.expect("a result").read::<u64>(), Ok(7));
    }
    assert_eq!(house.noted().await, 1);
    house.audit().await;
}
