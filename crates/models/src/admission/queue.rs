//! Who waits, and whose turn it is. No clock, no tasks, no locks: a plain structure.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::call::Priority;

/// Levels, the least urgent first.
const LEVELS: usize = 4;

/// One who waits.
#[derive(Debug)]
pub(super) struct Waiter<T> {
    pub(super) user: Arc<str>,
    pub(super) route: Arc<str>,
    pub(super) priority: Priority,
    /// Since when in all.
    pub(super) since: Duration,
    /// What it is told through.
    pub(super) reply: T,
    /// Since when at this level.
    risen: Duration,
}

/// One level: users take turns, and each user's calls come in their order.
#[derive(Debug)]
struct Level<T> {
    /// By number, the oldest first. Numbers are given anew with each rise.
    waiters: BTreeMap<u64, Waiter<T>>,
    of_user: HashMap<Arc<str>, VecDeque<u64>>,
    /// Whose turn it is.
    turns: VecDeque<Arc<str>>,
}

impl<T> Default for Level<T> {
    fn default() -> Self {
        Self { waiters: BTreeMap::new(), of_user: HashMap::new(), turns: VecDeque::new() }
    }
}

impl<T> Level<T> {
    fn push(&mut self, number: u64, waiter: Waiter<T>) {
        let queue = self.of_user.entry(waiter.user.clone()).or_default();
        if queue.is_empty() {
            self.turns.push_back(waiter.user.clone());
        }
        queue.push_back(number);
        self.waiters.insert(number, waiter);
    }
    fn remove(&mut self, number: u64) -> Option<Waiter<T>> {
        let waiter = self.waiters.remove(&number)?;
        if let Some(queue) = self.of_user.get_mut(&waiter.user) {
            if let Ok(at) = queue.binary_search(&number) {
                queue.remove(at);
            }
            if queue.is_empty() {
                self.of_user.remove(&waiter.user);
                self.turns.retain(|user| *user != waiter.user);
            }
        }
        Some(waiter)
    }
    fn pop(&mut self) -> Option<Waiter<T>> {
        let user = self.turns.pop_front()?;
        let queue = self.of_user.get_mut(&user)?;
        let number = queue.pop_front()?;
        if queue.is_empty() {
            self.of_user.remove(&user);
        } else {
            self.turns.push_back(user);
        }
        self.waiters.remove(&number)
    }
}

/// Names a waiter for as long as it waits, whatever its level.
pub(super) type Ticket = u64;

/// All who wait.
#[derive(Debug)]
pub(super) struct Queue<T> {
    levels: [Level<T>; LEVELS],
    /// Where a ticket stands now: its level, and its number there.
    places: HashMap<Ticket, (usize, u64)>,
    tickets: HashMap<u64, Ticket>,
    next: u64,
    ageing: Duration,
}

impl<T> Queue<T> {
    pub(super) fn new(ageing: Duration) -> Self {
        Self {
            levels: std::array::from_fn(|_| Level::default()),
            places: HashMap::new(),
            tickets: HashMap::new(),
            next: 0,
            ageing,
        }
    }
    pub(super) fn set_ageing(&mut self, ageing: Duration) {
        self.ageing = ageing;
    }
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
    fn put(&mut self, ticket: Ticket, level: usize, waiter: Waiter<T>) {
        let number = self.number();
        self.places.insert(ticket, (level, number));
        self.tickets.insert(number, ticket);
        self.levels[level].push(number, waiter);
    }
    fn forget(&mut self, number: u64) {
        if let Some(ticket) = self.tickets.remove(&number) {
            self.places.remove(&ticket);
        }
    }
    /// Somebody comes.
    pub(super) fn push(
        &mut self,
        user: Arc<str>,
        route: Arc<str>,
        priority: Priority,
        now: Duration,
        reply: T,
    ) -> Ticket {
        let ticket = self.number();
        let waiter = Waiter { user, route, priority, since: now, reply, risen: now };
        self.put(ticket, priority as usize, waiter);
        ticket
    }
    /// Somebody goes away.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Waiter<T>> {
        let (level, number) = self.places.remove(&ticket)?;
        self.tickets.remove(&number);
        self.levels[level].remove(number)
    }
    /// Who has waited long rises by one level, behind those who are there.
    fn age(&mut self, now: Duration) {
        for level in (0..LEVELS - 1).rev() {
            while let Some((&number, waiter)) = self.levels[level].waiters.first_key_value() {
                if now.saturating_sub(waiter.risen) < self.ageing {
                    break;
                }
                let Some(mut waiter) = self.levels[level].remove(number) else { break };
                waiter.risen = now;
                if let Some(ticket) = self.tickets.remove(&number) {
                    self.put(ticket, level + 1, waiter);
                }
            }
        }
    }
    /// Whose turn it is: the most urgent level first, and there the user who has waited longest
    /// for a turn.
    pub(super) fn pop(&mut self, now: Duration) -> Option<Waiter<T>> {
        self.age(now);
        let level = self.levels.iter_mut().rev().find(|level| !level.waiters.is_empty())?;
        let number = level.turns.front().and_then(|user| level.of_user.get(user)?.front().copied());
        let waiter = level.pop();
        if let Some(number) = number {
            self.forget(number);
        }
        waiter
    }
    /// Who gives way to somebody of this priority: the newest of the least urgent, if they are
    /// less urgent.
    pub(super) fn give_way(&mut self, to: Priority) -> Option<Waiter<T>> {
        let level = self.levels.iter_mut().take(to as usize).find(|level| !level.waiters.is_empty())?;
        let number = *level.waiters.last_key_value()?.0;
        let waiter = level.remove(number);
        self.forget(number);
        waiter
    }
    /// How many would come before somebody of this priority and user who came now, in turn.
    pub(super) fn before(&self, priority: Priority, user: &str) -> usize {
        let more_urgent = self.levels.iter().skip(priority as usize + 1);
        let ahead: usize = more_urgent.map(|level| level.waiters.len()).sum();
        let level = &self.levels[priority as usize];
        let own = level.of_user.get(user).map_or(0, VecDeque::len);
        let mut others = 0;
        // Before one's last call, who comes first in a round has one turn more.
        let mut rounds = own + 1;
        for of in &level.turns {
            if **of == *user {
                rounds = own;
            } else {
                others += level.of_user.get(of).map_or(0, |queue| queue.len().min(rounds));
            }
        }
        ahead + own + others
    }
    /// All in the order in which they would be served if nobody else came.
    pub(super) fn in_order(&self) -> Vec<&Waiter<T>> {
        let mut all = Vec::with_capacity(self.len());
        for level in self.levels.iter().rev() {
            let mut round = 0;
            while all.len() < self.len() {
                let before = all.len();
                for user in &level.turns {
                    let number = level.of_user.get(user).and_then(|queue| queue.get(round));
                    all.extend(number.and_then(|number| level.waiters.get(number)));
                }
                round += 1;
                if all.len() == before {
                    break;
                }
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn queue() -> Queue<u32> {
        Queue::new(5 * SECOND)
    }

    fn push(queue: &mut Queue<u32>, user: &str, priority: Priority, at: u32, name: u32) -> Ticket {
        queue.push(user.into(), "r".into(), priority, SECOND * at, name)
    }

    fn drain(queue: &mut Queue<u32>, at: u32) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop(SECOND * at).map(|waiter| waiter.reply)).collect()
    }

    #[test]
    fn the_more_urgent_come_first_and_users_take_turns() {
        let mut queue = queue();
        for (i, (user, priority)) in [
            ("a", Priority::Normal),
            ("a", Priority::Normal),
            ("a", Priority::Normal),
            ("b", Priority::Normal),
            ("c", Priority::Low),
            ("b", Priority::Critical),
            ("b", Priority::Normal),
            ("a", Priority::High),
        ]
        .into_iter()
        .enumerate()
        {
            push(&mut queue, user, priority, 0, u32::try_from(i).expect("small"));
        }
        let order: Vec<_> = queue.in_order().iter().map(|waiter| waiter.reply).collect();
        assert_eq!(order, [5, 7, 0, 3, 1, 6, 2, 4]);
        assert_eq!(queue.before(Priority::Normal, "new"), 2 + 2);
        assert_eq!(queue.before(Priority::Normal, "a"), 2 + 3 + 2);
        assert_eq!(queue.before(Priority::High, "b"), 1 + 1);
        assert_eq!(drain(&mut queue, 1), order);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn who_waits_long_rises_until_it_is_served() {
        let mut queue = queue();
        push(&mut queue, "patient", Priority::Low, 0, 0);
        for second in 1..=14 {
            push(&mut queue, "pushy", Priority::High, second, second);
            let served = queue.pop(SECOND * second).expect("somebody").reply;
            if served == 0 {
                assert!(second >= 10, "after two steps it is as urgent as the others");
                return;
            }
        }
        panic!("starved");
    }

    #[test]
    fn the_newest_of_the_least_urgent_gives_way_to_the_more_urgent_alone() {
        let mut queue = queue();
        push(&mut queue, "a", Priority::Normal, 0, 0);
        push(&mut queue, "a", Priority::Low, 0, 1);
        push(&mut queue, "b", Priority::Low, 0, 2);
        assert!(queue.give_way(Priority::Low).is_none());
        assert_eq!(queue.give_way(Priority::Normal).map(|it| it.reply), Some(2));
        assert_eq!(queue.give_way(Priority::Critical).map(|it| it.reply), Some(1));
        assert_eq!(queue.give_way(Priority::Critical).map(|it| it.reply), Some(0));
        assert!(queue.give_way(Priority::Critical).is_none());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(u8, u8),
        Pop,
        Remove(usize),
        GiveWay(u8),
        Wait(u8),
    }

    fn priority(n: u8) -> Priority {
        [Priority::Low, Priority::Normal, Priority::High, Priority::Critical][usize::from(n % 4)]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..4_u8, 0..4_u8).prop_map(|(user, priority)| Step::Push(user, priority)),
            3 => Just(Step::Pop),
            1 => (0..20_usize).prop_map(Step::Remove),
            1 => (0..4_u8).prop_map(Step::GiveWay),
            2 => (0..4_u8).prop_map(Step::Wait),
        ]
    }

    proptest! {
        #[test]
        fn nobody_is_lost_or_served_twice_and_order_is_as_told(steps in prop::collection::vec(step(), 1..150)) {
            let mut queue = queue();
            let mut there: Vec<(Ticket, u32)> = Vec::new();
            let (mut now, mut name) = (Duration::ZERO, 0);
            for step in steps {
                match step {
                    Step::Push(user, level) => {
                        name += 1;
                        let user = format!("u{user}");
                        let before = queue.before(priority(level), &user);
                        let ticket = queue.push(user.into(), "r".into(), priority(level), now, name);
                        let at = queue.in_order().iter().position(|it| it.reply == name);
                        prop_assert_eq!(at, Some(before));
                        there.push((ticket, name));
                    }
                    Step::Pop => {
                        queue.age(now);
                        let first = queue.in_order().first().map(|it| it.reply);
                        let popped = queue.pop(now).map(|it| it.reply);
                        prop_assert_eq!(popped, first);
                        there.retain(|(_, name)| Some(*name) != popped);
                    }
                    Step::Remove(which) if !there.is_empty() => {
                        let (ticket, name) = there.swap_remove(which % there.len());
                        prop_assert_eq!(queue.remove(ticket).map(|it| it.reply), Some(name));
                        prop_assert!(queue.remove(ticket).is_none());
                    }
                    Step::GiveWay(level) => {
                        let gone = queue.give_way(priority(level));
                        there.retain(|(_, name)| Some(*name) != gone.as_ref().map(|it| it.reply));
                    }
                    Step::Wait(seconds) => now += SECOND * u32::from(seconds),
                    Step::Remove(_) => {}
                }
                prop_assert_eq!(queue.len(), there.len());
                prop_assert_eq!(queue.tickets.len(), there.len());
                let mut names: Vec<_> = queue.in_order().iter().map(|it| it.reply).collect();
                names.sort_unstable();
                let mut expected: Vec<_> = there.iter().map(|(_, name)| *name).collect();
                expected.sort_unstable();
                prop_assert_eq!(names, expected);
            }
        }
    }
}
