//! Over real sockets.

use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

use steadfast_core::Role;
use steadfast_server::{Connections, ServerConfig};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

use crate::house::House;

struct Serving {
    address: SocketAddr,
    token: String,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Connections>,
}

async fn serve(config: ServerConfig) -> (steadfast_engine::Engine, Serving) {
    let house = House::real(config);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let (stop, stopped) = oneshot::channel::<()>();
    let token = house.token("ana", Role::User);
    let engine = house.engine.clone();
    let ended = tokio::spawn(house.server.serve(listener, async move {
        // Dropping the sender stops it too.
        let _ = stopped.await;
    }));
    (engine, Serving { address, token, stop, ended })
}

impl Serving {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connects")
    }
    fn post(&self, prefer: &str, body: &str) -> String {
        format!(
            "POST /api/v1/runs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\nprefer: {prefer}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.token,
            body.len()
        )
    }
}

async fn read(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("closes");
    text
}

#[tokio::test]
async fn stopping_answers_what_is_under_way_and_takes_nothing_more() {
    let (engine, serving) = serve(ServerConfig::default()).await;
    let mut waiting = serving.connect().await;
    let request = serving.post("wait=20", r#"{"workflow":"ask"}"#);
    waiting.write_all(request.as_bytes()).await.expect("sent");
    let tenant = steadfast_core::TenantId::default();
    let list = || engine.list_runs(steadfast_log::ListQuery { limit: 1, ..Default::default() });
    let run = loop {
        let rows = list().await.expect("listed").rows;
        match rows.first() {
            Some(row) => break row.stream.name().parse().expect("an id"),
            None => tokio::task::yield_now().await,
        }
    };
    drop(serving.stop);
    while TcpStream::connect(serving.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let value = steadfast_engine::Data::of("done").expect("json");
    engine.signal(&tenant, run, None, "test", "answer", value).await.expect("sent");
    let answer = read(waiting).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.ends_with(r#""status":"completed","output":"done"}"#), "{answer}");
    serving.ended.await.expect("ends");
}

#[tokio::test]
async fn a_request_that_does_not_arrive_is_given_up() {
    let config = ServerConfig { read_timeout: Duration::from_millis(50).into(), ..ServerConfig::default() };
    let (_, serving) = serve(config).await;
    let mut slow_head = serving.connect().await;
    slow_head.write_all(b"GET /healthz HTTP/1.1\r\nhost:").await.expect("sent");
    let mut slow_body = serving.connect().await;
    let request = serving.post("wait=0", r#"{"workflow":"ask"}"#);
    let cut = &request.as_bytes()[..request.len() - 5];
    slow_body.write_all(cut).await.expect("sent");
    assert!(!read(slow_head).await.contains("200 OK"));
    let answer = read(slow_body).await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout"), "{answer}");
    assert!(answer.contains("application/problem+json") && answer.contains("request.timeout"));
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_their_turn() {
    let config = ServerConfig { connections_max: NonZeroU32::MIN, ..ServerConfig::default() };
    let (_, serving) = serve(config).await;
    let get = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut first = serving.connect().await;
    first.write_all(&get[..10]).await.expect("sent");
    let mut second = serving.connect().await;
    second.write_all(get).await.expect("sent");
    first.write_all(&get[10..]).await.expect("sent");
    assert!(read(first).await.starts_with("HTTP/1.1 200 OK"));
    assert!(read(second).await.starts_with("HTTP/1.1 200 OK"));
    serving.stop.send(()).expect("serving");
    serving.ended.await.expect("ends");
}
