//! The one task of a node that writes.
//!
//! 1. It takes what is queued ([`inbox`]).
//! 2. In one transaction it locks the row of the shard, so that nobody else writes until
//!    its COMMIT, reads what the checks rest on ([`transaction`]), decides each commit in
//!    turn in memory ([`draft`]), and writes all their rows ([`rows`]).
//! 3. COMMIT syncs. Only then is anybody answered, and that holds for refusals too: they
//!    may rest on a commit of the same group that was not durable before.
//!
//! The lock is what makes several nodes right. Places in the log are given under it and
//! seen once it is let go, so who reads up to one has seen all before it. Versions, claims
//! and payloads are checked under it, so they cannot change before the COMMIT; isolation
//! beyond READ COMMITTED would add nothing but transactions that fail and are done again.
//! Everything derived is written by whoever holds it, so no two of them meet in a row.
//!
//! What fails before COMMIT is sent has not happened: the server rolls back what it had of
//! it. When COMMIT itself is not answered, the outcome is found out ([`recover`]).

mod draft;
mod inbox;
mod job;
mod recover;
mod rows;
mod transaction;

use std::sync::Arc;

use deadpool_postgres::ClientWrapper;
use futures::FutureExt;
use steadfast_core::{Coded, observe::Signal};
use steadfast_log::CommitError;
use tokio::sync::mpsc;

use self::{
    draft::Draft,
    inbox::Inbox,
    job::{Answer, Prepared},
    recover::Proof,
};
use crate::{StoreError, log::Inner, server::within};

pub(crate) use self::job::Job;

/// Writes for one node.
pub(crate) struct Writer {
    inner: Arc<Inner>,
    /// Between two transactions.
    client: Option<ClientWrapper>,
}

/// Why a group has no answers.
enum Trouble {
    /// Nothing of it is written.
    Nothing(StoreError),
    /// These are the answers if it is.
    Unsure(Vec<Answer>, Proof, StoreError),
}

impl Writer {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        Self { inner, client: None }
    }

    /// Until the queue is closed and empty.
    pub(crate) async fn run(mut self, queue: mpsc::Receiver<Job>, max_group: usize) {
        let mut inbox = Inbox::new(queue, max_group);
        while let Some(group) = inbox.next_group().await {
            self.serve(group).await;
        }
    }

    /// Writes a group and answers it.
    async fn serve(&mut self, group: Vec<Job>) {
        let (commits, replies): (Vec<_>, Vec<_>) =
            group.into_iter().map(|job| (job.prepared, job.reply)).unzip();
        let began = self.inner.world.clock().elapsed();
        let kept = self.client.is_some();
        let mut result = self.write(&commits).await;
        if kept && matches!(result, Err(Trouble::Nothing(_))) {
            // The connection may have ended since the last group.
            result = self.write(&commits).await;
        }
        let answers = match result {
            Ok(answers) => answers,
            Err(Trouble::Nothing(error)) => {
                self.failed(&error);
                let refusal = CommitError::Unavailable(error.to_string());
                vec![Err(refusal); commits.len()]
            }
            Err(Trouble::Unsure(answers, proof, error)) => {
                self.failed(&error);
                self.recover(answers, &proof).await
            }
        };
        let took = self.inner.world.clock().elapsed().saturating_sub(began);
        self.inner.observer.observe(Signal::Group { commits: commits.len(), took });
        for (reply, answer) in replies.into_iter().zip(answers) {
            // A caller who is gone needs no answer.
            let _ = reply.send(answer);
        }
    }

    /// The connection is kept for the next group only if all went well.
    async fn write(&mut self, commits: &[Prepared]) -> Result<Vec<Answer>, Trouble> {
        let server = &self.inner.server;
        let client = match self.client.take() {
            Some(client) => client,
            None => server.connect().await.map_err(Trouble::Nothing)?,
        };
        // The server gives up a lock first, and says so.
        let patience = 2 * server.timeout;
        let drafted = within(patience, self.draft(&client, commits).boxed()).await;
        let (answers, draft) = drafted.map_err(Trouble::Nothing)?;
        let commit = match &draft {
            Some(_) => "COMMIT",
            None => "ROLLBACK",
        };
        let ended = within(patience, async { Ok(client.batch_execute(commit).await?) }).await;
        match (ended, draft) {
            (Ok(()), draft) => {
                self.client = Some(client);
                if let Some(draft) = draft {
                    self.inner.tail.advance(draft.position().n);
                }
                Ok(answers)
            }
            // What these refusals rest on is durable.
            (Err(_), None) => Ok(answers),
            (Err(error), Some(draft)) => Err(Trouble::Unsure(answers, Proof::of(&draft), error)),
        }
    }

    /// Everything up to COMMIT. No draft when there is nothing to commit.
    async fn draft<'a>(
        &self,
        client: &ClientWrapper,
        commits: &'a [Prepared],
    ) -> Result<(Vec<Answer>, Option<Draft<'a>>), StoreError> {
        let standing = transaction::lock(client).await?;
        self.inner.about.expect(standing)?;
        self.inner.set_held(standing.held);
        if standing.held {
            return Ok((vec![Err(CommitError::Held); commits.len()], None));
        }
        let mut draft = Draft::new(transaction::known(client, standing, commits).await?);
        let now = self.inner.world.now();
        let answers = commits.iter().map(|prepared| draft.add(prepared, now)).collect();
        if draft.rows.is_empty() {
            return Ok((answers, None));
        }
        draft.rows.write(client, draft.position(), &self.inner.channel).boxed().await?;
        Ok((answers, Some(draft)))
    }

    fn failed(&self, error: &StoreError) {
        tracing::error!(%error, "the store could not write a group of commits");
        self.inner.observer.observe(Signal::StoreError { code: error.code() });
    }
}
