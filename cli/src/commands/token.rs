use std::path::Path;

use clap::Args;
use serde_json::json;
use steadfast_core::{Failure, Principal, Role, TenantId, World, defaults::ACCESS_TOKEN};
use steadfast_server::NodeKey;

use super::Global;
use crate::{output, store::StoreArgs};

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
    let token = sign(&args.store.url()?.key_path(), &principal)?;
    if global.json {
        let seconds = ACCESS_TOKEN.as_secs();
        return output::json(&json!({ "token": token, "expires_in": seconds }));
    }
    output::line(token);
    Ok(())
}

/// A token of this machine's node: for a user, or for whoever operates it.
pub(crate) fn mint(key: &Path, user: Option<&str>) -> anyhow::Result<String> {
    let (user, role) = match user {
        Some(user) => (user, Role::User),
        None => ("operator", Role::Admin),
    };
    let principal = Principal { tenant: TenantId::default(), user: user.to_owned(), role };
    sign(key, &principal)
}

fn sign(key: &Path, principal: &Principal) -> anyhow::Result<String> {
    if !key.exists() {
        let message = format!(
            "there is no node key at {}: start the server there once, or name its store with --store",
            key.display()
        );
        return Err(Failure::refused("key.missing", message).into());
    }
    let world = World::system();
    let key = NodeKey::load_or_create(key, &world)?;
    Ok(key.mint(principal, ACCESS_TOKEN, &world)?)
}
