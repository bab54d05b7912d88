//! The HTTP face: OpenAI's API and Anthropic's under `/v1`.
//!
//! Who asks is found out before: whoever mounts these routes puts a [`Caller`] among the
//! request's extensions.

mod guard;
mod listing;
mod operate;
mod write;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::from_fn_with_state,
    response::Response,
    routing::{get, post},
};
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use steadfast_core::Failure;

use crate::{
    Caller, Models, Operation, Rejected,
    call::{Api, Call},
};

pub use guard::Tokens;

/// The routes, under `/v1`, for those alone who show a virtual key or one of `tokens`; and for
/// operators what they need, under `/v1/steadfast`.
pub fn guarded(models: Arc<Models>, tokens: Arc<dyn Tokens>) -> Router {
    let operating = operate::routes().with_state(models.clone());
    routes(models.clone()).merge(operating).layer(from_fn_with_state((models, tokens), guard::guard))
}

/// The routes, under `/v1`.
pub fn routes(models: Arc<Models>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/messages", post(messages))
        .route("/v1/embeddings", post(embeddings))
        .route("/v1/models", get(listing::list))
        .route("/v1/models/{*model}", get(listing::show))
        .fallback(nothing_there)
        .method_not_allowed_fallback(wrong_method)
        .with_state(models)
}

async fn chat(State(models): State<Arc<Models>>, request: Request) -> Response {
    call(models, Operation::Chat, request).await
}

async fn messages(State(models): State<Arc<Models>>, request: Request) -> Response {
    call(models, Operation::Messages, request).await
}

async fn embeddings(State(models): State<Arc<Models>>, request: Request) -> Response {
    call(models, Operation::Embeddings, request).await
}

async fn call(models: Arc<Models>, operation: Operation, request: Request) -> Response {
    let id = request_id(&models, request.headers());
    let result = match read(&models, operation, request, id.clone()).await {
        Ok(call) => models.answer(call).await,
        Err(rejected) => Err(rejected),
    };
    match result {
        Ok(answer) => write::answer(answer, &id),
        Err(rejected) => write::rejected(rejected, operation.api(), &id),
    }
}

async fn read(
    models: &Models,
    operation: Operation,
    request: Request,
    id: Arc<str>,
) -> Result<Call, Rejected> {
    let (mut head, body) = request.into_parts();
    let caller = head.extensions.remove::<Caller>().unwrap_or_default();
    let limit = models.config().body_max;
    let body = match Limited::new(body, limit.as_usize()).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            let failure = Failure::refused("request.too_large", format!("the body is larger than {limit}"));
            return Err(Rejected::new(failure, StatusCode::PAYLOAD_TOO_LARGE));
        }
        Err(_) => {
            let failure = Failure::refused("request.incomplete", "the body did not arrive whole");
            return Err(Rejected::new(failure, StatusCode::BAD_REQUEST));
        }
    };
    Ok(Call::read(id, operation, &head.headers, body, caller)?)
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

async fn nothing_there(State(models): State<Arc<Models>>, to: Uri, headers: HeaderMap) -> Response<Body> {
    let path = steadfast_core::shown(to.path(), 80);
    let failure = Failure::refused("request.no_such_path", format!("there is nothing under {path}"));
    let id = request_id(&models, &headers);
    write::rejected(Rejected::new(failure, StatusCode::NOT_FOUND), api_of(&headers), &id)
}

async fn wrong_method(
    State(models): State<Arc<Models>>,
    method: Method,
    headers: HeaderMap,
) -> Response<Body> {
    let method = steadfast_core::shown(method.as_str(), 20);
    let failure = Failure::refused("request.method_not_allowed", format!("this path does not take {method}"));
    let id = request_id(&models, &headers);
    write::rejected(Rejected::new(failure, StatusCode::METHOD_NOT_ALLOWED), api_of(&headers), &id)
}
