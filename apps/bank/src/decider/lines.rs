//! Who waits for what, in order: one line for each stream and each key that is wanted.
//!
//! A request stands in the lines of all it needs, and is ready when it is first in each of
//! them and nothing of it is busy; so nobody is overtaken on a stream, and nobody waits for
//! what others do elsewhere. Whoever leaves a line, and whatever becomes free, makes the
//! next one there a candidate: a thousand requests for one account are not looked at again
//! whenever one of them is done.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use steadfast_log::{ClaimKey, StreamId};

use super::request::Request;

/// What two requests cannot have at once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Stream(StreamId),
    Key(ClaimKey),
}

#[derive(Default)]
struct Line {
    busy: bool,
    /// Numbers of those who wait, rising.
    queue: VecDeque<i64>,
}

/// Requests that wait, each under a number: lower ones come first.
#[derive(Default)]
pub(super) struct Lines {
    waiting: BTreeMap<i64, Request>,
    by_place: HashMap<Place, Line>,
    /// Those who may be ready.
    candidates: BTreeSet<i64>,
}

impl Lines {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Behind all others.
    pub(super) fn push_back(&mut self, request: Request) {
        let number = self.waiting.last_key_value().map_or(0, |(last, _)| last + 1);
        for place in places(&request) {
            let queue = &mut self.by_place.entry(place).or_default().queue;
            if queue.back() != Some(&number) {
                queue.push_back(number);
            }
        }
        self.enter(number, request);
    }

    /// Before all others: it was at its turn before.
    pub(super) fn push_front(&mut self, request: Request) {
        let number = self.waiting.first_key_value().map_or(0, |(first, _)| first - 1);
        for place in places(&request) {
            let queue = &mut self.by_place.entry(place).or_default().queue;
            if queue.front() != Some(&number) {
                queue.push_front(number);
            }
        }
        self.enter(number, request);
    }

    fn enter(&mut self, number: i64, request: Request) {
        self.waiting.insert(number, request);
        self.candidates.insert(number);
    }

    /// Takes out the first one that is ready.
    pub(super) fn next(&mut self) -> Option<Request> {
        while let Some(number) = self.candidates.pop_first() {
            let ready = |place: Place| {
                self.by_place
                    .get(&place)
                    .is_some_and(|line| !line.busy && line.queue.front() == Some(&number))
            };
            if self.waiting.get(&number).is_some_and(|request| places(request).all(ready)) {
                return self.leave(number);
            }
        }
        None
    }

    /// Takes out all that wait for a stream.
    pub(super) fn take_all(&mut self, stream: &StreamId) -> Vec<Request> {
        let line = self.by_place.get(&Place::Stream(stream.clone()));
        let numbers = line.map_or_else(VecDeque::new, |line| line.queue.clone());
        numbers.into_iter().filter_map(|number| self.leave(number)).collect()
    }

    fn leave(&mut self, number: i64) -> Option<Request> {
        let request = self.waiting.remove(&number)?;
        for place in places(&request) {
            let Some(line) = self.by_place.get_mut(&place) else { continue };
            if let Some(at) = line.queue.iter().position(|other| *other == number) {
                line.queue.remove(at);
            }
            self.settle(&place);
        }
        Some(request)
    }

    /// Nobody may have it until it is free.
    pub(super) fn occupy(&mut self, place: Place) {
        self.by_place.entry(place).or_default().busy = true;
    }

    /// Whoever waits for it first may be ready.
    pub(super) fn free(&mut self, place: &Place) {
        if let Some(line) = self.by_place.get_mut(place) {
            line.busy = false;
            self.settle(place);
        }
    }

    /// After a change of a line: its first one is a candidate, and an empty one is gone.
    fn settle(&mut self, place: &Place) {
        match self.by_place.get(place) {
            Some(line) if !line.busy => match line.queue.front() {
                Some(first) => drop(self.candidates.insert(*first)),
                None => drop(self.by_place.remove(place)),
            },
            _ => {}
        }
    }
}

fn places(request: &Request) -> impl Iterator<Item = Place> {
    let keys = [request.key(), request.forward_key].into_iter().flatten();
    request.streams.iter().cloned().map(Place::Stream).chain(keys.map(Place::Key))
}

#[cfg(test)]
mod tests {
    use steadfast_core::{Currency, Money, Principal, TenantId, World};
    use tokio::sync::oneshot;

    use super::*;
    use crate::{
        AccountId, Op,
        decider::{Ask, Key},
        op::Transfer,
    };

    fn account(name: &str) -> AccountId {
        AccountId::of(name, "checking").unwrap()
    }

    fn transfer(from: &str, to: &str, key: &str) -> Request {
        let amount = Money::new(1, Currency::MXN).unwrap();
        let (from, to) = (account(from), account(to));
        let op = Op::Transfer(Transfer { from, to, amount, memo: None, imported: false, booked: None });
        let ask = Ask::new(op, Principal::system(TenantId::default()), Key::Client(key.to_owned()));
        Request::new(ask, &World::system(), oneshot::channel().0).unwrap()
    }

    fn next(lines: &mut Lines) -> Option<String> {
        lines.next().map(|request| match request.ask.key {
            Key::Client(key) => key,
            _ => String::new(),
        })
    }

    #[test]
    fn nobody_is_overtaken_on_a_stream_and_nobody_waits_for_others() {
        let mut lines = Lines::default();
        let first = transfer("a", "b", "first");
        let busy = Place::Stream(first.streams[0].clone());
        lines.occupy(busy.clone());
        lines.push_back(first);
        lines.push_back(transfer("b", "c", "second"));
        lines.push_back(transfer("c", "d", "third"));
        lines.push_back(transfer("e", "f", "beside"));
        assert_eq!(next(&mut lines).as_deref(), Some("beside"));
        assert_eq!(next(&mut lines), None);
        lines.free(&busy);
        lines.push_front(transfer("a", "c", "again"));
        for expected in ["again", "first", "second", "third"] {
            assert_eq!(next(&mut lines).as_deref(), Some(expected));
        }
        assert_eq!((next(&mut lines), lines.len()), (None, 0));
        assert!(lines.by_place.is_empty() && lines.candidates.is_empty());
    }

    #[test]
    fn a_key_is_a_place_too_and_all_of_a_stream_can_be_taken_out() {
        let mut lines = Lines::default();
        let request = transfer("a", "b", "key");
        let (stream, key) = (request.streams[0].clone(), Place::Key(request.key().unwrap()));
        lines.occupy(key.clone());
        lines.push_back(request);
        lines.push_back(transfer("c", "a", "other"));
        lines.push_back(transfer("c", "d", "third"));
        assert_eq!(next(&mut lines), None);
        assert_eq!(lines.take_all(&stream).len(), 2);
        assert_eq!(next(&mut lines).as_deref(), Some("third"));
        lines.free(&key);
        assert!(lines.by_place.is_empty());
    }

    #[test]
    fn what_is_busy_stays_so_when_nobody_waits_for_it_any_more() {
        let mut lines = Lines::default();
        let request = transfer("a", "b", "gone");
        let [a, b] = [0, 1].map(|i| request.streams[i].clone());
        lines.occupy(Place::Stream(b.clone()));
        lines.push_back(request);
        assert_eq!(lines.take_all(&a).len(), 1);
        lines.push_back(transfer("b", "c", "next"));
        assert_eq!(next(&mut lines), None);
        lines.free(&Place::Stream(b));
        assert_eq!(next(&mut lines).as_deref(), Some("next"));
    }

    /// A request that needs a stream twice, as a transfer to oneself does, stands in line once.
    #[test]
    fn one_that_needs_a_stream_twice_is_not_in_its_own_way() {
        let mut lines = Lines::default();
        lines.push_back(transfer("a", "a", "back"));
        lines.push_front(transfer("a", "a", "front"));
        assert_eq!(next(&mut lines).as_deref(), Some("front"));
        assert_eq!(next(&mut lines).as_deref(), Some("back"));
        assert!(lines.by_place.is_empty());
    }
}
