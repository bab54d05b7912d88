//! Who asks: a virtual key of the gateway, or a token that somebody else knows.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, StatusCode, header::AUTHORIZATION};
use steadfast_core::{Failure, Principal};

use super::{api_of, request_id, write};
use crate::{Caller, Models, Rejected, call::Api, keys};

/// Who knows tokens that are no virtual keys, such as a node's own.
pub trait Tokens: Send + Sync {
    /// Whom a token speaks for.
    fn principal(&self, token: &str) -> Result<Principal, Failure>;
}

/// What the guard looks at.
pub(super) type Guard = (Arc<Models>, Arc<dyn Tokens>);

/// Finds out who asks, and lets nobody else in. Handlers find a [`Caller`] among the request's
/// extensions, and a [`Principal`] where a token brought one.
pub(super) async fn guard(
    State((models, tokens)): State<Guard>,
    mut request: Request,
    next: Next,
) -> Response {
    let found = match token(request.headers()) {
        Some(key) if key.starts_with(keys::PREFIX) => {
            models.keys().identify(key).map(|caller| (caller, None))
        }
        Some(token) => match tokens.principal(token) {
            Ok(principal) => {
                let user = Some(principal.user.as_str().into());
                let caller = Caller { tenant: principal.tenant.clone(), user, key: None };
                Ok((caller, Some(principal)))
            }
            Err(failure) => Err(Rejected::new(failure, StatusCode::UNAUTHORIZED)),
        },
        None => {
            let message = "send `Authorization: Bearer KEY` or `x-api-key: KEY` with a key of this gateway";
            Err(Rejected::new(Failure::refused("key.missing", message), StatusCode::UNAUTHORIZED))
        }
    };
    match found {
        Ok((caller, principal)) => {
            let extensions = request.extensions_mut();
            extensions.insert(caller);
            if let Some(principal) = principal {
                extensions.insert(principal);
            }
            next.run(request).await
        }
        Err(rejected) => {
            let messages = request.uri().path() == "/v1/messages";
            let api = if messages { Api::Anthropic } else { api_of(request.headers()) };
            let id = request_id(&models, request.headers());
            write::rejected(rejected, api, &id)
        }
    }
}

/// The key or token, as clients of either API send it.
fn token(headers: &HeaderMap) -> Option<&str> {
    let mut own = headers.get_all("x-api-key").iter();
    let mut bearers = headers.get_all(AUTHORIZATION).iter();
    // Whoever sends two may have been looked at with the other one.
    match (own.next(), own.next(), bearers.next(), bearers.next()) {
        (Some(key), None, None, None) => key.to_str().ok(),
        (None, None, Some(bearer), None) => {
            let (scheme, token) = bearer.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start())
        }
        _ => None,
    }
}
