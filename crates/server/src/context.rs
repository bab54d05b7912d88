use axum::http::{HeaderMap, HeaderName, HeaderValue};
use steadfast_core::{CorrelationId, World};
use uuid::Uuid;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

const REQUEST_ID_MAX: usize = 128;

/// The ids of one request.
///
/// The trace id of W3C Trace Context, when the caller sends one, is the correlation id of
/// everything that follows from the request; a UUID and a trace id are both 16 bytes.
#[derive(Debug, Clone)]
pub struct RequestContext {
    id: HeaderValue,
    correlation: CorrelationId,
    span: u64,
}

impl RequestContext {
    pub(crate) fn read(headers: &HeaderMap, world: &World) -> Self {
        let id = headers.get(REQUEST_ID).filter(|id| is_sane(id)).cloned();
        let parent = headers.get(TRACEPARENT).and_then(|it| it.to_str().ok());
        Self {
            id: id.unwrap_or_else(|| ascii(&world.uuid().to_string())),
            correlation: CorrelationId(parent.and_then(trace_id).unwrap_or_else(|| world.uuid())),
            span: world.chance().bits().max(1),
        }
    }
    /// The request's id: the caller's `X-Request-Id`, or one of ours.
    pub fn id(&self) -> &str {
        // Ours is ASCII; the caller's was read as text before it was taken.
        self.id.to_str().unwrap_or_default()
    }
    /// What ties together all that follows from the request.
    pub fn correlation(&self) -> CorrelationId {
        self.correlation
    }
    /// Tells the caller.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        headers.insert(REQUEST_ID, self.id.clone());
        let trace = self.correlation.0.simple();
        headers.insert(TRACEPARENT, ascii(&format!("00-{trace}-{:016x}-01", self.span)));
    }
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn is_sane(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    (1..=REQUEST_ID_MAX).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
}

/// The trace id of a `traceparent`; `None` when it breaks the format, which its
/// specification wants ignored.
fn trace_id(parent: &str) -> Option<Uuid> {
    let hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let mut parts = parent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let shaped = hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    // Later versions may add parts; the first one has none.
    let fits = version != "ff" && (version != "00" || parts.next().is_none());
    let trace = Uuid::try_parse(trace).ok().filter(|trace| !trace.is_nil())?;
    (shaped && fits && span.bytes().any(|b| b != b'0')).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_is_taken_from_a_well_formed_parent_only() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let parent = format!("00-{trace}-00f067aa0ba902b7-01");
        assert_eq!(trace_id(&parent).map(|id| id.simple().to_string()), Some(trace.into()));
        for wrong in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f35-77b34da6-a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(trace_id(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_request_id_is_the_callers_if_it_is_sane_and_ours_otherwise() {
        let (world, _) = World::manual(1);
        let id = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(text).expect("a header"));
            RequestContext::read(&headers, &world).id().to_owned()
        };
        assert_eq!(id("web-1.a_b"), "web-1.a_b");
        for odd in ["", "a b", "{\"a\":1}", &"x".repeat(129)] {
            assert!(Uuid::try_parse(&id(odd)).is_ok(), "{odd}");
        }
    }
}
