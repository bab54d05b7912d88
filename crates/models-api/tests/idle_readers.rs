//! Clients that ask and do not read: they hold neither a place nor a provider for long.
#![allow(missing_docs)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::json;
use steadfast_core::{
    Principal, Role, TenantId, World, config,
    observe::Observer,
    secret::{Keyring, Secret},
};
use steadfast_engine::{Engine, EngineConfig, Registry};
use steadfast_log::MemoryLog;
use steadfast_models::{Current, Models, ModelsConfig};
use steadfast_models_api::ModelsApp;
use steadfast_models_mock::{Mock, Plan};
use steadfast_resilience::{Policies, Registry as Breakers};
use steadfast_server::{Metrics, NodeKey, Server, ServerConfig, ServerParts};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};

/// A node with this gateway and such clients' patience, and a token for it.
fn node(models: Models, world: &World, config: ServerConfig) -> (Server, Arc<Models>, String) {
    let current = Arc::new(Current::new(models));
    let metrics = Arc::new(Metrics::new());
    let observer: Arc<dyn Observer> = metrics.clone();
    let log = Arc::new(MemoryLog::new(world.clone()));
    let engine =
        Engine::new(log, world.clone(), Registry::default(), EngineConfig::default(), observer.clone());
    let key = NodeKey::new(&Secret::new([7; 32]));
    let ana = Principal { tenant: TenantId::default(), user: "ana".into(), role: Role::User };
    let token = key.mint(&ana, Duration::from_secs(600), world).expect("a name");
    let ring = Keyring::new("k", &Secret::new([7; 32]), world.clone());
    let app = ModelsApp::new(current.clone(), Arc::new(|| Ok(())), ring);
    let breakers = Arc::new(Breakers::new(&Policies::default(), world, &observer));
    let server =
        Server::new(ServerParts { engine, key, config, metrics, breakers, apps: vec![Box::new(app)] });
    (server, current.get(), token)
}

/// A stream of 32 MiB, which no buffers on its way hold.
fn large() -> Plan {
    let chunk = json!({ "choices": [{ "index": 0, "delta": { "content": "x".repeat(1 << 20) } }] });
    let last = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] });
    Plan::replaying(format!("data: {chunk}\n\n").repeat(32) + &format!("data: {last}\n\ndata: [DONE]\n\n"))
}

#[tokio::test]
async fn clients_that_do_not_read_lose_their_places_and_their_calls_upstream_end() {
    let upstream = Mock::start(large()).await.expect("runs");
    let world = World::system();
    let toml = format!(
        "[cache]\nenabled = false\n[providers.p]\nurl = '{}'\n[routes.m]\ntargets = [{{ provider = 'p' }}]\n\
         [admission]\nrunning = 10\n",
        upstream.url()
    );
    let config: ModelsConfig = config::load(Some(("models.toml", &toml)), &BTreeMap::new()).expect("reads");
    let models = Models::new(config, &BTreeMap::new(), &world, &steadfast_core::observe::silent());
    let config = ServerConfig { write_timeout: Duration::from_millis(200).into(), ..ServerConfig::default() };
    let (server, models, token) = node(models.expect("set up"), &world, config);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let serving = tokio::spawn(server.serve(listener, std::future::pending()));

    let body = json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "go" }] });
    let body = body.to_string();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = TcpStream::connect(address).await.expect("connects");
        client.write_all(request.as_bytes()).await.expect("sent");
        clients.push(client);
    }
    upstream.until(|mock| mock.calls() == 10).await;
    upstream.until(|mock| mock.open() == 0).await;
    assert_eq!(models.queue().expect("a queue").running, 0);
    // Until here they were all there.
    drop(clients);
    serving.abort();
}
