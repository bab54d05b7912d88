//! After a COMMIT without an answer: nothing is accepted until it is known what became of it.
//!
//! The server may not even have noticed that we are gone, and may still be carrying the
//! COMMIT out. So the shard is locked first: that waits until the lost transaction is over,
//! one way or the other, or until the server ends it for being idle. Then its first event is
//! there or it never will be.
//!
//! A group of nothing but checkpoints leaves its last one as a trace, which others may write
//! over: if it stands, that is as good as having written it; if not, nobody knows. Nor does
//! anybody while the server cannot be reached. Then the answer is "unknown".

use std::{iter::once, time::Duration};

use deadpool_postgres::ClientWrapper;
use steadfast_core::defaults::STORE_RETRY_WAITS;
use steadfast_log::CommitError;
use uuid::Uuid;

use super::{Writer, draft::Draft, job::Answer, transaction};
use crate::{
    StoreError,
    server::{row, within},
};

/// The group was one transaction: a trace of any of its commits proves them all.
#[derive(Debug)]
pub(super) enum Proof {
    /// This event has this n.
    Event(i64, Uuid),
    /// This subscriber's checkpoint stands there.
    Checkpoint(String, String),
}

/// What became of a group.
#[derive(Debug)]
enum Outcome {
    Written,
    NotWritten,
    Untold,
}

impl Proof {
    pub(super) fn of(draft: &Draft<'_>) -> Self {
        if let Some(first) = draft.rows.events.first() {
            return Self::Event(i64::try_from(first.n).unwrap_or(i64::MAX), first.event.id.0);
        }
        let last = draft.rows.checkpoints.last_key_value();
        let (subscriber, position) = last.map(|(who, at)| (*who, at.to_string())).unwrap_or_default();
        Self::Checkpoint(subscriber.to_owned(), position)
    }

    async fn look(&self, client: &ClientWrapper) -> Result<Outcome, StoreError> {
        Ok(match self {
            Self::Event(n, id) => {
                let sql = "SELECT 1 FROM events WHERE n = $1 AND id = $2";
                match row(client, sql, &[n, id]).await? {
                    Some(_) => Outcome::Written,
                    None => Outcome::NotWritten,
                }
            }
            Self::Checkpoint(subscriber, position) => {
                let sql = "SELECT 1 FROM checkpoints WHERE subscriber = $1 AND position = $2";
                match row(client, sql, &[subscriber, position]).await? {
                    Some(_) => Outcome::Written,
                    None => Outcome::Untold,
                }
            }
        })
    }
}

impl Writer {
    /// The answers of a group whose COMMIT was not answered; `answers` if it is there.
    pub(super) async fn recover(&mut self, answers: Vec<Answer>, proof: &Proof) -> Vec<Answer> {
        let mut unknown = "the COMMIT was not answered, and what it wrote cannot be told".to_owned();
        for wait in once(Duration::ZERO).chain(STORE_RETRY_WAITS) {
            tokio::time::sleep(wait).await;
            match self.find_out(proof).await {
                Ok(Outcome::Written) => return answers,
                Ok(Outcome::NotWritten) => {
                    let lost = CommitError::Unavailable("the group of commits was not written".into());
                    return vec![Err(lost); answers.len()];
                }
                Ok(Outcome::Untold) => break,
                Err(error) => unknown = error.to_string(),
            }
        }
        vec![Err(CommitError::Unknown(unknown)); answers.len()]
    }

    async fn find_out(&mut self, proof: &Proof) -> Result<Outcome, StoreError> {
        let client = self.inner.server.connect().await?;
        let find = async {
            let standing = transaction::lock(&client).await?;
            self.inner.about.expect(standing)?;
            let outcome = proof.look(&client).await?;
            client.batch_execute("ROLLBACK").await?;
            // What is found is durable; readers may follow before its callers hear.
            self.inner.tail.advance(standing.position.n);
            Ok(outcome)
        };
        let outcome = within(2 * self.inner.server.timeout, find).await?;
        self.client = Some(client);
        Ok(outcome)
    }
}
