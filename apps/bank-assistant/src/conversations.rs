//! The door: what comes in from a client becomes durable here, and finds its run.

use std::sync::Arc;

use steadfast_core::{
    Coded as _, CorrelationId, Failure, Principal, RequestId, RunId, SessionId, TenantId, canonical::Hash,
};
use steadfast_engine::{Data, Engine, Signal, Start};
use steadfast_log::{Append, ClaimKey, Expect};
use uuid::Uuid;

use crate::{
    Assistant,
    exchange::{ASSISTANT, Exchange, HEARD},
    feed::{Feed, Listener},
    phrases,
    session::{Event, FULL, Heard, Opened, Reply, Said, Session, stream},
    told::Told,
};

/// A message as a client sends it.
#[derive(Debug, Clone)]
pub struct Message {
    /// What the client calls it.
    pub request: RequestId,
    /// The conversation; one of its own where there is none.
    pub session: Option<SessionId>,
    /// In the user's words.
    pub text: String,
}

/// A request is durable, and this is who works on it.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The run.
    pub run: RunId,
    /// The conversation.
    pub session: SessionId,
    /// What ties together all that follows.
    pub correlation: CorrelationId,
    /// The session's version by then: what it is replied stands behind it.
    pub head: u64,
    /// For a repeat: the last reply to the request by then, with its version.
    pub earlier: Option<(u64, Reply)>,
}

/// Conversations of users with the assistant. Cheap to clone.
#[derive(Clone)]
pub struct Conversations {
    pub(crate) assistant: Assistant,
    engine: Engine,
    feed: Arc<Feed>,
}

/// How often the session or its run may move on before the caller is asked to try again.
const ATTEMPTS: u32 = 16;
/// A key is kept for as long as a run may last, and the idempotency window after it.
const KEPT: std::time::Duration = std::time::Duration::from_secs(48 * 3_600);

impl Conversations {
    /// Over an engine whose registry knows the assistant.
    pub fn new(assistant: Assistant, engine: Engine) -> Self {
        let feed = Arc::new(Feed::new(engine.clone()));
        Self { assistant, engine, feed }
    }

    /// The assistant that is conversed with.
    pub fn assistant(&self) -> &Assistant {
        &self.assistant
    }

    /// Brings news to those who listen, until dropped.
    pub async fn run(&self) {
        self.feed.run().await;
    }

    /// Somebody who wants news of conversations.
    pub fn listen(&self) -> Listener {
        self.feed.listen()
    }

    /// The conversation that a message belongs to: the one it names, or one of its own.
    pub fn session(&self, caller: &Principal, message: &Message) -> SessionId {
        message.session.unwrap_or_else(|| SessionId::derived(&parts(caller, &message.request)))
    }

    /// Takes a message in: when this returns it is durable (G1). The same request again is
    /// answered with the same run (G5).
    pub async fn hear(&self, caller: &Principal, message: Message) -> Result<Accepted, Failure> {
        let id = self.session(caller, &message);
        let Message { request, text, .. } = message;
        self.assistant.bank().admit(caller, Some(key(caller, request))).await?;
        let hash = Hash::of(&text).map_err(|error| Failure::refused("request.invalid", error.to_string()))?;
        let sealed = self.assistant.keyring().seal(&text);
        let sealed = sealed.map_err(|error| Failure::internal("session.seal", error.to_string()))?;
        let saying = Saying { request, hash, message: message_id(request, "words") };
        let said = |session: &Session| {
            session.has_room()?;
            Ok(Said::Words { text: sealed.clone(), about: session.asks(self.assistant.world().now()) })
        };
        match self.say(caller, id, &saying, said).await {
            // A repeat needs no room.
            Err(failure) if failure.code == FULL => match self.claimed(caller, request).await? {
                Some((run, of)) if of == hash => self.again(caller, &saying, run).await,
                _ => Err(failure),
            },
            heard => heard,
        }
    }

    /// The run that a request was accepted for, and the hash of what was asked.
    pub(crate) async fn claimed(
        &self,
        caller: &Principal,
        request: RequestId,
    ) -> Result<Option<(RunId, Hash)>, Failure> {
        let claim = self.assistant.log().claim(key(caller, request)).await;
        let claim = claim.map_err(|error| error.failure())?;
        Ok(claim.and_then(|claim| Some((run_of(&claim.answer)?, claim.request))))
    }

    /// A conversation goes on on another connection. Requests whose run has ended without a
    /// word get a reply now. The answer is the session's version before that.
    pub async fn resume(&self, caller: &Principal, id: SessionId) -> Result<u64, Failure> {
        let session = self.assistant.sessions().fresh(&caller.tenant, id).await?;
        if !session.belongs_to(&caller.user) {
            return Err(unknown_session(id));
        }
        if let Some(run) = session.run {
            self.feed.works_on(run, id, session.waiting.last().copied());
            let settled = self.engine.wait(&caller.tenant, run, std::time::Duration::ZERO).await?;
            if settled.is_some() {
                self.close(&caller.tenant, id, run).await?;
            }
        }
        Ok(session.head)
    }

    /// The replies of a conversation after a version, and how far was read.
    pub async fn replies(
        &self,
        tenant: &TenantId,
        id: SessionId,
        after: u64,
    ) -> Result<(Vec<(u64, Reply)>, u64), Failure> {
        self.assistant.sessions().replies(tenant, id, after).await
    }

    /// A run has ended: if it left requests without a reply, they get one now.
    pub async fn close(&self, tenant: &TenantId, id: SessionId, run: RunId) -> Result<(), Failure> {
        let sessions = self.assistant.sessions();
        // As a rule the run has said goodbye, and this node has seen it.
        if sessions.seen(tenant, id).await?.run != Some(run) {
            return Ok(());
        }
        let session = sessions.fresh(tenant, id).await?;
        if session.run != Some(run) {
            return Ok(());
        }
        let view = self.engine.describe(tenant, run).await?;
        if !view.status.ended() {
            return Ok(());
        }
        let language = session.language.unwrap_or_default();
        let told = Told::Stopped;
        let mut answers = session.waiting.clone();
        let shown_to = session.confirmation.iter().flat_map(|open| open.shown.requests.iter().copied());
        answers.extend(shown_to.filter(|request| !session.waiting.contains(request)));
        let event = Event::Replied(Reply {
            answers,
            run,
            status: told.status(),
            text: phrases::say(&told, language),
            data: serde_json::to_value(&told).unwrap_or_default(),
            language,
            open: false,
            confirmation: None,
        });
        let append = self.append(tenant, id, &session, std::slice::from_ref(&event), None)?;
        let commit = steadfast_log::Commit { appends: vec![append], ..Default::default() };
        match self.assistant.log().commit(commit).await {
            Ok(_) => sessions.advanced(tenant, id, session, &[event]),
            // Somebody else did it, or it went on.
            Err(steadfast_log::CommitError::Conflict { .. }) => {}
            Err(error) => return Err(error.failure()),
        }
        Ok(())
    }

    pub(crate) async fn say(
        &self,
        caller: &Principal,
        id: SessionId,
        saying: &Saying,
        said: impl Fn(&Session) -> Result<Said, Failure>,
    ) -> Result<Accepted, Failure> {
        let (tenant, sessions) = (&caller.tenant, self.assistant.sessions());
        let correlation = correlation(caller, saying.request);
        let mut session = sessions.seen(tenant, id).await?;
        for _ in 0..ATTEMPTS {
            if session.head > 0 && !session.belongs_to(&caller.user) {
                return Err(unknown_session(id));
            }
            let run = session.run.unwrap_or_else(|| RunId::next(self.assistant.world()));
            let heard = Heard { request: saying.request, run, said: said(&session)? };
            let mut events = Vec::with_capacity(2);
            if session.head == 0 {
                events.push(Event::Opened(Opened { owner: caller.user.clone() }));
            }
            events.push(Event::Heard(heard.clone()));
            let beside = vec![self.append(tenant, id, &session, &events, Some(correlation))?];
            self.feed.works_on(run, id, Some(saying.request));
            let outcome = if session.run.is_none() {
                self.start(caller, id, heard, saying, beside, correlation).await
            } else {
                self.signal(caller, heard, saying, beside).await
            };
            let begun = outcome.as_ref().is_ok_and(|accepted| !accepted.replayed);
            if session.run.is_none() && !begun {
                self.feed.never_begins(run);
            }
            match outcome {
                Ok(accepted) if accepted.replayed => return self.again(caller, saying, accepted.run).await,
                Ok(_) => {
                    let head = session.head + events.len() as u64;
                    sessions.advanced(tenant, id, session, &events);
                    return Ok(Accepted { run, session: id, correlation, head, earlier: None });
                }
                Err(failure) if failure.code == "run.ended" => self.close(tenant, id, run).await?,
                Err(failure) if failure.code == "commit.conflict" => {}
                Err(failure) => return Err(failure),
            }
            session = sessions.fresh(tenant, id).await?;
        }
        let message = "the conversation moves on too fast; send the same again";
        Err(Failure { nothing_happened: true, ..Failure::internal("session.busy", message) }.retryable())
    }

    async fn start(
        &self,
        caller: &Principal,
        session: SessionId,
        heard: Heard,
        saying: &Saying,
        beside: Vec<Append>,
        correlation: CorrelationId,
    ) -> Result<steadfast_engine::Accepted, Failure> {
        let run = heard.run;
        let input = Data::of(&Exchange { session, heard })?;
        let start = Start {
            labels: [("session".to_owned(), session.to_string())].into(),
            correlation: Some(correlation),
            key: Some((key(caller, saying.request), saying.hash)),
            run: Some(run),
            beside,
            ..Start::new(caller.tenant.clone(), &caller.user, ASSISTANT, input)
        };
        self.engine.start(start).await
    }

    async fn signal(
        &self,
        caller: &Principal,
        heard: Heard,
        saying: &Saying,
        beside: Vec<Append>,
    ) -> Result<steadfast_engine::Accepted, Failure> {
        // A decision is found again by its message: its request has a key already.
        let until = self.assistant.world().now().after(KEPT);
        let key = matches!(heard.said, Said::Words { .. })
            .then(|| (key(caller, saying.request), saying.hash, until));
        let signal = Signal {
            tenant: caller.tenant.clone(),
            run: heard.run,
            id: saying.message,
            from: caller.user.clone(),
            name: HEARD.into(),
            value: Data::of(&heard)?,
            key,
            beside,
        };
        self.engine.send_signal(signal).await
    }

    /// A repeat of a message: its run and the last reply to it.
    async fn again(&self, caller: &Principal, saying: &Saying, run: RunId) -> Result<Accepted, Failure> {
        let session = self.session_of(&caller.tenant, run).await?;
        let head = self.resume(caller, session).await?;
        let earlier = self.assistant.sessions().last_reply(&caller.tenant, session, saying.request).await?;
        // A later one comes by itself.
        let earlier = earlier.filter(|(version, _)| *version <= head);
        Ok(Accepted { run, session, correlation: correlation(caller, saying.request), head, earlier })
    }

    pub(crate) async fn session_of(&self, tenant: &TenantId, run: RunId) -> Result<SessionId, Failure> {
        let view = self.engine.describe(tenant, run).await?;
        let session = view.labels.get("session").and_then(|session| session.parse().ok());
        session.ok_or_else(unknown_request)
    }

    fn append(
        &self,
        tenant: &TenantId,
        id: SessionId,
        session: &Session,
        events: &[Event],
        correlation: Option<CorrelationId>,
    ) -> Result<Append, Failure> {
        let world = self.assistant.world();
        let events: Result<Vec<_>, _> =
            events.iter().map(|event| event.encode(world, id, correlation)).collect();
        let expect = if session.head == 0 { Expect::New } else { Expect::Exact(session.head) };
        Ok(Append { stream: stream(tenant, id), expect, events: events? })
    }
}

impl std::fmt::Debug for Conversations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conversations").finish_non_exhaustive()
    }
}

/// What is said, under which ids.
pub(crate) struct Saying {
    pub(crate) request: RequestId,
    pub(crate) hash: Hash,
    pub(crate) message: Uuid,
}

pub(crate) fn key(caller: &Principal, request: RequestId) -> ClaimKey {
    ClaimKey::new(&caller.tenant, &caller.user, ASSISTANT, &request.to_string())
}

pub(crate) fn message_id(request: RequestId, what: &str) -> Uuid {
    steadfast_core::id::derive("heard", &[request.as_bytes(), what.as_bytes()])
}

/// The same for every repeat of a request.
pub(crate) fn correlation(caller: &Principal, request: RequestId) -> CorrelationId {
    CorrelationId::derived(&parts(caller, &request))
}

fn parts<'a>(caller: &'a Principal, request: &'a RequestId) -> [&'a [u8]; 3] {
    [caller.tenant.as_str().as_bytes(), caller.user.as_bytes(), request.as_bytes()]
}

fn run_of(answer: &str) -> Option<RunId> {
    let answer: serde_json::Value = serde_json::from_str(answer).ok()?;
    answer.get("run")?.as_str()?.parse().ok()
}

fn unknown_session(id: SessionId) -> Failure {
    Failure::refused(
        "session.not_found",
        format!("there is no conversation {id}; leave session_id out to begin one"),
    )
}

pub(crate) fn unknown_request() -> Failure {
    Failure::refused("request.not_found", "request_id: no message was sent under it; send the message first")
}
