//! Something between a node and its server that loses a COMMIT, or the answer to it.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::Notify,
};

use crate::server::Server;

/// What happens to a COMMIT.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// It does not arrive.
    Lost,
    /// It is carried out, and nobody hears of it.
    AnswerLost,
    /// The client loses its connection at once; the server gets it when [`Proxy::release`]
    /// is called.
    Late,
}

/// Listens on a port of its own.
pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// The fault, and how many COMMITs go well before it.
    next: Mutex<Option<(usize, Fault)>>,
    closed: AtomicBool,
    release: Notify,
}

impl Proxy {
    pub(crate) async fn before(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("a port").port();
        let state = Arc::new(State::default());
        tokio::spawn(serve(listener, server.socket(), state.clone()));
        Self { port, state }
    }
    pub(crate) fn address(&self, database: &str) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname={database}", self.port)
    }
    /// Lets `well` COMMITs pass, and has `fault` happen to the next.
    pub(crate) fn after(&self, well: usize, fault: Fault) {
        *self.state.next.lock().unwrap_or_else(PoisonError::into_inner) = Some((well, fault));
    }
    /// Takes new connections, or none.
    pub(crate) fn close(&self, closed: bool) {
        self.state.closed.store(closed, Ordering::SeqCst);
    }
    /// Lets a late COMMIT through.
    pub(crate) fn release(&self) {
        self.state.release.notify_one();
    }
}

impl State {
    fn fault(&self) -> Option<Fault> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        match next.as_mut()? {
            (0, _) => next.take().map(|(_, fault)| fault),
            (well, _) => {
                *well -= 1;
                None
            }
        }
    }
}

async fn serve(listener: TcpListener, server: PathBuf, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        if state.closed.load(Ordering::SeqCst) {
            continue;
        }
        if let Ok(server) = UnixStream::connect(&server).await {
            tokio::spawn(carry(client, server, state.clone()));
        }
    }
}

/// Ends, and both connections with it, when either side does or a fault happened.
async fn carry(mut client: TcpStream, mut server: UnixStream, state: Arc<State>) -> Option<()> {
    const COMMIT: &[u8] = b"COMMIT\0";
    let (mut up, mut down) = ([0; 16_384], [0; 16_384]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let sent = &up[..read.ok().filter(|read| *read > 0)?];
                let commit = sent.windows(COMMIT.len()).any(|part| part == COMMIT);
                let fault = if commit { state.fault() } else { None };
                match fault {
                    Some(Fault::Lost) => return None,
                    Some(Fault::Late) => {
                        drop(client);
                        state.release.notified().await;
                        server.write_all(sent).await.ok()?;
                        // The answer, which goes no further.
                        server.readable().await.ok()?;
                        return None;
                    }
                    Some(Fault::AnswerLost) => {
                        server.write_all(sent).await.ok()?;
                        // The answer, which goes no further.
                        server.readable().await.ok()?;
                        return None;
                    }
                    None => server.write_all(sent).await.ok()?,
                }
            }
            read = server.read(&mut down) => {
                let sent = &down[..read.ok().filter(|read| *read > 0)?];
                client.write_all(sent).await.ok()?;
            }
        }
    }
}
