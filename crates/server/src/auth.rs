use axum::{
    extract::{FromRef, FromRequestParts},
    http::{Extensions, HeaderMap, header, request::Parts},
};
use steadfast_core::{Coded, CorrelationId, Failure, Principal, Time};

use crate::{Edge, Problem, RequestContext, TokenError, token::Good};

/// Who asks: a request with a good token.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// What ties together all that follows from the request.
    pub correlation: CorrelationId,
}

/// A [`Caller`] who is an operator or an admin.
#[derive(Debug, Clone)]
pub struct Operator(pub Caller);

impl<S> FromRequestParts<S> for Caller
where
    Edge: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let edge = Edge::from_ref(state);
        let (caller, _) = identify(&edge, bearer(&parts.headers)?, &parts.extensions)?;
        Ok(caller)
    }
}

impl<S> FromRequestParts<S> for Operator
where
    Edge: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        if caller.principal.operates() {
            Ok(Self(caller))
        } else {
            Err(forbidden("this needs an operator's token").into())
        }
    }
}

impl Edge {
    /// Whom a token speaks for.
    pub fn principal(&self, token: &str) -> Result<Principal, TokenError> {
        let principal = self.verify(token)?.principal;
        self.metrics().tenant(&principal.tenant);
        Ok(principal)
    }
}

/// Whom a token speaks for, and until when.
pub(crate) fn identify(edge: &Edge, token: &str, extensions: &Extensions) -> Result<(Caller, Time), Problem> {
    let Good { principal, until, .. } = edge.verify(token).map_err(|error| Problem::new(error.failure()))?;
    let correlation = extensions
        .get::<RequestContext>()
        .map_or_else(|| CorrelationId::next(edge.world()), RequestContext::correlation);
    edge.metrics().tenant(&principal.tenant);
    Ok((Caller { principal, correlation }, until))
}

pub(crate) fn forbidden(message: &str) -> Failure {
    Failure::refused("auth.forbidden", message)
}

/// The one bearer token. Two `Authorization` headers are refused: whoever stands between
/// may have looked at the other one.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let missing = || {
        Problem::new(Failure::refused(
            "auth.missing",
            "send `Authorization: Bearer TOKEN`; get a token with `steadfast token`",
        ))
    };
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(missing());
    };
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(missing)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token) } else { Err(missing()) }
}
