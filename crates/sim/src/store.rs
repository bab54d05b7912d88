//! The machine that the store is on: SQLite under the writer that ships, which here works
//! only when it is polled, on a disk that loses power, refuses and fills up.

use std::{
    fs,
    num::{NonZeroU32, NonZeroUsize},
    path::{Path, PathBuf},
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use anyhow::Context as _;
use futures::FutureExt as _;
use steadfast_core::{
    World,
    chance::{Chance as _, Seeded},
};
use steadfast_log::{Log, Position, Recorded};
use steadfast_log_sqlite::{Options, Polled, SqliteLog};
use steadfast_power_loss::Disk;
use tempfile::TempDir;

use crate::plan::{Fate, Fault};

pub(crate) struct Store {
    folders: TempDir,
    life: u32,
    world: World,
    fate: Fate,
    chance: Seeded,
    disk: Disk,
    running: Option<(Arc<SqliteLog>, Polled)>,
    /// Until when the disk is full.
    full: Option<Duration>,
}

/// How a store's life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// What was written is there.
    Process,
    /// What was synced is there, and of the rest anything.
    Power,
}

impl Store {
    pub(crate) fn new(world: World, fate: Fate, seed: u64) -> anyhow::Result<Self> {
        let folders = TempDir::new_in(quick()).context("no room for the store's files")?;
        let first = folder(&folders, 0)?;
        let chance = Seeded::new(seed);
        let disk = Disk::at(&first, chance.bits())?;
        let mut store = Self { folders, life: 0, world, fate, chance, disk, running: None, full: None };
        store.open()?;
        Ok(store)
    }

    /// The store of this life.
    pub(crate) fn log(&self) -> Arc<SqliteLog> {
        let (log, _) = self.running.as_ref().expect("it runs but for the moment of its restart");
        log.clone()
    }

    /// Writes what is queued, unless something befalls the disk. Was anything?
    pub(crate) fn work(&mut self) -> bool {
        self.strike();
        self.write() > 0
    }

    pub(crate) fn has_power(&self) -> bool {
        !self.disk.is_cut()
    }

    /// Writes what is queued; how much that was.
    pub(crate) fn write(&mut self) -> usize {
        let Some((log, writer)) = &mut self.running else { return 0 };
        let queued = log.queued();
        // It goes on for as long as the store is open.
        let _ = writer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        queued
    }

    fn strike(&mut self) {
        if self.fate.strikes(Fault::PowerLoss) {
            self.disk.cut_at(1 + self.chance.below(150));
        }
        if self.fate.strikes(Fault::WriteFails) {
            self.disk.fail_write(1 + self.chance.below(40));
        }
        if self.fate.strikes(Fault::SyncFails) {
            self.disk.fail_sync(1 + self.chance.below(4));
        }
        if self.full.is_none() && self.fate.strikes(Fault::DiskFull) {
            self.full = Some(self.world.clock().elapsed() + Duration::from_secs(1 + self.chance.below(30)));
            self.disk.room(usize::try_from(self.chance.below(20_000)).ok());
        }
        if self.full.is_some_and(|until| until <= self.world.clock().elapsed()) {
            self.full = None;
            self.disk.room(None);
        }
    }

    /// Nothing befalls the disk any more.
    pub(crate) fn mend(&mut self) {
        self.full = None;
        self.disk.mend();
    }

    /// The end of a life and the beginning of the next, which may end at once as well.
    pub(crate) fn restart(&mut self, mut death: Death) -> anyhow::Result<()> {
        loop {
            self.life += 1;
            let next = folder(&self.folders, self.life)?;
            match death {
                Death::Process => self.disk.leave(&next)?,
                Death::Power => self.disk.cut(&next)?,
            }
            // Only now, when closing changes nothing any more.
            self.running = None;
            self.full = None;
            self.disk = Disk::at(&next, self.chance.bits())?;
            if self.fate.strikes(Fault::PowerLoss) {
                self.disk.cut_at(1 + self.chance.below(60));
            }
            match self.open() {
                Ok(()) if !self.disk.is_cut() => return Ok(()),
                Err(error) if !self.disk.is_cut() => return Err(error.context("the store does not open")),
                _ => death = Death::Power,
            }
        }
    }

    fn open(&mut self) -> anyhow::Result<()> {
        let mut options = Options::new(self.world.clone());
        options.config.max_group = self.one_of([1, 3, 256].map(NonZeroUsize::new));
        options.config.heads = self.one_of([1, 8, 65_536].map(NonZeroUsize::new));
        options.config.checkpoint_pages = self.one_of([4, 30, 8_192].map(NonZeroU32::new));
        let (log, writer) = SqliteLog::open_polled(self.path().join("log"), options)?;
        self.running = Some((Arc::new(log), writer));
        Ok(())
    }

    fn one_of<T: Copy>(&self, choices: [Option<T>; 3]) -> T {
        let which = usize::try_from(self.chance.below(3)).unwrap_or(0);
        choices[which].expect("none of the choices is zero")
    }

    fn path(&self) -> PathBuf {
        self.folders.path().join(self.life.to_string())
    }
}

/// All that was written to the store of a simulation, in order.
pub fn events(log: &dyn Log) -> anyhow::Result<Vec<Recorded>> {
    let (mut events, mut after) = (Vec::new(), Position::START);
    loop {
        let page = log.read_all(after, 1_000).now_or_never().context("this store never waits")??;
        if page.events.is_empty() {
            return Ok(events);
        }
        events.extend(page.events);
        after = page.next;
    }
}

fn folder(folders: &TempDir, life: u32) -> anyhow::Result<PathBuf> {
    let path = folders.path().join(life.to_string());
    fs::create_dir(&path)?;
    Ok(path)
}

/// In memory, where the machine has such a place.
fn quick() -> PathBuf {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() }
}
