//! One call in the books, from its beginning to its end.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, ready};
use http::StatusCode;
use steadfast_core::observe::Signal;

use super::{
    Books, Prospect,
    refused::{dearer, over_budget, unpriced, unpriced_audio, unrecorded},
};
use crate::{
    admission::Seat,
    answer::{About, Answer, Body, CacheResult, Degraded, Frame, Frames, Sense},
    budget::{bound::Bound, ledger::Claim, rules},
    call::{Call, Operation},
    config::RecordMode,
    failure::Tried,
    keys::Taken,
    record::{Bill, End},
    rejected::Rejected,
    usd::Usd,
};

/// A client that left before its answer was whole, as proxies write it.
const LEFT: u16 = 499;

/// One call in the books.
pub(crate) struct Entry {
    books: Arc<Books>,
    bill: Arc<Bill>,
    operation: &'static str,
    taken: Option<Taken>,
    about: About,
    open: bool,
}

impl Entry {
    pub(super) fn new(books: Arc<Books>, bill: Arc<Bill>, operation: Operation) -> Self {
        let operation = operation.name();
        Self { books, bill, operation, taken: None, about: About::default(), open: true }
    }
    /// What the call costs.
    pub(crate) fn bill(&self) -> &Arc<Bill> {
        &self.bill
    }
    /// Estimates what the call may cost at most, and reserves it with all limits that hold for
    /// it: those of the configuration, and `more`. Returns how long an answer may be, where a limit
    /// wants every provider to be told.
    pub(crate) async fn reserve<'a>(
        &self,
        call: &Call,
        prospects: impl Iterator<Item = Prospect<'a>>,
        more: Vec<Claim>,
    ) -> Result<Option<u64>, Rejected> {
        let (books, bill) = (&self.books, &self.bill);
        let mut claims = more;
        if books.config.budget.enabled {
            books.check_name(call)?;
            let about = rules::About { call, route: &bill.route(), now: books.world.now() };
            claims.extend(books.rules.iter().filter_map(|rule| rule.claim(&about)));
        }
        let bound = Bound::of(call, &books.config.budget);
        bill.bounded(bound);
        if claims.is_empty() {
            return Ok(None);
        }
        if let Some(member) = call.asked.dearer {
            return Err(dearer(member));
        }
        if books.recorder.as_ref().is_some_and(|recorder| !recorder.keeps_up()) {
            return Err(unrecorded());
        }
        let mut most = Usd::ZERO;
        for prospect in prospects {
            let price = books.price(&prospect).ok_or_else(|| unpriced(&prospect))?;
            if bound.audible && !price.knows_audio() {
                return Err(unpriced_audio(&prospect));
            }
            most = most.max(price.bound(bound.input, bound.output, bound.seconds));
        }
        let reservation = books.ledger.reserve(claims, most, books.world.now()).await;
        bill.held(reservation.map_err(over_budget)?);
        let says = !matches!(call.operation, Operation::Embeddings | Operation::Transcription);
        Ok(says.then(|| call.asked.output_max.unwrap_or(books.config.budget.output_max.get().into())))
    }
    /// The same for a call that another one needs answered first, with all limits that hold for
    /// that one.
    pub(crate) async fn reserve_for<'a>(
        &self,
        asker: Option<&Arc<Bill>>,
        call: &Call,
        prospects: impl Iterator<Item = Prospect<'a>>,
    ) -> Result<(), Rejected> {
        let mut more = asker.map_or_else(Vec::new, |bill| bill.claims());
        // Those of the configuration are found again, that of a key is not.
        more.retain(|claim| self.books.rules.iter().all(|rule| rule.id != claim.account.rule));
        self.reserve(call, prospects, more).await.map(drop)
    }
    /// Before a provider is asked: the intent is on the disk, if records are durable.
    pub(crate) async fn intend(&self) -> Result<(), Rejected> {
        let records = &self.books.config.records;
        if records.mode != RecordMode::Durable || !records.enabled {
            return Ok(());
        }
        match &self.books.recorder {
            Some(recorder) if !recorder.intend(&self.bill).await => Err(unrecorded()),
            _ => Ok(()),
        }
    }
    /// It has a place, until it is closed.
    pub(crate) fn seated(&mut self, seat: Arc<Seat>, queued: Duration) {
        self.about.queued = queued;
        self.bill.seated(seat);
    }
    /// It took some of what its key may.
    pub(crate) fn took(&mut self, taken: Taken) {
        self.taken = Some(taken);
    }
    /// What became of it. A stream closes the entry at its own end.
    pub(crate) fn finish(mut self, result: Result<Answer, Rejected>) -> Result<Answer, Rejected> {
        let queued = self.about.queued;
        match result {
            Ok(mut answer) => {
                answer.about.queued = queued;
                self.about = answer.about.clone();
                answer.body = match answer.body {
                    Body::Whole(bytes) => {
                        answer.about.cost = self.close(answer.status.as_u16(), "");
                        Body::Whole(bytes)
                    }
                    Body::Stream(frames) => {
                        Body::Stream(Box::pin(Kept { frames: Some(frames), entry: self }))
                    }
                };
                Ok(answer)
            }
            Err(mut rejected) => {
                rejected.about.queued = queued;
                self.about = (*rejected.about).clone();
                self.close(rejected.status.as_u16(), &rejected.failure.code);
                Err(rejected)
            }
        }
    }
    fn close(&mut self, status: u16, code: &str) -> Option<Usd> {
        if !std::mem::replace(&mut self.open, false) {
            return None;
        }
        let about = std::mem::take(&mut self.about);
        let tried: Vec<Tried> = about.tried;
        for it in &tried {
            let signal = Signal::ModelAttempt { provider: &it.provider, outcome: it.class.code() };
            self.books.observer.observe(signal);
        }
        let (attempts, queued) = (about.attempts, about.queued);
        let cache = about.cache.map_or("", CacheResult::name);
        let degraded = about.degraded.map_or("", Degraded::name);
        match about.cache {
            Some(CacheResult::Hit | CacheResult::Similar) => self.books.vitals.looked_up(true),
            Some(CacheResult::Miss) => self.books.vitals.looked_up(false),
            Some(CacheResult::Bypass) | None => {}
        }
        let end = End { status, code: code.into(), attempts, tried, queued, cache, degraded };
        let ended = self.bill.end(end);
        if let Some(taken) = self.taken.take() {
            taken.settle(ended.usage);
        }
        if let Some(recorder) = &self.books.recorder {
            recorder.ended();
        }
        // What a client did wrong, or gave up, says nothing about the gateway.
        let failed = status >= 500;
        self.books.vitals.note(failed, status < 400, ended.total);
        self.books.observer.observe(Signal::ModelCall {
            operation: self.operation,
            route: &ended.route,
            provider: &ended.provider,
            status,
            input: ended.usage.input,
            cached: ended.usage.cached,
            output: ended.usage.output,
            cost_nanos: ended.cost.unwrap_or_default().nanos(),
            queued,
            first: ended.first,
            took: ended.total,
        });
        ended.cost
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.close(LEFT, "client.left");
    }
}

/// A stream that is in the books until it ends.
struct Kept {
    frames: Option<Frames>,
    entry: Entry,
}

impl Kept {
    /// What is under way ends first, so that its cost is known.
    fn close(&mut self, status: u16, code: &str) {
        self.frames = None;
        self.entry.close(status, code);
    }
}

impl Stream for Kept {
    type Item = Frame;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Frame>> {
        let Some(frames) = &mut self.frames else { return Poll::Ready(None) };
        let frame = ready!(frames.as_mut().poll_next(context));
        match frame.as_ref().map(|frame| &frame.sense) {
            Some(Sense::End) => self.close(200, ""),
            Some(Sense::Failed(code)) => {
                let code = *code;
                // The client was told 200 when it began; the record says how it ended.
                self.close(StatusCode::BAD_GATEWAY.as_u16(), code);
            }
            None => self.close(StatusCode::BAD_GATEWAY.as_u16(), "provider.cut"),
            Some(_) => {}
        }
        Poll::Ready(frame)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.frames = None;
    }
}
