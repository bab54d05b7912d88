//! The order of stages that every call passes, each a file of its own.
//!
//! ```text
//! redact, screen → estimate, reserve budget → cache → admission → route → degrade
//! ```
//!
//! A stage that is not listed in [`Models::answer`] is not there. Whatever a stage takes
//! (a reservation, a place, a permit) is given back when what it returned is dropped.

use std::{pin::pin, sync::Arc};

use bytes::Bytes;
use http::HeaderMap;
use steadfast_resilience::Deadline;

use super::Models;
use crate::{
    admission::{Seat, Visitor},
    answer::{About, Answer},
    books::Entry,
    budget::rules,
    cache::{Asker, Looked},
    call::{Call, Caller, Operation},
    failure::Failed,
    keys::Key,
    rejected::Rejected,
    route::Route,
};

/// What is done before anybody is asked, or that there is no time for it.
pub(crate) async fn in_time<T>(
    deadline: &Deadline,
    work: impl Future<Output = Result<T, Rejected>>,
) -> Result<T, Rejected> {
    let done = deadline.run(work).await;
    done.unwrap_or_else(|_| Err(Rejected::of(Failed::nobody_asked(), About::default())))
}

impl Models {
    /// Reads a call and answers it: all there is, in one.
    pub async fn process(
        &self,
        id: Arc<str>,
        operation: Operation,
        payload: Bytes,
        caller: Caller,
        options: &HeaderMap,
    ) -> Result<Answer, Rejected> {
        let call = Call::read(id, operation, options, payload, caller)?;
        self.answer(call).await
    }
    /// Answers a call. Dropped half-way, or its stream dropped, the call upstream is cancelled.
    pub async fn answer(&self, call: Call) -> Result<Answer, Rejected> {
        let deadline = self.deadline(&call);
        self.answer_by(deadline, call).await
    }
    /// Sees that somebody may be asked for the model of a call, and by its key.
    pub(crate) fn check_route(&self, call: &Call) -> Result<(), Rejected> {
        let route = self.routes.find(call).ok_or_else(|| self.routes.not_found(call))?;
        let key = call.caller.key.as_ref().and_then(|id| self.keys.find(id));
        key.map_or(Ok(()), |key| key.check_route(route.name()))
    }
    /// When a call that comes now must be over.
    pub(crate) fn deadline(&self, call: &Call) -> Deadline {
        self.routes.deadline(call)
    }
    /// The same as [`Self::answer`] for a call that came a while ago.
    pub(crate) async fn answer_by(&self, deadline: Deadline, mut call: Call) -> Result<Answer, Rejected> {
        call.check_foreground()?;
        let route = self.routes.find(&call);
        let key = call.caller.key.as_ref().and_then(|id| self.keys.find(id));
        if let Some(key) = &key {
            call.options.labels = Some(key.labels(call.options.labels.as_ref()));
        }
        let mut entry = self.books.open(&call, route.map(|route| route.name()));
        let result = match route {
            Some(route) => {
                let of = (call.operation, call.id.clone());
                let work = pin!(self.answer_on(route, call, key, deadline, &mut entry));
                self.stop.before(of, work).await
            }
            None => Err(self.routes.not_found(&call)),
        };
        entry.finish(result)
    }
    async fn answer_on(
        &self,
        route: &Arc<Route>,
        mut call: Call,
        key: Option<Arc<Key>>,
        deadline: Deadline,
        entry: &mut Entry,
    ) -> Result<Answer, Rejected> {
        let redacted = self.screen.redact(&mut call, route.screened())?;
        let mut more = Vec::new();
        if let Some(key) = key {
            entry.took(key.admit(&call, route.name())?);
            let about = rules::About { call: &call, route: route.name(), now: self.world.now() };
            more.extend(key.claim(&about));
        }
        let reserved = entry.reserve(&call, route.prospects(&call), more);
        call.output_forced = in_time(&deadline, reserved).await?;
        let call = Arc::new(call);
        match (redacted, self.answer_screened(&call, route, deadline, entry).await) {
            (Some(redacted), Ok(answer)) => Ok(redacted.restore(&call, answer)),
            (Some(redacted), Err(rejected)) => Err(redacted.restore_words(rejected)),
            (None, result) => result,
        }
    }
    async fn answer_screened(
        &self,
        call: &Arc<Call>,
        route: &Arc<Route>,
        deadline: Deadline,
        entry: &mut Entry,
    ) -> Result<Answer, Rejected> {
        let asker = Asker { call, bill: Some(entry.bill()) };
        let miss = match self.cache.look(asker, route.mark(), &deadline).await {
            Looked::Found(answer) => return Ok(answer),
            Looked::Miss(miss) => miss,
        };
        match self.ask(call, route, deadline, entry).await {
            Ok(answer) => {
                self.degrade.note(true);
                Ok(miss.keep(call, answer))
            }
            Err(rejected) => self.degrade.answer(call, rejected, miss, &self.cache).await,
        }
    }
    /// Those that take a place.
    async fn ask(
        &self,
        call: &Arc<Call>,
        route: &Arc<Route>,
        deadline: Deadline,
        entry: &mut Entry,
    ) -> Result<Answer, Rejected> {
        let visitor = Visitor::of(call, route.name());
        let (seat, queued) = Seat::take(&self.admission, visitor, &deadline).await?;
        entry.seated(seat, queued);
        in_time(&deadline, entry.intend()).await?;
        self.routes.answer(route, call, entry.bill(), deadline).await
    }
}
