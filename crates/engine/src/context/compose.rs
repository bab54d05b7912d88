//! The only ways to wait for several things at once. They poll their parts in order,
//! every time, and so behave the same on every replay.

use std::{
    future::{Future, IntoFuture, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use super::Ctx;
use crate::StepId;

/// Which of two came first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first one.
    Left(A),
    /// The second one.
    Right(B),
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Ctx {
    /// Both.
    pub async fn join<A: IntoFuture, B: IntoFuture>(&self, a: A, b: B) -> (A::Output, B::Output) {
        let (mut a, mut b) = (pin!(a.into_future()), pin!(b.into_future()));
        let (mut left, mut right) = (None, None);
        poll_fn(|cx| {
            if left.is_none()
                && let Poll::Ready(value) = a.as_mut().poll(cx)
            {
                left = Some(value);
            }
            if right.is_none()
                && let Poll::Ready(value) = b.as_mut().poll(cx)
            {
                right = Some(value);
            }
            if left.is_some() && right.is_some() {
                return Poll::Ready(left.take().zip(right.take()));
            }
            Poll::Pending
        })
        .await
        .unwrap_or_else(|| unreachable!("both are there when the poll is ready"))
    }

    /// All, in the order given.
    pub async fn join_all<F>(&self, parts: impl IntoIterator<Item = F>) -> Vec<F::Output>
    where
        F: IntoFuture,
        F::IntoFuture: Send,
    {
        let parts: Vec<_> = parts.into_iter().collect();
        let limit = parts.len();
        self.map(parts, limit, |part| part).await
    }

    /// The first to come; the other is abandoned.
    pub async fn race<A: IntoFuture, B: IntoFuture>(&self, a: A, b: B) -> Either<A::Output, B::Output> {
        let (mut a, mut b) = (pin!(a.into_future()), pin!(b.into_future()));
        poll_fn(|cx| {
            if let Poll::Ready(value) = a.as_mut().poll(cx) {
                return Poll::Ready(Either::Left(value));
            }
            b.as_mut().poll(cx).map(Either::Right)
        })
        .await
    }

    /// `part`, or `None` once `limit` has passed; `part` is abandoned then.
    pub async fn timeout<F: IntoFuture>(
        &self,
        id: impl Into<StepId>,
        limit: Duration,
        part: F,
    ) -> Option<F::Output> {
        match self.race(part, self.sleep(id, limit)).await {
            Either::Left(value) => Some(value),
            Either::Right(_) => None,
        }
    }

    /// `start` for each item, at most `limit` at a time; results in the items' order.
    pub async fn map<T, F>(
        &self,
        items: Vec<T>,
        limit: usize,
        mut start: impl FnMut(T) -> F,
    ) -> Vec<F::Output>
    where
        F: IntoFuture,
        F::IntoFuture: Send,
    {
        let mut results: Vec<Option<F::Output>> = items.iter().map(|_| None).collect();
        let mut waiting = items.into_iter().enumerate();
        let mut going: Vec<(usize, Boxed<'_, F::Output>)> = Vec::new();
        poll_fn(|cx| {
            loop {
                while going.len() < limit.max(1)
                    && let Some((place, item)) = waiting.next()
                {
                    going.push((place, Box::pin(start(item).into_future())));
                }
                let before = going.len();
                going.retain_mut(|(place, part)| match part.as_mut().poll(cx) {
                    Poll::Ready(value) => {
                        results[*place] = Some(value);
                        false
                    }
                    Poll::Pending => true,
                });
                if going.len() == before || before == 0 {
                    break;
                }
            }
            if going.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        results.into_iter().flatten().collect()
    }
}
