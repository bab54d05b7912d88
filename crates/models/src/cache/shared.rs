//! A stream that several read: who asked first, and who asked the same meanwhile.
//!
//! No task drives it. Whoever has read all there is polls the provider's stream and leaves
//! the event for the others; all who wait are woken by it. So the stream goes on for as long
//! as anybody reads, and when the last reader goes away the call upstream is cancelled. The
//! events are collected anyway, to be kept: a reader that comes later begins with them.
//!
//! An answer that grows beyond what is kept is not collected any further: nobody joins it any
//! more, events are forgotten when all have read them, and a reader that falls so far behind
//! is cut off with an error rather than hold the others up.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures::Stream;

use crate::{
    answer::{Frame, Frames, Sense},
    call::Operation,
    failure::{Class, Failed},
    rejected::error_event,
    wire::responses::Sent,
};

/// What becomes of a stream that was collected whole.
pub(super) type Whole = Box<dyn FnOnce(&VecDeque<Frame>) + Send>;

/// A stream that several may read.
pub(super) struct Shared {
    state: Mutex<State>,
    answer_max: usize,
}

struct State {
    source: Option<Frames>,
    frames: VecDeque<Frame>,
    /// The number of the first of `frames`.
    first: usize,
    /// The bytes of `frames`.
    bytes: usize,
    /// All events since the beginning are there.
    whole: bool,
    /// By their number; those that went away are none.
    readers: Vec<Option<Reader>>,
    /// Told once, when all of it is there.
    done: Option<Whole>,
}

struct Reader {
    at: usize,
    waker: Option<Waker>,
}

impl Shared {
    /// `done` gets all events after the last one, unless the stream broke or was too large.
    /// The first reader is given with it.
    pub(super) fn new(
        source: Frames,
        answer_max: usize,
        done: Whole,
        operation: Operation,
        id: &Arc<str>,
    ) -> (Arc<Self>, Frames) {
        let state = State {
            source: Some(source),
            frames: VecDeque::new(),
            first: 0,
            bytes: 0,
            whole: true,
            readers: vec![Some(Reader { at: 0, waker: None })],
            done: Some(done),
        };
        let stream = Arc::new(Self { state: Mutex::new(state), answer_max });
        let first = Reading {
            stream: stream.clone(),
            number: 0,
            sent: Sent::nothing(operation),
            id: id.clone(),
            over: false,
        };
        (stream, Box::pin(first))
    }
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Reads it from its first event; none if that is no longer there. `id` and `operation` are for
    /// the error event of a reader that falls behind.
    pub(super) fn join(self: &Arc<Self>, operation: Operation, id: &Arc<str>) -> Option<Frames> {
        let mut state = self.lock();
        if !state.whole {
            return None;
        }
        let number = state.readers.len();
        state.readers.push(Some(Reader { at: 0, waker: None }));
        Some(Box::pin(Reading {
            stream: self.clone(),
            number,
            sent: Sent::nothing(operation),
            id: id.clone(),
            over: false,
        }))
    }
}

impl State {
    /// Adds an event.
    fn take(&mut self, frame: Frame, answer_max: usize) {
        let last = matches!(frame.sense, Sense::End | Sense::Failed(_));
        let ended = frame.sense == Sense::End;
        self.bytes += frame.bytes.len();
        self.frames.push_back(frame);
        if self.bytes > answer_max {
            self.whole = false;
            self.done = None;
        }
        if last {
            self.source = None;
            if let Some(done) = self.done.take()
                && ended
            {
                done(&self.frames);
            }
        }
        if !self.whole {
            self.forget(answer_max);
        }
    }
    /// Forgets what all have read, and what is too much.
    fn forget(&mut self, answer_max: usize) {
        let behind = self.readers.iter().flatten().map(|reader| reader.at).min().unwrap_or(usize::MAX);
        while self.frames.len() > 1 && (self.first < behind || self.bytes > answer_max) {
            let Some(frame) = self.frames.pop_front() else { break };
            self.bytes -= frame.bytes.len();
            self.first += 1;
        }
    }
    fn wake_others(&mut self, than: usize) {
        for (number, reader) in self.readers.iter_mut().enumerate() {
            if let Some(waker) = reader.as_mut().filter(|_| number != than).and_then(|it| it.waker.take()) {
                waker.wake();
            }
        }
    }
}

/// One reader.
struct Reading {
    stream: Arc<Shared>,
    number: usize,
    sent: Sent,
    id: Arc<str>,
    over: bool,
}

impl Stream for Reading {
    type Item = Frame;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Frame>> {
        if self.over {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        let stream = this.stream.clone();
        let mut state = stream.lock();
        let state = &mut *state;
        loop {
            let Some(Some(reader)) = state.readers.get_mut(this.number) else {
                return Poll::Ready(None);
            };
            let Some(place) = reader.at.checked_sub(state.first) else {
                this.over = true;
                let failed = Failed::new(Class::Cut, "the stream was read too slowly");
                let bytes = error_event(&this.sent, &failed, &this.id);
                return Poll::Ready(Some(Frame::new(bytes, Sense::Failed(failed.class.code()))));
            };
            if let Some(frame) = state.frames.get(place) {
                reader.at += 1;
                this.sent.saw(frame);
                return Poll::Ready(Some(frame.clone()));
            }
            let Some(source) = &mut state.source else {
                this.over = true;
                return Poll::Ready(None);
            };
            match source.as_mut().poll_next(context) {
                Poll::Ready(Some(frame)) => {
                    state.take(frame, stream.answer_max);
                    state.wake_others(this.number);
                }
                Poll::Ready(None) => {
                    state.source = None;
                    state.done = None;
                    state.wake_others(this.number);
                }
                Poll::Pending => {
                    // The provider's stream wakes whoever asked last: the others are woken by
                    // that one, or, should it go away, by its going.
                    reader.waker = Some(context.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut state = self.stream.lock();
        if let Some(reader) = state.readers.get_mut(self.number) {
            *reader = None;
        }
        state.wake_others(self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use bytes::Bytes;
    use futures::{StreamExt as _, channel::mpsc};

    use super::*;

    fn frame(text: &str, sense: Sense) -> Frame {
        Frame::new(Bytes::copy_from_slice(text.as_bytes()), sense)
    }

    /// A stream whose source is fed by hand, its first reader, and how many frames it had when
    /// it was done.
    fn shared(answer_max: usize) -> (mpsc::UnboundedSender<Frame>, Arc<Shared>, Frames, Arc<AtomicUsize>) {
        let (sender, source) = mpsc::unbounded();
        let done = Arc::new(AtomicUsize::new(0));
        let told = done.clone();
        let when_done = Box::new(move |frames: &VecDeque<Frame>| told.store(frames.len(), Relaxed));
        let (stream, first) =
            Shared::new(Box::pin(source), answer_max, when_done, Operation::Chat, &"id".into());
        (sender, stream, first, done)
    }

    fn now(frames: &mut Frames) -> Poll<Option<Frame>> {
        frames.as_mut().poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn whoever_joins_gets_all_events_and_any_reader_keeps_it_going() {
        let (sender, stream, mut first, done) = shared(1_000);
        let send = |text: &str, sense| sender.unbounded_send(frame(text, sense)).expect("read");
        send("a", Sense::Content);
        assert_eq!(now(&mut first), Poll::Ready(Some(frame("a", Sense::Content))));
        assert_eq!(now(&mut first), Poll::Pending, "nothing more yet");
        let mut second = stream.join(Operation::Chat, &"id".into()).expect("it is all there");
        drop(stream);
        assert_eq!(now(&mut second), Poll::Ready(Some(frame("a", Sense::Content))));
        // Both wait; the second asked last. It goes away, and the first is woken to ask itself.
        let waiting = tokio::spawn(async move {
            let next = first.next().await;
            (next, first)
        });
        tokio::task::yield_now().await;
        assert_eq!(now(&mut second), Poll::Pending);
        drop(second);
        tokio::task::yield_now().await;
        send("b", Sense::End);
        let (next, mut first) = waiting.await.expect("goes on");
        assert_eq!(next, Some(frame("b", Sense::End)));
        assert_eq!((now(&mut first), done.load(Relaxed)), (Poll::Ready(None), 2));
    }

    #[test]
    fn with_the_last_reader_the_call_upstream_ends() {
        let (sender, stream, first, done) = shared(1_000);
        let second = stream.join(Operation::Chat, &"id".into());
        drop((stream, first));
        assert!(!sender.is_closed());
        drop(second);
        assert!(sender.is_closed());
        assert_eq!(done.load(Relaxed), 0);
    }

    #[test]
    fn what_is_too_large_is_not_collected_and_who_is_too_slow_is_cut_off() {
        let (sender, stream, mut first, done) = shared(10);
        let mut slow = stream.join(Operation::Chat, &"support".into()).expect("it is all there");
        for i in 0..50 {
            sender.unbounded_send(frame(&format!("{i:04}"), Sense::Content)).expect("read");
            assert_eq!(now(&mut first), Poll::Ready(Some(frame(&format!("{i:04}"), Sense::Content))));
            assert!(stream.lock().frames.len() <= 3);
        }
        assert!(stream.join(Operation::Chat, &"id".into()).is_none(), "its beginning is forgotten");
        let Poll::Ready(Some(cut)) = now(&mut slow) else { panic!("told") };
        assert!(matches!(cut.sense, Sense::Failed(_)) && cut.bytes.windows(7).any(|it| it == b"support"));
        assert_eq!(now(&mut slow), Poll::Ready(None));
        sender.unbounded_send(frame("", Sense::End)).expect("read");
        assert_eq!(now(&mut first), Poll::Ready(Some(frame("", Sense::End))));
        assert_eq!(done.load(Relaxed), 0, "it is not kept");
    }
}
