use std::time::Duration;

use axum::{
    http::{HeaderValue, Response, StatusCode, header},
    response::IntoResponse,
};
use serde::Serialize;
use serde_json::Value;
use steadfast_core::{Coded, Failure, Fault};

use crate::RequestContext;

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");
/// When nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An error on its way out: RFC 9457, with our `code` and `retryable`.
///
/// It travels as an extension of an empty response and is written in `front`, which knows
/// the request's id.
#[derive(Debug, Clone)]
pub struct Problem(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    failure: Failure,
    status: StatusCode,
    field: Option<String>,
    id: Option<String>,
}

impl Problem {
    /// The failure under its own status.
    pub fn new(failure: Failure) -> Self {
        Self(Box::new(Parts { status: status(&failure), failure, field: None, id: None }))
    }
    /// A request that is wrong as it stands: 400.
    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Failure::refused(code, message)).with_status(StatusCode::BAD_REQUEST)
    }
    /// One value of the request is wrong: 400.
    pub fn bad_field(field: impl Into<String>, error: &impl Coded) -> Self {
        let field = field.into();
        let failure = Failure { message: format!("{field}: {error}"), ..error.failure() };
        Self::new(failure).with_status(StatusCode::BAD_REQUEST).with_field(field)
    }
    /// Under another status.
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status;
        self
    }
    /// Which member of the request is wrong: `amount.minor`.
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }
    /// What was decided about has an id of its own, and keeps it.
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.0.id = Some(id.into());
        self
    }
    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }
    /// What is wrong, and whose fault it is.
    pub fn failure(&self) -> &Failure {
        &self.0.failure
    }
    /// The member of the request that is wrong, if it is one.
    pub fn field(&self) -> Option<&str> {
        self.0.field.as_deref()
    }
    /// Its code.
    pub fn code(&self) -> &str {
        &self.0.failure.code
    }

    /// An answer of the framework's that carries no problem yet: a path that is not there,
    /// a method that is not allowed.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let (code, message) = match status {
            StatusCode::NOT_FOUND => {
                ("request.no_such_path", "there is nothing under this path; the interface is under /api/v1")
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                ("request.method_not_allowed", "this path does not take this method; see the Allow header")
            }
            StatusCode::PAYLOAD_TOO_LARGE => ("request.too_large", "the request is too large"),
            StatusCode::BAD_REQUEST => ("request.invalid", "the request does not read"),
            _ if status.is_client_error() => ("request.refused", "the request was refused"),
            _ => {
                return Self::new(Failure::internal("node.failed", "the answer could not be made"));
            }
        };
        Self::new(Failure::refused(code, message)).with_status(status)
    }

    /// The finished document.
    pub(crate) fn write(&self, context: &RequestContext) -> Response<axum::body::Body> {
        let document = Document {
            kind: format!("urn:steadfast:problem:{}", self.0.failure.code),
            title: self.0.status.canonical_reason().unwrap_or("Error"),
            status: self.0.status.as_u16(),
            detail: &self.0.failure.message,
            code: &self.0.failure.code,
            retryable: self.0.failure.retryable,
            nothing_happened: self.0.failure.nothing_happened,
            instance: context.id(),
            field: self.0.field.as_deref(),
            id: self.0.id.as_deref(),
            data: self.0.failure.data.as_ref(),
        };
        // Texts, flags and a JSON value: nothing here can fail to be written.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = Response::new(body.into());
        *response.status_mut() = self.0.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, MEDIA_TYPE);
        if self.0.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"steadfast\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        // To what: there is one protocol, in one version.
        if self.0.status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        if self.0.failure.retryable {
            let wait = steadfast_resilience::retry_after(&self.0.failure).unwrap_or(RETRY_AFTER);
            let seconds = wait.as_millis().div_ceil(1_000).max(1);
            if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
                headers.insert(header::RETRY_AFTER, value);
            }
        }
        response
    }
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    retryable: bool,
    nothing_happened: bool,
    instance: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
}

/// Which status a failure has: by its code where one is known, else by whose fault it is.
fn status(failure: &Failure) -> StatusCode {
    let code = failure.code.as_str();
    let last = code.rsplit('.').next().unwrap_or(code);
    match code {
        "auth.missing" | "token.invalid" | "token.expired" | "token.not_yet_valid" => {
            return StatusCode::UNAUTHORIZED;
        }
        "auth.forbidden" | "workflow.not_open" => return StatusCode::FORBIDDEN,
        "idempotency_key_required" | "cursor.invalid" => return StatusCode::BAD_REQUEST,
        "run.ended" | "run.not_ended" | "dead_letter.closed" | "dead_letter.changed" => {
            return StatusCode::CONFLICT;
        }
        "tenant.too_many_runs" | "ledger.busy" => return StatusCode::TOO_MANY_REQUESTS,
        "commit.too_large" => return StatusCode::PAYLOAD_TOO_LARGE,
        _ => {}
    }
    match (last, failure.fault) {
        ("not_found", _) => StatusCode::NOT_FOUND,
        (_, Fault::Caller) if failure.retryable => StatusCode::CONFLICT,
        (_, Fault::Caller) if last.starts_with("invalid") || code.starts_with("request.") => {
            StatusCode::BAD_REQUEST
        }
        (_, Fault::Caller) => StatusCode::UNPROCESSABLE_ENTITY,
        (_, Fault::Upstream) => StatusCode::BAD_GATEWAY,
        (_, Fault::Us) if failure.retryable => StatusCode::SERVICE_UNAVAILABLE,
        (_, Fault::Us) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::new(failure)
    }
}

impl From<steadfast_log::ReadError> for Problem {
    fn from(error: steadfast_log::ReadError) -> Self {
        Self::new(error.failure())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> axum::response::Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
