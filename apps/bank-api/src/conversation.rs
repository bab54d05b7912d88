//! The assistant on `/ws`: frames become what was heard, replies become frames.

use std::{collections::HashMap, sync::Arc};

use futures::future::BoxFuture;
use steadfast_bank_assistant::{Accepted, Conversations, Listener, Message, News, session};
use steadfast_core::{Failure, Principal, RequestId, SessionId, World};
use steadfast_server::{Caller, ClientFrame, Connection, Conversation, Outbox, ReplyStatus, ServerFrame};
use tokio::{sync::Mutex, task::JoinHandle};

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
            told: Mutex::default(),
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
    told: Mutex<HashMap<SessionId, u64>>,
}

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

    async fn message(&self, message: Message, told: &mut HashMap<SessionId, u64>) -> Result<(), Failure> {
        let request = message.request;
        self.conversations.assistant().bank().admit(&self.principal, None).await?;
        // Before it is heard, so that its first step is told too. What others say in a
        // session of theirs is not: see `tell`.
        self.listener.watch(self.conversations.session(&self.principal, &message));
        let accepted = self.conversations.hear(&self.principal, message).await?;
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

    async fn confirm(
        &self,
        request: RequestId,
        accept: bool,
        told: &mut HashMap<SessionId, u64>,
    ) -> Result<(), Failure> {
        let accepted = self.conversations.confirm(&self.principal, request, accept).await?;
        self.follow(request, &accepted, told).await;
        Ok(())
    }

    async fn resume(
        &self,
        session: SessionId,
        after: u64,
        told: &mut HashMap<SessionId, u64>,
    ) -> Result<(), Failure> {
        self.conversations.resume(&self.principal, session).await?;
        told.insert(session, after);
        self.listener.watch(session);
        Ok(())
    }

    /// From here on the session's replies come to this connection. A repeat's reply comes at
    /// once.
    async fn follow(&self, request: RequestId, accepted: &Accepted, told: &mut HashMap<SessionId, u64>) {
        let (session, mut from) = (accepted.session, accepted.head);
        if let Some((version, reply)) = &accepted.earlier {
            self.outbox.deliver(frame(request, session, *version, reply)).await;
            from = from.max(*version);
        }
        told.entry(session).or_insert(from);
        self.listener.watch(session);
    }

    async fn tell(&self) {
        loop {
            let news = self.listener.next().await;
            let mut told = self.told.lock().await;
            let (News::Moved(session) | News::Progress(session, _) | News::Ended(session, _)) = &news;
            // Told of once it was found to be the user's.
            if !told.contains_key(session) {
                continue;
            }
            match news {
                News::Moved(session) => self.replies(session, &mut told).await,
                News::Progress(_, progress) => self.outbox.send(ServerFrame::Progress {
                    request_id: progress.request,
                    run_id: progress.run,
                    step: progress.step,
                    status: progress.status.into(),
                    attempt: progress.attempt,
                    seq: progress.seq,
                }),
                News::Ended(session, run) => {
                    // If this fails, the next look at the session does it.
                    let _ = self.conversations.close(&self.principal.tenant, session, run).await;
                }
            }
        }
    }

    /// What was replied since, from the log.
    async fn replies(&self, session: SessionId, told: &mut HashMap<SessionId, u64>) {
        let Some(last) = told.get_mut(&session) else { return };
        loop {
            let Ok((replies, read)) =
                self.conversations.replies(&self.principal.tenant, session, *last).await
            else {
                // The store is away; the client hears of it when it says something.
                return;
            };
            for (version, reply) in &replies {
                for request in &reply.answers {
                    self.outbox.deliver(frame(*request, session, *version, reply)).await;
                }
            }
            if read == *last || self.outbox.is_closed() {
                return;
            }
            *last = read;
        }
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
