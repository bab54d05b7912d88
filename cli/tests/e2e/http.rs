//! Requests as the tests make them.

use std::{sync::Once, time::Duration};

use serde_json::{Value, json};

/// One request under a key.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) user: &'static str,
    pub(crate) path: &'static str,
    pub(crate) key: String,
    pub(crate) body: Value,
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) replayed: bool,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn text(&self, field: &str) -> &str {
        self.body[field].as_str().unwrap_or_default()
    }
    /// The outcome, without what belongs to the one request that asked for it.
    pub(crate) fn outcome(&self) -> (u16, Value) {
        let mut body = self.body.clone();
        if let Some(fields) = body.as_object_mut() {
            fields.remove("instance");
        }
        (self.status, body)
    }
}

/// A client that speaks for several users.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    pub(crate) url: String,
}

impl Client {
    pub(crate) fn new(url: &str) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            rustls::crypto::aws_lc_rs::default_provider().install_default().expect("the first one");
        });
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().expect("a client");
        Self { http, url: url.to_owned() }
    }
    /// Waits up to ten seconds for the outcome of a run. `None` when the server was gone.
    pub(crate) async fn post(&self, token: &str, ask: &Ask) -> Option<Reply> {
        let request = self
            .http
            .post(format!("{}/api/v1{}", self.url, ask.path))
            .bearer_auth(token)
            .header("Idempotency-Key", &ask.key)
            .header("Prefer", "wait=10")
            .json(&ask.body);
        send(request).await
    }
    pub(crate) async fn get(&self, token: &str, path: &str) -> Value {
        let request = self.http.get(format!("{}/api/v1{path}", self.url));
        let reply = send(request.bearer_auth(token)).await.expect("an answer");
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        reply.body
    }
    /// Anything, for what is wrong on purpose.
    pub(crate) fn raw(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }
}

pub(crate) async fn send(request: reqwest::RequestBuilder) -> Option<Reply> {
    let response = request.send().await.ok()?;
    let status = response.status().as_u16();
    let replayed = response.headers().contains_key("Idempotency-Replayed");
    let text = response.text().await.ok()?;
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Some(Reply { status, replayed, body })
}

pub(crate) fn mxn(minor: i64) -> Value {
    json!({ "minor": minor, "currency": "MXN" })
}

pub(crate) fn transfer(user: &'static str, key: &str, to: &str, minor: i64) -> Ask {
    Ask {
        user,
        path: "/bank/transfers",
        key: key.to_owned(),
        body: json!({ "to": to, "amount": mxn(minor) }),
    }
}

pub(crate) fn purchase(user: &'static str, key: &str, product: &str, quantity: u32) -> Ask {
    Ask {
        user,
        path: "/bank/purchases",
        key: key.to_owned(),
        body: json!({ "product": product, "quantity": quantity }),
    }
}
