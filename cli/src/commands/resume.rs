use clap::Args;
use serde_json::json;
use steadfast_core::{Failure, World, observe::silent};
use steadfast_log::Log as _;

use super::Global;
use crate::{node, output, store::StoreArgs};

/// See [`super::Command::Resume`].
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    store: StoreArgs,
}

pub(crate) async fn run(args: ResumeArgs, global: &Global) -> anyhow::Result<()> {
    let url = args.store.url()?;
    if !url.path().exists() {
        let message = format!("{} does not exist: check --store", url.path().display());
        return Err(Failure::refused("store.missing", message).into());
    }
    let config = crate::config::load(&args.store.config)?;
    let log = node::open_store(&url, &config.store, &World::system(), silent()).await?;
    let held = log.identity().held;
    log.resume().await?;
    if global.json {
        return output::json(&json!({ "held": false, "was_held": held }));
    }
    output::line(if held { "the store may run: start the server" } else { "the store was not held" });
    Ok(())
}
