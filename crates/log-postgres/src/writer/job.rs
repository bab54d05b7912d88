use bytes::Bytes;
use steadfast_log::{Cipher, Commit, CommitError, Committed, PayloadId, Side, limits};
use tokio::sync::oneshot;

pub(super) type Answer = Result<Committed, CommitError>;

/// A commit on its way to the writer, and who waits for its answer.
#[derive(Debug)]
pub(crate) struct Job {
    pub(super) prepared: Prepared,
    pub(super) reply: oneshot::Sender<Answer>,
}

/// A commit, with all the work done that needs no store.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) commit: Commit,
    pub(super) side: Option<Bytes>,
    /// As they are stored.
    pub(super) payloads: Vec<(PayloadId, Vec<u8>)>,
}

impl Job {
    /// Checks what needs no store, and does what can be done outside the writer.
    pub(crate) fn new(
        commit: Commit,
        cipher: &dyn Cipher,
        reply: oneshot::Sender<Answer>,
    ) -> Result<Self, CommitError> {
        commit.check()?;
        let side = Side::of(&commit).encode();
        let payloads = commit.payloads.iter().filter_map(|payload| {
            let bytes = payload.bytes.as_ref()?;
            Some((payload.id, cipher.encrypt(&payload.id.0.0, bytes)))
        });
        Ok(Self { prepared: Prepared { payloads: payloads.collect(), side, commit }, reply })
    }

    /// About how many bytes it sends, at most.
    pub(super) fn weight(&self) -> usize {
        limits::INLINE_BYTES + self.prepared.payloads.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()
    }
}
