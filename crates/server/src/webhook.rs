//! Delivery of events to others: a signed POST of a CloudEvent.
//!
//! The signature follows Standard Webhooks: HMAC-SHA256 with the shared secret over
//! `id.timestamp.body`, so that a receiver can tell a forged, changed or replayed message.
//! The id is the event's: a receiver drops repeats by it.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::future::{BoxFuture, FutureExt as _};
use reqwest::{StatusCode, Url, redirect};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::{
    Coded, Failure, Fault, World,
    config::{Environment, Period, SecretError, SecretSource, positive},
    defaults,
};
use steadfast_engine::Deliver;
use steadfast_log::{Identity, Recorded};

use crate::CloudEvent;

/// `[sinks.NAME]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// Where events are sent: http or https. Redirects are not followed.
    pub url: String,
    /// What deliveries are signed with, shared with the receiver; at least 24 bytes. Text
    /// that starts with `whsec_` is base64, as Standard Webhooks writes it.
    pub secret: SecretSource,
    /// Which types of event: `account.posted`, `account.*`, `*`.
    pub events: Vec<String>,
    /// Of one attempt.
    #[serde(default = "timeout", deserialize_with = "positive")]
    pub timeout: Period,
}

fn timeout() -> Period {
    defaults::ACTION_TIMEOUT.into()
}

impl WebhookConfig {
    /// Whether it can be sent to, and be signed for with what is in `env`.
    pub fn check(&self, env: &Environment) -> Result<(), WebhookError> {
        self.read(env).map(drop)
    }
    fn read(&self, env: &Environment) -> Result<(Url, hmac::Key), WebhookError> {
        let url = Url::parse(&self.url).map_err(|_| WebhookError::Url)?;
        let plain = url.username().is_empty() && url.password().is_none();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !plain {
            return Err(WebhookError::Url);
        }
        let secret = self.secret.read(env)?;
        let secret = match secret.reveal().strip_prefix("whsec_") {
            Some(text) => STANDARD.decode(text).map_err(|_| WebhookError::WeakSecret)?,
            None => secret.reveal().clone().into_bytes(),
        };
        if secret.len() < SECRET_BYTES_MIN {
            return Err(WebhookError::WeakSecret);
        }
        Ok((url, hmac::Key::new(hmac::HMAC_SHA256, &secret)))
    }
}

/// A sink that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// Not an address that events can be sent to.
    #[error("expected http://HOST/PATH or https://HOST/PATH without user and password")]
    Url,
    /// No secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Too easy to guess.
    #[error(
        "expected at least {SECRET_BYTES_MIN} bytes (whsec_ and base64, or text); make one with `openssl rand -hex 32`"
    )]
    WeakSecret,
    /// The client could not be made.
    #[error("the HTTP client could not be set up: {0}")]
    Client(#[from] reqwest::Error),
}

impl WebhookError {
    /// Which field of the sink is wrong, if one is.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Url => Some("url"),
            Self::Secret(_) | Self::WeakSecret => Some("secret"),
            Self::Client(_) => None,
        }
    }
}

impl Coded for WebhookError {
    fn code(&self) -> &'static str {
        match self {
            Self::Url => "sink.invalid_url",
            Self::Secret(_) => "sink.secret",
            Self::WeakSecret => "sink.weak_secret",
            Self::Client(_) => "sink.client",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            Self::Client(_) => Fault::Us,
            _ => Fault::Caller,
        }
    }
}

const SECRET_BYTES_MIN: usize = 24;

/// One receiver of events: a [`steadfast_engine::Subscriber::sink`] delivers to it.
pub struct Webhook {
    client: reqwest::Client,
    url: Url,
    key: hmac::Key,
    log: Identity,
    world: World,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The path may hold a token.
        write!(f, "[webhook to {}]", self.url.host_str().unwrap_or("?"))
    }
}

impl Webhook {
    /// The receiver that the configuration describes.
    pub fn new(
        config: &WebhookConfig,
        env: &Environment,
        log: Identity,
        world: World,
    ) -> Result<Self, WebhookError> {
        let (url, key) = config.read(env)?;
        let client = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(config.timeout.get())
            .build()?;
        Ok(Self { client, url, key, log, world })
    }

    /// One attempt. Only a status of 2xx is a delivery; any failure but a refusal by the
    /// receiver (4xx other than 408, 425 and 429) may be tried again.
    async fn attempt(&self, recorded: &Recorded) -> Result<(), Failure> {
        let body = serde_json::to_string(&CloudEvent::of(&self.log, recorded))
            .map_err(|error| Failure::internal("sink.unwritable", error.to_string()))?;
        let id = recorded.event.id.to_string();
        let timestamp = self.world.now().seconds().to_string();
        let answer = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/cloudevents+json")
            .header("webhook-signature", self.sign(&id, &timestamp, &body))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .body(body)
            .send()
            .await
            .map_err(|error| unreached(&error))?;
        judge(answer.status(), retry_after(&answer))
    }

    fn sign(&self, id: &str, timestamp: &str, body: &str) -> String {
        let signed = hmac::sign(&self.key, format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(signed))
    }
}

impl Deliver for Webhook {
    fn deliver<'a>(&'a self, event: &'a Recorded) -> BoxFuture<'a, Result<(), Failure>> {
        self.attempt(event).boxed()
    }
}

/// The address stays out of the message, as its path may hold a token.
fn unreached(error: &reqwest::Error) -> Failure {
    let message = if error.is_timeout() {
        "the receiver did not answer in time"
    } else if error.is_connect() {
        "the receiver could not be reached"
    } else {
        "the delivery broke off"
    };
    Failure::upstream("sink.unreachable", message)
}

fn retry_after(answer: &reqwest::Response) -> Option<Duration> {
    let header = answer.headers().get("retry-after")?;
    header.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

fn judge(status: StatusCode, wait: Option<Duration>) -> Result<(), Failure> {
    if status.is_success() {
        return Ok(());
    }
    let mut failure = Failure::upstream("sink.refused", format!("the receiver answered {}", status.as_u16()));
    failure.retryable = !status.is_client_error() || matches!(status.as_u16(), 408 | 425 | 429);
    Err(match wait.filter(|_| failure.retryable) {
        Some(wait) => steadfast_resilience::with_retry_after(failure, wait),
        None => failure,
    })
}
