//! What follows from the store's answer to a commit.

use std::sync::{Arc, atomic::Ordering};

use futures::{FutureExt, future::join_all};
use steadfast_core::{Coded, Failure, Mutant, defaults, planted};
use steadfast_log::{Claim, ClaimKey, CommitError, Committed, ReadError, StreamId};

use super::{
    Decider, Event, Found,
    batch::Batch,
    lines::Place,
    request::{Forward, Request, read_answer},
};

impl Decider {
    pub(super) fn committed(&mut self, batch: Batch, result: Result<Committed, CommitError>) {
        self.commits -= 1;
        for (stream, _) in &batch.before {
            self.waiting.free(&Place::Stream(stream.clone()));
        }
        for decided in &batch.requests {
            let keys = [decided.request.key(), decided.request.forward_key];
            keys.into_iter().flatten().for_each(|key| self.waiting.free(&Place::Key(key)));
        }
        match result {
            Ok(committed) => self.durable(batch, committed),
            Err(error) => self.refused(batch, error),
        }
    }

    fn durable(&mut self, batch: Batch, committed: Committed) {
        self.stats.commits.fetch_add(1, Ordering::Relaxed);
        let requests = batch.requests.len() as u64;
        self.stats.requests.fetch_add(requests, Ordering::Relaxed);
        for (stream, _) in &batch.before {
            self.snapshot(stream);
        }
        let committed = Arc::new(committed);
        for decided in batch.requests {
            let reply = decided.reply(&committed);
            self.finish(decided.request, Ok(reply));
        }
    }

    /// Keeps the state of a long stream. Nothing of it is under way: it is durable.
    fn snapshot(&mut self, stream: &StreamId) {
        let every = self.config.snapshot_every.max(1);
        let Some(entry) = self.books.get_mut(stream) else {
            return;
        };
        if entry.version < entry.snapshot + every {
            return;
        }
        entry.snapshot = entry.version;
        let (log, stream, snapshot) = (self.log.clone(), stream.clone(), entry.to_snapshot());
        self.work.push(
            async move {
                if let Err(error) = log.put_snapshot(stream, snapshot).await {
                    tracing::warn!(%error, "a snapshot was not kept; reading will take longer");
                }
                Event::Done
            }
            .boxed(),
        );
    }

    fn refused(&mut self, batch: Batch, error: CommitError) {
        // Taken keys say nothing about versions, and a store that is away neither.
        let current = matches!(error, CommitError::Claimed(..) | CommitError::TooLarge { .. });
        let mut streams = Vec::with_capacity(batch.before.len());
        for (stream, mut entry) in batch.before {
            if !current {
                entry.tenure = 0;
            }
            if planted(Mutant::ConflictResent)
                && let CommitError::Conflict { stream: at, actual } = &error
                && *at == stream
            {
                (entry.version, entry.tenure) = (*actual, self.tenure.number());
            }
            streams.push(stream.clone());
            self.books.put(stream, entry);
        }
        let requests: Vec<Request> = batch.requests.into_iter().map(|d| d.request).collect();
        match error {
            CommitError::Conflict { .. } => self.conflicted(requests),
            CommitError::Claimed(key, claim) => self.look_up(requests, streams, Ok((key, claim))),
            CommitError::Unknown(_) => self.look_up(requests, streams, Err(error)),
            CommitError::TooLarge { .. } | CommitError::Invalid(_) | CommitError::NoPayload(_)
                if requests.len() > 1 =>
            {
                // One of them spoils the commit: each gets its own, and its own error.
                for mut request in requests.into_iter().rev() {
                    request.alone = true;
                    self.waiting.push_front(request);
                }
            }
            CommitError::TooLarge { .. }
            | CommitError::Invalid(_)
            | CommitError::NoPayload(_)
            | CommitError::Unavailable(_)
            | CommitError::Held
            | CommitError::Closed => {
                for request in requests {
                    self.finish(request, Err(error.failure()));
                }
            }
        }
    }

    fn conflicted(&mut self, requests: Vec<Request>) {
        self.stats.conflicts.fetch_add(1, Ordering::Relaxed);
        for mut request in requests.into_iter().rev() {
            request.conflicts += 1;
            if request.conflicts > defaults::CONFLICT_ATTEMPTS {
                self.finish(request, Err(contended()));
            } else if request.conflicts == 1 {
                self.waiting.push_front(request);
            } else {
                let most = u64::try_from(defaults::CONFLICT_WAIT.as_micros()).unwrap_or(0);
                let wait = self.world.chance().below(most + 1);
                let sleep = self.world.clock().sleep(std::time::Duration::from_micros(wait));
                self.aside += 1;
                self.work.push(
                    async move {
                        sleep.await;
                        Event::Again(request)
                    }
                    .boxed(),
                );
            }
        }
    }

    /// Reads what is recorded under the requests' keys, all of them at once: where one
    /// was taken there are often more, as when a client sends everything again. Their
    /// streams stay busy meanwhile, so that those decided anew keep their turn.
    fn look_up(
        &mut self,
        requests: Vec<Request>,
        streams: Vec<StreamId>,
        known: Result<(ClaimKey, Claim), CommitError>,
    ) {
        self.aside += requests.len();
        for stream in &streams {
            self.waiting.occupy(Place::Stream(stream.clone()));
        }
        let log = self.log.clone();
        let look = async move {
            let find = |key: Option<ClaimKey>| {
                let (log, known) = (log.clone(), known.as_ref().ok().cloned());
                async move {
                    match (key, known) {
                        // It holds by the store's clock, whatever ours says.
                        (Some(key), Some((named, claim))) if key == named => {
                            let expires = None;
                            Ok(Some(Claim { expires, ..claim }))
                        }
                        (Some(key), _) => log.claim(key).await,
                        (None, _) => Ok(None),
                    }
                }
            };
            let found = join_all(requests.into_iter().map(|request| async {
                let own = find(request.key()).await;
                let forward = find(request.forestalled_key()).await;
                (request, Found { own, forward })
            }))
            .await;
            Event::Found(found, streams, known.err())
        };
        self.work.push(look.boxed());
    }

    pub(super) fn found(
        &mut self,
        found: Vec<(Request, Found)>,
        streams: &[StreamId],
        lost: Option<&CommitError>,
    ) {
        self.aside -= found.len();
        for stream in streams {
            self.waiting.free(&Place::Stream(stream.clone()));
        }
        match lost {
            None => self.claims(found),
            Some(error) => self.traced(found, error),
        }
    }

    /// After a taken key: answers the repeats, decides the others anew.
    fn claims(&mut self, found: Vec<(Request, Found)>) {
        let now = self.world.now();
        for (mut request, Found { own, forward }) in found.into_iter().rev() {
            match (own, forward) {
                (Err(error), _) | (_, Err(error)) => {
                    self.finish(request, Err(crate::books::unreadable(&error)));
                }
                (Ok(Some(claim)), _) if claim.live(now) => {
                    let result = request.by_claim(&claim);
                    self.finish(request, result);
                }
                (Ok(_), Ok(forward)) => match forward.as_ref().map(read_answer) {
                    None => self.waiting.push_front(request),
                    Some(Ok(answer)) => {
                        request.forward = Forward::Known(answer);
                        self.waiting.push_front(request);
                    }
                    Some(Err(failure)) => self.finish(request, Err(failure)),
                },
            }
        }
    }

    /// Not accepted, as things are now. If it was accepted before, under its key, then
    /// that is still the answer.
    pub(super) fn rejected(&mut self, request: Request, failure: Failure) {
        let Some(key) = request.key() else {
            self.finish(request, Err(failure));
            return;
        };
        self.aside += 1;
        let log = self.log.clone();
        let confirm = async move {
            let own = log.claim(key).await;
            Event::Rejected(request, failure, own)
        };
        self.work.push(confirm.boxed());
    }

    pub(super) fn confirmed(
        &mut self,
        request: Request,
        failure: Failure,
        own: Result<Option<Claim>, ReadError>,
    ) {
        self.aside -= 1;
        let result = match own {
            Ok(Some(claim)) if claim.live(self.world.now()) => request.by_claim(&claim),
            Ok(_) => Err(failure),
            Err(error) => Err(crate::books::unreadable(&error)),
        };
        self.finish(request, result);
    }

    /// After a commit of which the store lost track: what has a claim has happened; of
    /// the rest nobody knows, and the caller must ask again under its key.
    fn traced(&mut self, found: Vec<(Request, Found)>, error: &CommitError) {
        for (request, Found { own, .. }) in found {
            let result = match own {
                Ok(Some(claim)) => request.by_claim(&claim),
                Ok(None) | Err(_) => Err(error.failure()),
            };
            self.finish(request, result);
        }
    }
}

fn contended() -> Failure {
    let mut failure = Failure::refused(
        "ledger.contended",
        "other nodes kept changing the same accounts; nothing happened, ask again",
    )
    .retryable();
    failure.fault = steadfast_core::Fault::Us;
    failure
}
