use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

use crate::{Edge, write_timeout::WriteTimeout};

/// After a refused accept: the machine is out of sockets, and asking at once would only
/// burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections that were taken in.
#[derive(Debug)]
pub struct Connections {
    edge: Edge,
    places: Arc<Semaphore>,
    most: u32,
}

impl Connections {
    /// Waits until all of them have ended, for so long at most; what is still open then is
    /// cut off when the process ends.
    pub async fn ended(&self, limit: Duration) -> bool {
        let all = self.places.acquire_many(self.most);
        self.edge.within(limit, all).await.is_some()
    }
}

/// A connection's place among `connections_max`. Requests carry it, so that one that
/// upgrades keeps it for as long as its connection lasts.
#[derive(Clone)]
pub(crate) struct Place(#[expect(dead_code, reason = "held, not used")] Arc<OwnedSemaphorePermit>);

/// Serves until `shutdown` ends, then lets requests that are under way end for up to the
/// configured grace.
pub(crate) async fn serve(
    edge: Edge,
    router: Router,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Connections {
    let most = edge.config().connections_max.get();
    let places = Arc::new(Semaphore::new(usize::try_from(most).unwrap_or(usize::MAX)));
    let (stop, stopped) = watch::channel(());
    let accepting = async {
        loop {
            // The semaphore is never closed.
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            let stream = accept(&edge, &listener).await;
            let connection =
                connection(edge.clone(), router.clone(), stream, stopped.clone(), Place(Arc::new(place)));
            tokio::spawn(connection);
        }
    };
    tokio::select! {
        biased;
        () = shutdown => {}
        () = accepting => {}
    }
    edge.stop();
    drop(listener);
    drop(stop);
    let grace = edge.config().grace.get();
    let connections = Connections { edge, places, most };
    if !connections.ended(grace).await {
        tracing::warn!("some connections did not end within the grace");
    }
    connections
}

async fn accept(edge: &Edge, listener: &TcpListener) -> TcpStream {
    loop {
        match take(listener).await {
            Ok(stream) => return stream,
            Err(error) if of_one_connection(&error) => {}
            Err(_) => {
                tracing::warn!("a connection could not be accepted: the machine is short of sockets");
                edge.world().clock().sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The next connection. Answers are small and wanted at once, so it does not hold writes back.
async fn take(listener: &TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = listener.accept().await?;
    // Without it they are only slower.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

fn of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// One connection, from its first byte to its last. It holds its place until it is over.
async fn connection(
    edge: Edge,
    router: Router,
    stream: TcpStream,
    mut stopped: watch::Receiver<()>,
    place: Place,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(place.clone());
        router.call(request)
    });
    let stream = WriteTimeout::new(stream, edge.config().write_timeout.get(), edge.world().clone());
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(edge.config().read_timeout.get())
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(served);
    // A connection that breaks is its client's matter: what it asked for goes on.
    tokio::select! {
        biased;
        _ = &mut served => {}
        _ = stopped.changed() => {
            served.as_mut().graceful_shutdown();
            let _ = served.await;
        }
    }
    drop(place);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_of_clients_have_tcp_nodelay() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("its address");
        let (client, taken) = tokio::join!(TcpStream::connect(at), take(&listener));
        client.expect("a connection");
        assert!(taken.expect("a connection").nodelay().expect("its state"));
    }
}
