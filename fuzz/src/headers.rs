//! Headers and queries, through the extractors that handlers use.

use std::time::Duration;

use axum::{
    extract::FromRequestParts,
    http::{HeaderName, HeaderValue, Request, request::Parts},
};
use futures::FutureExt as _;
use steadfast_bank::ProductId;
use steadfast_core::{Principal, Role, RunId, TenantId};
use steadfast_log::Position;
use steadfast_server::{LIMIT_MAX, Last, OptionalKey, Prefer, Problem, Query, RequiredKey};

use crate::told;

const WAIT_MAX: Duration = Duration::from_secs(60);

/// A query up to the first line break, then `Name: value`, one a line.
pub(crate) fn headers(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let query = lines.next().unwrap_or_default();
    let mut request = Request::new(());
    for line in lines {
        let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':').unwrap_or(0));
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            request.headers_mut().append(name, value);
        }
    }
    let uri = [b"http://a.test/x?".as_slice(), query].concat();
    let uri = axum::http::Uri::try_from(uri).ok();
    let (mut parts, ()) = request.into_parts();
    keys(&mut parts);
    match Prefer::read(&parts.headers, WAIT_MAX) {
        Ok(prefer) => assert!(prefer.wait.is_none_or(|wait| wait <= WAIT_MAX)),
        Err(problem) => told::problem(&problem),
    }
    if let Some(uri) = uri {
        parts.uri = uri;
        asked(&mut parts);
    }
}

fn extract<T: FromRequestParts<(), Rejection = Problem>>(parts: &mut Parts) -> Result<T, Problem> {
    T::from_request_parts(parts, &()).now_or_never().expect("nothing is waited for")
}

fn keys(parts: &mut Parts) {
    let (optional, required) = (extract::<OptionalKey>(parts), extract::<RequiredKey>(parts));
    match (optional, required) {
        (Ok(OptionalKey(Some(key))), Ok(RequiredKey(same))) => {
            assert!(key == same);
            let text = key.as_str();
            assert!((1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()));
            let who = |user: &str| Principal {
                tenant: TenantId::default(),
                user: user.to_owned(),
                role: Role::User,
            };
            assert_eq!(key.claim(&who("ana"), "op"), same.claim(&who("ana"), "op"));
            assert_ne!(key.claim(&who("ana"), "op"), key.claim(&who("luis"), "op"));
            assert_ne!(key.claim(&who("ana"), "op"), key.claim(&who("ana"), "other"));
        }
        (Ok(OptionalKey(None)), Err(problem)) => {
            assert_eq!(problem.code(), "idempotency_key_required");
            told::problem(&problem);
        }
        (Err(problem), Err(same)) => {
            assert_eq!(problem.code(), same.code());
            told::problem(&problem);
        }
        (optional, required) => panic!("{optional:?} but {required:?}"),
    }
}

fn asked(parts: &mut Parts) {
    let read = |parts: &mut Parts, take: &dyn Fn(&mut Query) -> Result<(), Problem>| {
        let asked = extract::<Query>(parts).and_then(|mut query| {
            take(&mut query)?;
            query.finish()
        });
        if let Err(problem) = asked {
            told::problem(&problem);
        }
    };
    read(parts, &|query| {
        let limit = query.limit(LIMIT_MAX)?;
        assert!((1..=LIMIT_MAX).contains(&limit));
        query.cursor::<Last<RunId>>().map(drop)
    });
    read(parts, &|query| {
        query.one("user")?;
        query.cursor::<Last<ProductId>>().map(drop)
    });
    read(parts, &|query| query.cursor::<u64>().map(drop));
    read(parts, &|query| {
        query.many("stream");
        query.read::<Position>("after", "a position").map(drop)
    });
}
