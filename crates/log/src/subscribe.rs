use std::sync::Arc;

use steadfast_core::{Mutant, planted};

use crate::{Checkpoint, Commit, Log, Page, Position, ReadError};

/// A reader of the whole log that remembers how far it came (promise G6): at least once,
/// in order, whole commits. Drop repeats by event id.
pub struct Subscription {
    log: Arc<dyn Log>,
    name: String,
    position: Position,
}

impl Subscription {
    /// Goes on where `name` last stopped; a name not seen before starts after `from`.
    pub async fn resume(
        log: Arc<dyn Log>,
        name: impl Into<String>,
        from: Position,
    ) -> Result<Self, ReadError> {
        let name = name.into();
        let position = log.checkpoint(&name).await?.unwrap_or(from);
        Ok(Self { log, name, position })
    }
    /// Where it stands: everything up to here has been handled.
    pub fn position(&self) -> Position {
        self.position
    }
    /// The next events, as soon as there are any. Does not move on: see [`Self::advance`].
    /// Safe to drop half-way.
    pub async fn next(&self, limit: usize) -> Result<Page, ReadError> {
        follow(&*self.log, self.position, limit).await
    }
    /// Everything up to `position` has been handled. Remembered in memory at once, and in
    /// the store when `durable`; a crash in between costs repeats.
    pub async fn advance(&mut self, position: Position, durable: bool) -> Result<(), crate::CommitError> {
        let n = position.n + u64::from(planted(Mutant::PositionSkipped));
        let position = Position { n, ..position };
        self.position = position;
        if durable {
            let checkpoints = vec![Checkpoint { subscriber: self.name.clone(), position }];
            self.log.commit(Commit { checkpoints, ..Commit::default() }).await?;
        }
        Ok(())
    }
}

/// The events after `after`, waiting until there are some. Safe to drop half-way.
pub async fn follow(log: &dyn Log, after: Position, limit: usize) -> Result<Page, ReadError> {
    let mut tail = log.tail();
    loop {
        // Marked as seen before the read: what is committed after it wakes the wait below.
        tail.borrow_and_update();
        let page = log.read_all(after, limit).await?;
        if !page.events.is_empty() {
            return Ok(page);
        }
        if tail.changed().await.is_err() {
            return Err(ReadError::Unavailable("the store is closed".into()));
        }
    }
}
