//! Work in the writer, between two groups.

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use crate::{
    SqliteLog, StoreError,
    writer::{TaskEnd, Work},
};

impl SqliteLog {
    /// Runs `change` in a transaction of its own.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let task = move |conn: &Connection| {
            let (result, end) = transact(conn, change);
            // A caller who is gone needs no answer.
            let _ = reply.send(result);
            end
        };
        self.submit(Work::Task(Box::new(task)))
            .await
            .map_err(|closed| StoreError::NotWriting(closed.reason()))?;
        answer
            .await
            .map_err(|_| StoreError::NotWriting("the writer gave the work up"))?
            .map_err(StoreError::sqlite(&self.path))
    }
}

fn transact<T>(
    conn: &Connection,
    change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> (rusqlite::Result<T>, TaskEnd) {
    let tx = match Transaction::new_unchecked(conn, TransactionBehavior::Immediate) {
        Ok(tx) => tx,
        Err(error) => return (Err(error), TaskEnd::Fine),
    };
    match change(&tx) {
        Ok(value) => match tx.commit() {
            Ok(()) => (Ok(value), TaskEnd::Fine),
            // It may be there or not. All of this work can be done again.
            Err(error) => (Err(error), TaskEnd::Broken),
        },
        Err(error) => {
            let rolled_back = conn.is_autocommit() || tx.rollback().is_ok();
            let end = if rolled_back { TaskEnd::Fine } else { TaskEnd::Broken };
            (Err(error), end)
        }
    }
}
