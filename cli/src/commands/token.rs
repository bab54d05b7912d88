use clap::Args;
use serde_json::json;
use steadfast_core::{Principal, Role, TenantId, defaults::ACCESS_TOKEN};

use super::Global;
use crate::{keys, output, store::StoreArgs};

/// See [`super::Command::Token`].
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// For whom.
    #[arg(long)]
    user: String,
    /// What they may do: user, operator or admin.
    #[arg(long, default_value = "user")]
    role: Role,
    /// Whose world they act in.
    #[arg(long, default_value = "default")]
    tenant: TenantId,
    #[command(flatten)]
    store: StoreArgs,
}

pub(crate) fn run(args: &TokenArgs, global: &Global) -> anyhow::Result<()> {
    let principal = Principal { tenant: args.tenant.clone(), user: args.user.clone(), role: args.role };
    let token = keys::sign(&args.store.url()?.key_path(), &principal)?;
    if global.json {
        let seconds = ACCESS_TOKEN.as_secs();
        return output::json(&json!({ "token": token, "expires_in": seconds }));
    }
    output::line(token);
    Ok(())
}
