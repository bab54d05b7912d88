//! What a long conversation with a model takes to store.
//!
//! One run makes a hundred calls; each is a step that is given the whole conversation so
//! far and answers with text that nobody has said before. The texts are synthetic, of four
//! bytes a token, and the same in every run of the bench.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use steadfast_core::{Failure, TenantId, chance::split_mix, observe::silent};
use steadfast_engine::{
    Action, ActionOptions, Ctx, Data, Engine, EngineConfig, Registry, Start, Status, WorkflowOptions,
};

use super::place::Place;
use crate::{output, store::blocking, verify::Verdict};

const WORKFLOW: &str = "bench.conversation";
const MODEL: Action<Vec<Said>, Said> = Action::new("bench.model");
const CALLS: usize = 100;
const TOKENS: usize = 209_000;
const TOKEN_BYTES: usize = 4;
/// Of what is said in a call, what the caller asks; the rest is the answer.
const QUESTION_TOKENS: usize = 90;
const WITHIN: Duration = Duration::from_mins(10);
const RATIO_MAX: f64 = 2.0;

/// A message of a conversation, as models take them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    role: String,
    content: String,
}

impl Said {
    /// So many tokens that nobody has said before, since nobody else has this number.
    fn new(role: &str, number: u64, tokens: usize) -> Self {
        // Three letters and a space.
        let letter = |bits: u64| char::from(b'a' + u8::try_from(bits % 26).unwrap_or(0));
        let token = |place| {
            let bits = split_mix(number, place);
            [letter(bits), letter(bits >> 8), letter(bits >> 16), ' ']
        };
        let content = (0..tokens as u64).flat_map(token).collect();
        Self { role: role.into(), content }
    }
}

/// A bench of a conversation and whether its figures count.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    bench: &'static str,
    calls: usize,
    tokens: usize,
    seconds: f64,
    /// What was said, once.
    unique_bytes: u64,
    /// The store's files.
    stored_bytes: u64,
    ratio: f64,
    met: bool,
    verify: Verdict,
}

/// Has the conversation, and measures what is on the disk afterwards.
pub(crate) async fn conversation(folder: &std::path::Path) -> anyhow::Result<Report> {
    let place = Place::make(folder).await?;
    let mut registry = Registry::default();
    register(&mut registry);
    let config = EngineConfig::default();
    let engine = Engine::new(place.log.clone(), place.world.clone(), registry, config, silent());
    let running = tokio::spawn({
        let engine = engine.clone();
        async move { engine.run().await }
    });
    let began = place.world.clock().elapsed();
    let unique = talk(&engine).await?;
    let seconds = place.world.clock().elapsed().saturating_sub(began).as_secs_f64();
    engine.stop(Duration::from_secs(5)).await;
    running.await?;
    let verify = place.verify().await?;
    let stored = stored(&place).await?;
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let ratio = stored as f64 / unique as f64;
    Ok(Report {
        bench: "bench conversation",
        calls: CALLS,
        tokens: TOKENS,
        seconds,
        unique_bytes: unique,
        stored_bytes: stored,
        ratio,
        met: ratio < RATIO_MAX,
        verify,
    })
}

fn register(registry: &mut Registry) {
    registry.action(&MODEL, ActionOptions::default(), |_, said: Vec<Said>| async move {
        // An answer for each question before: it is given all of them.
        let answers = said.iter().filter(|said| said.role == "assistant").count();
        if said.len() != 2 * answers + 1 {
            return Err(Failure::internal(
                "bench.incomplete",
                "the model is not given the whole conversation",
            ));
        }
        Ok(Said::new("assistant", said.len() as u64, TOKENS / CALLS - QUESTION_TOKENS))
    });
    registry.workflow(WORKFLOW, 1, WorkflowOptions::default(), |ctx: Ctx, calls: usize| async move {
        let mut said = Vec::new();
        for call in 0..calls {
            said.push(Said::new("user", said.len() as u64, QUESTION_TOKENS));
            let answer = ctx.step(("call", call as u64), &MODEL, &said).await?;
            said.push(answer);
        }
        Ok(said.iter().map(|said| said.content.len() as u64).sum::<u64>())
    });
}

/// Lets the run end; how many bytes were said in it.
async fn talk(engine: &Engine) -> anyhow::Result<u64> {
    let start = Start::new(TenantId::default(), "bench", WORKFLOW, Data::of(&CALLS)?);
    let (_, settled) = engine.start_and_wait(start, WITHIN).await?;
    let settled = settled.context("the conversation did not end in time")?;
    ensure!(settled.status == Status::Completed, "the run ended as {}", settled.status.as_str());
    let said: u64 = settled.outcome?.read()?;
    let expected = TOKENS * TOKEN_BYTES;
    ensure!(said == expected as u64, "{said} bytes were said, not {expected}");
    Ok(said)
}

/// The bytes of the store's files, once everything is where it stays.
async fn stored(place: &Place) -> anyhow::Result<u64> {
    let path = place.path();
    blocking(move || {
        let store = rusqlite::Connection::open(&path)?;
        store.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        let log = std::fs::metadata(path.with_extension("db-wal")).map_or(0, |wal| wal.len());
        Ok(std::fs::metadata(&path)?.len() + log)
    })
    .await
}

impl Report {
    /// The figures count.
    pub(crate) fn counts(&self) -> bool {
        self.verify.passed
    }

    /// For people.
    pub(crate) fn print(&self) {
        output::line(format!(
            "{}: {} calls over {} tokens, in {:.1} s",
            self.bench, self.calls, self.tokens, self.seconds
        ));
        let met = if self.met { "met" } else { "MISSED" };
        output::line(format!(
            "{} bytes were said, {} are stored: {:.2} times as many, bar < {RATIO_MAX}, {met}",
            self.unique_bytes, self.stored_bytes, self.ratio
        ));
        output::line(self.verify.summary());
        if !self.counts() {
            output::line("VOID: the store does not hold together");
        }
    }
}
