//! Requests as they go over the network, and answers as they come back.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{Method, Request, header},
};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use steadfast_bank::{Ask, Key, Op};
use steadfast_core::{Failure, Principal, Role, TenantId, World};
use steadfast_server::NodeKey;
use tower::ServiceExt as _;

use crate::node::{KEY, Node};

/// How long a token is good; clocks jump further than that.
const TOKEN: Duration = Duration::from_secs(30 * 60);

/// Who asks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum By {
    /// With a good token.
    User(&'static str, Role),
    /// With this one.
    Token(String),
    Nobody,
}

/// What a request carries.
#[derive(Debug, Clone)]
pub(crate) enum Sent {
    Nothing,
    Json(Value),
    /// As it stands, and of no type.
    Text(String),
    /// Ends before its end.
    Broken,
    /// Never ends.
    Endless,
}

/// One HTTP request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) by: By,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) sent: Sent,
}

impl Call {
    pub(crate) fn get(by: &'static str, path: impl Into<String>) -> Self {
        Self {
            by: By::User(by, Role::User),
            method: Method::GET,
            path: path.into(),
            headers: Vec::new(),
            sent: Sent::Nothing,
        }
    }
    pub(crate) fn post(by: &'static str, path: impl Into<String>, body: Value) -> Self {
        Self { method: Method::POST, sent: Sent::Json(body), ..Self::get(by, path) }
    }
    /// Whoever asks is an operator or an admin.
    pub(crate) fn role(self, role: Role) -> Self {
        match self.by {
            By::User(user, _) => Self { by: By::User(user, role), ..self },
            By::Token(_) | By::Nobody => self,
        }
    }
    pub(crate) fn with(mut self, header: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((header, value.into()));
        self
    }
    pub(crate) fn keyed(self, key: &str) -> Self {
        self.with("idempotency-key", key)
    }

    fn request(&self, world: &World) -> Option<Request<Body>> {
        let mut request = Request::builder().method(self.method.clone()).uri(&self.path);
        let token = match &self.by {
            By::User(user, role) => Some(token(user, *role, TOKEN, world)),
            By::Token(token) => Some(token.clone()),
            By::Nobody => None,
        };
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if matches!(self.sent, Sent::Json(_) | Sent::Broken | Sent::Endless) {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let broken = || Err::<Bytes, _>(std::io::Error::other("cut off"));
        let body = match &self.sent {
            Sent::Nothing => Body::empty(),
            Sent::Json(value) => Body::from(value.to_string()),
            Sent::Text(text) => Body::from(text.clone()),
            Sent::Broken => Body::from_stream(futures::stream::iter([broken()])),
            Sent::Endless => Body::from_stream(futures::stream::pending::<std::io::Result<Bytes>>()),
        };
        request.body(body).ok()
    }
}

/// A token for somebody.
pub(crate) fn token(user: &str, role: Role, ttl: Duration, world: &World) -> String {
    let principal = Principal { tenant: TenantId::default(), user: user.into(), role };
    NodeKey::new(&KEY).mint(&principal, ttl, world).unwrap_or_default()
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// It had been given before.
    pub(crate) replayed: bool,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn ok(&self) -> bool {
        self.status < 300
    }
    pub(crate) fn id(&self) -> Option<&str> {
        self.body["id"].as_str()
    }
    pub(crate) fn code(&self) -> Option<&str> {
        self.body["code"].as_str()
    }
    /// Does whoever asked know now what came of it? Not while clocks are wrong: then no token
    /// is good.
    pub(crate) fn is_final(&self) -> bool {
        let flag = |name: &str| self.body[name] == true;
        self.ok() || self.status != 401 && flag("nothing_happened") && !flag("retryable")
    }
}

/// What is asked: over HTTP, or of the ledger itself, by those who work in the bank.
#[derive(Debug, Clone)]
pub(crate) enum Demand {
    Http(Call),
    Ledger(Box<(Principal, Op)>),
}

/// Asks it of a node, as itself.
pub(crate) async fn perform(node: Node, asked: Demand, key: String, world: World) -> Option<Answer> {
    match asked {
        Demand::Http(call) => {
            let response = node.router.oneshot(call.request(&world)?).await.ok()?;
            let status = response.status().as_u16();
            let replayed = response.headers().contains_key("idempotency-replayed");
            let bytes = response.into_body().collect().await.ok()?.to_bytes();
            Some(Answer { status, replayed, body: serde_json::from_slice(&bytes).unwrap_or_default() })
        }
        Demand::Ledger(asked) => {
            let (principal, op) = *asked;
            Some(match node.bank.ask(Ask::new(op, principal, Key::Client(key))).await {
                Ok(reply) => {
                    let (id, replayed) = (reply.answer.id.clone(), reply.replayed);
                    match reply.answer.into_result() {
                        Ok(answer) => Answer { status: 200, replayed, body: json!({ "id": answer.id }) },
                        Err(failure) => refused(&failure, Some(id), replayed),
                    }
                }
                Err(failure) => refused(&failure, None, false),
            })
        }
    }
}

/// As HTTP would tell it.
fn refused(failure: &Failure, id: Option<String>, replayed: bool) -> Answer {
    let body = json!({
        "code": failure.code, "retryable": failure.retryable,
        "nothing_happened": failure.nothing_happened, "id": id,
    });
    Answer { status: 422, replayed, body }
}
