use axum::http::{HeaderMap, Uri, header};
use serde::{Deserialize, Serialize};
use steadfast_core::Failure;

use crate::{Problem, auth::forbidden};

const RULE: &str = "expected the origin of a web page: scheme and host, and the port if it is not the \
                    scheme's own, such as \"https://app.example.com\", without a path";

/// Where a web page is from: `https://app.example.com`, in small letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin(String);

impl TryFrom<String> for Origin {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let uri: Uri = text.parse().map_err(|_| RULE)?;
        let web = matches!(uri.scheme_str(), Some("http" | "https"));
        // A parsed address has a path even where the text has none.
        let bare =
            uri.authority().is_some_and(|it| text.ends_with(it.as_str()) && !it.as_str().contains('@'));
        if web && bare { Ok(Self(text.to_ascii_lowercase())) } else { Err(RULE) }
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.0
    }
}

/// Browsers say which page connects, and let any page try. One from elsewhere is refused
/// unless it is allowed; what is no browser sends no origin.
pub(super) fn check(headers: &HeaderMap, allowed: &[Origin]) -> Result<(), Problem> {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else {
        return Ok(());
    };
    let refused = || -> Problem { refusal().into() };
    let (Ok(origin), None) = (origin.to_str(), origins.next()) else {
        return Err(refused());
    };
    if allowed.iter().any(|it| it.0.eq_ignore_ascii_case(origin)) {
        return Ok(());
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let page = origin.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"));
    match (page, host) {
        (Some((_, page)), Some(host)) if page.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(refused()),
    }
}

fn refusal() -> Failure {
    forbidden(
        "the page that connects is not from this server's host: an operator can allow its origin in `server.ws.origins`",
    )
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn allows(host: &str, origin: &str, allowed: &[Origin]) -> bool {
        let value = |text: &str| HeaderValue::from_str(text).expect("a header");
        let headers = HeaderMap::from_iter([(header::HOST, value(host)), (header::ORIGIN, value(origin))]);
        check(&headers, allowed).is_ok()
    }

    #[test]
    fn pages_of_the_own_host_and_of_allowed_origins_may_connect_and_no_others() {
        let app = Origin::try_from("https://App.example.com".to_owned()).expect("an origin");
        let allowed = &[app];
        for good in ["http://bank.test:7400", "https://BANK.test:7400", "https://app.example.com"] {
            assert!(allows("bank.test:7400", good, allowed), "{good}");
        }
        for bad in [
            "null",
            "",
            "bank.test:7400",
            "file://bank.test:7400",
            "http://bank.test",
            "http://bank.test:74000",
            "http://evil.bank.test:7400",
            "http://bank.test:7400.evil.test",
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.test",
        ] {
            assert!(!allows("bank.test:7400", bad, allowed), "{bad}");
        }
    }

    #[test]
    fn an_allowed_origin_is_a_scheme_and_a_host() {
        for bad in ["", "*", "null", "app.example.com", "https://", "https://a.test/", "https://u@a.test"] {
            assert_eq!(Origin::try_from(bad.to_owned()), Err(RULE), "{bad}");
        }
        assert!(Origin::try_from("http://localhost:5173".to_owned()).is_ok());
    }
}
