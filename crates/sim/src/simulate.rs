//! One seed from its beginning to its end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use futures::FutureExt as _;
use steadfast_bank::{Bank, BankConfig};
use steadfast_core::{
    NodeId, RunId, TenantId, World,
    canonical::Hash,
    chance::{Chance as _, Seeded},
    observe::silent,
    time::Clock as _,
};
use steadfast_engine::{Engine, EngineConfig, Registry, Status};
use steadfast_log::{ListQuery, Log, MemoryLog, Position};

use crate::{
    check::Story,
    clients::{Client, Doors, Notes},
    machine::Machine,
    node::{Delivered, Ground, Node, Traffic, WANTED},
    outside::Outside,
    plan::{Fate, Fault, Plan},
    timeline::{SimClock, Timeline},
    workflows,
};

/// Simulated time in which everything must have ended once no fault strikes any more.
const CALM: Duration = Duration::from_secs(12 * 3_600);
/// Simulated time in which faults strike.
const STORM: Duration = Duration::from_secs(20 * 60);
/// Only something that turns in circles takes so many.
const PASSES_MAX: u64 = 5_000_000;
const CLIENTS: usize = 3;

/// What came of a seed.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What is wrong; nothing, if all is well.
    pub problems: Vec<String>,
    /// The runs that the problems name, each with its whole story.
    pub stories: Vec<String>,
    /// How often each kind of fault struck.
    pub struck: BTreeMap<Fault, u64>,
    /// How often each type of event was written.
    pub kinds: BTreeMap<String, u64>,
    /// How often each code was answered or recorded as a failure.
    pub codes: BTreeMap<String, u64>,
    /// How often all machines had their turn.
    pub passes: u64,
    /// Simulated time.
    pub took: Duration,
    /// Of all that was written: the same seed gives the same.
    pub trace: String,
}

struct Host {
    node: Option<Node>,
    life: u32,
    /// When it starts again, or goes on.
    back: Option<Duration>,
    frozen: bool,
    /// How far its wall clock is off.
    off: i64,
}

struct Simulation {
    ground: Ground,
    store: Arc<MemoryLog>,
    hosts: Vec<Host>,
    people: Machine,
    doors: Doors,
    notes: Notes,
    chance: Seeded,
    passes: u64,
    froze: BTreeSet<(usize, u32)>,
}

/// Plays a plan.
pub fn simulate(plan: &Plan) -> anyhow::Result<Outcome> {
    let mut simulation = Simulation::new(plan)?;
    let mut problems = Vec::new();
    simulation.play(STORM, Simulation::is_over)?;
    simulation.calm_down()?;
    let until = simulation.ground.timeline.elapsed() + CALM;
    if !simulation.play(until, Simulation::is_over)? {
        problems.push(format!("after the last fault not everything ended: {}", simulation.left()));
    }
    simulation.outcome(problems)
}

impl Simulation {
    fn new(plan: &Plan) -> anyhow::Result<Self> {
        let timeline = Arc::new(Timeline::default());
        let clock = Arc::new(SimClock::new(timeline.clone()));
        let world = World::new(clock, Arc::new(Seeded::new(plan.seed ^ 0x5709)));
        let store = Arc::new(MemoryLog::new(world.clone()));
        let fate = Fate::new(plan);
        let ground = Ground {
            store: store.clone(),
            timeline,
            fate: fate.clone(),
            outside: Outside::default(),
            delivered: Delivered::default(),
            traffic: Traffic::default(),
        };
        let doors = Doors::default();
        let notes = Notes::default();
        let people = Machine::new()?;
        let host = || Host { node: None, life: 0, back: None, frozen: false, off: 0 };
        let hosts = (0..plan.nodes).map(|_| host()).collect();
        let mut simulation = Self {
            ground,
            store,
            hosts,
            people,
            doors: doors.clone(),
            notes: notes.clone(),
            chance: Seeded::new(plan.seed ^ 0x0DD5),
            passes: 0,
            froze: BTreeSet::new(),
        };
        simulation.seed_bank(&world)?;
        for index in 0..simulation.hosts.len() {
            simulation.start(index)?;
        }
        for name in 0..CLIENTS {
            let client = Client {
                world: world.clone(),
                fate: fate.clone(),
                doors: doors.clone(),
                notes: notes.clone(),
                traffic: simulation.ground.traffic.clone(),
            };
            simulation.people.spawn(client.live(name, plan.requests.div_ceil(CLIENTS)));
        }
        Ok(simulation)
    }

    /// People and money are there before anything goes wrong.
    fn seed_bank(&self, world: &World) -> anyhow::Result<()> {
        let machine = Machine::new()?;
        let (store, world) = (self.store.clone(), world.clone());
        let done = Arc::new(Mutex::new(None));
        let told = done.clone();
        machine.spawn(async move {
            let node = NodeId::next(&world);
            let (bank, decider) = Bank::open(store, world, node, BankConfig::default());
            tokio::spawn(decider);
            let seeded = steadfast_bank::demo::seed(&bank, &TenantId::default()).await;
            *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(seeded);
        });
        while done.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            machine.drain();
            self.pass_time();
        }
        let seeded = done.lock().unwrap_or_else(PoisonError::into_inner).take();
        seeded.transpose()?;
        Ok(())
    }

    /// Time passes, up to whoever wakes next.
    fn pass_time(&self) {
        if let Some(next) = self.ground.timeline.next() {
            self.ground.timeline.advance(next);
        }
    }

    fn start(&mut self, index: usize) -> anyhow::Result<()> {
        let host = &mut self.hosts[index];
        host.life += 1;
        (host.back, host.frozen) = (None, false);
        let node = Node::start(&self.ground, index, host.life, host.off)?;
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        doors.resize(self.hosts.len(), None);
        doors[index] = Some(node.requests.clone());
        drop(doors);
        self.hosts[index].node = Some(node);
        Ok(())
    }

    fn crash(&mut self, index: usize) {
        if let Some(door) = self.doors.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index) {
            *door = None;
        }
        self.hosts[index].node = None;
    }

    /// Goes on until `until` or until `over` says so; whether it did.
    fn play(&mut self, until: Duration, over: impl Fn(&Self) -> bool) -> anyhow::Result<bool> {
        loop {
            self.work()?;
            if over(self) {
                return Ok(true);
            }
            let wakes = self.hosts.iter().filter_map(|host| host.back);
            let next = wakes.chain(self.ground.timeline.next()).min();
            match next.filter(|next| *next <= until) {
                Some(next) => self.ground.timeline.advance(next),
                None => return Ok(false),
            }
            self.wake()?;
            self.strike();
        }
    }

    /// Time has passed: whoever was down or stood still may be back.
    fn wake(&mut self) -> anyhow::Result<()> {
        let now = self.ground.timeline.elapsed();
        for index in 0..self.hosts.len() {
            if self.hosts[index].back.is_some_and(|back| back <= now) {
                if self.hosts[index].node.is_none() {
                    self.start(index)?;
                }
                (self.hosts[index].back, self.hosts[index].frozen) = (None, false);
            }
        }
        Ok(())
    }

    /// Everybody works until all wait: first here and there, then each to its end, until
    /// nobody has anything more from the others.
    fn work(&mut self) -> anyhow::Result<()> {
        for _ in 0..self.chance.below(8) {
            let nth = usize::try_from(self.chance.below(self.hosts.len() as u64 + 1))?;
            let rounds = 1 + self.chance.below(8);
            match self.awake(nth) {
                Some(node) => node.machine.rounds(rounds),
                None => self.people.rounds(rounds),
            }
            if self.awake(nth).is_some() && self.ground.fate.strikes(Fault::Crash) {
                self.crash(nth);
                let down = Duration::from_millis(self.chance.below(20_000));
                self.hosts[nth].back = Some(self.ground.timeline.elapsed() + down);
            }
        }
        loop {
            let before = self.ground.traffic.count();
            self.people.drain();
            for nth in 0..self.hosts.len() {
                if let Some(node) = self.awake(nth) {
                    node.machine.drain();
                }
            }
            self.passes += 1;
            anyhow::ensure!(self.passes < PASSES_MAX, "it goes on and on");
            if self.ground.traffic.count() == before {
                return Ok(());
            }
        }
    }

    fn awake(&self, nth: usize) -> Option<&Node> {
        self.hosts.get(nth).filter(|host| !host.frozen)?.node.as_ref()
    }

    /// What befalls machines as time passes.
    fn strike(&mut self) {
        let fate = self.ground.fate.clone();
        for (index, host) in self.hosts.iter_mut().enumerate() {
            let Some(node) = &host.node else { continue };
            if host.back.is_none() && fate.strikes(Fault::Freeze) {
                let still = Duration::from_secs(5 + self.chance.below(60));
                host.back = Some(self.ground.timeline.elapsed() + still);
                host.frozen = true;
                self.froze.insert((index, host.life));
            }
            if fate.strikes(Fault::ClockJump) {
                // Up to an hour, forth or back.
                host.off = i64::try_from(self.chance.below(7_200_000_000)).unwrap_or(0) - 3_600_000_000;
                node.clock.jump(host.off);
            }
        }
    }

    /// No fault strikes any more; clocks are right and everybody is up.
    fn calm_down(&mut self) -> anyhow::Result<()> {
        self.ground.fate.rest();
        for index in 0..self.hosts.len() {
            let host = &mut self.hosts[index];
            (host.off, host.frozen, host.back) = (0, false, None);
            match &host.node {
                Some(node) => node.clock.jump(0),
                None => self.start(index)?,
            }
        }
        Ok(())
    }

    /// Clients have nothing left to ask, runs have ended, and subscribers are told.
    fn is_over(&self) -> bool {
        self.people.is_empty() && self.open_runs() == 0 && self.untold() == 0
    }

    /// Events that the subscriber wants and was not given.
    fn untold(&self) -> usize {
        let events = self.store.read_all(Position::START, usize::MAX).now_or_never();
        let events = events.and_then(Result::ok).map(|page| page.events).unwrap_or_default();
        let told: BTreeSet<_> = self.ground.delivered.all().into_iter().collect();
        let wanted = events.iter().filter(|recorded| WANTED.contains(&recorded.event.kind.as_ref()));
        wanted.filter(|recorded| !told.contains(&(recorded.stream.to_string(), recorded.version))).count()
    }

    fn left(&self) -> String {
        let asking = if self.people.is_empty() { "" } else { "clients still ask, " };
        format!("{asking}{} runs are open, {} events not delivered", self.open_runs(), self.untold())
    }

    fn open_runs(&self) -> u64 {
        let query = ListQuery {
            category: "run".into(),
            tenant: TenantId::default(),
            statuses: Status::OPEN.map(|status| status.as_str().to_owned()).to_vec(),
            ..ListQuery::default()
        };
        self.store.count(query).now_or_never().and_then(Result::ok).unwrap_or(u64::MAX)
    }

    fn outcome(mut self, mut problems: Vec<String>) -> anyhow::Result<Outcome> {
        (0..self.hosts.len()).for_each(|index| self.crash(index));
        let clock = Arc::new(SimClock::new(self.ground.timeline.clone()));
        let world = World::new(clock.clone(), Arc::new(Seeded::new(0)));
        let mut registry = Registry::default();
        workflows::register(&mut registry);
        let engine = Engine::new(self.store.clone(), world, registry, EngineConfig::default(), silent());
        let told = (self.notes.all(), self.ground.outside.effects(), self.ground.delivered.all());
        let story = Story::read(&*self.store, &engine, told, &self.froze);
        let story = story.now_or_never().context("the store in memory never waits")??;
        problems.extend(story.problems());
        let named =
            story.endings.keys().filter(|run| problems.iter().any(|it| it.contains(&run.to_string())));
        let stories = named.map(|run| tell(&engine, &story, *run)).collect();
        let mut outcome = Outcome {
            problems,
            stories,
            struck: self.ground.fate.struck(),
            passes: self.passes,
            took: clock.elapsed(),
            ..Outcome::default()
        };
        let mut parts: Vec<&[u8]> = Vec::new();
        for recorded in &story.events {
            *outcome.kinds.entry(recorded.event.kind.to_string()).or_default() += 1;
            parts.push(&recorded.event.body);
        }
        outcome.trace = Hash::of_parts(&parts).to_string();
        let answers = story.asked.iter().flat_map(|asked| &asked.answers);
        let refused = answers.filter_map(|answer| answer.as_ref().err());
        let ended = story.endings.values().filter_map(|settled| settled.outcome.as_ref().err());
        for failure in refused.chain(ended) {
            *outcome.codes.entry(failure.code.clone()).or_default() += 1;
        }
        Ok(outcome)
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
