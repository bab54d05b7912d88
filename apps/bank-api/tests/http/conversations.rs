//! Conversations over real sockets: what one connection is told, and how much it holds.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use steadfast_bank::{Bank, BankConfig, demo, purchase, steps};
use steadfast_bank_api::BankApp;
use steadfast_bank_assistant::{Assistant, AssistantConfig, Conversations, register, understand::Rules};
use steadfast_core::{
    NodeId, Principal, Role, TenantId, World,
    observe::silent,
    secret::{Keyring, Secret},
};
use steadfast_engine::{Engine, EngineConfig, Registry};
use steadfast_log::MemoryLog;
use steadfast_resilience::{Policies, Registry as Breakers};
use steadfast_server::{Metrics, NodeKey, Server, ServerConfig, ServerParts};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};

/// How many conversations one connection is told of.
const TOLD_OF: usize = 256;

struct House {
    world: World,
    key: NodeKey,
    url: String,
}

impl House {
    async fn new() -> Self {
        let world = World::system();
        let log = Arc::new(MemoryLog::new(world.clone()));
        let (bank, decider) =
            Bank::open(log.clone(), world.clone(), NodeId::next(&world), BankConfig::default());
        tokio::spawn(decider);
        demo::seed(&bank, &TenantId::default()).await.expect("seeded");
        let ring = Keyring::new("test", &Secret::new([7; 32]), world.clone());
        let (rules, config) = (Arc::new(Rules::default()), AssistantConfig::default());
        let assistant = Assistant::new(bank.clone(), log.clone(), world.clone(), ring, rules, config);
        let mut registry = Registry::default();
        purchase::register(&mut registry, &bank);
        steps::register(&mut registry, &bank);
        register(&mut registry, &assistant);
        let engine = Engine::new(log, world.clone(), registry, EngineConfig::default(), silent());
        let conversations = Conversations::new(assistant, engine.clone());
        let (running, feeding) = (engine.clone(), conversations.clone());
        tokio::spawn(async move { futures::future::join(running.run(), feeding.run()).await });
        let key = NodeKey::new(&Secret::new([7; 32]));
        let mut config = ServerConfig::default();
        config.ws.messages_burst = NonZeroU32::MAX;
        let server = Server::new(ServerParts {
            engine,
            key: key.clone(),
            config,
            metrics: Arc::new(Metrics::new()),
            breakers: Arc::new(Breakers::new(&Policies::new(), &world, &silent())),
            apps: vec![Box::new(BankApp::new(bank).conversing(conversations))],
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let url = format!("ws://{}/ws", listener.local_addr().expect("bound"));
        tokio::spawn(async move { server.serve(listener, futures::future::pending()).await });
        Self { world, key, url }
    }

    async fn connect(&self, user: &str) -> Talker {
        let principal = Principal { tenant: TenantId::default(), user: user.into(), role: Role::User };
        let token = self.key.mint(&principal, Duration::from_secs(3_600), &self.world).expect("a token");
        let mut request = self.url.as_str().into_client_request().expect("an address");
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().expect("a header"));
        Talker(connect_async(request).await.expect("connected").0)
    }
}

struct Talker(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Talker {
    async fn send(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.expect("sent");
    }
    async fn hello(&mut self, session: &Value) {
        let mut frame = json!({ "type": "message", "text": "hola" });
        if !session.is_null() {
            frame["session_id"] = session.clone();
        }
        self.send(frame).await;
    }
    /// The next frame that is neither an ack nor progress.
    async fn hear(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.0.next().await.expect("open").expect("readable") {
                let frame: Value = serde_json::from_str(&text).expect("JSON");
                if frame["type"] == "reply" || frame["type"] == "error" {
                    return frame;
                }
            }
        }
    }
}

#[tokio::test]
async fn resuming_after_what_is_not_there_yet_loses_no_later_reply() {
    let house = House::new().await;
    let mut ana = house.connect("ana").await;
    ana.hello(&Value::Null).await;
    let first = ana.hear().await;
    let session = &first["session_id"];
    ana.send(json!({ "type": "resume", "session_id": session, "after": u64::MAX })).await;
    ana.hello(session).await;
    let next = ana.hear().await;
    assert_eq!((&next["type"], &next["session_id"]), (&json!("reply"), session));
    assert!(next["frame"].as_u64() > first["frame"].as_u64());
}

#[tokio::test]
async fn a_connection_is_told_of_so_many_conversations_and_of_others_once_it_resumes() {
    let house = House::new().await;
    let mut ana = house.connect("ana").await;
    ana.hello(&Value::Null).await;
    let oldest = ana.hear().await;
    for _ in 0..TOLD_OF {
        ana.hello(&Value::Null).await;
        assert_eq!(ana.hear().await["type"], "reply");
    }
    let mut elsewhere = house.connect("ana").await;
    elsewhere.hello(&oldest["session_id"]).await;
    let said = elsewhere.hear().await;
    ana.hello(&Value::Null).await;
    assert_ne!(ana.hear().await["session_id"], oldest["session_id"], "it was let go");
    let after = oldest["frame"].clone();
    ana.send(json!({ "type": "resume", "session_id": oldest["session_id"], "after": after })).await;
    assert_eq!(ana.hear().await, said);
}
