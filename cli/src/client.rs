//! The verbs' way to a running server.

use std::time::Duration;

use clap::Args;
use reqwest::{Method, StatusCode, header};
use serde_json::Value;
use steadfast_core::Failure;

use crate::{
    config::{self, ConfigArgs, StoreUrl},
    failed::{Keyed, Problem, Refusal},
    keys,
    local::Local,
    store::StoreArgs,
};

const USUAL_URL: &str = "http://127.0.0.1:7400";

/// Which server a command talks to, and as whom.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct Connection {
    /// The server's address [default: http://127.0.0.1:7400].
    #[arg(long, global = true, env = "STEADFAST_URL", value_name = "URL")]
    url: Option<String>,
    /// A token for it. Without one, a token is made with the node's key if that is here.
    #[arg(long, global = true, env = "STEADFAST_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Act as this user, with a token made with the node's key.
    #[arg(long = "as", global = true, value_name = "USER", conflicts_with = "token")]
    act_as: Option<String>,
}

/// What a server answered.
pub(crate) struct Answer {
    pub(crate) body: Value,
    /// It had been answered before, under the same idempotency key.
    pub(crate) replayed: bool,
}

/// A server and who we are to it.
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
}

/// Whom a verb that only reads asks: a server, or a store.
pub(crate) enum Reader {
    Server(Client),
    Store(Box<Local>),
}

impl Connection {
    /// Where the server is.
    pub(crate) fn address(&self) -> &str {
        self.url.as_deref().unwrap_or(USUAL_URL).trim_end_matches('/')
    }

    /// The server, for verbs that otherwise read what is beside the store: if one is named, and
    /// no store is.
    pub(crate) fn server_instead(&self, store: &StoreArgs) -> anyhow::Result<Option<Client>> {
        let named = (self.url.is_some() || self.token.is_some()) && store.store.is_none();
        named.then(|| self.client()).transpose()
    }

    /// The token that was given, or a fresh one: for a user, or else for whom `--as` names.
    pub(crate) fn token(&self, user: Option<&str>) -> anyhow::Result<String> {
        match &self.token {
            Some(token) => Ok(token.clone()),
            None => mint(user.or(self.act_as.as_deref())),
        }
    }

    /// A client with a token; nothing is sent yet.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let token = match (&self.token, &self.act_as) {
            (Some(token), None) => token.clone(),
            (_, user) => mint(user.as_deref())?,
        };
        // Waits for runs are long; a server that is gone is noticed by its connection.
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(120))
            .build()?;
        Ok(Client { http, url: self.address().to_owned(), token })
    }

    /// The store if one is named, else the server.
    pub(crate) async fn reader(&self, store: &StoreArgs) -> anyhow::Result<Reader> {
        if store.store.is_some() {
            let local = Local::open(store, self.act_as.as_deref()).await?;
            return Ok(Reader::Store(Box::new(local)));
        }
        Ok(Reader::Server(self.client()?))
    }
}

impl Reader {
    /// Reads.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
        let local = match self {
            Self::Server(client) => return client.get(path, query).await,
            Self::Store(local) => local,
        };
        let (status, body) = local.get(path, query).await?;
        if status.is_success() {
            return Ok(serde_json::from_slice(&body)?);
        }
        Err(Refusal { problem: serde_json::from_slice(&body)? }.into())
    }
}

fn mint(user: Option<&str>) -> anyhow::Result<String> {
    let store: StoreUrl = config::load(&ConfigArgs::from_env())?.store.url.parse()?;
    let path = store.key_path();
    if !path.exists() {
        let message = format!(
            "no token: give --token or STEADFAST_TOKEN, or run this where the node's key is (looked for {})",
            path.display()
        );
        return Err(Failure::refused("token.missing", message).into());
    }
    keys::sign(&path, &keys::principal(user))
}

impl Client {
    /// Reads.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
        let request = self.request(Method::GET, path).query(query);
        Ok(self.send(request, true).await?.body)
    }

    /// Takes away; the same again changes nothing.
    pub(crate) async fn delete(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
        let request = self.request(Method::DELETE, path).query(query);
        Ok(self.send(request, false).await?.body)
    }

    /// Reads what is meant for people.
    pub(crate) async fn get_text(&self, path: &str) -> anyhow::Result<String> {
        let request = self.request(Method::GET, path);
        let (text, _) = self.exchange(request.header(header::ACCEPT, "text/plain"), true).await?;
        Ok(text)
    }

    /// The server's metrics.
    pub(crate) async fn metrics(&self) -> anyhow::Result<String> {
        let request = self.http.get(format!("{}/metrics", self.url)).bearer_auth(&self.token);
        Ok(self.exchange(request, true).await?.0)
    }

    /// Asks for something that is done once for each key.
    pub(crate) async fn post(
        &self,
        path: &str,
        key: Option<&str>,
        wait: Option<u64>,
        body: &Value,
    ) -> anyhow::Result<Answer> {
        let mut request = self.request(Method::POST, path).json(body);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(seconds) = wait {
            request = request.header("Prefer", format!("wait={seconds}"));
        }
        let answer = self.send(request, false).await;
        answer.map_err(|source| match key {
            Some(key) => Keyed { key: key.to_owned(), source }.into(),
            None => source,
        })
    }

    /// Sends lines of text.
    pub(crate) async fn post_text(&self, path: &str, text: String) -> anyhow::Result<Value> {
        let request = self.request(Method::POST, path).header(header::CONTENT_TYPE, "application/jsonl");
        Ok(self.send(request.body(text), false).await?.body)
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}/api/v1{path}", self.url)).bearer_auth(&self.token)
    }

    async fn send(&self, request: reqwest::RequestBuilder, reads: bool) -> anyhow::Result<Answer> {
        let (text, replayed) = self.exchange(request, reads).await?;
        let body = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).map_err(|_| not_ours(StatusCode::OK, &self.url))?
        };
        Ok(Answer { body, replayed })
    }

    /// The text of a good answer, and whether it had been given before. What only reads
    /// changes nothing, also when no answer comes.
    async fn exchange(
        &self,
        request: reqwest::RequestBuilder,
        reads: bool,
    ) -> anyhow::Result<(String, bool)> {
        let lost = |error: reqwest::Error| {
            let connected = !error.is_connect();
            let (code, message) = if connected {
                ("server.no_answer", format!("the server's answer was lost: {}", error.without_url()))
            } else {
                let url = &self.url;
                let what_to_do = "start one with `steadfast serve`, or give --url";
                ("server.unreachable", format!("no server answers at {url}: {what_to_do}"))
            };
            Failure { nothing_happened: reads || !connected, ..Failure::upstream(code, message) }
        };
        let response = request.send().await.map_err(lost)?;
        let status = response.status();
        let replayed = response.headers().get("Idempotency-Replayed").is_some_and(|value| value == "true");
        let text = response.text().await.map_err(lost)?;
        if status.is_success() {
            return Ok((text, replayed));
        }
        let problem: Problem = serde_json::from_str(&text).map_err(|_| not_ours(status, &self.url))?;
        Err(Refusal { problem }.into())
    }
}

fn not_ours(status: StatusCode, url: &str) -> Failure {
    let message = format!("{url} answered HTTP {status} and not as Steadfast does: check --url");
    Failure { retryable: false, ..Failure::upstream("server.not_steadfast", message) }
}

/// A path segment that may hold anything.
pub(crate) fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| match byte {
            byte if plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
