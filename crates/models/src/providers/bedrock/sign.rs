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

use super::SetupError;
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
    ) -> Result<Option<Self>, SetupError> {
        if config.key.is_some() {
            return Ok(None);
        }
        let bedrock = &config.bedrock;
        let (Some(id), Some(secret)) = (&bedrock.access_key_id, &bedrock.secret_access_key) else {
            return Err(SetupError::NoCredentials(name.to_string()));
        };
        // They have to be handed over.
        let read = |source: &SecretSource| -> Result<String, SetupError> {
            let secret = source.read(env).map_err(|error| SetupError::Key(name.to_string(), error))?;
            Ok(secret.reveal().clone())
        };
        let session = bedrock.session_token.as_ref().map(read).transpose()?;
        let credentials = Credentials::new(read(id)?, read(secret)?, session, None, "configuration");
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
            value.set_sensitive(header.sensitive());
            request.headers_mut().insert(header.name(), value);
        }
        Ok(())
    }
}
