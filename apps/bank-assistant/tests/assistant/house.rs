//! A node with a bank and an assistant, on a log that may outlive it, and its customers.

use std::{sync::Arc, time::Duration};

use steadfast_bank::{Bank, BankConfig, demo, steps, verify};
use steadfast_bank_assistant::{
    Assistant, AssistantConfig, Conversations, Listener, Message, News, register,
    session::{Reply, ReplyStatus},
    understand::Rules,
};
use steadfast_core::{
    Failure, NodeId, Principal, RequestId, Role, SessionId, TenantId, World,
    chance::Seeded,
    observe::silent,
    secret::{Keyring, Secret},
    time::PausedClock,
};
use steadfast_engine::{Engine, EngineConfig, Registry};
use steadfast_log::{Log, MemoryLog};

pub(crate) struct House {
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) world: World,
}

pub(crate) struct Node {
    pub(crate) bank: Bank,
    pub(crate) engine: Engine,
    pub(crate) conversations: Conversations,
}

/// One user at a terminal.
pub(crate) struct Customer<'a> {
    node: &'a Node,
    listener: Listener,
    principal: Principal,
    pub(crate) session: Option<SessionId>,
    told: u64,
    pub(crate) heard: Vec<(u64, Reply)>,
}

pub(crate) fn user(name: &str) -> Principal {
    Principal { tenant: TenantId::default(), user: name.into(), role: Role::User }
}

impl House {
    pub(crate) async fn build() -> Self {
        let clock = PausedClock::at("2026-01-01T00:00:00Z".parse().expect("a time"));
        let world = World::new(Arc::new(clock), Arc::new(Seeded::new(7)));
        let log = Arc::new(MemoryLog::new(world.clone()));
        let house = Self { log, world };
        let node = house.node();
        demo::seed(&node.bank, &TenantId::default()).await.expect("seeded");
        // Else it would take up what the others leave.
        node.engine.stop(Duration::from_secs(1)).await;
        house
    }

    pub(crate) fn node(&self) -> Node {
        self.node_on(self.log.clone())
    }

    pub(crate) fn node_on(&self, log: Arc<dyn Log>) -> Node {
        let world = &self.world;
        let (bank, decider) =
            Bank::open(log.clone(), world.clone(), NodeId::next(world), BankConfig::default());
        tokio::spawn(decider);
        let keyring = Keyring::new("test", &Secret::new([7; 32]), world.clone());
        let assistant = Assistant::new(
            bank.clone(),
            log.clone(),
            world.clone(),
            keyring,
            Arc::new(Rules::default()),
            AssistantConfig::default(),
        );
        let mut registry = Registry::default();
        steadfast_bank::purchase::register(&mut registry, &bank);
        steps::register(&mut registry, &bank);
        register(&mut registry, &assistant);
        let engine = Engine::new(log, world.clone(), registry, EngineConfig::default(), silent());
        let running = engine.clone();
        tokio::spawn(async move { running.run().await });
        let conversations = Conversations::new(assistant, engine.clone());
        let feeding = conversations.clone();
        tokio::spawn(async move { feeding.run().await });
        Node { bank, engine, conversations }
    }

    pub(crate) fn request(&self) -> RequestId {
        RequestId::next(&self.world)
    }

    pub(crate) async fn sleep(&self, seconds: u64) {
        self.world.clock().sleep(Duration::from_secs(seconds)).await;
    }

    pub(crate) async fn books_are_right(&self) {
        let report = verify::verify(&*self.log).await.expect("read");
        assert!(report.passed(), "{report:?}");
    }
}

impl Node {
    pub(crate) fn customer(&self, name: &str) -> Customer<'_> {
        Customer {
            node: self,
            listener: self.conversations.listen(),
            principal: user(name),
            session: None,
            told: 0,
            heard: Vec::new(),
        }
    }

    /// What is on the customer's checking account, in centavos.
    pub(crate) async fn balance(&self, name: &str) -> i64 {
        let accounts = self.bank.accounts(&user(name), name).await.expect("readable");
        let checking = accounts.iter().find(|view| view.name == "checking").expect("there");
        assert_eq!(checking.balance, checking.available, "nothing is tied up");
        checking.balance.minor()
    }
}

impl Customer<'_> {
    pub(crate) async fn send(&mut self, request: RequestId, text: &str) -> Result<(), Failure> {
        let message = Message { request, session: self.session, text: text.into() };
        // Before it is heard, so that all that comes of it is told.
        self.listener.watch(self.node.conversations.session(&self.principal, &message));
        let accepted = self.node.conversations.hear(&self.principal, message).await?;
        self.session = Some(accepted.session);
        self.listener.watch(accepted.session);
        Ok(())
    }

    /// Says something and waits for the reply to it.
    pub(crate) async fn say(&mut self, text: &str) -> (RequestId, Reply) {
        let request = RequestId::next(self.node.engine.world());
        self.send(request, text).await.expect("accepted");
        (request, self.reply(request).await)
    }

    pub(crate) async fn confirm(&mut self, request: RequestId, accept: bool) -> Result<(), Failure> {
        self.node.conversations.confirm(&self.principal, request, accept).await.map(drop)
    }

    /// Comes back with nothing but the session's id.
    pub(crate) async fn resume(&mut self, session: SessionId) {
        self.node.conversations.resume(&self.principal, session).await.expect("resumed");
        self.session = Some(session);
        self.listener.watch(session);
    }

    /// The next reply to a request that was not read yet.
    pub(crate) async fn reply(&mut self, request: RequestId) -> Reply {
        let waiting = async {
            loop {
                if let Some(place) = self.heard.iter().position(|(_, r)| r.answers.contains(&request)) {
                    return self.heard.remove(place).1;
                }
                match self.listener.next().await {
                    News::Moved(session) => {
                        let tenant = &self.principal.tenant;
                        let read = self.node.conversations.replies(tenant, session, self.told).await;
                        let (replies, told) = read.expect("readable");
                        self.told = told;
                        self.heard.extend(replies);
                    }
                    News::Ended(session, run) => {
                        let closed = self.node.conversations.close(&self.principal.tenant, session, run);
                        closed.await.expect("closed");
                    }
                    News::Progress(..) => {}
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(3_600), waiting).await.expect("a reply within the hour")
    }

    /// The last reply to a request: the one after which nothing more is to come.
    pub(crate) async fn outcome(&mut self, request: RequestId) -> Reply {
        loop {
            let reply = self.reply(request).await;
            if reply.status != ReplyStatus::NeedsConfirmation {
                return reply;
            }
        }
    }

    /// Says something, agrees to what is shown, and waits for the end.
    pub(crate) async fn agree(&mut self, text: &str) -> (Reply, Reply) {
        let (request, shown) = self.say(text).await;
        assert_eq!(shown.status, ReplyStatus::NeedsConfirmation, "{}", shown.text);
        self.confirm(request, true).await.expect("confirmed");
        (shown, self.reply(request).await)
    }
}
