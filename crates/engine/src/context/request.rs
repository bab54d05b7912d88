use std::{
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use steadfast_core::Failure;

use super::{Ctx, Halt};
use crate::{
    Data, StepId,
    action::Action,
    record::{Ask, Parked, Undo, What},
};

/// A step that was, or on first poll will be, asked for. Dropping it abandons the wait:
/// the step's result is still recorded, and it is still undone if the run fails.
#[must_use = "a step is asked for when it is awaited"]
pub struct Request<T> {
    ctx: Ctx,
    step: StepId,
    ask: Option<Ask>,
    done: bool,
    types: PhantomData<fn() -> T>,
}

impl<T> Request<T> {
    pub(super) fn new(ctx: &Ctx, ask: Result<Ask, Failure>) -> Self {
        let (step, ask) = match ask {
            Ok(ask) => (ask.step.clone(), Some(ask)),
            Err(failure) => {
                ctx.halt(failure);
                (StepId::from(""), None)
            }
        };
        Self { ctx: ctx.clone(), step, ask, done: false, types: PhantomData }
    }
}

impl<T: DeserializeOwned> Future for Request<T> {
    type Output = Result<T, Failure>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let ask = self.ask.take();
        let mut shared = self.ctx.lock();
        if let Some(ask) = ask {
            shared.ask(ask);
        }
        if shared.halt.is_some() {
            return Poll::Pending;
        }
        let Some(pending) = shared.requests.get_mut(&self.step) else {
            return Poll::Pending;
        };
        let Some(outcome) = pending.outcome.take() else {
            return Poll::Pending;
        };
        shared.release(&self.step);
        let value = match outcome {
            Ok(value) => value.read::<T>().map_err(|failure| (value, failure)),
            Err(failure) => {
                drop(shared);
                self.done = true;
                return Poll::Ready(Err(failure));
            }
        };
        match value {
            Ok(value) => {
                drop(shared);
                self.done = true;
                Poll::Ready(Ok(value))
            }
            Err((_, failure)) => {
                // The recorded result does not fit the code that waits for it: never guess.
                let turn = shared.turn;
                let message =
                    format!("the result of step {:?} does not fit its type: {}", self.step, failure.message);
                shared.halt.get_or_insert(Halt::Park(Parked {
                    code: "workflow.result_shape".into(),
                    message,
                    turn,
                }));
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Request<T> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut shared = self.ctx.lock();
        shared.release(&self.step);
        for waiting in shared.listeners.values_mut() {
            waiting.retain(|step| *step != self.step);
        }
    }
}

/// An action about to be asked for: say here what undoes it, then await it.
#[must_use = "a step is asked for when it is awaited"]
pub struct StepRequest<O> {
    ctx: Ctx,
    step: StepId,
    action: &'static str,
    input: Result<Data, Failure>,
    budget: Duration,
    on_log: bool,
    undo: Option<Result<Undo, Failure>>,
    types: PhantomData<fn() -> O>,
}

impl<O> StepRequest<O> {
    pub(super) fn new(
        ctx: &Ctx,
        step: StepId,
        action: &'static str,
        input: Result<Data, Failure>,
        budget: Duration,
        on_log: bool,
    ) -> Self {
        Self { ctx: ctx.clone(), step, action, input, budget, on_log, undo: None, types: PhantomData }
    }

    /// What undoes this step if the run fails, whether it was finished or not.
    pub fn undo<I: Serialize, A>(mut self, action: &Action<I, A>, input: &I) -> Self {
        self.undo = Some(Data::of(input).map(|input| Undo { action: action.name.into(), input }));
        self
    }
}

impl<O: DeserializeOwned> IntoFuture for StepRequest<O> {
    type Output = Result<O, Failure>;
    type IntoFuture = Request<O>;

    fn into_future(self) -> Request<O> {
        let Self { ctx, step, action, input, budget, on_log, undo, .. } = self;
        let ask = input.and_then(|input| {
            let within_ms = u64::try_from(budget.as_millis()).unwrap_or(u64::MAX);
            let what = What::Action { action: action.into(), input, within_ms, on_log };
            Ok(Ask { step, what, undo: undo.transpose()? })
        });
        Request::new(&ctx, ask)
    }
}
