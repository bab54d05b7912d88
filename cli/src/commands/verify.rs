use clap::Args;
use steadfast_core::{Failure, World};
use steadfast_models::record;

use super::Global;
use crate::{
    config::StoreUrl,
    node, output,
    store::{StoreArgs, blocking},
    verify,
};

/// See [`super::Command::Verify`].
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Also compare every derived table and snapshot with a fold of the log. Nothing may write
    /// meanwhile.
    #[arg(long)]
    rebuild: bool,
    #[command(flatten)]
    store: StoreArgs,
}

pub(crate) async fn run(args: VerifyArgs, global: &Global) -> anyhow::Result<()> {
    let log = args.store.read_only().await?;
    let mut verdict = verify::verify(&log, &World::system(), args.rebuild).await?;
    verdict.blame(records(&args.store.url()?).await?);
    if global.json {
        output::json(&verdict)?;
    } else {
        output::line(verdict.summary());
        for problem in &verdict.problems {
            output::line(format!("  {problem}"));
        }
    }
    if verdict.passed {
        return Ok(());
    }
    Err(Failure::refused("store.not_verified", "the store does not hold together; the verdict says why")
        .into())
}

/// What is wrong with the records of model calls that belong to a store, or to a backup.
async fn records(url: &StoreUrl) -> anyhow::Result<Vec<String>> {
    let there = [url.records_path(), url.records_copy()].into_iter().filter(|it| it.exists());
    let there: Vec<_> = there.collect();
    blocking(move || {
        let mut problems = Vec::new();
        for path in there {
            problems.extend(record::verify(&path)?);
        }
        Ok(problems)
    })
    .await
}

/// See [`super::runs::RunsCommand::Check`].
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    store: StoreArgs,
}

/// Replays every open run against this binary.
pub(crate) async fn check(args: CheckArgs, global: &Global) -> anyhow::Result<()> {
    let (engine, _) = node::reading(&args.store).await?;
    let bar = output::progress(0, "runs");
    let report = engine.check(|checked| bar.set_position(checked as u64)).await?;
    bar.finish_and_clear();
    if global.json {
        output::json(&report)?;
    } else {
        output::line(format!(
            "{} open runs: {} diverge, {} cannot be read",
            report.checked,
            report.diverged.len(),
            report.unreadable.len()
        ));
        for run in &report.diverged {
            let (workflow, version) = (&run.workflow, run.version);
            output::line(format!(
                "  {} ({workflow} version {version}), turn {}: {}",
                run.run, run.why.turn, run.why.message
            ));
        }
        for (run, failure) in &report.unreadable {
            output::line(format!("  {run}: {failure}"));
        }
    }
    if report.passed() {
        return Ok(());
    }
    let message = "open runs diverge from this binary, or cannot be read; the report says which";
    Err(Failure::refused("runs.diverged", message).into())
}
