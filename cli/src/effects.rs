//! The workflow that benches and crash tests run: steps that do nothing but leave a
//! trace outside, where it cannot be taken back.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use steadfast_core::{Failure, World};
use steadfast_engine::{Action, ActionOptions, Ctx, Registry, StepTask, WorkflowOptions};

/// The name of the workflow.
pub(crate) const WORKFLOW: &str = "bench.steps";
/// One that waits for a signal `go`.
pub(crate) const WAITING: &str = "bench.waiting";
/// One that goes on as its next generation, and in the last one tells of each signal `go`.
pub(crate) const GENERATIONS: &str = "bench.generations";
const STEP: Action<StepInput, ()> = Action::new("bench.step");
const STEPS_MAX: u32 = 1_000;
const MILLIS_MAX: u64 = 30_000;

/// Input of [`WORKFLOW`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepsInput {
    /// How many steps, one after another.
    pub(crate) steps: u32,
    /// How long each of them takes.
    pub(crate) millis: u64,
}

/// Input of [`GENERATIONS`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GenerationsInput {
    /// How many.
    pub(crate) generations: u64,
    /// How many steps each of them takes.
    pub(crate) steps: u32,
}

/// Five steps that do nothing: what the bench runs.
pub(crate) const FIVE: StepsInput = StepsInput { steps: 5, millis: 0 };

#[derive(Debug, Serialize, Deserialize)]
struct StepInput {
    millis: u64,
}

/// Where steps leave their traces: one line at the start and one at the end of each
/// attempt, `RUN STEP S MILLIS` and `RUN STEP E MILLIS`, each written at once.
struct Recorder {
    file: Option<File>,
    world: World,
}

impl Recorder {
    fn mark(&self, task: &StepTask, mark: char) -> Result<(), Failure> {
        let Some(mut file) = self.file.as_ref() else {
            return Ok(());
        };
        let millis = self.world.now().micros() / 1_000;
        let line = format!("{} {} {mark} {millis}\n", task.run, task.step);
        file.write_all(line.as_bytes()).map_err(|error| {
            Failure::upstream("bench.effects", format!("the file of effects cannot be written: {error}"))
        })
    }
}

/// Registers [`WORKFLOW`]; `effects` is the file that its steps write to.
pub(crate) fn register(registry: &mut Registry, world: &World, effects: Option<&Path>) -> anyhow::Result<()> {
    let open = |path: &Path| {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("--bench-effects {}: cannot be opened", path.display()))
    };
    let recorder = Arc::new(Recorder { file: effects.map(open).transpose()?, world: world.clone() });
    let options =
        ActionOptions { timeout: Duration::from_millis(2 * MILLIS_MAX), ..ActionOptions::default() };
    registry.action(&STEP, options, move |task, input: StepInput| {
        let recorder = recorder.clone();
        async move {
            recorder.mark(&task, 'S')?;
            if input.millis > 0 {
                let pause = Duration::from_millis(input.millis);
                recorder.world.clock().sleep(pause).await;
            }
            recorder.mark(&task, 'E')
        }
    });
    registry.workflow(WORKFLOW, 1, WorkflowOptions::default(), steps);
    registry.workflow(WAITING, 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.signal::<()>("go", "go").await
    });
    registry.workflow(GENERATIONS, 1, WorkflowOptions::default(), generations);
    Ok(())
}

async fn generations(ctx: Ctx, input: GenerationsInput) -> Result<(), Failure> {
    let GenerationsInput { generations, steps } = input;
    self::steps(ctx.clone(), StepsInput { steps, millis: 0 }).await?;
    if generations > 1 {
        return Err(ctx.continue_as_new(&GenerationsInput { generations: generations - 1, steps }));
    }
    for taken in 0.. {
        ctx.signal::<()>(("go", taken), "go").await?;
        ctx.progress(&taken);
    }
    Ok(())
}

async fn steps(ctx: Ctx, input: StepsInput) -> Result<u32, Failure> {
    if input.steps > STEPS_MAX || input.millis > MILLIS_MAX {
        return Err(Failure::refused(
            "bench.too_much",
            format!("steps may be {STEPS_MAX} and millis {MILLIS_MAX} at most"),
        ));
    }
    for number in 1..=input.steps {
        let millis = input.millis;
        ctx.step(("step", number), &STEP, &StepInput { millis }).await?;
    }
    Ok(input.steps)
}
