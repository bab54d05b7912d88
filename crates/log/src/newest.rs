use crate::{Log, Page, Position, ReadError, Recorded};

const PAGE: usize = 1_000;
/// How far back to look for events of one kind among all others.
const LOOK_BACK: u64 = 200_000;

/// The last `count` events that are wanted, oldest first, looked for not too far back; the
/// page's `next` is where what comes after them begins.
pub async fn newest(
    log: &dyn Log,
    count: usize,
    wanted: impl Fn(&Recorded) -> bool,
) -> Result<Page, ReadError> {
    let tail = *log.tail().borrow();
    let mut span = 4 * count.max(1) as u64;
    loop {
        let from = tail.n.saturating_sub(span);
        let mut next = Position { n: from, ..tail };
        let mut events = Vec::new();
        while next.n < tail.n {
            let page = log.read_all(next, PAGE).await?;
            if page.events.is_empty() {
                break;
            }
            events.extend(page.events.into_iter().filter(&wanted));
            next = page.next;
        }
        if events.len() >= count || from == 0 || span >= LOOK_BACK {
            let cut = events.len().saturating_sub(count);
            events.drain(..cut);
            return Ok(Page { events, next });
        }
        span *= 8;
    }
}

#[cfg(test)]
mod tests {
    use steadfast_core::{TenantId, World};

    use super::*;
    use crate::{Commit, Expect, MemoryLog, NewEvent, StreamId};

    #[tokio::test]
    async fn the_last_ones_are_found_among_many_others_and_lead_on_to_what_comes_next() {
        let (world, _) = World::manual(1);
        let log = MemoryLog::new(world.clone());
        for number in 0..500 {
            let name = if number % 100 == 0 { "rare" } else { "common" };
            let stream = StreamId::new(&TenantId::default(), "thing", name);
            let events = vec![NewEvent::new(&world, "thing.seen", 1, "{}")];
            let commit = Commit::append(stream, Expect::Any, events);
            log.commit(commit).await.expect("durable");
        }
        let rare = |recorded: &Recorded| recorded.stream.name() == "rare";
        let page = newest(&log, 2, rare).await.expect("read");
        let versions: Vec<u64> = page.events.iter().map(|event| event.version).collect();
        assert_eq!(versions, [4, 5]);
        assert_eq!(page.next.n, 500);
        let all = newest(&log, 10, rare).await.expect("read");
        assert_eq!(all.events.len(), 5);
    }
}
