use crate::{Log, Position, ReadError, Recorded, limits};

/// Every event of the commit that an event belongs to, itself included.
pub async fn commit_of(log: &dyn Log, event: &Recorded) -> Result<Vec<Recorded>, ReadError> {
    let n = event.position.n;
    let after = Position { n: n.saturating_sub(limits::STREAMS_AND_EVENTS as u64), ..event.position };
    let page = log.read_all(after, limits::STREAMS_AND_EVENTS).await?;
    let from =
        page.events.iter().rposition(|other| other.position.n < n && other.ends).map_or(0, |place| place + 1);
    let until = page.events.iter().position(|other| other.position.n >= n && other.ends);
    let until = until.map_or(page.events.len(), |place| place + 1);
    Ok(page.events[from.min(until)..until].to_vec())
}
