//! What Amazon's errors mean: they have names, which say more than their statuses.

use http::{HeaderMap, StatusCode};
use memchr::memmem;

use crate::{failure::Class, providers::status};

/// The header that an error's name stands in.
const NAME: &str = "x-amzn-errortype";
/// What a request says that names a model nobody has, or not by itself.
const NO_MODEL: [&[u8]; 3] =
    [b"model identifier is invalid", b"on-demand throughput", b"model ID is not supported"];

pub(super) fn class(status: StatusCode, headers: &HeaderMap, words: &[u8]) -> Class {
    // `ThrottlingException:http://internal.amazon.com/…`
    let name = headers.get(NAME).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = name.split(':').next().unwrap_or_default();
    named(name, words).unwrap_or_else(|| status::class(status, headers, words))
}

/// What the error of that name means. Streams write their first letters small.
pub(super) fn named(name: &str, words: &[u8]) -> Option<Class> {
    let says = |what: &[u8]| memmem::find(words, what).is_some();
    let name = name.strip_suffix("Exception").unwrap_or(name).to_ascii_lowercase();
    Some(match &*name {
        "throttling" | "toomanyrequests" | "modelnotready" | "servicequotaexceeded" => Class::Limited,
        "internalserver" | "serviceunavailable" | "modelerror" | "modelstreamerror" | "modeltimeout" => {
            Class::Unwell
        }
        "validation" if says(b"guardrail") => Class::Misconfigured,
        "validation" if NO_MODEL.iter().any(|what| says(what)) => Class::NoModel,
        "validation" => Class::Refused,
        "accessdenied" if says(b"Authentication failed") => Class::Misconfigured,
        "accessdenied" | "resourcenotfound" => Class::NoModel,
        "unrecognizedclient"
        | "invalidsignature"
        | "incompletesignature"
        | "expiredtoken"
        | "missingauthenticationtoken" => Class::Misconfigured,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn an_errors_name_says_more_than_its_status() {
        let of = |status: u16, name: &'static str, words: &str| {
            let headers =
                HeaderMap::from_iter([(NAME.parse().expect("a name"), HeaderValue::from_static(name))]);
            class(StatusCode::from_u16(status).expect("a status"), &headers, words.as_bytes())
        };
        for (status, name, expected) in [
            (429, "ThrottlingException:http://internal.amazon.com/coral/", Class::Limited),
            (429, "ModelNotReadyException", Class::Limited),
            (400, "ServiceQuotaExceededException", Class::Limited),
            (408, "ModelTimeoutException", Class::Unwell),
            (424, "ModelErrorException", Class::Unwell),
            (500, "InternalServerException", Class::Unwell),
            (503, "ServiceUnavailableException", Class::Unwell),
            (400, "ValidationException", Class::Refused),
            (403, "AccessDeniedException", Class::NoModel),
            (404, "ResourceNotFoundException", Class::NoModel),
            (403, "UnrecognizedClientException", Class::Misconfigured),
            (403, "ExpiredTokenException", Class::Misconfigured),
            (503, "SomethingElse", Class::Unwell),
            (400, "", Class::Refused),
        ] {
            assert_eq!(of(status, name, "{}"), expected, "{name}");
        }
        let validation = |words| of(400, "ValidationException", words);
        assert_eq!(validation("The provided model identifier is invalid."), Class::NoModel);
        assert_eq!(validation("The guardrail identifier or version does not exist"), Class::Misconfigured);
        let denied = of(403, "AccessDeniedException", "Authentication failed: check the API key");
        assert_eq!(denied, Class::Misconfigured);
        assert_eq!(named("throttlingException", b""), Some(Class::Limited));
    }
}
