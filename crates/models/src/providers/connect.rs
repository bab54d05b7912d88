//! Connections to providers: plain or encrypted, each within its time, without Nagle's
//! delay. Small writes are all there is here, and waiting for more of them costs 40 ms.

use std::{
    error::Error,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hyper::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::{
        HttpConnector,
        dns::{GaiResolver, Name},
    },
    rt::TokioIo,
};
use steadfast_core::World;
use tokio::net::TcpStream;
use tower::{Service, ServiceExt, util::MapErr};

use super::ProviderError;
use crate::failure::{Class, Unreached, Wait};

type BoxError = Box<dyn Error + Send + Sync>;
type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// It took too long.
#[derive(Debug, thiserror::Error)]
#[error("no connection within the time for one")]
struct TooSlow;

/// The name of the host is not known.
#[derive(Debug, thiserror::Error)]
#[error("the name of the host could not be found")]
struct NoSuchName;

type Resolver = MapErr<GaiResolver, fn(io::Error) -> NoSuchName>;

/// Why there is no connection: a class of [`Class::Connect`], or too late.
pub(super) fn why(error: &(dyn Error + 'static)) -> Class {
    let mut cause = error;
    loop {
        if cause.is::<TooSlow>() {
            return Class::Timeout(Wait::Connect);
        }
        if cause.is::<NoSuchName>() {
            return Class::Connect(Unreached::Name);
        }
        if let Some(error) = cause.downcast_ref() {
            return Class::Connect(match error {
                rustls::Error::InvalidMessage(_) => Unreached::NoTls,
                rustls::Error::InvalidCertificate(_) => Unreached::Certificate,
                _ => Unreached::Other,
            });
        }
        let inner = match cause.downcast_ref::<io::Error>() {
            Some(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => return Class::Connect(Unreached::Refused),
                io::ErrorKind::TimedOut => return Class::Timeout(Wait::Connect),
                // What it wraps is not its source.
                _ => error.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            },
            None => cause.source(),
        };
        match inner {
            Some(inner) => cause = inner,
            None => return Class::Connect(Unreached::Other),
        }
    }
}

/// Does something else than HTTP answer there?
pub(super) fn is_no_http(error: &(dyn Error + 'static)) -> bool {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.filter_map(|cause| cause.downcast_ref::<hyper::Error>()).any(hyper::Error::is_parse)
}

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    inner: HttpsConnector<HttpConnector<Resolver>>,
    world: World,
    limit: Duration,
}

impl Connector {
    /// `encrypted`: whether certificates will be needed.
    pub(super) fn new(world: &World, limit: Duration, encrypted: bool) -> Result<Self, ProviderError> {
        let mut roots = rustls::RootCertStore::empty();
        if encrypted {
            let found = rustls_native_certs::load_native_certs();
            let (added, _) = roots.add_parsable_certificates(found.certs);
            if added == 0 {
                let why = found.errors.first().map_or("there are none".into(), ToString::to_string);
                return Err(ProviderError::Certificates(why));
            }
        }
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let tls = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .map_err(|error| ProviderError::Certificates(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let unknown: fn(io::Error) -> NoSuchName = |_| NoSuchName;
        let resolver = <GaiResolver as ServiceExt<Name>>::map_err(GaiResolver::new(), unknown);
        let mut http = HttpConnector::new_with_resolver(resolver);
        http.set_nodelay(true);
        http.enforce_http(false);
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        Ok(Self { inner: builder.wrap_connector(http), world: world.clone(), limit })
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }
    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = self.inner.call(to);
        let too_slow = self.world.clock().sleep(self.limit);
        Box::pin(async move {
            tokio::select! {
                biased;
                connected = connecting => connected,
                () = too_slow => Err(TooSlow.into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_to_providers_have_tcp_nodelay() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("its address");
        let mut connector =
            Connector::new(&World::system(), Duration::from_secs(5), false).expect("a connector");
        let to: Uri = format!("http://{at}/v1").parse().expect("an address");
        match connector.call(to).await.expect("a connection") {
            MaybeHttpsStream::Http(stream) => assert!(stream.inner().nodelay().expect("its state")),
            MaybeHttpsStream::Https(_) => panic!("nobody asked for encryption"),
        }
    }
}
