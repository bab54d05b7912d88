//! Signatures: who asks, and that nobody changed what is asked on its way (Signature
//! Version 4, by Amazon's own library).

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use bytes::Bytes;
use http::{
    HeaderValue, Request,
    header::{CONTENT_TYPE, HOST},
};
use http_body_util::Full;
use steadfast_core::{
    Time,
    config::{Environment, SecretSource},
};

use super::ProviderError;
use crate::{
    config::ProviderConfig,
    failure::{Class, Failed},
};

/// What Bedrock is called in signatures.
const SERVICE: &str = "bedrock";

pub(super) struct Signer {
    credentials: Credentials,
    region: String,
}

impl Signer {
    /// Nobody, if requests carry a key instead.
    pub(super) fn new(
        name: &Arc<str>,
        config: &ProviderConfig,
        env: &Environment,
    ) -> Result<Option<Self>, ProviderError> {
        if config.key.is_some() {
            return Ok(None);
        }
        let bedrock = &config.bedrock;
        let (Some(id), Some(secret)) = (&bedrock.access_key_id, &bedrock.secret_access_key) else {
            return Err(ProviderError::NoCredentials(name.to_string()));
        };
        // They have to be handed over.
        let read = |field: &'static str, source: &SecretSource| -> Result<String, ProviderError> {
            let secret = source.read(env);
            let secret = secret.map_err(|error| ProviderError::Key(name.to_string(), field, error))?;
            Ok(secret.reveal().clone())
        };
        let session = bedrock.session_token.as_ref();
        let session = session.map(|it| read("bedrock.session_token", it)).transpose()?;
        let (id, secret) = (read("bedrock.access_key_id", id)?, read("bedrock.secret_access_key", secret)?);
        let credentials = Credentials::new(id, secret, session, None, "configuration");
        Ok(Some(Self { credentials, region: bedrock.region.clone() }))
    }
    /// Signs `request`, whose body is `body`.
    pub(super) fn sign(
        &self,
        request: &mut Request<Full<Bytes>>,
        body: &[u8],
        now: Time,
    ) -> Result<(), Failed> {
        let cannot =
            |what: String| Failed::new(Class::Misconfigured, format!("a request cannot be signed: {what}"));
        let uri = request.uri().clone();
        let host = uri.authority().map_or("", |it| it.as_str());
        let host = HeaderValue::from_str(host).map_err(|error| cannot(error.to_string()))?;
        request.headers_mut().insert(HOST, host);
        let identity = self.credentials.clone().into();
        let since = Duration::from_micros(u64::try_from(now.micros()).unwrap_or_default());
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(SERVICE)
            .time(UNIX_EPOCH + since)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| cannot(error.to_string()))?
            .into();
        // What proxies on the way may change is not signed.
        let signed = [HOST, CONTENT_TYPE];
        let headers = signed.iter().filter_map(|name| {
            request.headers().get(name).and_then(|value| Some((name.as_str(), value.to_str().ok()?)))
        });
        let signable = SignableRequest::new(
            request.method().as_str(),
            uri.to_string(),
            headers,
            SignableBody::Bytes(body),
        );
        let (instructions, _) = signable
            .and_then(|signable| sign(signable, &params))
            .map_err(|error| cannot(error.to_string()))?
            .into_parts();
        let (headers, _) = instructions.into_parts();
        for header in headers {
            let mut value =
                HeaderValue::from_str(header.value()).map_err(|error| cannot(error.to_string()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(header.name(), value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http::Method;
    use steadfast_core::World;

    use super::*;
    use crate::config::Kind;

    fn signer(variables: &[(&str, &str)]) -> Result<Option<Signer>, ProviderError> {
        let env: BTreeMap<_, _> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = ProviderConfig { kind: Kind::Bedrock, ..ProviderConfig::default() };
        Signer::new(&"b".into(), &config.or_usual(&env), &env)
    }

    const KEYS: [(&str, &str); 3] = [
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        ("AWS_REGION", "eu-central-1"),
    ];

    #[test]
    fn a_request_is_signed_as_amazons_other_tools_sign_it() {
        // Reckoned by botocore, from the same keys, body and time.
        let by_key = "fcaa690bfcf3a9b5c43ae22e885d73abca3d6b2aa4969f28f49d7575fadc4992";
        let by_session = "eaa5d8951347f04462c7b2563dbe05f3917aaf38d6f82b16a12848540cb705d3";
        let session = [&KEYS[..], &[("AWS_SESSION_TOKEN", "session/token==")]].concat();
        let (world, _) = World::manual(1);
        for (variables, expected) in [(&KEYS[..], by_key), (&session, by_session)] {
            let signer = signer(variables).expect("keys").expect("keys that sign");
            let mut request = Request::new(Full::default());
            *request.method_mut() = Method::POST;
            *request.uri_mut() = "https://bedrock-runtime.eu-central-1.amazonaws.com/model/\
                eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"
                .parse()
                .expect("an address");
            let headers = request.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert("user-agent", HeaderValue::from_static("not signed"));
            signer.sign(&mut request, br#"{"messages":[]}"#, world.now()).expect("signed");
            let authorization = &request.headers()["authorization"];
            assert!(authorization.to_str().expect("text").ends_with(expected), "{request:?}");
            assert!(authorization.is_sensitive());
            assert_eq!(request.headers()["x-amz-date"], "20260101T000000Z");
        }
    }

    #[test]
    fn a_key_of_bedrocks_own_goes_before_others_and_one_is_needed() {
        let own = [&KEYS[..], &[("AWS_BEARER_TOKEN_BEDROCK", "b")]].concat();
        assert!(signer(&own).expect("a key").is_none());
        assert!(matches!(signer(&[]), Err(ProviderError::NoCredentials(_))));
        assert!(matches!(signer(&KEYS[..1]), Err(ProviderError::NoCredentials(_))));
    }
}
