//! The end of the log, as far as this node knows it.
//!
//! Own commits move it at once. Those of other nodes are heard of by NOTIFY, which each
//! commit sends; what was missed while the connection was away is read from the table on
//! every new connection, and at every beat, which also finds out that it is away.

use std::{
    future::poll_fn,
    sync::{Arc, Weak},
    time::Duration,
};

use steadfast_core::defaults::STORE_RETRY_WAITS;
use steadfast_log::Position;
use tokio::sync::watch;
use tokio_postgres::AsyncMessage;
use uuid::Uuid;

use crate::{
    StoreError,
    log::Inner,
    schema::{STANDING, Standing, standing},
    server::within,
};

/// How often the table is read though nobody spoke of it.
const BEAT: Duration = Duration::from_secs(5);

/// Moves forward only, whoever moves it.
#[derive(Debug)]
pub(crate) struct Tail(watch::Sender<Position>);

impl Tail {
    pub(crate) fn new(at: Position) -> Self {
        Self(watch::channel(at).0)
    }
    pub(crate) fn advance(&self, n: u64) {
        self.0.send_if_modified(|tail| {
            let moved = n > tail.n;
            tail.n = tail.n.max(n);
            moved
        });
    }
    pub(crate) fn subscribe(&self) -> watch::Receiver<Position> {
        self.0.subscribe()
    }
}

/// What commits of this log are announced under.
pub(crate) fn channel(log_id: Uuid) -> String {
    format!("steadfast_{}", log_id.simple())
}

/// Listens until the store is dropped.
pub(crate) async fn listen(inner: Weak<Inner>) {
    let mut failures = 0;
    while let Some(open) = inner.upgrade() {
        let result = listen_once(open, &inner, &mut failures).await;
        if let Err(error) = result
            && failures == 0
        {
            tracing::warn!(%error, "the store does not hear of other nodes and connects again");
        }
        let wait = STORE_RETRY_WAITS[failures.min(STORE_RETRY_WAITS.len() - 1)];
        failures += 1;
        tokio::time::sleep(wait).await;
    }
}

/// Until the connection or the store is gone.
async fn listen_once(open: Arc<Inner>, inner: &Weak<Inner>, failures: &mut usize) -> Result<(), StoreError> {
    let (client, mut connection) = open.server.halves().await?;
    let (timeout, listen) = (open.server.timeout, format!("LISTEN {}", channel(open.about.log_id)));
    drop(open);
    let beats = async {
        // Before the first look at the table: what comes after the look is announced.
        within(timeout, async { Ok(client.batch_execute(&listen).await?) }).await?;
        loop {
            let found = within(timeout, async { Ok(standing(&client.query_one(STANDING, &[]).await?)?) });
            let found = found.await?;
            *failures = 0;
            let Some(inner) = inner.upgrade() else { return Ok(()) };
            inner.saw(found);
            drop(inner);
            tokio::time::sleep(BEAT).await;
        }
    };
    let hears = async {
        while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(note) = message?
                && let Ok(n) = note.payload().parse()
                && let Some(inner) = inner.upgrade()
            {
                inner.tail.advance(n);
            }
        }
        Err(StoreError::Unavailable("connection closed".into()))
    };
    tokio::select! {
        result = beats => result,
        result = hears => result,
    }
}

impl Inner {
    /// Takes note of where the log stands.
    pub(crate) fn saw(&self, standing: Standing) {
        match self.about.expect(standing) {
            Ok(()) => {
                self.set_held(standing.held);
                self.tail.advance(standing.position.n);
            }
            Err(error) => tracing::error!(%error, "the store is not the one that was opened"),
        }
    }
}
