use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use futures::{FutureExt as _, future::BoxFuture};
use serde_json::Value;
use steadfast_bank::{
    Bank, BankConfig, CONTACTS_MAX,
    events::{ContactAdded, SCHEMA, kind},
};
use steadfast_core::{NodeId, RunId, TenantId, Time, World, observe::silent};
use steadfast_engine::{Engine, EngineConfig, Registry, Status};
use steadfast_log::{Commit, DueQuery, Expect, ListQuery, Log, NewEvent, StreamId};
use steadfast_sim::{End, Fault, Plan, Scenario, Site, Verdict};
use tokio::sync::mpsc;

use crate::{
    check::{Story, Told, nothing_unfollowed, undelivered},
    clients::{Client, Doors, Network, Notes},
    node::{self, Setting, Traces},
    reader::{self, Reading},
    talks::{Talker, Talks},
    wishes::mistakes::FULL,
    workflows,
};

const CLIENTS: usize = 3;

/// In few worlds somebody waits until keys are forgotten: hours in which nothing else happens.
pub(crate) fn lasts(seed: u64) -> bool {
    seed % 16 == 15
}

/// Everything but socket and file, and its clients.
pub struct Banking {
    plan: Plan,
    setting: Setting,
    doors: Doors,
    traces: Traces,
    notes: Notes,
    talks: Talks,
    reading: Reading,
    /// How often not to look whether all events were delivered.
    later: Mutex<u32>,
}

impl Scenario for Banking {
    fn new(plan: &Plan) -> Self {
        Self {
            plan: plan.clone(),
            setting: Setting { narrow: plan.seed % 8 == 5 },
            doors: Arc::new(Mutex::new(vec![None; plan.nodes])),
            traces: Traces::default(),
            notes: Notes::default(),
            talks: Talks::default(),
            reading: Reading::default(),
            later: Mutex::default(),
        }
    }

    /// People and money.
    fn prepare(&self, site: Site) -> BoxFuture<'static, anyhow::Result<()>> {
        let narrow = self.setting.narrow;
        async move {
            if narrow {
                know_everybody(&*site.log, &site.world).await?;
            }
            let node = NodeId::next(&site.world);
            let (bank, decider) = Bank::open(site.log, site.world, node, BankConfig::default());
            tokio::spawn(decider);
            Ok(steadfast_bank::demo::seed(&bank, &TenantId::default()).await?)
        }
        .boxed()
    }

    fn node(&self, site: Site) -> BoxFuture<'static, ()> {
        let (door, requests) = mpsc::unbounded_channel();
        let (index, _) = site.by;
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(door);
        node::run(site, self.setting, self.traces.clone(), requests).boxed()
    }

    fn people(&self, site: Site) -> Vec<BoxFuture<'static, ()>> {
        let network = Network { site, doors: self.doors.clone() };
        let client = || Client {
            network: network.clone(),
            notes: self.notes.clone(),
            tally: self.traces.tally.clone(),
            narrow: self.setting.narrow,
        };
        let wishes = self.plan.requests.div_ceil(CLIENTS);
        let mut people: Vec<_> = (0..CLIENTS).map(|name| client().live(name, wishes).boxed()).collect();
        match self.plan.seed % 4 {
            0 => {}
            2 => people.extend([client().see_to_letters().boxed(), client().trade().boxed()]),
            _ => people.push(client().doubt(lasts(self.plan.seed)).boxed()),
        }
        let talks = (self.talks.clone(), self.traces.tally.clone());
        let talker = Talker { network: network.clone(), talks: talks.0, tally: talks.1 };
        people.push(talker.live(self.plan.requests as u64 / 8).boxed());
        people.push(reader::read(network, self.reading.clone()).boxed());
        people
    }

    /// Runs have ended, what has its time has had it, and whoever wants to know was told.
    fn left(&self, store: &dyn Log) -> Option<String> {
        let query = ListQuery {
            category: "run".into(),
            tenant: TenantId::default(),
            statuses: Status::OPEN.map(|status| status.as_str().to_owned()).to_vec(),
            ..ListQuery::default()
        };
        let open = store.count(query).now_or_never().and_then(Result::ok).unwrap_or(u64::MAX);
        if open > 0 {
            return Some(format!("{open} runs are open"));
        }
        for category in ["run", "account", "product", "dead_letter"] {
            let query = DueQuery { category, until: Time::NEVER, after: None, limit: 1 };
            if let Some(due) = store.due(query).now_or_never()?.ok()?.first() {
                return Some(format!("{} has not had its time", due.stream));
            }
        }
        // Reading everything again and again is slow, and mostly nothing has changed.
        let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        if *later > 0 {
            *later -= 1;
            return Some("events were not delivered".into());
        }
        let events = steadfast_sim::events(store).unwrap_or_default();
        let untold = undelivered(&events, &self.traces.delivered.all()).len();
        if untold > 0 {
            *later = 20;
            return Some(format!("{untold} events were not delivered"));
        }
        (!nothing_unfollowed(&events)).then(|| "an event has had no consequence".into())
    }

    fn judge(&self, end: End<'_>) -> anyhow::Result<Verdict> {
        let mut registry = Registry::default();
        workflows::register(&mut registry, false);
        let (store, world) = (end.store.clone(), end.world);
        let engine = Engine::new(store, world, registry, EngineConfig::default(), silent());
        let told = Told {
            asked: self.notes.all(),
            said: self.talks.all(),
            effects: self.traces.outside.effects(),
            delivered: self.traces.delivered.all(),
            read: self.reading.all(),
            clocks_jumped: self.plan.faults.contains(&Fault::ClockJump),
        };
        let story = Story::read(&*end.store, &engine, end.events, told);
        let story = story.now_or_never().context("this store never waits")??;
        let mut verdict = Verdict { problems: story.problems(), ..Verdict::default() };
        let named = |run: &&RunId| {
            let name = run.to_string();
            verdict.problems.iter().chain(end.problems).any(|problem| problem.contains(&name))
        };
        verdict.stories = story.courses.keys().filter(named).map(|run| tell(&engine, &story, *run)).collect();
        for recorded in end.events {
            if let Ok(body) = serde_json::from_slice::<Value>(&recorded.event.body) {
                self.traces.tally.read(&body);
            }
        }
        verdict.codes = self.traces.tally.all();
        Ok(verdict)
    }
}

/// So many events are in one commit.
const AT_ONCE: usize = 50;

/// One customer knows as many people as anyone may.
async fn know_everybody(log: &dyn Log, world: &World) -> anyhow::Result<()> {
    let stream = StreamId::new(&TenantId::default(), "customer", FULL);
    let names: Vec<String> = (0..CONTACTS_MAX).map(|i| format!("Friend {i}")).collect();
    for (i, names) in names.chunks(AT_ONCE).enumerate() {
        let added = |name: &String| {
            let added = ContactAdded { name: name.as_str().into(), user: "ana".into() };
            Ok(NewEvent::new(world, kind::CONTACT_ADDED, SCHEMA, serde_json::to_vec(&added)?))
        };
        let expect = match (i * AT_ONCE) as u64 {
            0 => Expect::New,
            head => Expect::Exact(head),
        };
        let events = names.iter().map(added).collect::<anyhow::Result<_>>()?;
        log.commit(Commit::append(stream.clone(), expect, events)).await?;
    }
    Ok(())
}

/// What is on the log of a run, and what it did outside.
fn tell(engine: &Engine, story: &Story, run: RunId) -> String {
    let explained = engine.explain(&TenantId::default(), run).now_or_never().and_then(Result::ok);
    let explained = explained.map(|explained| explained.to_string()).unwrap_or_default();
    let effects = story.told.effects.iter().filter(|effect| effect.run == run).map(|effect| {
        let undoes = if effect.undoes { " to undo" } else { "" };
        let by = effect.by.map(|node| node.to_string()).unwrap_or_default();
        format!("\n  at {} by {by}: {}{undoes} under {}", effect.tail, effect.what, effect.key)
    });
    format!("{explained}outside:{}", effects.collect::<String>())
}
