//! The end of a node: who is still waiting is told, and not cut off without a word.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{Stream, future::BoxFuture};
use http::StatusCode;
use steadfast_core::Failure;
use tokio::sync::watch;

use crate::{
    answer::{Answer, Body, Frame, Frames, Sense},
    call::Operation,
    rejected::{Rejected, rejected_event},
};

const CODE: &str = "node.stopping";

/// Whether all calls are to end now.
#[derive(Debug, Clone)]
pub(crate) struct Stop(Arc<watch::Sender<bool>>);

fn stopping() -> Rejected {
    let failure = Failure::internal(CODE, "the node stops, and this was not done in time: ask again");
    Rejected::new(failure.retryable(), StatusCode::SERVICE_UNAVAILABLE)
}

impl Stop {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
    /// Ends all calls that are under way, and all that come.
    pub(crate) fn now(&self) {
        self.0.send_replace(true);
    }
    fn said(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut said = self.0.subscribe();
        async move {
            // Whoever is asked holds the sender.
            let _ = said.wait_for(|said| *said).await;
        }
    }
    /// What comes of `work`, if it ends before the node does. So does a stream.
    pub(crate) async fn before(
        &self,
        (operation, id): (Operation, Arc<str>),
        work: Pin<&mut impl Future<Output = Result<Answer, Rejected>>>,
    ) -> Result<Answer, Rejected> {
        let mut answer = tokio::select! {
            biased;
            answer = work => answer?,
            () = self.said() => return Err(stopping()),
        };
        if let Body::Stream(frames) = answer.body {
            let stop = Box::pin(self.said());
            answer.body = Body::Stream(Box::pin(Told { frames: Some(frames), stop, operation, id }));
        }
        Ok(answer)
    }
}

/// A stream that ends with an error event if the node ends first.
struct Told {
    frames: Option<Frames>,
    stop: BoxFuture<'static, ()>,
    operation: Operation,
    id: Arc<str>,
}

impl Stream for Told {
    type Item = Frame;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Frame>> {
        let Some(frames) = &mut self.frames else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = frames.as_mut().poll_next(context) {
            return Poll::Ready(frame);
        }
        if self.stop.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        // The call upstream ends with them.
        self.frames = None;
        let event = rejected_event(self.operation, &stopping(), &self.id);
        Poll::Ready(Some(Frame::new(event, Sense::Failed(CODE))))
    }
}
