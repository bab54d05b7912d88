use crate::{Position, ReadError};

/// Every incarnation of a log with the last n that was there when it began, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incarnations(Vec<(u32, u64)>);

impl Incarnations {
    /// As a store keeps them; the first one began at 0.
    pub fn new(all: Vec<(u32, u64)>) -> Self {
        Self(all)
    }

    /// The one that is written now.
    pub fn current(&self) -> u32 {
        self.0.last().map_or(1, |last| last.0)
    }

    /// Where a cursor stands in today's log, whose last n is `last`. One from before a
    /// restore may point into a future that was lost: it goes on where the next
    /// incarnation began.
    pub fn place(&self, after: Position, last: u64) -> Result<u64, ReadError> {
        let bad = |why: &str| {
            Err(ReadError::BadCursor(format!(
                "{after} is not a place in this log: {why}; start anew, or with a cursor that it returned"
            )))
        };
        if after.shard != 0 {
            return bad("there is one shard, 0");
        }
        if after.incarnation > self.current() {
            return bad("it belongs to a later incarnation");
        }
        let next = self.0.iter().find(|(incarnation, _)| *incarnation > after.incarnation);
        match next {
            Some((_, began)) => Ok(after.n.min(*began)),
            None if after.n > last => bad("it is beyond the last event"),
            None => Ok(after.n),
        }
    }
}
