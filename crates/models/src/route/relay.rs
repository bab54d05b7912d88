//! A stream on its way to the client, after its first content.
//!
//! From here on nothing can be taken back. If the provider fails now, one of two things
//! happens: the route goes on where the text ends with whoever else can answer, if that is
//! wanted and the answer is plain text (`join` sees to the seam); or the stream ends with one
//! error event, and never with the line that says it is whole.
//!
//! No task is spawned: the stream is polled by whoever writes it to the client, and dropped
//! with the client's connection, which closes the provider's.

use std::{collections::VecDeque, sync::Arc};

use futures::{StreamExt as _, stream::unfold};
use steadfast_resilience::Deadline;

use super::{
    Asked, Route,
    choice::Target,
    join::Seam,
    upstream::{Begun, Hold},
};
use crate::{
    answer::{About, Frame, Frames, Sense, Usage},
    call::Call,
    failure::Failed,
    providers::{Events, Patience},
    record::Bill,
    rejected::{Rejected, error_event},
    wire::{cut, responses::Sent},
};

/// How often one answer may be continued.
const CONTINUED_MAX: u32 = 3;

/// The state of one stream.
pub(super) struct Relay {
    call: Arc<Call>,
    bill: Arc<Bill>,
    route: Arc<Route>,
    /// Everybody who may answer.
    order: Vec<Target>,
    target: Target,
    ready: VecDeque<Frame>,
    rest: Events,
    patience: Patience,
    hold: Hold,
    usage: Usage,
    deadline: Deadline,
    /// What was said so far, if somebody else may have to go on.
    seam: Option<Seam>,
    sent: Sent,
    continued: u32,
    over: bool,
}

impl Relay {
    pub(super) fn new(
        call: Arc<Call>,
        bill: Arc<Bill>,
        route: Arc<Route>,
        order: Vec<Target>,
        target: Target,
        begun: Begun,
        deadline: Deadline,
    ) -> Self {
        let wanted = call.options.continue_stream.unwrap_or(route.config.continue_streams);
        let seam = (wanted && call.continuable()).then(|| Seam::new(call.operation));
        let mut relay = Self {
            sent: Sent::nothing(call.operation),
            call,
            bill,
            route,
            order,
            target,
            ready: VecDeque::new(),
            rest: begun.rest,
            patience: begun.patience,
            hold: begun.hold,
            usage: Usage::default(),
            deadline,
            seam,
            continued: 0,
            over: false,
        };
        for frame in begun.opening {
            relay.take(frame);
        }
        relay
    }
    /// As what the client reads.
    pub(super) fn frames(self) -> Frames {
        Box::pin(unfold(Box::new(self), |mut relay| async move {
            let frame = relay.next().await?;
            Some((frame, relay))
        }))
    }
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                self.over |= matches!(frame.sense, Sense::End | Sense::Failed(_));
                self.sent.saw(&frame);
                return Some(frame);
            }
            if self.over {
                return None;
            }
            let failed = match self.patience.wait(self.rest.next()).await {
                Ok(Some(Ok(frame))) => {
                    self.patience.renew();
                    self.take(frame);
                    continue;
                }
                Ok(Some(Err(failed))) => failed,
                Ok(None) => cut(),
                Err(wait) => self.target.upstream.late(wait),
            };
            self.failed(failed).await;
        }
    }
    /// One event from the provider.
    fn take(&mut self, frame: Frame) {
        if let Some(usage) = frame.usage {
            self.usage = self.usage.max(usage);
        }
        self.hold.saw(&frame);
        if frame.sense == Sense::End {
            self.hold.end(self.usage);
        }
        match &mut self.seam {
            Some(seam) => seam.pass(frame, &mut self.ready),
            None => self.ready.push_back(frame),
        }
    }
    /// The provider failed after its first content.
    async fn failed(&mut self, failed: Failed) {
        // A client that wants no more time says nothing about the provider.
        if !self.deadline.is_over() {
            self.target.upstream.broke();
        }
        let failed = match self.go_on().await {
            Some(Ok(())) => return,
            Some(Err(_)) | None => failed,
        };
        let event = error_event(&self.sent, &failed, &self.call.id);
        self.ready.push_back(Frame::new(event, Sense::Failed(failed.class.code())));
    }
    /// Lets somebody go on from the text so far. `None` if that cannot be.
    async fn go_on(&mut self) -> Option<Result<(), Rejected>> {
        let text = self.seam.as_ref()?.text()?.to_owned();
        self.continued += 1;
        if self.continued > CONTINUED_MAX || self.deadline.is_over() {
            return None;
        }
        // Who has just failed comes last: perhaps it only dropped this one connection.
        let mut order = self.order.clone();
        let others = |target: &Target| !Arc::ptr_eq(&target.upstream, &self.target.upstream);
        order.sort_by_key(|target| !others(target));
        let about = About::default();
        let first =
            self.route.first(&self.call, &self.bill, &order, Some(&text), &self.deadline, about).await;
        let (asked, target, _) = match first {
            Ok(first) => first,
            Err(rejected) => return Some(Err(rejected)),
        };
        let Asked::Stream(begun) = asked else { return None };
        if let Some(seam) = &mut self.seam {
            seam.begin();
        }
        self.ready.push_back(Frame::new(bytes::Bytes::new(), Sense::Moved(target.upstream.name().clone())));
        self.target = target;
        (self.rest, self.patience, self.hold) = (begun.rest, begun.patience, begun.hold);
        self.usage = Usage::default();
        for frame in begun.opening {
            self.take(frame);
        }
        Some(Ok(()))
    }
}
