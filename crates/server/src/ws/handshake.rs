use std::sync::Arc;

use aws_lc_rs::digest;
use axum::{
    Router,
    body::HttpBody as _,
    extract::{FromRef, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::upgrade::OnUpgrade;
use steadfast_core::{Failure, Fault, Time};

use super::{
    Conversation, origin,
    places::{Place, Places},
    socket::{self, Link},
};
use crate::{Caller, Edge, Problem, auth, listen};

/// The one subprotocol that is spoken.
const PROTOCOL: &str = "steadfast.v1";
/// What a browser, which cannot set headers, puts before its token in a subprotocol.
const BEARER: &str = "bearer.";
/// What RFC 6455, section 1.3, has both sides append to the key.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What stands behind the route.
#[derive(Clone)]
struct Door {
    edge: Edge,
    conversation: Arc<dyn Conversation>,
    places: Places,
}

impl FromRef<Door> for Edge {
    fn from_ref(door: &Door) -> Self {
        door.edge.clone()
    }
}

pub(crate) fn routes(edge: Edge, conversation: Arc<dyn Conversation>) -> Router {
    let places = Places::new(edge.config().ws.connections_per_user);
    Router::new().route("/ws", get(open)).with_state(Door { edge, conversation, places })
}

/// The handshake: who asks, from where, with what, and whether they may. Everything that is
/// wrong is told as a problem document, before anything is upgraded.
async fn open(State(door): State<Door>, mut request: Request) -> Result<Response, Problem> {
    let edge = &door.edge;
    // Not told back, as it may hold what a client took for the place of the token.
    if request.uri().query().is_some() {
        let message = "this path takes no query; the token goes into a header or a subprotocol";
        return Err(Problem::bad_request("request.invalid_query", message));
    }
    let protocols = Protocols::read(request.headers());
    let (caller, expires) = identify(edge, &request, &protocols)?;
    origin::check(request.headers(), &edge.config().ws.origins)?;
    let accept = accept(request.headers())?;
    // `get` serves HEAD too. Of a body it would be chance how much is taken for frames.
    if request.method() != Method::GET || !request.body().is_end_stream() {
        return Err(invalid_upgrade("ask with GET and without a body"));
    }
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        return Err(no_upgrade("the connection cannot be upgraded"));
    };
    door.conversation.admit(&caller).await.map_err(not_admitted)?;
    let place = place(&door, &caller)?;

    let held = request.extensions_mut().remove::<listen::Place>();
    let link = Link::new(edge.clone(), caller, expires);
    let conversation = door.conversation;
    tokio::spawn(async move {
        // An error means that the client left before it had its answer.
        if let Ok(upgraded) = upgrade.await {
            socket::run(link, upgraded, &*conversation).await;
        }
        drop((held, place));
    });
    Ok(switching(accept, protocols.ours))
}

/// Whoever may not converse is forbidden to, whatever the reason is; other failures are ours.
fn not_admitted(failure: Failure) -> Problem {
    let refused = failure.fault == Fault::Caller;
    let problem = Problem::new(failure);
    if refused { problem.with_status(StatusCode::FORBIDDEN) } else { problem }
}

/// The caller, by a token of the header or, from browsers, of a subprotocol.
fn identify(edge: &Edge, request: &Request, protocols: &Protocols) -> Result<(Caller, Time), Problem> {
    let headers = request.headers();
    let header = headers.contains_key(header::AUTHORIZATION).then(|| auth::bearer(headers)).transpose()?;
    let mut tokens = header.into_iter().chain(protocols.tokens.iter().map(String::as_str));
    let unclear = |code: &str, message: &str| {
        Problem::new(Failure::refused(code, message)).with_status(StatusCode::UNAUTHORIZED)
    };
    let Some(token) = tokens.next() else {
        let message = "send `Authorization: Bearer TOKEN`, or from a browser offer the subprotocols `steadfast.v1` and `bearer.TOKEN`; get a token with `steadfast token`";
        return Err(unclear("auth.missing", message));
    };
    if tokens.any(|other| other != token) {
        return Err(unclear("auth.ambiguous", "several tokens were sent: send one"));
    }
    auth::identify(edge, token, request.extensions())
}

fn place(door: &Door, caller: &Caller) -> Result<Place, Problem> {
    door.places.take(&caller.principal).ok_or_else(|| {
        let most = door.edge.config().ws.connections_per_user;
        let message = format!("you have {most} open connections, the most for one user: close one first");
        let failure = Failure::refused("ws.too_many_connections", message).retryable();
        Problem::new(failure).with_status(StatusCode::TOO_MANY_REQUESTS)
    })
}

/// The subprotocols that a client offers. Tokens among them are never told back.
struct Protocols {
    ours: bool,
    tokens: Vec<String>,
}

impl Protocols {
    fn read(headers: &HeaderMap) -> Self {
        let mut read = Self { ours: false, tokens: Vec::new() };
        for offer in offers(headers, &header::SEC_WEBSOCKET_PROTOCOL) {
            match offer.strip_prefix(BEARER) {
                Some(token) => read.tokens.push(token.into()),
                None => read.ours |= offer == PROTOCOL,
            }
        }
        read
    }
}

/// What a header lists, over all its lines.
fn offers<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// Checks what RFC 6455, section 4.2.1, asks of a request, and answers its key.
fn accept(headers: &HeaderMap) -> Result<HeaderValue, Problem> {
    let lists = |name, word: &str| offers(headers, &name).any(|it| it.eq_ignore_ascii_case(word));
    if !lists(header::CONNECTION, "upgrade") || !lists(header::UPGRADE, "websocket") {
        return Err(no_upgrade("send `Connection: Upgrade` and `Upgrade: websocket`"));
    }
    let one = |name| {
        let mut values = headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none())
    };
    if one(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(no_upgrade("send `Sec-WebSocket-Version: 13`"));
    }
    let key = one(header::SEC_WEBSOCKET_KEY)
        .filter(|key| STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16));
    let Some(key) = key else {
        return Err(invalid_upgrade("send one `Sec-WebSocket-Key` of 16 bytes in base64"));
    };
    // It protects nothing: it shows that the answer is to this request.
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(GUID.as_bytes());
    HeaderValue::try_from(STANDARD.encode(hash.finish()))
        .map_err(|_| Problem::new(Failure::internal("node.failed", "the answer could not be made")))
}

/// A request that is no good handshake.
fn invalid_upgrade(message: &str) -> Problem {
    Problem::bad_request("request.invalid_upgrade", format!("this path is a WebSocket: {message}"))
}

/// An ordinary request where only a WebSocket is served.
fn no_upgrade(message: &str) -> Problem {
    invalid_upgrade(message).with_status(StatusCode::UPGRADE_REQUIRED)
}

fn switching(accept: HeaderValue, ours: bool) -> Response {
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if ours {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_key_is_that_of_the_specification() {
        let headers = HeaderMap::from_iter([
            (header::CONNECTION, HeaderValue::from_static("keep-alive, Upgrade")),
            (header::UPGRADE, HeaderValue::from_static("WebSocket")),
            (header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
            (header::SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==")),
        ]);
        assert_eq!(accept(&headers).expect("good"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
