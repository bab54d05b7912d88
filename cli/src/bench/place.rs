use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use steadfast_core::{NodeId, World, observe::silent};
use steadfast_engine::{Engine, EngineConfig, Registry};
use steadfast_log_sqlite::{Options, SqliteLog, Stats};
use tempfile::TempDir;

use crate::{
    effects,
    store::blocking,
    verify::{self, Verdict},
};

const STORE: &str = "bench.db";

/// A store of its own for a bench, on the file system that is measured.
pub(super) struct Place {
    folder: TempDir,
    pub(super) log: Arc<SqliteLog>,
    pub(super) world: World,
}

impl Place {
    pub(super) async fn make(folder: &Path) -> anyhow::Result<Self> {
        let world = World::system();
        let folder = tempfile::Builder::new()
            .prefix(".steadfast-bench-")
            .tempdir_in(folder)
            .with_context(|| format!("--folder {}: cannot be written", folder.display()))?;
        let (path, options) = (folder.path().join(STORE), Options::new(world.clone()));
        let log = blocking(move || Ok(SqliteLog::open(path, options)?)).await?;
        Ok(Self { folder, log: Arc::new(log), world })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The store's file.
    pub(super) fn path(&self) -> PathBuf {
        self.folder().join(STORE)
    }

    pub(super) fn stats(&self) -> Stats {
        self.log.stats()
    }

    /// An engine that knows nothing but `bench.steps`.
    pub(super) fn engine(&self) -> anyhow::Result<Engine> {
        let mut registry = Registry::default();
        effects::register(&mut registry, &self.world, None)?;
        Ok(Engine::new(self.log.clone(), self.world.clone(), registry, EngineConfig::default(), silent()))
    }

    pub(super) fn node(&self) -> NodeId {
        NodeId::next(&self.world)
    }

    /// Does everything that was written hold together?
    pub(super) async fn verify(&self) -> anyhow::Result<Verdict> {
        verify::verify(&self.log, &self.world, true).await
    }
}
