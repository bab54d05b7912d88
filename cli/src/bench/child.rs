//! This binary as a server in a process of its own, on a store of its own.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::{Value, json};
use steadfast_core::{RunId, World};
use tempfile::TempDir;

use crate::{
    config::StoreUrl,
    effects::{self, StepsInput},
    keys,
    store::blocking,
};

/// How long a server may take until it is ready, and a run until it has ended.
const PATIENCE: Duration = Duration::from_secs(30);
const ASK_AGAIN: Duration = Duration::from_millis(1);

/// Where a server lives.
pub(super) struct Place {
    folder: TempDir,
    processor: Option<usize>,
}

/// The file that a server here is configured by, if it is.
const CONFIG: &str = "steadfast.toml";

/// This thread, and those that it starts, stay on that processor.
pub(super) fn stay_on(processor: usize) -> anyhow::Result<()> {
    let mut only = CpuSet::new();
    only.set(processor);
    sched_setaffinity(None, &only).with_context(|| format!("there is no processor {processor}"))
}

impl Place {
    pub(super) fn make(folder: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(".steadfast-bench-")
            .tempdir_in(folder)
            .with_context(|| format!("--folder {}: cannot be written", folder.display()))?;
        Ok(Self { folder, processor: None })
    }

    /// With this configuration.
    pub(super) fn configured(self, config: &str) -> anyhow::Result<Self> {
        std::fs::write(self.folder.path().join(CONFIG), config)?;
        Ok(self)
    }

    /// Servers here stay on that processor.
    pub(super) fn on(mut self, processor: usize) -> Self {
        self.processor = Some(processor);
        self
    }

    pub(super) fn store(&self) -> anyhow::Result<StoreUrl> {
        // From the root, since the server runs elsewhere.
        let path = self.folder.path().canonicalize()?.join("bench.db");
        Ok(format!("sqlite:{}", path.display()).parse()?)
    }

    pub(super) fn effects(&self) -> PathBuf {
        self.folder.path().join("effects.txt")
    }

    fn command(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", "--bench", "--listen", "127.0.0.1:0", "--bench-effects", "effects.txt"]);
        command.arg("--store").arg(format!("sqlite:{}", self.store()?.path().display()));
        if self.folder.path().join(CONFIG).exists() {
            command.args(["--config", CONFIG]);
        }
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::piped());
        // What is configured here is not what is measured.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("STEADFAST_") {
                command.env_remove(name);
            }
        }
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log.txt"))
            .context("a log file cannot be made")?;
        command.stderr(log);
        Ok(command)
    }
}

/// This binary, serving in a process of its own. Killed when dropped.
pub(super) struct Node {
    child: Child,
    url: String,
    token: String,
    http: reqwest::Client,
}

impl Node {
    /// Starts a server; it is ready when this returns.
    pub(super) async fn start(place: &Place, world: &World) -> anyhow::Result<Self> {
        let mut command = place.command()?;
        let store = place.store()?;
        let http = reqwest::Client::builder().timeout(PATIENCE).build()?;
        let processor = place.processor;
        let (mut child, url) = blocking(move || {
            let before = sched_getaffinity(None)?;
            // The child inherits it.
            processor.map_or(Ok(()), stay_on)?;
            let spawned = command.spawn();
            sched_setaffinity(None, &before)?;
            let mut child = spawned.context("the server cannot be started")?;
            let url = address(&mut child);
            Ok((child, url))
        })
        .await?;
        let Ok(url) = url else {
            let status = end(&mut child);
            bail!("the server ended with {status} instead of listening");
        };
        let mut node = Self { child, url, token: String::new(), http };
        node.ready(world).await?;
        node.token = keys::sign(&store.key_path(), &keys::principal(Some("bench")))?;
        Ok(node)
    }

    async fn ready(&self, world: &World) -> anyhow::Result<()> {
        let deadline = world.clock().elapsed() + PATIENCE;
        while world.clock().elapsed() < deadline {
            let answer = self.http.get(format!("{}/readyz", self.url)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            world.clock().sleep(ASK_AGAIN).await;
        }
        bail!("the server is not ready")
    }

    /// Has the server accept a run; the number is its key.
    pub(super) async fn begin(&self, number: usize, steps: &StepsInput) -> anyhow::Result<RunId> {
        Ok(self.ask(number, steps, None).await?.0)
    }

    /// Waits for the end of that run.
    pub(super) async fn end(&self, number: usize, steps: &StepsInput) -> anyhow::Result<RunId> {
        let (run, answer) = self.ask(number, steps, Some(PATIENCE)).await?;
        ensure!(answer["status"] == "completed", "run {run} is {} after the restart", answer["status"]);
        Ok(run)
    }

    async fn ask(
        &self,
        number: usize,
        steps: &StepsInput,
        wait: Option<Duration>,
    ) -> anyhow::Result<(RunId, Value)> {
        let mut request = self
            .http
            .post(format!("{}/api/v1/runs", self.url))
            .bearer_auth(&self.token)
            .header("Idempotency-Key", format!("run-{number}"))
            .json(&json!({ "workflow": effects::WORKFLOW, "input": steps }));
        if let Some(wait) = wait {
            request = request.header("Prefer", format!("wait={}", wait.as_secs()));
        }
        let answer = request.send().await?.error_for_status()?;
        let answer: Value = answer.json().await?;
        let run = answer["id"].as_str().context("an answer names no run")?;
        Ok((run.parse()?, answer))
    }

    /// Where runs are started, and with which token.
    pub(super) fn runs(&self) -> (String, &str) {
        (format!("{}/api/v1/runs", self.url), &self.token)
    }

    /// What it holds in memory, in bytes.
    pub(super) fn memory(&self) -> anyhow::Result<u64> {
        self.status("VmRSS:")
    }

    /// The most that it held.
    pub(super) fn memory_peak(&self) -> anyhow::Result<u64> {
        self.status("VmHWM:")
    }

    /// The processor time of all its threads.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        let mut all = 0;
        for thread in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end meanwhile; what it used is lost, and little.
            let spent = std::fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            all += spent.split(' ').next().and_then(|nanos| nanos.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(all))
    }

    fn status(&self, name: &str) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        Ok(1_024 * kib.context("the system does not tell what a process holds in memory")?)
    }

    /// kill -9.
    pub(super) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        blocking(move || {
            end(&mut self.child);
            Ok(())
        })
        .await
    }

    /// Asks it to stop, and waits.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        blocking(move || {
            let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
            ensure!(asked.success(), "the server cannot be told to stop");
            let status = self.child.wait()?;
            ensure!(status.success(), "stopping ended with {status}");
            Ok(())
        })
        .await
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn end(child: &mut Child) -> String {
    child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// What it prints first is where it listens.
fn address(child: &mut Child) -> anyhow::Result<String> {
    let mut out = BufReader::new(child.stdout.take().context("its output is not ours")?);
    let mut line = String::new();
    while out.read_line(&mut line)? > 0 {
        if let Some(url) = line.split_whitespace().find(|word| word.starts_with("http://")) {
            let url = url.to_owned();
            // Nobody reads on: what it prints later must not make it wait.
            std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
            return Ok(url);
        }
        line.clear();
    }
    bail!("it names no address")
}
