//! The assistant on `/ws`: frames become what was heard, replies become frames.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use lru::LruCache;
use steadfast_bank_assistant::{Accepted, Conversations, Listener, Message, News, Progress, session};
use steadfast_core::{Failure, Principal, RequestId, SessionId, World};
use steadfast_server::{Caller, ClientFrame, Connection, Conversation, Outbox, ReplyStatus, ServerFrame};
use tokio::{sync::Mutex, task::JoinHandle};

/// One connection is told of as many conversations at a time: those it lately spoke in or
/// resumed. `resume` brings what was replied in others.
const TOLD_OF: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);
/// How long to wait before the store is asked again for what is to be told.
const PAUSE: Duration = Duration::from_secs(1);

/// What the server asks about conversations.
pub(crate) struct Desk {
    pub(crate) conversations: Conversations,
    pub(crate) world: World,
}

impl Conversation for Desk {
    fn admit<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async { self.conversations.assistant().bank().admit_customer(&caller.principal).await })
    }

    fn connect(&self, caller: Caller, outbox: Outbox) -> Box<dyn Connection> {
        let talk = Arc::new(Talk {
            listener: self.conversations.listen(),
            conversations: self.conversations.clone(),
            world: self.world.clone(),
            principal: caller.principal,
            outbox,
            told: Mutex::new(LruCache::new(TOLD_OF)),
        });
        let telling = talk.clone();
        Box::new(Open { talk, telling: tokio::spawn(async move { telling.tell().await }) })
    }
}

/// One connection and the task that brings it news.
struct Open {
    talk: Arc<Talk>,
    telling: JoinHandle<()>,
}

impl Connection for Open {
    fn hear(&mut self, frame: ClientFrame) -> BoxFuture<'_, ()> {
        Box::pin(self.talk.hear(frame))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.telling.abort();
    }
}

struct Talk {
    conversations: Conversations,
    listener: Listener,
    world: World,
    principal: Principal,
    outbox: Outbox,
    /// Up to which version each session was told. Held while a frame is heard, so that
    /// nothing about a request is told before its ack.
    told: Mutex<Told>,
}

type Told = LruCache<SessionId, u64>;

impl Talk {
    async fn hear(&self, frame: ClientFrame) {
        let mut told = self.told.lock().await;
        let (request, heard) = match frame {
            ClientFrame::Message { request_id, session_id, text } => {
                let request = request_id.unwrap_or_else(|| RequestId::next(&self.world));
                let message = Message { request, session: session_id, text };
                (Some(request), self.message(message, &mut told).await)
            }
            ClientFrame::Confirm { request_id, accept } => {
                (Some(request_id), self.confirm(request_id, accept, &mut told).await)
            }
            ClientFrame::Resume { session_id, after } => {
                (None, self.resume(session_id, after, &mut told).await)
            }
        };
        drop(told);
        if let Err(failure) = heard {
            self.outbox.deliver(ServerFrame::error(request, &failure)).await;
        }
    }

    async fn message(&self, message: Message, told: &mut Told) -> Result<(), Failure> {
        let request = message.request;
        // Before it is heard, so that its first step is told too. What others say in a
        // session of theirs is not: see `tell`.
        let session = self.conversations.session(&self.principal, &message);
        self.listener.watch(session);
        let heard = self.conversations.hear(&self.principal, message).await;
        if !told.contains(&session) && !heard.as_ref().is_ok_and(|accepted| accepted.session == session) {
            self.listener.unwatch(session);
        }
        let accepted = heard?;
        let ack = ServerFrame::Ack {
            request_id: request,
            run_id: accepted.run,
            correlation_id: accepted.correlation,
            session_id: accepted.session,
        };
        self.outbox.deliver(ack).await;
        self.follow(request, &accepted, told).await;
        Ok(())
    }

    async fn confirm(&self, request: RequestId, accept: bool, told: &mut Told) -> Result<(), Failure> {
        let accepted = self.conversations.confirm(&self.principal, request, accept).await?;
        self.follow(request, &accepted, told).await;
        Ok(())
    }

    async fn resume(&self, session: SessionId, after: u64, told: &mut Told) -> Result<(), Failure> {
        let head = self.conversations.resume(&self.principal, session).await?;
        self.tell_from(session, after.min(head), told);
        Ok(())
    }

    /// Of the session's replies, those after this version are told.
    fn tell_from(&self, session: SessionId, from: u64, told: &mut Told) {
        if let Some((left, _)) = told.push(session, from)
            && left != session
        {
            self.listener.unwatch(left);
        }
        self.listener.watch(session);
    }

    /// From here on the session's replies come to this connection. A repeat's reply comes at
    /// once.
    async fn follow(&self, request: RequestId, accepted: &Accepted, told: &mut Told) {
        if let Some((version, reply)) = &accepted.earlier {
            self.outbox.deliver(frame(request, accepted.session, *version, reply)).await;
        }
        let from = told.get(&accepted.session).copied().unwrap_or(accepted.head);
        self.tell_from(accepted.session, from, told);
    }

    async fn tell(&self) {
        loop {
            let news = self.listener.next().await;
            let mut told = self.told.lock().await;
            let (News::Moved(session) | News::Progress(session, _) | News::Ended(session, _)) = &news;
            // Told of once it was found to be the user's.
            if !told.contains(session) {
                continue;
            }
            let done = match &news {
                News::Moved(session) => self.replies(*session, &mut told).await,
                News::Progress(_, progress) => {
                    self.outbox.send(progress_frame(progress));
                    Ok(())
                }
                News::Ended(session, run) => {
                    self.conversations.close(&self.principal.tenant, *session, *run).await
                }
            };
            drop(told);
            if done.is_err_and(|failure| failure.retryable) {
                self.world.clock().sleep(PAUSE).await;
                self.listener.again(news);
            }
        }
    }

    /// What was replied since, from the log.
    async fn replies(&self, session: SessionId, told: &mut Told) -> Result<(), Failure> {
        let Some(last) = told.get_mut(&session) else { return Ok(()) };
        loop {
            let replies = self.conversations.replies(&self.principal.tenant, session, *last);
            let (replies, read) = replies.await?;
            for (version, reply) in &replies {
                for request in &reply.answers {
                    self.outbox.deliver(frame(*request, session, *version, reply)).await;
                }
            }
            if read == *last || self.outbox.is_closed() {
                return Ok(());
            }
            *last = read;
        }
    }
}

fn progress_frame(progress: &Progress) -> ServerFrame {
    ServerFrame::Progress {
        request_id: progress.request,
        run_id: progress.run,
        step: progress.step.clone(),
        status: progress.status.into(),
        attempt: progress.attempt,
        seq: progress.seq,
    }
}

fn frame(request: RequestId, session: SessionId, version: u64, reply: &session::Reply) -> ServerFrame {
    ServerFrame::Reply {
        request_id: request,
        run_id: reply.run,
        session_id: session,
        frame: version,
        status: match reply.status {
            session::ReplyStatus::Completed => ReplyStatus::Completed,
            session::ReplyStatus::Failed => ReplyStatus::Failed,
            session::ReplyStatus::NeedsConfirmation => ReplyStatus::NeedsConfirmation,
        },
        text: reply.text.clone(),
        data: reply.data.clone(),
    }
}
