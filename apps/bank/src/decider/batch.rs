use std::sync::Arc;

use steadfast_core::{Failure, World};
use steadfast_log::{Append, Claim, ClaimChange, Commit, Committed, Expect, NewEvent, StreamId, limits};

use super::request::Request;
use crate::{
    Answer, BankConfig, Reply, Status,
    books::{Books, Entry},
    decision::{self, Draft, Scene},
    events::SCHEMA,
};

/// Requests that become one commit, each decided on what the earlier ones leave behind.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) requests: Vec<Decided>,
    /// The states before, to go back to when the commit is refused.
    pub(super) before: Vec<(StreamId, Entry)>,
    commit: Commit,
    events: usize,
    bytes: usize,
}

/// A request that is answered once its commit is durable.
pub(super) struct Decided {
    pub(super) request: Request,
    answer: Answer,
    /// Which append of the commit is its attached one.
    place: Option<usize>,
}

impl Decided {
    pub(super) fn reply(&self, committed: &Arc<Committed>) -> Reply {
        Reply {
            answer: self.answer.clone(),
            replayed: false,
            conflicts: self.request.conflicts,
            attached: self.place.map(|place| (committed.clone(), place)),
        }
    }
}

/// What became of a request that was offered to a batch.
pub(super) enum Offer {
    /// It is in.
    Taken,
    /// It has an answer that nothing needs to be written for.
    Answered(Box<Request>, Result<Answer, Failure>),
    /// It needs a commit after this one.
    Full(Box<Request>),
}

/// Room left for the rows of ids and names that stand beside the counted bytes.
const BYTES: usize = limits::INLINE_BYTES - 16 * 1024;

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
    /// What is to be written.
    pub(super) fn commit(&mut self) -> Commit {
        std::mem::take(&mut self.commit)
    }

    /// Decides a request on top of the batch and adds what it writes, if it fits.
    pub(super) fn offer(
        &mut self,
        request: Request,
        books: &mut Books,
        world: &World,
        config: &BankConfig,
    ) -> Offer {
        if request.alone && !self.is_empty() || self.requests.iter().any(|r| r.request.alone) {
            return Offer::Full(Box::new(request));
        }
        let now = world.now();
        let ask = &request.ask;
        let scene = Scene {
            id: request.id,
            now,
            principal: &ask.principal,
            config,
            operation: ask.op.name(),
            purchase: ask.purchase,
            streams: &request.streams,
            states: request
                .streams
                .iter()
                .filter_map(|stream| books.peek(stream).map(|entry| &entry.state))
                .collect(),
        };
        if scene.states.len() < request.streams.len() {
            // Pushed out of memory since it was looked at; the next round reads it again.
            return Offer::Full(Box::new(request));
        }
        let forward = match &request.forward {
            super::request::Forward::Open => None,
            super::request::Forward::Known(answer) => Some(answer),
        };
        let decided = decision::decide(&scene, &ask.op, forward).and_then(|draft| {
            let attached = match &ask.attach {
                Some(attach) => Some(attach(&draft.answer.clone().into_result())?),
                None => None,
            };
            Ok((draft, attached))
        });
        let (draft, attached) = match decided {
            Ok(decided) => decided,
            Err(failure) => return Offer::Answered(Box::new(request), Err(failure)),
        };
        if draft.facts.is_empty() && draft.beside.is_empty() && attached.is_none() {
            return Offer::Answered(Box::new(request), Ok(draft.answer));
        }
        let claims = claims(&request, &draft, now, config);
        if !self.fits(&request, &draft, attached.as_ref(), &claims) {
            return Offer::Full(Box::new(request));
        }
        self.add(request, draft, attached, claims, (books, world, now));
        Offer::Taken
    }

    /// An estimate from above: every event may open a stream of its own.
    fn fits(
        &self,
        request: &Request,
        draft: &Draft,
        attached: Option<&Append>,
        claims: &[ClaimChange],
    ) -> bool {
        let known = |stream: &StreamId| self.place(stream).is_some();
        if attached.is_some_and(|append| known(&append.stream)) {
            // Its version could not be told from that of the other one.
            return false;
        }
        let events =
            draft.facts.len() + draft.beside.len() + attached.map_or(0, |append| append.events.len());
        let streams = request.streams.iter().filter(|s| !known(s)).count()
            + draft.beside.len()
            + usize::from(attached.is_some());
        let beside = claims.len() + draft.wake_ups.len() + draft.listings.len();
        let commit = &self.commit;
        let items = self.events
            + commit.claims.len()
            + commit.wake_ups.len()
            + commit.listings.len()
            + events
            + beside;
        let bytes = weight(draft, attached, claims);
        commit.appends.len() + self.events + streams + events <= limits::STREAMS_AND_EVENTS
            && items <= limits::ITEMS
            && self.bytes + bytes <= BYTES
    }

    fn place(&self, stream: &StreamId) -> Option<usize> {
        self.commit.appends.iter().position(|append| append.stream == *stream)
    }

    fn add(
        &mut self,
        request: Request,
        draft: Draft,
        attached: Option<Append>,
        claims: Vec<ClaimChange>,
        (books, world, now): (&mut Books, &World, steadfast_core::Time),
    ) {
        self.bytes += weight(&draft, attached.as_ref(), &claims);
        let event = |kind, body| {
            let mut event = NewEvent::new(world, kind, SCHEMA, body);
            event.time = now;
            event.correlated(request.ask.correlation)
        };
        for (i, fact) in &draft.facts {
            let stream = &request.streams[*i];
            let Some(entry) = books.get_mut(stream) else {
                continue; // `offer` has just seen it.
            };
            let (kind, body) = fact.encode();
            let place = self.place(stream).unwrap_or_else(|| {
                self.before.push((stream.clone(), entry.clone()));
                self.open(stream.clone(), entry.expect())
            });
            self.commit.appends[place].events.push(event(kind, body));
            entry.state.apply(fact, now);
            entry.version += 1;
            self.events += 1;
        }
        for (stream, kind, body) in draft.beside {
            let place = self.place(&stream).unwrap_or_else(|| self.open(stream, Expect::Any));
            self.commit.appends[place].events.push(event(kind, body));
            self.events += 1;
        }
        let place = attached.map(|append| {
            self.events += append.events.len();
            self.commit.appends.push(append);
            self.commit.appends.len() - 1
        });
        self.commit.claims.extend(claims);
        self.commit.wake_ups.extend(draft.wake_ups);
        self.commit.listings.extend(draft.listings);
        self.requests.push(Decided { request, answer: draft.answer, place });
    }

    fn open(&mut self, stream: StreamId, expect: Expect) -> usize {
        self.commit.appends.push(Append { stream, expect, events: Vec::with_capacity(1) });
        self.commit.appends.len() - 1
    }
}

fn claims(
    request: &Request,
    draft: &Draft,
    now: steadfast_core::Time,
    config: &BankConfig,
) -> Vec<ClaimChange> {
    let mut claims = Vec::with_capacity(1);
    if let Some((key, claim)) = request.claim(&draft.answer, now, config) {
        if let Some(forward) = request.forestalled_key().filter(|_| draft.forestalls) {
            let mut mark = draft.answer.clone();
            mark.status = Status::Compensated;
            let answer = serde_json::to_string(&mark).unwrap_or_default().into();
            let expires = None;
            let request = claim.request;
            let claim = Claim { request, answer, expires };
            claims.push(ClaimChange::Take(forward, claim));
        }
        claims.push(ClaimChange::Take(key, claim));
    }
    claims
}

fn weight(draft: &Draft, attached: Option<&Append>, claims: &[ClaimChange]) -> usize {
    // A fact is small and of bounded parts: a memo of 140, names of 64, ids of 36 bytes.
    let facts = draft.facts.len() * 1_024;
    let beside: usize = draft.beside.iter().map(|(_, _, body)| body.len()).sum();
    let attached: usize =
        attached.iter().flat_map(|append| &append.events).map(|event| event.body.len()).sum();
    let answers: usize = claims
        .iter()
        .map(|change| match change {
            ClaimChange::Take(_, claim) => claim.answer.len(),
            ClaimChange::Settle(..) => 0,
        })
        .sum();
    facts + beside + attached + answers
}

#[cfg(test)]
mod tests;
