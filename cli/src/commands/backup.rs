use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use serde_json::json;
use steadfast_core::World;
use steadfast_log_sqlite::{self as store, Progress, StoreError};
use steadfast_models::record::{self, RecordError};

use super::Global;
use crate::{
    config::StoreUrl,
    output,
    store::{StoreArgs, blocking},
};

/// See [`super::Command::Backup`].
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Where to; must not exist.
    to: PathBuf,
    #[command(flatten)]
    store: StoreArgs,
}

/// See [`super::Command::Restore`].
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup.
    from: PathBuf,
    #[command(flatten)]
    store: StoreArgs,
}

/// Shows a bar over the pages of a copy.
fn watch() -> impl FnMut(Progress) {
    let bar = output::progress(1, "pages");
    move |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        if progress.done == progress.total {
            bar.finish_and_clear();
        }
    }
}

pub(crate) async fn backup(args: BackupArgs, global: &Global) -> anyhow::Result<()> {
    let (from, to) = (args.store.url()?, StoreUrl::of(args.to.clone()));
    let copied = blocking(move || {
        let (records, copy) = (from.records_path(), to.records_copy());
        if copy.exists() {
            return Err(RecordError::Exists(copy).into());
        }
        store::backup(from.path(), to.path(), watch())?;
        // After the store: what runs have spent that it knows of is in them.
        if !records.exists() {
            return Ok(None);
        }
        let half = || format!("{} is no whole backup: remove it", to.path().display());
        record::backup(&records, &copy).with_context(half)?;
        Ok(Some(copy))
    })
    .await?;
    if global.json {
        return output::json(&json!({ "backup": args.to, "records": copied }));
    }
    output::line(format!("the store is copied to {}", args.to.display()));
    if let Some(copied) = copied {
        output::line(format!("what models cost and limits have left is copied to {}", copied.display()));
    }
    output::note("keep node.key too: without it, tokens end");
    Ok(())
}

/// What became of the records of model calls.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Records {
    Restored,
    /// There were some, which have gone on since.
    Kept,
    /// The backup has none.
    None,
}

pub(crate) async fn restore(args: RestoreArgs, global: &Global) -> anyhow::Result<()> {
    let (from, url) = (StoreUrl::of(args.from), args.store.url()?);
    let to = url.path().to_owned();
    let records = blocking(move || {
        if let Some(folder) = url.path().parent() {
            std::fs::create_dir_all(folder)?;
        }
        for (path, wanted) in [(from.path(), true), (url.path(), false)] {
            match (wanted, path.exists()) {
                (true, false) => return Err(StoreError::Missing(path.to_owned()).into()),
                (false, true) => return Err(StoreError::Exists(path.to_owned()).into()),
                _ => {}
            }
        }
        // Before the store: where that is, they are.
        let copy = from.records_copy();
        let records = match copy.exists() {
            true if record::restore(&copy, &url.records_path())? => Records::Restored,
            true => Records::Kept,
            false => Records::None,
        };
        store::restore(from.path(), url.path(), &World::system(), watch())?;
        Ok(records)
    })
    .await?;
    if global.json {
        return output::json(&json!({ "restored": to, "held": true, "records": records }));
    }
    output::line(format!(
        "{} is restored and held: check it with `steadfast verify`, then run `steadfast resume`",
        to.display()
    ));
    output::note(match records {
        Records::Restored => "what models cost and limits have left is restored as well",
        Records::Kept => {
            "the records of model calls that are there stay: they are not older than the backup's"
        }
        Records::None => "the backup has no records of model calls: limits go by what lies beside the store",
    });
    Ok(())
}
