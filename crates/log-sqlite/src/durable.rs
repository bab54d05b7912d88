//! What readers may see and is not durable yet.
//!
//! A group is visible to every connection from its COMMIT on, and durable only after the
//! sync. Nobody may act on what a power loss could take back, so a read is answered once
//! everything is durable that it may have seen.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use steadfast_log::ReadError;
use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct Durable {
    /// Groups whose COMMIT was begun.
    begun: AtomicU64,
    /// A sync failed, and what it was for has not been found out.
    doubted: AtomicBool,
    settled: watch::Sender<Settled>,
}

/// How far it is known what is on disk.
#[derive(Debug, Clone, Copy, Default)]
struct Settled {
    groups: u64,
    /// It is not known of the last one, and the file cannot be opened to find out.
    lost: bool,
}

impl Default for Durable {
    fn default() -> Self {
        Self {
            begun: AtomicU64::new(0),
            doubted: AtomicBool::new(false),
            settled: watch::channel(Settled::default()).0,
        }
    }
}

impl Durable {
    /// To be called before a COMMIT.
    pub(crate) fn begin(&self) {
        self.begun.fetch_add(1, SeqCst);
    }

    /// All that was begun is durable, or gone for good.
    pub(crate) fn settle(&self) {
        self.settled.send_replace(Settled { groups: self.begun.load(SeqCst), lost: false });
    }

    /// A sync failed.
    pub(crate) fn doubt(&self) {
        self.doubted.store(true, SeqCst);
    }

    /// Does it stand to be found out what is on disk?
    pub(crate) fn in_doubt(&self) -> bool {
        self.doubted.load(SeqCst)
    }

    /// What is on disk was found out.
    pub(crate) fn found(&self) {
        self.doubted.store(false, SeqCst);
        self.settle();
    }

    /// Nobody knows what is on disk.
    pub(crate) fn lose(&self) {
        self.settled.send_modify(|settled| settled.lost = true);
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.settled.borrow().lost
    }

    /// What a read that ends now may have seen.
    pub(crate) fn seen(&self) -> u64 {
        self.begun.load(SeqCst)
    }

    /// Until what was seen is durable.
    pub(crate) async fn reaches(&self, seen: u64) -> Result<(), ReadError> {
        if self.settled.borrow().groups >= seen {
            return Ok(());
        }
        let mut settled = self.settled.subscribe();
        let reached = settled.wait_for(|settled| settled.groups >= seen || settled.lost).await;
        match reached {
            Ok(settled) if settled.groups >= seen => Ok(()),
            _ => Err(ReadError::Unavailable("it is not known what is on disk".into())),
        }
    }
}
