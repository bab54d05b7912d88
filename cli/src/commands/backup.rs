use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use steadfast_core::World;
use steadfast_log_sqlite::{self as store, Progress};

use super::Global;
use crate::{
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
    let (url, to) = (args.store.url()?, args.to.clone());
    blocking(move || Ok(store::backup(url.path(), &to, watch())?)).await?;
    if global.json {
        return output::json(&json!({ "backup": args.to }));
    }
    output::line(format!("the store is copied to {}", args.to.display()));
    output::note("keep node.key too: without it, tokens end");
    Ok(())
}

pub(crate) async fn restore(args: RestoreArgs, global: &Global) -> anyhow::Result<()> {
    let (url, from) = (args.store.url()?, args.from);
    let to = url.path().to_owned();
    blocking(move || {
        if let Some(folder) = url.path().parent() {
            std::fs::create_dir_all(folder)?;
        }
        Ok(store::restore(&from, url.path(), &World::system(), watch())?)
    })
    .await?;
    if global.json {
        return output::json(&json!({ "restored": to, "held": true }));
    }
    output::line(format!(
        "{} is restored and held: check it with `steadfast verify`, then run `steadfast resume`",
        to.display()
    ));
    Ok(())
}
