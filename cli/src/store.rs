//! Where the store is, and how it is opened.

use clap::Args;
use std::sync::Arc;

use steadfast_core::World;
use steadfast_log_sqlite::{Options, SqliteLog};

use crate::{
    config::{self, ConfigArgs, StoreSection, StoreUrl},
    keys,
};

/// Which store a command works on.
#[derive(Debug, Clone, Args)]
pub(crate) struct StoreArgs {
    /// The store: sqlite:PATH. Else the configuration's store.url.
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<StoreUrl>,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

impl StoreArgs {
    /// The place of the store's file.
    pub(crate) fn url(&self) -> anyhow::Result<StoreUrl> {
        match &self.store {
            Some(url) => Ok(url.clone()),
            None => Ok(config::load(&self.config)?.store.url.parse()?),
        }
    }

    /// Opens the store for reading alone: beside a running server, or without one.
    pub(crate) async fn read_only(&self) -> anyhow::Result<SqliteLog> {
        let url = self.url()?;
        let options = options(&config::load(&self.config)?.store, &World::system())?;
        blocking(move || Ok(SqliteLog::open_read_only(url.path(), options)?)).await
    }
}

/// How the store is opened, with the keys that its large values are encrypted with.
pub(crate) fn options(section: &StoreSection, world: &World) -> anyhow::Result<Options> {
    let mut options = Options::new(world.clone());
    options.config = section.sqlite.clone();
    if let Some(ring) = keys::ring(section, world)? {
        options.cipher = Arc::new(ring);
    }
    Ok(options)
}

/// Runs what blocks where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await?
}
