//! The verbs' way to a running server.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use reqwest::{Method, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    config::{self, ConfigArgs},
    store::StoreUrl,
};

/// Which server a command talks to, and as whom.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct Connection {
    /// The server's address.
    #[arg(
        long,
        global = true,
        env = "STEADFAST_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:7400"
    )]
    url: String,
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

/// A refusal by the server.
#[derive(Debug, thiserror::Error)]
#[error("{} ({}, HTTP {status})", .problem.detail, .problem.code)]
struct Refusal {
    status: u16,
    problem: Problem,
}

/// What we read of a problem document.
#[derive(Debug, Deserialize)]
struct Problem {
    code: String,
    detail: String,
}

impl Connection {
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
        Ok(Client { http, url: self.url.trim_end_matches('/').to_owned(), token })
    }
}

fn mint(user: Option<&str>) -> anyhow::Result<String> {
    let store: StoreUrl = config::load(&ConfigArgs::from_env())?.store.url.parse()?;
    let path = store.key_path();
    if !path.exists() {
        bail!(
            "no token: give --token or STEADFAST_TOKEN, or run this where the node's key is (looked for {})",
            path.display()
        );
    }
    crate::commands::token::mint(&path, user)
}

impl Client {
    /// Reads.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
        let request = self.request(Method::GET, path).query(query);
        Ok(self.send(request).await?.body)
    }

    /// Takes away; the same again changes nothing.
    pub(crate) async fn delete(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
        let request = self.request(Method::DELETE, path).query(query);
        Ok(self.send(request).await?.body)
    }

    /// Reads what is meant for people.
    pub(crate) async fn get_text(&self, path: &str) -> anyhow::Result<String> {
        let request = self.request(Method::GET, path);
        let (text, _) = self.exchange(request.header(header::ACCEPT, "text/plain")).await?;
        Ok(text)
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
        self.send(request).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}/api/v1{path}", self.url)).bearer_auth(&self.token)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Answer> {
        let (text, replayed) = self.exchange(request).await?;
        let body = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).map_err(|_| not_ours(StatusCode::OK, &self.url))?
        };
        Ok(Answer { body, replayed })
    }

    /// The text of a good answer, and whether it had been given before.
    async fn exchange(&self, request: reqwest::RequestBuilder) -> anyhow::Result<(String, bool)> {
        let response = request.send().await.map_err(|error| {
            if error.is_connect() {
                anyhow::anyhow!(
                    "no server answers at {}: start one with `steadfast serve`, or give --url",
                    self.url
                )
            } else {
                anyhow::Error::new(error.without_url()).context("the server did not answer")
            }
        })?;
        let status = response.status();
        let replayed = response.headers().get("Idempotency-Replayed").is_some_and(|value| value == "true");
        let text = response.text().await.context("the answer broke off")?;
        if status.is_success() {
            return Ok((text, replayed));
        }
        let problem: Problem = serde_json::from_str(&text).map_err(|_| not_ours(status, &self.url))?;
        Err(Refusal { status: status.as_u16(), problem }.into())
    }
}

fn not_ours(status: StatusCode, url: &str) -> anyhow::Error {
    anyhow::anyhow!("{url} answered HTTP {status} and not as Steadfast does: check --url")
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
