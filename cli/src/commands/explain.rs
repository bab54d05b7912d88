use clap::Args;
use steadfast_core::{RunId, TenantId};

use super::Global;
use crate::{node, output, store::StoreArgs};

/// See [`super::Command::Explain`]. Asks the server, or reads the store that is named.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The run.
    run: RunId,
    /// Whose run it is; with --store.
    #[arg(long, default_value = "default")]
    tenant: TenantId,
    #[command(flatten)]
    store: StoreArgs,
}

pub(crate) async fn run(args: ExplainArgs, global: &Global) -> anyhow::Result<()> {
    if args.store.store.is_some() {
        let (engine, _) = node::reading(&args.store).await?;
        let explanation = engine.explain(&args.tenant, args.run).await?;
        if global.json {
            return output::json(&explanation);
        }
        output::line(explanation.to_string().trim_end());
        return Ok(());
    }
    let client = global.connection.client()?;
    let path = format!("/runs/{}/explain", args.run);
    if global.json {
        return output::json(&client.get(&path, &[]).await?);
    }
    output::line(client.get_text(&path).await?.trim_end());
    Ok(())
}
