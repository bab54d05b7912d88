//! Where the store is, and how it is opened.

use std::path::{Path, PathBuf};

use clap::Args;
use steadfast_core::{Failure, World};
use steadfast_log_sqlite::SqliteLog;

use crate::{
    config::{self, ConfigArgs},
    node,
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
        let options = node::options(&config::load(&self.config)?.store, &World::system())?;
        blocking(move || Ok(SqliteLog::open_read_only(url.path(), options)?)).await
    }
}

/// `sqlite:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreUrl(PathBuf);

impl StoreUrl {
    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
    /// The node's key, beside the file.
    pub(crate) fn key_path(&self) -> PathBuf {
        self.0.with_file_name("node.key")
    }
}

impl std::str::FromStr for StoreUrl {
    type Err = Failure;
    fn from_str(text: &str) -> Result<Self, Failure> {
        match text.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() => Ok(Self(path.into())),
            _ => {
                let message =
                    format!("{text:?} is not a store: write sqlite:PATH, such as sqlite:data/steadfast.db");
                Err(Failure::refused("store.invalid_url", message))
            }
        }
    }
}

/// Runs what blocks where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_a_url_and_its_key_lies_beside_it() {
        let url: StoreUrl = "sqlite:a/b.db".parse().expect("a store");
        assert_eq!(url.key_path(), Path::new("a/node.key"));
        for wrong in ["", "sqlite:", "a/b.db", "postgres://x"] {
            assert!(wrong.parse::<StoreUrl>().is_err(), "{wrong:?}");
        }
    }
}
