//! The gateway between clients and an upstream: what it can carry, what it adds, and what its
//! clients notice of an upstream that fails.
//!
//! Load and upstreams share one processor, the gateway has another. Each round measures the
//! upstream alone first, with the same load: that is the floor. No two prompts are alike,
//! except where answers that are kept are asked for.

mod client;
mod report;
mod upstream;

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use steadfast_core::World;
use steadfast_models_mock::{Fault, Mock, Plan as Upstream};

use super::{
    child::{self, Node},
    percentile, rate,
};
use client::{Answers, Ask, Got, Pace, send};
use report::Line;
pub(crate) use report::Report;

/// How much is measured.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// How long each figure of a round is measured.
    pub(crate) seconds: u64,
    pub(crate) folder: std::path::PathBuf,
}

/// The processor of load and upstreams; the gateway has the next one.
const OURS: usize = 0;
/// See [`OURS`].
const GATEWAYS: usize = 1;
/// The wait for an upstream that hangs.
const HANG: Duration = Duration::from_secs(1);

/// Measures on a thread of its own, which stays on its processor.
pub(crate) async fn gateway(plan: Plan) -> anyhow::Result<Report> {
    let (done, report) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let measured = child::stay_on(OURS).and_then(|()| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(measure(&plan))
        });
        // Nobody waits any more if the command was stopped.
        let _ = done.send(measured);
    });
    report.await.context("the thread that measures panicked")?
}

struct Bench {
    direct: Ask,
    ours: Ask,
    /// The gateway that has each intent on the disk before it asks.
    recorded: Ask,
    node: Node,
    durable: Node,
    /// Their folders.
    _places: [child::Place; 2],
    time: Duration,
    dead: Mock,
    hanging: Mock,
    flaky: Mock,
    cutting: Mock,
    healthy: Mock,
}

async fn measure(plan: &Plan) -> anyhow::Result<Report> {
    let bench = Bench::start(&plan.folder, Duration::from_secs(plan.seconds)).await?;
    let mut lines = report::lines();
    for round in 0..plan.rounds {
        bench.round(round, &mut lines).await?;
    }
    bench.faults(&mut lines).await?;
    bench.node.stop().await?;
    bench.durable.stop().await?;
    Ok(Report::new(plan.rounds, lines))
}

impl Bench {
    async fn start(folder: &Path, time: Duration) -> anyhow::Result<Self> {
        let world = World::system();
        let address = upstream::start().await?;
        let dead = Mock::start(Fault::Status(503, None)).await?;
        let hanging = Mock::start(Fault::Hang).await?;
        let flaky = Mock::start(Upstream { percent: 30, ..Fault::Status(500, None).into() }).await?;
        let cutting = Mock::start(Fault::Cut(10)).await?;
        let healthy = Mock::start(Upstream::default()).await?;
        let mut config = String::new();
        let fast = format!("http://{address}/v1");
        for (name, url) in [
            ("instant", &fast),
            ("dead", &dead.url()),
            ("hanging", &hanging.url()),
            ("flaky", &flaky.url()),
            ("cutting", &cutting.url()),
            ("healthy", &healthy.url()),
        ] {
            let hang = format!("{}ms", HANG.as_millis());
            config.extend([format!(
                "[models.providers.{name}]\nurl = '{url}'\ntimeouts = {{ first = '{hang}', total = '{hang}' }}\n"
            )]);
        }
        config += "[models.routes.instant]\ntargets = [{ provider = 'instant' }]\n";
        for model in ["instant", "dead", "hanging", "flaky", "cutting"] {
            config
                .extend([format!("[models.prices.{model}]\ninput = '1'\noutput = '2'\nthinks = 'never'\n")]);
        }
        config += "[models.budget.limits.user]\nlimit = '1000000'\nper = 'user'\n";
        for first in ["dead", "hanging", "flaky", "cutting"] {
            config.extend([format!(
                "[models.routes.{first}]\ncontinue_streams = true\n\
                 targets = [{{ provider = '{first}' }}, {{ provider = 'healthy' }}]\n"
            )]);
        }
        let place = |config: &str| anyhow::Ok(child::Place::make(folder)?.configured(config)?.on(GATEWAYS));
        let places = [place(&config)?, place(&(config.clone() + "[models.records]\nmode = 'durable'\n"))?];
        let [node, durable] =
            [Node::start(&places[0], &world).await?, Node::start(&places[1], &world).await?];
        let direct = Ask {
            address,
            token: String::new(),
            model: "instant".into(),
            stream: false,
            prompts: 0,
            world: world.clone(),
        };
        let to = |node: &Node| {
            let (url, token) = node.runs();
            let own = url.trim_start_matches("http://").split('/').next().unwrap_or_default().to_owned();
            Ask { address: own, token: token.to_owned(), ..direct.clone() }
        };
        let (ours, recorded) = (to(&node), to(&durable));
        Ok(Self {
            direct,
            ours,
            recorded,
            node,
            durable,
            _places: places,
            time,
            dead,
            hanging,
            flaky,
            cutting,
            healthy,
        })
    }

    async fn round(&self, round: usize, lines: &mut [Line]) -> anyhow::Result<()> {
        let full = |connections| Pace::Full(connections, self.time);
        let (direct, ours) = (&self.direct, &self.ours);
        if round == 0 {
            send(ours, Pace::Full(64, self.time / 4), is_whole).await?;
        }
        let floor = self.all(direct, full(64), is_whole).await?;
        let (answers, cpu) = self.costed(ours, full(64), is_whole).await?;
        report::push(lines, "64 connections, whole answers", speed(&answers), speed(&floor));
        report::push(lines, "processor time of one", cpu, f64::NAN);
        if round == 0 {
            report::push(lines, "peak memory", mebibytes(self.node.memory_peak()?), f64::NAN);
            send(&self.recorded, Pace::Full(64, self.time / 4), is_whole).await?;
        }
        let answers = self.all(&self.recorded, full(64), is_whole).await?;
        report::push(lines, "the same with durable records", speed(&answers), f64::NAN);
        let (streams, ours_streams) = (streaming(direct), streaming(ours));
        let floor = self.all(&streams, full(16), is_whole_stream).await?;
        let (answers, cpu) = self.costed(&ours_streams, full(16), is_whole_stream).await?;
        report::push(lines, "16 connections, streams of 20 events", speed(&answers), speed(&floor));
        report::push(lines, "processor time of one stream", cpu, f64::NAN);
        self.added(lines).await?;
        self.kept(lines).await
    }

    /// What the gateway adds at a rate that is no load.
    async fn added(&self, lines: &mut [Line]) -> anyhow::Result<()> {
        let (direct, ours) = (&self.direct, &self.ours);
        let even = Pace::Even(500, self.time);
        let (mut floor, mut added) =
            (self.all(direct, even, is_whole).await?.whole, self.all(ours, even, is_whole).await?.whole);
        for (name, hundredths) in [("added at 500/s, p50", 50), ("added at 500/s, p95", 95)] {
            let (without, with) = (percentile(&mut floor, hundredths), percentile(&mut added, hundredths));
            report::push(lines, name, millis(with) - millis(without), millis(without));
        }
        let even = Pace::Even(50, self.time * 2);
        let (streams, ours) = (streaming(direct), streaming(ours));
        let mut floor = self.all(&streams, even, is_whole_stream).await?.first;
        let mut added = self.all(&ours, even, is_whole_stream).await?.first;
        for (name, hundredths) in
            [("added to the first token at 50/s, p50", 50), ("added to the first token at 50/s, p99", 99)]
        {
            let (without, with) = (percentile(&mut floor, hundredths), percentile(&mut added, hundredths));
            report::push(lines, name, millis(with) - millis(without), millis(without));
        }
        Ok(())
    }

    /// Answers that are kept, if the gateway keeps them.
    async fn kept(&self, lines: &mut [Line]) -> anyhow::Result<()> {
        let same = Ask { prompts: 100, ..self.ours.clone() };
        self.all(&same, Pace::Count(8, 200), is_whole).await?;
        let again = send(&same, Pace::Count(1, 100), is_kept).await?;
        if again.bad > 0 {
            return Ok(());
        }
        let answers = self.all(&same, Pace::Full(64, self.time), is_kept).await?;
        report::push(lines, "64 connections, kept answers", speed(&answers), f64::NAN);
        Ok(())
    }

    async fn faults(&self, lines: &mut [Line]) -> anyhow::Result<()> {
        let to = |model: &str| Ask { model: model.into(), ..self.ours.clone() };
        let before = self.dead.calls() + self.healthy.calls();
        let calls = 500;
        self.all(&to("dead"), Pace::Count(4, calls), is_whole).await?;
        let upstream = (self.dead.calls() + self.healthy.calls()).saturating_sub(before);
        report::push(lines, "first provider dead: calls upstream for one", part(upstream, calls), f64::NAN);

        // The breaker opens after some calls that wait in vain.
        self.all(&to("hanging"), Pace::Count(8, 8), is_whole).await?;
        let hung = self.hanging.calls();
        let mut waits = self.all(&to("hanging"), Pace::Count(1, 300), is_whole).await?.whole;
        let late = self.hanging.calls() - hung;
        report::push(
            lines,
            "first provider hangs, breaker open: p50",
            millis(percentile(&mut waits, 50)),
            f64::NAN,
        );
        report::push(lines, "first provider hangs, breaker open: calls to it", part(late, 1), f64::NAN);

        let calls = 1_000;
        let mut answers = send(&to("flaky"), Pace::Count(4, calls), is_whole).await?;
        let complete = part(answers.whole.len() as u64, calls) * 100.0;
        report::push(lines, "30 % of answers are 500: complete", complete, f64::NAN);
        let p99 = millis(percentile(&mut answers.whole, 99));
        report::push(lines, "30 % of answers are 500: p99", p99, f64::NAN);
        anyhow::ensure!(self.flaky.calls() > 0, "nobody failed");

        let calls = 200;
        let answers = send(&streaming(&to("cutting")), Pace::Count(4, calls), is_said_once).await?;
        let complete = part(answers.whole.len() as u64, calls) * 100.0;
        report::push(lines, "streams cut after 10 events: complete, no text twice", complete, f64::NAN);
        anyhow::ensure!(self.cutting.calls() > 0, "nothing was cut");
        Ok(())
    }

    /// Asks; every answer must count.
    async fn all(&self, ask: &Ask, pace: Pace, good: fn(&Got) -> bool) -> anyhow::Result<Answers> {
        let answers = send(ask, pace, good).await?;
        match &answers.sample {
            None => Ok(answers),
            Some(sample) => anyhow::bail!("{} answers are not as they should be: {sample}", answers.bad),
        }
    }

    /// The same, and the processor time of the gateway for one answer, in microseconds.
    async fn costed(&self, ask: &Ask, pace: Pace, good: fn(&Got) -> bool) -> anyhow::Result<(Answers, f64)> {
        let before = self.node.cpu()?;
        let answers = self.all(ask, pace, good).await?;
        let spent = self.node.cpu()?.saturating_sub(before);
        let each = spent.as_secs_f64() * 1e6 / part(answers.whole.len() as u64, 1);
        Ok((answers, each))
    }
}

fn streaming(ask: &Ask) -> Ask {
    Ask { stream: true, ..ask.clone() }
}

fn speed(answers: &Answers) -> f64 {
    rate(answers.whole.len() as u64, answers.took)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn part(of: u64, all: u64) -> f64 {
    of as f64 / all as f64
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn has(got: &Got, text: &str) -> bool {
    memchr::memmem::find(&got.bytes, text.as_bytes()).is_some()
}

fn is_whole(got: &Got) -> bool {
    got.status == 200 && has(got, "\"finish_reason\":\"stop\"")
}

fn is_kept(got: &Got) -> bool {
    is_whole(got) && has(got, "x-steadfast-cache: hit")
}

fn is_whole_stream(got: &Got) -> bool {
    got.status == 200 && has(got, "data: [DONE]")
}

/// All of the mock's words, each once.
fn is_said_once(got: &Got) -> bool {
    let text = String::from_utf8_lossy(&got.bytes);
    let mut said = String::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("data: ")) {
        if let Ok(event) = serde_json::from_str::<serde_json::Value>(line) {
            said.push_str(event["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
        }
    }
    is_whole_stream(got) && said == Upstream::default().text()
}
