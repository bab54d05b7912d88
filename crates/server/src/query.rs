use std::str::FromStr;

use axum::{
    extract::{FromRequestParts, Request},
    http::{Method, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use crate::Problem;

/// The query of a request, taken apart by name. What nobody took is refused by
/// [`Query::finish`], so that a typo is not a filter that does nothing.
#[derive(Debug, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
    taken: Vec<&'static str>,
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let pairs = axum::extract::Query::try_from_uri(&parts.uri)
            .map_err(|_| invalid("the query does not read: write name=value&name=value, percent-encoded"))?
            .0;
        Ok(Self { pairs, taken: Vec::new() })
    }
}

/// Around every POST: what it asks for stands in its body and headers, and a query that was
/// sent is not passed over as if it had been heeded.
pub(crate) async fn none_on_posts(request: Request, next: Next) -> Response {
    if request.method() != Method::POST || request.uri().query().is_none() {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let query = Query::from_request_parts(&mut parts, &()).await;
    match query.and_then(Query::finish) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => problem.into_response(),
    }
}

fn invalid(message: impl Into<String>) -> Problem {
    Problem::bad_request("request.invalid_query", message)
}

impl Query {
    /// Every value under a name.
    pub fn many(&mut self, name: &'static str) -> Vec<String> {
        self.taken.push(name);
        let (taken, rest) = std::mem::take(&mut self.pairs).into_iter().partition(|(given, _)| given == name);
        self.pairs = rest;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }
    /// The one value under a name.
    pub fn one(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        let mut values = self.many(name);
        if values.len() > 1 {
            return Err(invalid(format!("{name}: given more than once")).with_field(name));
        }
        Ok(values.pop())
    }
    /// The one value under a name, read; `rule` says what was expected.
    pub fn read<T: FromStr>(&mut self, name: &'static str, rule: &str) -> Result<Option<T>, Problem> {
        self.one(name)?.map(|text| text.parse().map_err(|_| unreadable(name, &text, rule))).transpose()
    }
    /// Refuses what is left.
    pub fn finish(self) -> Result<(), Problem> {
        match self.pairs.first() {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(64).collect();
                let message = if self.taken.is_empty() {
                    format!("{name:?} is not known: this path takes no query")
                } else {
                    format!("{name:?} is not known: use {}", self.taken.join(", "))
                };
                Err(invalid(message).with_field(name))
            }
        }
    }
}

/// A value that is not what its place wants.
pub(crate) fn unreadable(name: &str, text: &str, rule: &str) -> Problem {
    let shown: String = text.chars().take(64).collect();
    invalid(format!("{name} = {shown:?}: expected {rule}")).with_field(name)
}

/// What the path names: `{id}` and the like, read as ids or names.
#[derive(Debug)]
pub struct Place<T>(pub T);

impl<S, T> FromRequestParts<S> for Place<T>
where
    S: Send + Sync,
    T: FromStr<Err: std::fmt::Display> + Send,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let bad = |message: String| Problem::bad_request("request.invalid_path", message).with_field("id");
        let text = axum::extract::Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| bad("the path does not read".into()))?
            .0;
        text.parse().map(Self).map_err(|error| {
            let shown: String = text.chars().take(64).collect();
            bad(format!("{shown:?} in the path: {error}"))
        })
    }
}
