use serde::Serialize;
use steadfast_core::{Coded, Failure, RunId};
use steadfast_log::{DueQuery, WakeUp};

use crate::{
    Engine,
    record::{Parked, RUN},
    recovery::run_id,
    store::{PARKED_DUE, load},
};

const PAGE: usize = 500;

/// What replaying every open run against this binary came to. Nothing is written.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CheckReport {
    /// Open runs looked at.
    pub checked: usize,
    /// Runs whose code does not fit their history.
    pub diverged: Vec<Diverged>,
    /// Runs whose record cannot be read.
    pub unreadable: Vec<(RunId, Failure)>,
}

/// A run that would be parked.
#[derive(Debug, Clone, Serialize)]
pub struct Diverged {
    /// The run.
    pub run: RunId,
    /// Its workflow.
    pub workflow: String,
    /// The version it is pinned to.
    pub version: u32,
    /// The first divergence.
    pub why: Parked,
}

impl CheckReport {
    /// Every open run can go on.
    pub fn passed(&self) -> bool {
        self.diverged.is_empty() && self.unreadable.is_empty()
    }
}

impl Engine {
    /// Replays every open run against this binary's code (promise G8), before an upgrade
    /// finds out. `progress` is told how many have been looked at.
    pub async fn check(&self, mut progress: impl FnMut(usize) + Send) -> Result<CheckReport, Failure> {
        let engine = &self.inner;
        let mut report = CheckReport::default();
        let mut after: Option<WakeUp> = None;
        loop {
            let query = DueQuery { category: RUN, until: PARKED_DUE, after, limit: PAGE };
            let page = engine.log.due(query).await.map_err(|error| error.failure())?;
            for wake_up in &page {
                let Some(run) = run_id(&wake_up.stream) else {
                    continue;
                };
                match load(&*engine.log, &wake_up.stream, true).await {
                    // It is woken for something else.
                    Ok(history) if history.status().ended() => {}
                    Ok(history) => {
                        report.checked += 1;
                        if let Err(why) = engine.replay(&history) {
                            let started = &history.facts.started;
                            let (workflow, version) = (started.workflow.clone(), started.version);
                            report.diverged.push(Diverged { run, workflow, version, why });
                        }
                    }
                    Err(error) if error.poisoned() => {
                        report.checked += 1;
                        report.unreadable.push((run, error.failure()));
                    }
                    Err(error) => return Err(error.failure()),
                }
            }
            progress(report.checked);
            let full = page.len() == PAGE;
            after = page.into_iter().last();
            if !full {
                return Ok(report);
            }
        }
    }
}
