//! A signal that is a request of its own: with an idempotency key, and with events of
//! other streams that become durable together with it.

use steadfast_core::{Coded as _, Failure, RunId, TenantId, Time, canonical::Hash, defaults};
use steadfast_log::{Append, ClaimKey, CommitError, Expect};
use uuid::Uuid;

use crate::{
    Accepted, Data, Engine,
    accept::{accepted_before, held, key_reused, take},
    control::refuse_ended,
    engine::run_stream,
    record::{Message, Sent, kind},
    store::load,
};

/// A named value for a run.
#[derive(Debug, Clone)]
pub struct Signal {
    /// Whose run.
    pub tenant: TenantId,
    /// Which.
    pub run: RunId,
    /// The same id reaches the run once. One that goes on as its next generation may forget it
    /// after the idempotency window.
    pub id: Uuid,
    /// On whose behalf.
    pub from: String,
    /// What the run waits for.
    pub name: String,
    /// Its value.
    pub value: Data,
    /// Idempotency key, the hash of the parsed request, and until when the key is kept.
    pub key: Option<(ClaimKey, Hash, Time)>,
    /// As with [`crate::Start::beside`].
    pub beside: Vec<Append>,
}

impl Engine {
    /// Sends a signal: when this returns, it and what stands beside it are durable. A key
    /// that was taken before is answered with the run it was taken for.
    pub async fn send_signal(&self, signal: Signal) -> Result<Accepted, Failure> {
        let engine = &self.inner;
        if engine.log.identity().held {
            return Err(held());
        }
        steadfast_core::principal::check_name("signal", &signal.name)
            .map_err(|error| Failure::refused("signal.invalid_name", error.to_string()))?;
        let stream = run_stream(&signal.tenant, signal.run);
        let what = Sent::Signal { name: signal.name, value: signal.value };
        let message = Message { id: signal.id, from: Some(signal.from.as_str().into()), what };
        for _ in 0..defaults::CONFLICT_ATTEMPTS * 4 {
            let history = load(&*engine.log, &stream, false).await.map_err(|error| error.failure())?;
            if history.heard.contains_key(&message.id) {
                if let Some((key, request, _)) = signal.key {
                    self.same_request(key, request).await?;
                }
                return Ok(Accepted { run: signal.run, replayed: true });
            }
            refuse_ended(&history)?;
            let mut writer = engine.writer(&history.facts);
            writer.record(kind::MESSAGE, &message);
            writer.expect(Expect::Exact(history.head));
            writer.wake(engine.world.now(), history.owner);
            let mut commit = writer.finish();
            let claim = signal.key.map(|(key, request, until)| take(key, request, signal.run, Some(until)));
            commit.claims.extend(claim);
            commit.appends.extend(signal.beside.iter().cloned());
            match engine.log.commit(commit).await {
                Ok(_) => {
                    engine.refresh(&signal.tenant, signal.run);
                    return Ok(Accepted { run: signal.run, replayed: false });
                }
                // The run went on meanwhile: the message goes after what it wrote.
                Err(CommitError::Conflict { stream: of, .. }) if of == stream => {}
                Err(error) => return accepted_before(&error, signal.key.map(|(_, request, _)| request)),
            }
        }
        let busy = Failure::internal("run.busy", "the run is too busy to take a message now");
        Err(Failure { nothing_happened: true, ..busy }.retryable())
    }

    /// The message was heard: is this what was said then?
    async fn same_request(&self, key: ClaimKey, request: Hash) -> Result<(), Failure> {
        let claim = self.inner.log.claim(key).await.map_err(|error| error.failure())?;
        if claim.is_some_and(|claim| claim.request != request) { Err(key_reused()) } else { Ok(()) }
    }
}
