use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use futures::{FutureExt as _, future::BoxFuture};
use steadfast_bank::{Bank, BankConfig};
use steadfast_core::{NodeId, RunId, TenantId, observe::silent};
use steadfast_engine::{Engine, EngineConfig, Registry, Status};
use steadfast_log::{ListQuery, Log};
use steadfast_sim::{End, Plan, Scenario, Site, Verdict};
use tokio::sync::mpsc;

use crate::{
    check::{Story, undelivered},
    clients::{Client, Doors, Notes},
    node::{self, Delivered},
    outside::Outside,
    workflows,
};

const CLIENTS: usize = 3;

/// In few worlds somebody waits until keys are forgotten: hours in which nothing else happens.
pub(crate) fn lasts(seed: u64) -> bool {
    seed % 16 == 15
}

/// Engine and bank, and their clients.
pub struct Banking {
    requests: usize,
    lasting: bool,
    outside: Outside,
    delivered: Delivered,
    doors: Doors,
    notes: Notes,
    /// How often not to look whether all events were delivered.
    later: Mutex<u32>,
}

impl Scenario for Banking {
    fn new(plan: &Plan) -> Self {
        Self {
            requests: plan.requests,
            lasting: lasts(plan.seed),
            outside: Outside::default(),
            delivered: Delivered::default(),
            doors: Arc::new(Mutex::new(vec![None; plan.nodes])),
            notes: Notes::default(),
            later: Mutex::default(),
        }
    }

    /// People and money.
    fn prepare(&self, site: Site) -> BoxFuture<'static, anyhow::Result<()>> {
        async move {
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
        node::run(site, (self.outside.clone(), self.delivered.clone()), requests).boxed()
    }

    fn people(&self, site: Site) -> Vec<BoxFuture<'static, ()>> {
        let client = || Client { site: site.clone(), doors: self.doors.clone(), notes: self.notes.clone() };
        let live = |name| client().live(name, self.requests.div_ceil(CLIENTS)).boxed();
        let mut people: Vec<_> = (0..CLIENTS).map(live).collect();
        people.push(client().doubt(self.lasting).boxed());
        people
    }

    /// Runs have ended, and the subscriber was told.
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
        // Reading everything again and again is slow, and mostly nothing has changed.
        let mut later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        if *later > 0 {
            *later -= 1;
            return Some("events were not delivered".into());
        }
        let events = steadfast_sim::events(store).unwrap_or_default();
        let untold = undelivered(&events, &self.delivered.all()).len();
        *later = if untold > 0 { 20 } else { 0 };
        (untold > 0).then(|| format!("{untold} events were not delivered"))
    }

    fn judge(&self, end: End<'_>) -> anyhow::Result<Verdict> {
        let mut registry = Registry::default();
        workflows::register(&mut registry);
        let (store, world) = (end.store.clone(), end.world);
        let engine = Engine::new(store, world, registry, EngineConfig::default(), silent());
        let told = (self.notes.all(), self.outside.effects(), self.delivered.all());
        let story = Story::read(&*end.store, &engine, end.events, told, end.froze);
        let story = story.now_or_never().context("this store never waits")??;
        let mut verdict = Verdict { problems: story.problems(), ..Verdict::default() };
        let named = |run: &&RunId| {
            let name = run.to_string();
            verdict.problems.iter().chain(end.problems).any(|problem| problem.contains(&name))
        };
        verdict.stories = story.endings.keys().filter(named).map(|run| tell(&engine, &story, *run)).collect();
        for failure in story.failures() {
            *verdict.codes.entry(failure.code.clone()).or_default() += 1;
        }
        Ok(verdict)
    }
}

/// What is on the log of a run, and what it did outside.
fn tell(engine: &Engine, story: &Story, run: RunId) -> String {
    let explained = engine.explain(&TenantId::default(), run).now_or_never().and_then(Result::ok);
    let explained = explained.map(|explained| explained.to_string()).unwrap_or_default();
    let effects = story.effects.iter().filter(|effect| effect.run == run).map(|effect| {
        let undoes = effect.undoes.as_ref().map(|key| format!(" undoes {key}")).unwrap_or_default();
        let (node, life) = effect.by;
        format!(
            "\n  at {} by node {node} in life {life}: {} under {}{undoes}",
            effect.tail, effect.what, effect.key
        )
    });
    format!("{explained}outside:{}", effects.collect::<String>())
}
