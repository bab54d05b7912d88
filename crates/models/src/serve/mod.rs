//! The HTTP face: OpenAI's API and Anthropic's under `/v1`.
//!
//! Who asks is found out by the [`Gate`] of whoever mounts these routes.

mod cache;
mod durable;
mod listing;
mod write;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
    routing::{any, get, post},
};
use futures::FutureExt as _;
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header::AUTHORIZATION};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use steadfast_core::Failure;

pub use cache::operator_routes;
pub use durable::{Begun, Durable, Place, Step};

use crate::{
    Caller, Current, Models, Operation, Rejected,
    call::{Api, Call},
    keys,
};

/// Where Anthropic's clients put their key.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Says who asks, by the headers of the request; [`token`] finds the key or token in them.
/// Virtual keys of the gateway are known without it.
pub type Gate = Arc<dyn Fn(&HeaderMap) -> Result<Caller, Rejected> + Send + Sync>;

/// What every handler needs.
#[derive(Clone)]
struct Door {
    current: Arc<Current>,
    gate: Gate,
    durable: Option<Arc<dyn Durable>>,
}

impl Door {
    /// Lets a request in, and says who asks.
    fn enter(&self, models: &Models, headers: &HeaderMap) -> Result<Caller, Rejected> {
        if !models.config().enabled {
            let failure =
                Failure::refused("models.disabled", "models are not served here: see models.enabled");
            return Err(Rejected::new(failure, StatusCode::NOT_FOUND));
        }
        match token(headers) {
            Some(key) if key.starts_with(keys::PREFIX) => models.keys().identify(key),
            _ => (self.gate)(headers),
        }
    }
}

/// The routes, under `/v1`. Without `durable` nothing outlives its request.
pub fn routes(current: Arc<Current>, gate: Gate, durable: Option<Arc<dyn Durable>>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/messages", post(messages))
        .route("/v1/responses", post(responses))
        .route("/v1/responses/{id}", get(durable::show))
        .route("/v1/responses/{id}/cancel", post(durable::cancel))
        .route("/v1/embeddings", post(embeddings))
        .route("/v1/audio/transcriptions", post(transcriptions))
        .route("/v1/models", get(listing::list))
        .route("/v1/models/{*model}", get(listing::show))
        .route("/v1/{*rest}", any(nothing_there))
        .method_not_allowed_fallback(wrong_method)
        .with_state(Door { current, gate, durable })
}

/// The one key or token, as either API sends it. Two of them are none: whoever stands between
/// may have looked at the other one.
pub fn token(headers: &HeaderMap) -> Option<&str> {
    let mut bearer = headers.get_all(AUTHORIZATION).iter();
    let mut plain = headers.get_all(API_KEY).iter();
    match (bearer.next(), plain.next(), bearer.next(), plain.next()) {
        (Some(value), None, None, None) => {
            let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token)
        }
        (None, Some(value), None, None) => value.to_str().ok(),
        _ => None,
    }
}

async fn chat(State(door): State<Door>, request: Request) -> Response {
    call(door, Operation::Chat, request).await
}

async fn messages(State(door): State<Door>, request: Request) -> Response {
    call(door, Operation::Messages, request).await
}

async fn embeddings(State(door): State<Door>, request: Request) -> Response {
    call(door, Operation::Embeddings, request).await
}

async fn responses(State(door): State<Door>, request: Request) -> Response {
    call(door, Operation::Responses, request).await
}

async fn transcriptions(State(door): State<Door>, request: Request) -> Response {
    call(door, Operation::Transcription, request).await
}

async fn call(door: Door, operation: Operation, request: Request) -> Response {
    let models = door.current.get();
    let id = request_id(&models, request.headers());
    let mut media_type = None;
    let result = match read(&door, &models, operation, request, id.clone()).await {
        Ok((call, headers)) if durable::is_background(&call) => {
            match durable::begin(&door, &models, call, headers).await {
                Ok(begun) => return durable::begun(begun, &id),
                Err(rejected) => Err(rejected),
            }
        }
        Ok((call, _)) => {
            media_type = call.asked.media_type;
            match call.options.step {
                Some(_) => durable::answer(&door, &models, call).await,
                None => models.answer(call).await,
            }
        }
        Err(rejected) => Err(rejected),
    };
    match result {
        Ok(answer) => write::answer(answer, media_type, &id),
        Err(rejected) => write::rejected(rejected, operation.api(), &id),
    }
}

async fn read(
    door: &Door,
    models: &Models,
    operation: Operation,
    request: Request,
    id: Arc<str>,
) -> Result<(Call, HeaderMap), Rejected> {
    let (head, body) = request.into_parts();
    let caller = door.enter(models, &head.headers)?;
    let limit = models.config().body_max;
    let body = match arrive(models, Limited::new(body, limit.as_usize()).collect()).await {
        Some(Ok(body)) => body.to_bytes(),
        Some(Err(error)) if error.is::<LengthLimitError>() => {
            let failure = Failure::refused("request.too_large", format!("the body is larger than {limit}"));
            return Err(Rejected::new(failure, StatusCode::PAYLOAD_TOO_LARGE));
        }
        Some(Err(_)) => {
            let failure = Failure::refused("request.incomplete", "the body did not arrive whole");
            return Err(Rejected::new(failure, StatusCode::BAD_REQUEST));
        }
        None => {
            let failure = Failure::refused("request.timeout", "the body did not arrive in time");
            return Err(Rejected::new(failure, StatusCode::REQUEST_TIMEOUT));
        }
    };
    let mut call = Call::read(id, operation, &head.headers, body, caller)?;
    durable::check_run(door, &mut call).await?;
    Ok((call, head.headers))
}

/// What arrives within its time. Most bodies are there at once, and need no timer.
async fn arrive<T>(models: &Models, arriving: impl Future<Output = T>) -> Option<T> {
    let mut arriving = std::pin::pin!(arriving);
    if let Some(there) = arriving.as_mut().now_or_never() {
        return Some(there);
    }
    tokio::select! {
        biased;
        there = arriving => Some(there),
        () = models.world().clock().sleep(models.config().read_timeout.get()) => None,
    }
}

/// The client's own id if it has the form of one, else ours.
fn request_id(models: &Models, headers: &HeaderMap) -> Arc<str> {
    let own = headers.get("x-request-id").and_then(|value| value.to_str().ok());
    let fine = |id: &&str| {
        (1..=128).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    match own.filter(fine) {
        Some(id) => id.into(),
        None => models.world().uuid().to_string().into(),
    }
}

/// Whose client asks, where the path does not say it: Anthropic's name their version.
fn api_of(headers: &HeaderMap) -> Api {
    if headers.contains_key("anthropic-version") { Api::Anthropic } else { Api::OpenAi }
}

async fn nothing_there(State(door): State<Door>, to: Uri, headers: HeaderMap) -> Response<Body> {
    let models = door.current.get();
    let path = steadfast_core::shown(to.path(), 80);
    let failure = Failure::refused("request.no_such_path", format!("there is nothing under {path}"));
    let id = request_id(&models, &headers);
    write::rejected(Rejected::new(failure, StatusCode::NOT_FOUND), api_of(&headers), &id)
}

async fn wrong_method(State(door): State<Door>, method: Method, headers: HeaderMap) -> Response<Body> {
    let models = door.current.get();
    let method = steadfast_core::shown(method.as_str(), 20);
    let failure = Failure::refused("request.method_not_allowed", format!("this path does not take {method}"));
    let id = request_id(&models, &headers);
    write::rejected(Rejected::new(failure, StatusCode::METHOD_NOT_ALLOWED), api_of(&headers), &id)
}
