//! One seed from its beginning to its end.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use steadfast_core::{
    World,
    canonical::Hash,
    chance::{Chance as _, Seeded},
    time::Clock as _,
};

use crate::{
    machine::Machine,
    plan::{Fate, Fault, Plan},
    scenario::{End, Scenario, Site, Stop, Traffic},
    store::{Death, Store, events},
    tail::Tails,
    timeline::{SimClock, Timeline},
    wire::Wire,
};

/// Simulated time in which faults strike.
const STORM: Duration = Duration::from_secs(20 * 60);
/// Only something that turns in circles takes so many.
const PASSES_MAX: u64 = 5_000_000;

/// What came of a seed.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What is wrong; nothing, if all is well.
    pub problems: Vec<String>,
    /// The stories of what the problems name.
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
    /// Of all that was written, and how it went: the same seed gives the same.
    pub digest: String,
}

/// A machine with its clock, and what runs on it.
struct Node {
    machine: Machine,
    clock: Arc<SimClock>,
    stop: Stop,
    stopped: Arc<AtomicBool>,
    old_code: bool,
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

struct Simulation<S> {
    scenario: S,
    timeline: Arc<Timeline>,
    store: Store,
    fate: Fate,
    traffic: Traffic,
    hosts: Vec<Host>,
    /// Each on a machine of their own: when a node ends, those who wait for it learn of it in an
    /// order that depends on how many tasks this process has ever had.
    people: Vec<Machine>,
    chance: Seeded,
    passes: u64,
}

/// Plays a plan.
pub fn simulate<S: Scenario>(plan: &Plan) -> anyhow::Result<Outcome> {
    let mut simulation = Simulation::<S>::new(plan)?;
    let mut problems = Vec::new();
    simulation.play(STORM)?;
    simulation.calm_down()?;
    let until = simulation.timeline.elapsed() + plan.calm;
    if !simulation.play(until)? {
        let left = simulation.left().unwrap_or_default();
        problems.push(format!("after the last fault not everything ended: {left}"));
    }
    simulation.outcome(problems)
}

impl<S: Scenario> Simulation<S> {
    fn new(plan: &Plan) -> anyhow::Result<Self> {
        let timeline = Arc::new(Timeline::default());
        let clock = Arc::new(SimClock::new(timeline.clone()));
        let world = World::new(clock, Arc::new(Seeded::new(plan.seed ^ 0x5709)));
        let fate = Fate::new(plan);
        let host = || Host { node: None, life: 0, back: None, frozen: false, off: 0 };
        let mut simulation = Self {
            scenario: S::new(plan),
            timeline,
            store: Store::new(world.clone(), fate.clone(), plan.seed ^ 0xD15C)?,
            fate,
            traffic: Traffic::default(),
            hosts: (0..plan.nodes).map(|_| host()).collect(),
            people: Vec::new(),
            chance: Seeded::new(plan.seed ^ 0x0DD5),
            passes: 0,
        };
        // Whoever asks is on no node, and has no way to the store but the plain one.
        let site = Site {
            world,
            log: simulation.store.log(),
            fate: simulation.fate.clone(),
            traffic: simulation.traffic.clone(),
            by: (plan.nodes, 1),
            old_code: false,
            stop: Stop::default(),
        };
        simulation.prepare(site.clone())?;
        for index in 0..simulation.hosts.len() {
            simulation.start(index)?;
        }
        for person in simulation.scenario.people(site) {
            let machine = Machine::new()?;
            machine.spawn(person);
            simulation.people.push(machine);
        }
        Ok(simulation)
    }

    fn prepare(&mut self, site: Site) -> anyhow::Result<()> {
        let machine = Machine::new()?;
        let done = Arc::new(Mutex::new(None));
        let (told, preparing) = (done.clone(), self.scenario.prepare(site));
        machine.spawn(async move {
            let prepared = preparing.await;
            *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(prepared);
        });
        loop {
            machine.drain();
            if let Some(prepared) = done.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return prepared;
            }
            if self.store.write() == 0 {
                self.pass_time();
            }
        }
    }

    /// Time passes, up to whoever wakes next.
    fn pass_time(&self) {
        if let Some(next) = self.timeline.next() {
            self.timeline.advance(next);
        }
    }

    fn start(&mut self, index: usize) -> anyhow::Result<()> {
        let host = &mut self.hosts[index];
        host.life += 1;
        (host.back, host.frozen) = (None, false);
        let clock = Arc::new(SimClock::new(self.timeline.clone()));
        clock.jump(host.off);
        let world = World::new(clock.clone(), Arc::new(Seeded::new(self.fate.below(u64::MAX))));
        let tails = Tails::default();
        let wire = Wire {
            store: self.store.log(),
            world: world.clone(),
            fate: self.fate.clone(),
            tails: tails.clone(),
        };
        let (stop, stopped) = (Stop::default(), Arc::new(AtomicBool::new(false)));
        let old_code = self.fate.strikes(Fault::OldCode);
        let site = Site {
            world,
            log: Arc::new(wire),
            fate: self.fate.clone(),
            traffic: self.traffic.clone(),
            by: (index, host.life),
            old_code,
            stop: stop.clone(),
        };
        let machine = Machine::new()?;
        machine.spawn(tails.pass_on(self.store.log()));
        let (node, over) = (self.scenario.node(site), stopped.clone());
        machine.spawn(async move {
            node.await;
            over.store(true, Ordering::Relaxed);
        });
        host.node = Some(Node { machine, clock, stop, stopped, old_code });
        Ok(())
    }

    /// Goes on until `until` or until nothing is left; whether nothing is.
    fn play(&mut self, until: Duration) -> anyhow::Result<bool> {
        loop {
            self.work()?;
            if self.left().is_none() {
                return Ok(true);
            }
            let wakes = self.hosts.iter().filter_map(|host| host.back);
            let next = wakes.chain(self.timeline.next()).min();
            match next.filter(|next| *next <= until) {
                Some(next) => self.timeline.advance(next),
                None => return Ok(false),
            }
            self.wake()?;
            self.strike();
        }
    }

    /// Time has passed: whoever was down or stood still may be back.
    fn wake(&mut self) -> anyhow::Result<()> {
        let now = self.timeline.elapsed();
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
            let nth = usize::try_from(self.chance.below(self.hosts.len() as u64 + 2))?;
            let rounds = 1 + self.chance.below(8);
            match self.awake(nth) {
                Some(node) => node.machine.rounds(rounds),
                None if nth > self.hosts.len() => drop(self.store_works()?),
                None => {
                    let who = self.chance.below(self.people.len().max(1) as u64);
                    if let Some(person) = self.people.get(usize::try_from(who)?) {
                        person.rounds(rounds);
                    }
                }
            }
            if self.awake(nth).is_some() && self.fate.strikes(Fault::Crash) {
                self.end(nth)?;
            }
        }
        loop {
            let before = self.traffic.count();
            self.people.iter().for_each(Machine::drain);
            for nth in 0..self.hosts.len() {
                if let Some(node) = self.awake(nth) {
                    node.machine.drain();
                }
            }
            let wrote = self.store_works()?;
            self.passes += 1;
            anyhow::ensure!(self.passes < PASSES_MAX, "it goes on and on");
            if !wrote && self.traffic.count() == before {
                break;
            }
        }
        for nth in 0..self.hosts.len() {
            if self.awake(nth).is_some_and(|node| node.stopped.load(Ordering::Relaxed)) {
                self.end(nth)?;
            }
        }
        Ok(())
    }

    /// The end of a node's process. Where there is no other one, the store was in it.
    fn end(&mut self, nth: usize) -> anyhow::Result<()> {
        self.down(nth);
        if self.hosts.len() == 1 {
            self.store.restart(Death::Process)?;
        }
        Ok(())
    }

    /// Was there anything to do?
    fn store_works(&mut self) -> anyhow::Result<bool> {
        let worked = self.store.work();
        if !self.store.has_power() {
            // It takes everybody with it.
            (0..self.hosts.len()).for_each(|nth| self.down(nth));
            self.store.restart(Death::Power)?;
        }
        Ok(worked)
    }

    fn down(&mut self, nth: usize) {
        let down = Duration::from_millis(self.chance.below(20_000));
        let host = &mut self.hosts[nth];
        host.node = None;
        host.back = Some(self.timeline.elapsed() + down);
    }

    fn awake(&self, nth: usize) -> Option<&Node> {
        self.hosts.get(nth).filter(|host| !host.frozen)?.node.as_ref()
    }

    /// What befalls machines as time passes.
    fn strike(&mut self) {
        let fate = self.fate.clone();
        for host in &mut self.hosts {
            let Some(node) = &host.node else { continue };
            if host.back.is_none() && fate.strikes(Fault::Freeze) {
                let still = Duration::from_secs(5 + self.chance.below(60));
                host.back = Some(self.timeline.elapsed() + still);
                host.frozen = true;
            }
            if fate.strikes(Fault::Restart) {
                node.stop.tell();
            }
            if fate.strikes(Fault::ClockJump) {
                // Up to an hour, forth or back.
                host.off = i64::try_from(self.chance.below(7_200_000_000)).unwrap_or(0) - 3_600_000_000;
                node.clock.jump(host.off);
            }
        }
    }

    /// No fault strikes any more; clocks are right and everybody is up, with today's code.
    fn calm_down(&mut self) -> anyhow::Result<()> {
        self.fate.rest();
        self.store.mend();
        for index in 0..self.hosts.len() {
            let host = &mut self.hosts[index];
            (host.off, host.frozen, host.back) = (0, false, None);
            match &host.node {
                Some(node) if !node.old_code => node.clock.jump(0),
                _ => self.start(index)?,
            }
        }
        Ok(())
    }

    /// What is still going on.
    fn left(&self) -> Option<String> {
        if !self.people.iter().all(Machine::is_empty) {
            return Some("people still ask".into());
        }
        self.scenario.left(&*self.store.log())
    }

    fn outcome(mut self, mut problems: Vec<String>) -> anyhow::Result<Outcome> {
        self.hosts.clear();
        let clock = Arc::new(SimClock::new(self.timeline.clone()));
        // What counts is what the disk holds.
        self.store.restart(Death::Power)?;
        let events = events(&*self.store.log())?;
        let end = End {
            store: self.store.log(),
            events: &events,
            world: World::new(clock.clone(), Arc::new(Seeded::new(0))),
            problems: &problems,
        };
        let verdict = self.scenario.judge(end)?;
        problems.extend(verdict.problems);
        let mut kinds = BTreeMap::new();
        for recorded in &events {
            *kinds.entry(recorded.event.kind.to_string()).or_default() += 1;
        }
        let (struck, codes, took) = (self.fate.struck(), verdict.codes, clock.elapsed());
        let written: Vec<String> = events.iter().map(|it| format!("{} {:?}", it.stream, it.event)).collect();
        let went = format!("{struck:?} {codes:?} {} {took:?}", self.passes);
        let parts = written.iter().chain([&went]).map(String::as_bytes);
        let digest = Hash::of_parts(&parts.collect::<Vec<_>>()).to_string();
        Ok(Outcome {
            problems,
            stories: verdict.stories,
            struck,
            kinds,
            codes,
            passes: self.passes,
            took,
            digest,
        })
    }
}
