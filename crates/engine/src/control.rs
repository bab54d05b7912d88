//! What people do to runs: signal, cancel, kill, replay.

use std::sync::Arc;

use steadfast_core::{Coded, Failure, Mutant, RunId, TenantId, defaults, planted};
use steadfast_log::{ClaimChange, Commit, CommitError, Expect, StreamId};
use uuid::Uuid;

use crate::{
    Data, Engine, Status,
    accept::key_reused,
    dead_letter::{DeadLetter, DeadLetterId, LetterKind, stream as letter_stream},
    effects::Ending,
    engine::{Inner, run_stream},
    history::History,
    record::{Ended, Message, Replayed, Sent, kind},
    store::{LoadError, commit_patiently, load, load_message},
};

impl Engine {
    /// Sends a named value. The same `id` again counts once, and is answered with `true`;
    /// with another content it is refused.
    pub async fn signal(
        &self,
        tenant: &TenantId,
        run: RunId,
        id: Option<Uuid>,
        from: &str,
        name: &str,
        value: Data,
    ) -> Result<bool, Failure> {
        steadfast_core::principal::check_name("signal", name)
            .map_err(|error| Failure::refused("signal.invalid_name", error.to_string()))?;
        self.send(tenant, run, id, from, Sent::Signal { name: name.into(), value }).await
    }

    /// Asks a run to end, and answers as [`Engine::signal`] does: its waits fail with `run.cancelled`, and what was done is undone.
    pub async fn cancel(
        &self,
        tenant: &TenantId,
        run: RunId,
        id: Option<Uuid>,
        from: &str,
        reason: &str,
    ) -> Result<bool, Failure> {
        let reason = reason.chars().take(500).collect();
        self.send(tenant, run, id, from, Sent::Cancel { reason }).await
    }

    pub(crate) async fn send(
        &self,
        tenant: &TenantId,
        run: RunId,
        id: Option<Uuid>,
        from: &str,
        what: Sent,
    ) -> Result<bool, Failure> {
        let engine = &self.inner;
        let stream = run_stream(tenant, run);
        let id = id.unwrap_or_else(|| engine.world.uuid());
        let message = Message { id, from: Some(from.into()), what };
        let history = engine
            .change(&stream, |history| {
                if history.heard.contains_key(&message.id) && !planted(Mutant::MessageTwice) {
                    return Ok(None);
                }
                refuse_ended(history)?;
                let mut writer = engine.writer(&history.facts);
                writer.record(kind::MESSAGE, &message);
                writer.wake(engine.world.now(), history.owner);
                Ok(Some(writer.finish()))
            })
            .await?;
        engine.refresh(tenant, run);
        let Some(heard) = history.heard.get(&message.id) else {
            return Ok(false);
        };
        let before = load_message(&*engine.log, &stream, heard.version).await;
        let before = before.map_err(|error| error.failure())?;
        if before.what == message.what { Ok(true) } else { Err(key_reused()) }
    }

    /// Ends a run at once and undoes nothing.
    pub async fn kill(&self, tenant: &TenantId, run: RunId, by: &str, reason: &str) -> Result<(), Failure> {
        let engine = &self.inner;
        let stream = run_stream(tenant, run);
        let reason: String = reason.chars().take(500).collect();
        let failure =
            Failure::refused("run.killed", format!("the run was killed and not compensated: {reason}"));
        let history = engine
            .change(&stream, |history| {
                refuse_ended(history)?;
                let mut writer = engine.writer(&history.facts);
                let ended =
                    Ended { status: Status::Killed, failure: Some(failure.clone()), by: Some(by.into()) };
                writer.event(kind::ENDED, &ended);
                engine.end(
                    &mut writer,
                    &history.facts,
                    history.generation,
                    Status::Killed,
                    &Err(failure.clone()),
                );
                if history.parked.is_some() {
                    writer.unpark();
                }
                if !history.open_children().is_empty() {
                    engine.leave_orphans(&mut writer);
                }
                let steps = history.on_log();
                let ending = Ending::undone(history, Status::Killed, &steps);
                engine.settle_effects(&mut writer, &history.facts, &ending);
                Ok(Some(writer.finish()))
            })
            .await?;
        engine.ended(&history.facts, Status::Killed, Err(failure));
        engine.refresh(tenant, run);
        engine.tell_orphans(&stream);
        Ok(())
    }

    /// Replays a dead letter: a run goes on at its failed step, or from the start if any
    /// of it was undone; a compensation and a message are tried again.
    pub async fn replay(&self, tenant: &TenantId, id: DeadLetterId, by: &str) -> Result<(), Failure> {
        let engine = &self.inner;
        let view = self.dead_letter(tenant, id).await?;
        if view.status != "open" {
            let message = format!("dead letter {id} is {}; only open ones can be replayed", view.status);
            return Err(Failure::refused("dead_letter.closed", message));
        }
        let letter: DeadLetter = view.letter;
        let stream = letter_stream(tenant, id);
        match (letter.kind, letter.run) {
            (LetterKind::Message, _) => engine.replay_message(&letter, &stream, by).await,
            (LetterKind::Undo, _) => engine.replay_undo(letter, stream, by).await,
            (LetterKind::Run, Some(run)) => {
                let history = load(&*engine.log, &run_stream(tenant, run), false).await;
                let history = history.map_err(|error| error.failure())?;
                engine.replay_run(&history, by, Some(&stream)).await
            }
            (LetterKind::Run, None) => {
                Err(Failure::internal("dead_letter.unreadable", "the dead letter names no run"))
            }
        }
    }
}

impl Inner {
    /// Puts an ended run back to work, and closes its dead letter in the same commit.
    pub(crate) async fn replay_run(
        self: &Arc<Self>,
        history: &History,
        by: &str,
        letter: Option<&StreamId>,
    ) -> Result<(), Failure> {
        if !history.status().ended() {
            return Err(Failure::refused("run.not_ended", "the run is going on; there is nothing to replay"));
        }
        if history.status() != Status::Dead {
            // A parent's replay brought it back, and its letter was not needed.
            let message = format!("the run has ended as {} since", history.status().as_str());
            return Err(Failure::refused("dead_letter.cannot_replay", message));
        }
        if self.effects(&history.facts.stream).await.map_err(|error| error.failure())?.settled {
            return Err(expired());
        }
        if letter.is_some() {
            self.refuse_unwanted_child(history).await?;
        }
        let facts = &history.facts;
        let generation = history.replays_as();
        let mut writer = self.writer(facts);
        writer.event(kind::REPLAYED, &Replayed { by: by.into(), generation });
        writer.expect(Expect::Exact(history.head));
        writer.status(Status::Running);
        // Its owner goes on with it, or whoever takes it over; who asked for it may be another.
        writer.wake(self.world.now(), history.owner);
        if generation == history.generation {
            // It waits for its children again.
            writer.forget_orphans();
        }
        writer.keep_effects();
        if let Some(claim) = facts.started.claim {
            // A live run's key never expires.
            writer.commit.claims.push(ClaimChange::Settle(claim, steadfast_core::Time::NEVER));
        }
        if let Some(letter) = letter {
            self.close_letter(&mut writer.commit, letter, kind::LETTER_REPLAYED, by);
        }
        match self.log.commit(writer.finish()).await {
            Ok(_) => {
                self.count_open(&facts.stream.tenant(), 1);
                self.refresh(&facts.stream.tenant(), facts.run);
                Ok(())
            }
            Err(CommitError::Conflict { .. }) => Err(changed()),
            Err(error) => Err(error.failure()),
        }
    }

    /// A parent that has gone on without its child has told so, or has undone what it did: what
    /// the child would do now nobody waits for, and nobody would undo.
    async fn refuse_unwanted_child(&self, history: &History) -> Result<(), Failure> {
        let Some(parent) = &history.facts.started.parent else { return Ok(()) };
        let stream = run_stream(&history.facts.stream.tenant(), parent.run);
        let wanted = match load(&*self.log, &stream, false).await {
            Ok(asked) => asked.may_wait_for(parent.generation, &parent.step),
            Err(LoadError::Missing) => false,
            Err(error) => return Err(error.failure()),
        };
        if wanted {
            return Ok(());
        }
        let message = format!("run {} has gone on without this child; start what is wanted anew", parent.run);
        Err(Failure::refused("dead_letter.cannot_replay", message))
    }

    /// Reads a run, decides, and commits exactly on what was read; decides again when the
    /// run has moved on.
    async fn change(
        &self,
        stream: &StreamId,
        decide: impl Fn(&History) -> Result<Option<Commit>, Failure>,
    ) -> Result<History, Failure> {
        let mut attempt = 0;
        loop {
            let history = load(&*self.log, stream, false).await.map_err(|error| error.failure())?;
            let Some(mut commit) = decide(&history)? else {
                return Ok(history);
            };
            if let Some(own) = commit.appends.first_mut() {
                own.expect = Expect::Exact(history.head);
            }
            match commit_patiently(&self.log, &self.world, commit).await {
                Ok(_) => return Ok(history),
                Err(CommitError::Conflict { .. }) if attempt < defaults::CONFLICT_ATTEMPTS * 4 => {
                    attempt += 1;
                    let wait = defaults::CONFLICT_WAIT.mul_f64(self.world.chance().fraction());
                    if attempt > 1 {
                        self.world.clock().sleep(wait).await;
                    }
                }
                Err(error) => return Err(error.failure().retryable()),
            }
        }
    }
}

pub(crate) fn changed() -> Failure {
    Failure::refused("dead_letter.changed", "the run or its dead letter changed meanwhile; look again")
        .retryable()
}

/// The keys of its effects are being forgotten: nothing may rest on them any more.
pub(crate) fn expired() -> Failure {
    let message = "the time in which this dead letter could be replayed is over; see to it by hand";
    Failure::refused("dead_letter.expired", message)
}

pub(crate) fn refuse_ended(history: &History) -> Result<(), Failure> {
    let status = history.status();
    if status.ended() {
        let message = format!("the run has ended as {}; nothing can be sent to it", status.as_str());
        return Err(Failure::refused("run.ended", message));
    }
    Ok(())
}
