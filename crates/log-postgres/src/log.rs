use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use deadpool_postgres::{ClientWrapper, Object, Pool};
use futures::future::{BoxFuture, FutureExt, ready};
use steadfast_core::{
    NodeId, World,
    observe::Observer,
    secret::{SealError, Secret},
};
use steadfast_log::{
    Cipher, Claim, ClaimKey, Commit, CommitError, Committed, DueQuery, Identity, Lease, ListQuery, Listings,
    Log, Page, PayloadId, Position, ReadError, Reading, Recorded, Snapshot, StreamId, WakeUp,
};
use tokio::{
    runtime::Handle,
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot, watch,
    },
    task::JoinHandle,
};

use crate::{
    Options, StoreError,
    error::Unread,
    leases, read,
    schema::{self, About},
    server::Server,
    tail::{self, Tail},
    writer::{Job, Writer},
};

/// The log in one PostgreSQL database, or one schema of it. Several nodes may write to it.
///
/// It belongs to the runtime that it was opened on. Dropping it lets what was queued be
/// written for as long as that runtime lives; [`PostgresLog::close`] waits for it.
pub struct PostgresLog {
    pub(crate) inner: Arc<Inner>,
    runtime: Handle,
    queue: mpsc::Sender<Job>,
    writer: JoinHandle<()>,
    listener: Listener,
}

/// What all tasks of an open store share.
pub(crate) struct Inner {
    pub(crate) server: Server,
    pub(crate) about: About,
    /// What commits are announced under.
    pub(crate) channel: String,
    held: AtomicBool,
    pub(crate) tail: Tail,
    pub(crate) pool: Pool,
    pub(crate) world: World,
    cipher: Arc<dyn Cipher>,
    pub(crate) observer: Arc<dyn Observer>,
}

/// Ends with the store.
struct Listener(JoinHandle<()>);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl PostgresLog {
    /// Opens the database at `postgres://USER:PASSWORD@HOST/DATABASE`, or `host=… user=…`,
    /// making or migrating its tables if need be. The connection is not encrypted, so the
    /// way to the server must be trusted; it must not lead through a pooler that changes
    /// sessions between transactions.
    pub async fn open(address: &str, options: Options) -> Result<Self, StoreError> {
        let server = Server::new(address, &options.config)?;
        let about = schema::prepare(&mut server.connect().await?, &options.world).await?;
        let inner = Arc::new(Inner {
            pool: server.pool(options.config.readers.get())?,
            server,
            channel: tail::channel(about.log_id),
            held: AtomicBool::new(about.standing.held),
            tail: Tail::new(about.standing.position),
            about,
            world: options.world,
            cipher: options.cipher,
            observer: options.observer,
        });
        let (queue, jobs) = mpsc::channel(options.config.queue.get());
        let writer = Writer::new(inner.clone()).run(jobs, options.config.max_group.get());
        Ok(Self {
            writer: tokio::spawn(writer),
            listener: Listener(tokio::spawn(tail::listen(Arc::downgrade(&inner)))),
            inner,
            runtime: Handle::current(),
            queue,
        })
    }

    /// Waits until everything that was queued has been written and answered.
    pub async fn close(self) {
        let Self { queue, writer, listener, inner, .. } = self;
        drop((queue, listener));
        if writer.await.is_err() {
            tracing::error!("the store's writer ended with a panic");
        }
        inner.pool.close();
    }

    /// Works with a connection in a task of its own: what is lent out comes back also when
    /// nobody looks at the answer any more, or not for now.
    fn ask<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c Inner, &'c mut ClientWrapper) -> BoxFuture<'c, Result<T, Unread>>
        + Send
        + 'static,
    ) -> BoxFuture<'static, Result<T, Unread>> {
        let inner = self.inner.clone();
        let task = self.runtime.spawn(async move {
            let unavailable = |reason: String| Unread::Found(ReadError::Unavailable(reason));
            let mut client = inner.pool.get().await.map_err(|error| unavailable(error.to_string()))?;
            match tokio::time::timeout(inner.server.timeout, work(&inner, &mut client)).await {
                Ok(result) => result,
                Err(late) => {
                    // The answer may still come, and must not meet the next question.
                    drop(Object::take(client));
                    Err(unavailable(late.to_string()))
                }
            }
        });
        let lost = || Unread::Found(ReadError::Unavailable("the read failed".into()));
        async move { task.await.unwrap_or_else(|_| Err(lost())) }.boxed()
    }

    pub(crate) fn read<T: Default + Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c Inner, &'c ClientWrapper) -> BoxFuture<'c, Result<T, Unread>>
        + Send
        + 'static,
    ) -> Reading<'static, T> {
        let asked = self.ask(|inner, client| work(inner, client));
        let found = |result| match result {
            Err(error) if Unread::cannot_be(&error) => Ok(T::default()),
            other => other.map_err(ReadError::from),
        };
        asked.map(found).boxed()
    }
}

impl Inner {
    pub(crate) fn set_held(&self, held: bool) {
        self.held.store(held, Ordering::Release);
    }
}

impl Log for PostgresLog {
    fn identity(&self) -> Identity {
        Identity {
            log_id: self.inner.about.log_id,
            incarnation: self.inner.about.incarnation(),
            held: self.inner.held.load(Ordering::Acquire),
        }
    }

    fn payload_key(&self) -> Secret<Vec<u8>> {
        Secret::new(self.inner.about.payload_key.clone())
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        let (reply, answer) = oneshot::channel();
        let job = match Job::new(commit, &*self.inner.cipher, reply) {
            Ok(job) => job,
            Err(refusal) => return ready(Err(refusal)).boxed(),
        };
        // At once where there is room, so that the order of calls is kept. Else in a task:
        // a place in the queue must not wait for a caller who looks at something else.
        match self.queue.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => {
                let queue = self.queue.clone();
                self.runtime.spawn(async move { drop(queue.send(job).await) });
            }
            Err(TrySendError::Closed(_)) => return ready(Err(CommitError::Closed)).boxed(),
        }
        // The writer answers everything it takes, unless its runtime ends or it panics.
        let lost = || CommitError::Unknown("the store's writer is gone".into());
        async move { answer.await.unwrap_or_else(|_| Err(lost())) }.boxed()
    }

    fn read_stream<'a>(
        &'a self,
        stream: &'a StreamId,
        from: u64,
        limit: usize,
    ) -> Reading<'a, Vec<Recorded>> {
        let stream = stream.clone();
        self.read(move |inner, client| {
            async move { Ok(read::read_stream(client, &inner.about, &stream, from, limit).await?) }.boxed()
        })
    }

    fn read_stream_back<'a>(
        &'a self,
        stream: &'a StreamId,
        before: u64,
        limit: usize,
    ) -> Reading<'a, Vec<Recorded>> {
        let stream = stream.clone();
        self.read(move |inner, client| {
            async move { Ok(read::read_stream_back(client, &inner.about, &stream, before, limit).await?) }
                .boxed()
        })
    }

    fn read_all(&self, after: Position, limit: usize) -> Reading<'_, Page> {
        let asked = self.ask(move |inner, client| read::read_all(client, &inner.about, after, limit).boxed());
        asked.map(|result| result.map_err(ReadError::from)).boxed()
    }

    fn head<'a>(&'a self, stream: &'a StreamId) -> Reading<'a, u64> {
        let stream = stream.clone();
        self.read(move |_, client| async move { Ok(read::head(client, &stream).await?) }.boxed())
    }

    fn claim(&self, key: ClaimKey) -> Reading<'_, Option<Claim>> {
        self.read(move |_, client| async move { Ok(read::find_claim(client, key).await?) }.boxed())
    }

    fn payload(&self, id: PayloadId) -> Reading<'_, Option<Bytes>> {
        self.read(move |inner, client| {
            async move {
                let Some(stored) = read::payload(client, id).await? else { return Ok(None) };
                let opened = inner.cipher.decrypt(&id.0.0, &stored).map_err(|error| match error {
                    // The right key may come back with the next start; nothing is broken.
                    SealError::UnknownKey(_) => ReadError::Unavailable(format!("payload {id}: {error}")),
                    _ => ReadError::Corrupt(format!("payload {id}: {error}")),
                })?;
                Ok(Some(Bytes::from(opened)))
            }
            .boxed()
        })
    }

    fn due(&self, query: DueQuery) -> Reading<'_, Vec<WakeUp>> {
        self.read(move |_, client| async move { read::due(client, &query).await }.boxed())
    }

    fn list(&self, query: ListQuery) -> Reading<'_, Listings> {
        self.read(move |_, client| async move { read::list(client, &query).await }.boxed())
    }

    fn count(&self, query: ListQuery) -> Reading<'_, u64> {
        self.read(move |_, client| async move { Ok(read::count(client, &query).await?) }.boxed())
    }

    fn snapshot<'a>(&'a self, stream: &'a StreamId) -> Reading<'a, Option<Snapshot>> {
        let stream = stream.clone();
        self.read(move |_, client| async move { Ok(read::snapshot(client, &stream).await?) }.boxed())
    }

    fn put_snapshot(&self, stream: StreamId, snapshot: Snapshot) -> Reading<'_, ()> {
        self.read(move |_, client| {
            async move { Ok(read::put_snapshot(client, &stream, &snapshot).await?) }.boxed()
        })
    }

    fn checkpoint<'a>(&'a self, subscriber: &'a str) -> Reading<'a, Option<Position>> {
        let subscriber = subscriber.to_owned();
        self.read(move |_, client| async move { read::checkpoint(client, &subscriber).await }.boxed())
    }

    fn lease<'a>(&'a self, name: &'a str, holder: NodeId, ttl: Duration) -> Reading<'a, Lease> {
        let name = name.to_owned();
        let asked = self
            .ask(move |_, client| async move { Ok(leases::ask(client, &name, holder, ttl).await?) }.boxed());
        asked.map(|result| result.map_err(ReadError::from)).boxed()
    }

    fn release<'a>(&'a self, name: &'a str, holder: NodeId) -> Reading<'a, ()> {
        let name = name.to_owned();
        self.read(move |_, client| async move { Ok(leases::release(client, &name, holder).await?) }.boxed())
    }

    fn tail(&self) -> watch::Receiver<Position> {
        self.inner.tail.subscribe()
    }
}

impl std::fmt::Debug for PostgresLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresLog").field("identity", &self.identity()).finish_non_exhaustive()
    }
}
