//! Bodies: JSON and nothing else, read whole, strictly, and with a place for every
//! complaint.

use std::{collections::BTreeSet, fmt};

use axum::{
    body::Body,
    extract::{FromRef, FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use steadfast_core::strict::Strictly;

use crate::{Edge, Problem, complaint::Complaint};

/// A JSON object: as a parameter the request's body. As a result, the answer's, of any
/// JSON.
#[derive(Debug, Clone)]
pub struct Json<T>(pub T);

/// A body of any JSON, not looked into.
#[derive(Debug, Clone)]
pub struct RawJson(pub Box<RawValue>);

/// A body that may be left out, and is then the default.
#[derive(Debug, Clone)]
pub struct OrDefault<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<S, T> FromRequest<S> for Json<T>
where
    Edge: FromRef<S>,
    S: Send + Sync,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        check_type(&head.headers)?;
        let bytes = receive(&Edge::from_ref(state), &head.headers, body).await?;
        Self::read(&bytes)
    }
}

impl<S> FromRequest<S> for RawJson
where
    Edge: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        check_type(&head.headers)?;
        let bytes = receive(&Edge::from_ref(state), &head.headers, body).await?;
        Json::read(&bytes).map(|Json(body)| Self(body))
    }
}

impl<S, T> FromRequest<S> for OrDefault<T>
where
    Edge: FromRef<S>,
    S: Send + Sync,
    T: DeserializeOwned + Default,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        let bytes = receive(&Edge::from_ref(state), &head.headers, body).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        check_type(&head.headers)?;
        Json::read(&bytes).map(|Json(body)| Self(body))
    }
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let media = text(header::CONTENT_TYPE).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    let refuse = |message: &str| {
        Err(Problem::bad_request("request.media_type", message)
            .with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE))
    };
    if !media.eq_ignore_ascii_case("application/json") {
        return refuse("send the body as JSON, with `Content-Type: application/json`");
    }
    if text(header::CONTENT_ENCODING).is_some_and(|it| !it.eq_ignore_ascii_case("identity")) {
        return refuse("send the body without Content-Encoding");
    }
    Ok(())
}

async fn receive(edge: &Edge, headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let limit = edge.config().body_max;
    let too_large = || {
        let message = format!("the body is larger than {limit}, the most that is taken");
        Problem::bad_request("request.too_large", message).with_status(StatusCode::PAYLOAD_TOO_LARGE)
    };
    let said =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|length| length > limit.get()) {
        return Err(too_large());
    }
    let collected =
        edge.within(edge.config().read_timeout.get(), Limited::new(body, limit.as_usize()).collect()).await;
    match collected {
        Some(Ok(body)) => Ok(body.to_bytes()),
        Some(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Some(Err(_)) => Err(Problem::bad_request("request.cut_off", "the body ended before its end")),
        None => Err(Problem::bad_request(
            "request.timeout",
            format!("the body did not arrive within {}", edge.config().read_timeout),
        )
        .with_status(StatusCode::REQUEST_TIMEOUT)),
    }
}

impl<T: DeserializeOwned> Json<T> {
    /// Reads the bytes of a body. The place of a mistake is looked for only once there is
    /// one.
    pub fn read(bytes: &[u8]) -> Result<Self, Problem> {
        serde_json::from_slice::<Unambiguous>(bytes)
            .and_then(|_| serde_json::from_slice::<Strictly<T>>(bytes))
            .map(|Strictly(body)| Self(body))
            .map_err(|error| complain::<T>(bytes, error))
    }
}

fn complain<T: DeserializeOwned>(bytes: &[u8], error: serde_json::Error) -> Problem {
    if !error.is_data() {
        return Problem::bad_request("request.invalid_json", format!("the body is not JSON: {error}"));
    }
    let mut input = serde_json::Deserializer::from_slice(bytes);
    let tracked = serde_path_to_error::deserialize::<_, Strictly<T>>(&mut input);
    let (path, error) = match tracked {
        Err(tracked) => (tracked.path().to_string(), tracked.into_inner()),
        Ok(_) => (".".into(), error),
    };
    let Complaint { field, message } = Complaint::new(&path, &error);
    let problem = Problem::bad_request("request.invalid_body", message);
    match field {
        Some(field) => problem.with_field(field),
        None => problem,
    }
}

/// JSON in which no object has a member twice: two readers could take different ones.
struct Unambiguous;

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Unambiguous;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unambiguous, A::Error> {
        let mut names = BTreeSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if names.contains(&name) {
                return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
            }
            names.insert(name);
            map.next_value::<Unambiguous>()?;
        }
        Ok(Unambiguous)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Unambiguous, A::Error> {
        while seq.next_element::<Unambiguous>()?.is_some() {}
        Ok(Unambiguous)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }
    fn visit_str<E>(self, _: &str) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }
    fn visit_unit<E>(self) -> Result<Unambiguous, E> {
        Ok(Unambiguous)
    }
}
