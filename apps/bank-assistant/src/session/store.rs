use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use lru::LruCache;
use steadfast_core::{Coded as _, Failure, RequestId, SessionId, TenantId};
use steadfast_log::{Log, StreamId};

use super::{Event, Reply, Said, Session, stream};

const PAGE: usize = 200;

/// Sessions as they stand, those of late in memory.
pub(crate) struct Sessions {
    log: Arc<dyn Log>,
    cached: Mutex<LruCache<StreamId, Session>>,
}

impl Sessions {
    pub(crate) fn new(log: Arc<dyn Log>, cached: NonZeroUsize) -> Self {
        Self { log, cached: Mutex::new(LruCache::new(cached)) }
    }

    /// As last seen; read if it never was. May be behind, which a commit finds out.
    pub(crate) async fn seen(&self, tenant: &TenantId, id: SessionId) -> Result<Session, Failure> {
        let known = self.lock().get(&stream(tenant, id)).cloned();
        match known {
            Some(session) => Ok(session),
            None => self.fresh(tenant, id).await,
        }
    }

    /// As it stands now.
    pub(crate) async fn fresh(&self, tenant: &TenantId, id: SessionId) -> Result<Session, Failure> {
        let stream = stream(tenant, id);
        let mut session = self.lock().get(&stream).cloned().unwrap_or_default();
        loop {
            let page = self.log.read_stream(&stream, session.head + 1, PAGE).await;
            let page = page.map_err(|error| error.failure())?;
            for recorded in &page {
                session.apply(&Event::decode(recorded)?);
            }
            if page.len() < PAGE {
                self.keep(&stream, &session);
                return Ok(session);
            }
        }
    }

    /// What was just committed on top of `session`.
    pub(crate) fn advanced(&self, tenant: &TenantId, id: SessionId, mut session: Session, events: &[Event]) {
        for event in events {
            session.apply(event);
        }
        self.keep(&stream(tenant, id), &session);
    }

    /// The replies after a version, oldest first, with their versions, and how far was read.
    pub(crate) async fn replies(
        &self,
        tenant: &TenantId,
        id: SessionId,
        after: u64,
    ) -> Result<(Vec<(u64, Reply)>, u64), Failure> {
        let page = self.log.read_stream(&stream(tenant, id), after.saturating_add(1), PAGE).await;
        let page = page.map_err(|error| error.failure())?;
        let mut replies = Vec::new();
        for recorded in &page {
            if let Event::Replied(reply) = Event::decode(recorded)? {
                replies.push((recorded.version, reply));
            }
        }
        Ok((replies, page.last().map_or(after, |last| last.version)))
    }

    /// Looks back through a session for the first event, newest first, that `find` takes.
    pub(crate) async fn look_back<T>(
        &self,
        tenant: &TenantId,
        id: SessionId,
        find: impl Fn(u64, &Event) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let stream = stream(tenant, id);
        // Before every version there will be.
        let mut before = i64::MAX.unsigned_abs();
        loop {
            let page = self.log.read_stream_back(&stream, before, PAGE).await;
            let page = page.map_err(|error| error.failure())?;
            for recorded in &page {
                if let Some(found) = find(recorded.version, &Event::decode(recorded)?) {
                    return Ok(Some(found));
                }
                before = recorded.version;
            }
            if page.len() < PAGE {
                return Ok(None);
            }
        }
    }

    /// The last reply to a request.
    pub(crate) async fn last_reply(
        &self,
        tenant: &TenantId,
        id: SessionId,
        request: RequestId,
    ) -> Result<Option<(u64, Reply)>, Failure> {
        let find = |version, event: &Event| match event {
            Event::Replied(reply) if reply.answers.contains(&request) => Some(Some((version, reply.clone()))),
            // Nothing was replied to it before its own words.
            Event::Heard(heard) if heard.request == request => match heard.said {
                Said::Words { .. } => Some(None),
                Said::Decision { .. } => None,
            },
            _ => None,
        };
        Ok(self.look_back(tenant, id, find).await?.flatten())
    }

    fn keep(&self, stream: &StreamId, session: &Session) {
        let mut cached = self.lock();
        // Whoever read longer ago must not take it back.
        if cached.peek(stream).is_none_or(|known| known.head < session.head) {
            cached.put(stream.clone(), session.clone());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<StreamId, Session>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
