use clap::Args;
use serde_json::json;
use steadfast_log_sqlite::{SCHEMA, migrate};

use super::Global;
use crate::{
    output,
    store::{StoreArgs, blocking},
};

/// See [`super::Command::Migrate`].
#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// To which schema; the newest that this binary knows when left out.
    #[arg(long, default_value_t = SCHEMA)]
    to: u32,
    #[command(flatten)]
    store: StoreArgs,
}

pub(crate) async fn run(args: MigrateArgs, global: &Global) -> anyhow::Result<()> {
    let (url, to) = (args.store.url()?, args.to);
    blocking(move || Ok(migrate(url.path(), to)?)).await?;
    if global.json {
        return output::json(&json!({ "schema": to }));
    }
    output::line(format!("the store has schema {to}"));
    Ok(())
}
