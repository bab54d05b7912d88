use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::RawFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use steadfast_core::chance::Seeded;

use crate::{file::Contents, unheard, vfs};

/// All disks of this process.
static DISKS: Mutex<Vec<Arc<Shared>>> = Mutex::new(Vec::new());

/// A folder whose SQLite files can lose what was not synced. Dropping it makes it a plain
/// folder again; what is open then stays as it was.
#[derive(Debug)]
pub struct Disk(Arc<Shared>);

impl Disk {
    /// Makes a folder such a disk. Everything in it is durable. The seed decides what is
    /// left at the end, and what a failed sync kept.
    pub fn at(folder: &Path, seed: u64) -> io::Result<Self> {
        vfs::install();
        let shared = Shared {
            root: folder.canonicalize()?,
            state: Mutex::new(State { chance: Seeded::new(seed), ..State::default() }),
        };
        let shared = Arc::new(shared);
        lock(&DISKS).push(shared.clone());
        Ok(Self(shared))
    }

    /// Cuts the power in the middle of an operation to come: 1 is the next write, cut, sync,
    /// new or deleted file.
    pub fn cut_at(&self, operation: u64) {
        let mut state = self.0.state();
        state.cut_at = Some(state.operations + operation);
    }

    /// Operations so far.
    pub fn operations(&self) -> u64 {
        self.0.state().operations
    }

    /// Is the power off?
    pub fn is_cut(&self) -> bool {
        self.0.state().cut
    }

    /// Cuts the power, if it is still on, and writes into an empty folder what could be left.
    pub fn cut(&self, into: &Path) -> io::Result<()> {
        let mut state = self.0.state();
        state.cut = true;
        state.write_left(&self.0.root, into)
    }

    /// Ends the process instead: what was written is left in an empty folder, synced or not.
    pub fn leave(&self, into: &Path) -> io::Result<()> {
        let mut state = self.0.state();
        state.cut = true;
        copy_others(&self.0.root, into, &|_| false)
    }

    /// Nothing that was ordered happens any more: no cut, no failure, and there is room.
    pub fn mend(&self) {
        let mut state = self.0.state();
        (state.cut_at, state.room, state.write_fault, state.sync_fault) = (None, None, 0, 0);
    }

    /// A write to come, 1 being the next, fails with an I/O error and does nothing.
    pub fn fail_write(&self, nth: u64) {
        self.0.state().write_fault = nth;
    }

    /// A sync to come, 1 being the next, fails with an I/O error.
    pub fn fail_sync(&self, nth: u64) {
        self.0.state().sync_fault = nth;
    }

    /// Files may grow by so many bytes together; without a number, by any.
    pub fn room(&self, bytes: Option<usize>) {
        self.0.state().room = bytes;
    }

    /// From now on syncs are answered and not done.
    pub fn lie(&self) {
        self.0.state().lies = true;
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        lock(&DISKS).retain(|other| !Arc::ptr_eq(other, &self.0));
    }
}

/// Why a disk does not do what it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no power, or an I/O error.
    Error,
    /// There is no room.
    Full,
}

/// A disk as the shim sees it.
#[derive(Debug)]
pub(crate) struct Shared {
    root: PathBuf,
    state: Mutex<State>,
}

/// A file, which may outlive its name.
pub(crate) type FileId = usize;

#[derive(Debug)]
struct State {
    chance: Seeded,
    files: Vec<Contents>,
    names: BTreeMap<PathBuf, Name>,
    operations: u64,
    cut_at: Option<u64>,
    cut: bool,
    lies: bool,
    room: Option<usize>,
    /// Writes until one fails; 0 for never.
    write_fault: u64,
    sync_fault: u64,
}

/// Which file a name stands for.
#[derive(Debug, Default)]
struct Name {
    durable: Option<FileId>,
    since: Vec<Option<FileId>>,
}

impl Name {
    fn now(&self) -> Option<FileId> {
        self.since.last().copied().unwrap_or(self.durable)
    }
}

/// How an operation meets the power.
#[derive(Debug, PartialEq, Eq)]
enum Power {
    On,
    /// It goes in the middle of this.
    Going,
    Off,
}

impl Shared {
    /// The disk that a file or folder is on.
    pub(crate) fn of(path: &Path) -> Option<Arc<Self>> {
        lock(&DISKS).iter().find(|disk| path.starts_with(&disk.root)).cloned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if self.state().cut { Err(Refusal::Error) } else { Ok(()) }
    }

    /// To be called before a file is opened or deleted, which it may be in before.
    pub(crate) fn find(&self, path: &Path) -> Option<FileId> {
        let mut state = self.state();
        if !state.names.contains_key(path)
            && let Ok(bytes) = fs::read(path)
        {
            let durable = Some(state.add(Contents::of(bytes)));
            state.names.insert(path.to_owned(), Name { durable, since: Vec::new() });
        }
        state.names.get(path).and_then(Name::now)
    }

    /// The file that this name stands for, if it is one of SQLite's.
    pub(crate) fn known(&self, path: &Path) -> Option<FileId> {
        self.state().names.get(path).and_then(Name::now)
    }

    /// There is a new file.
    pub(crate) fn create(&self, path: &Path) -> Result<FileId, Refusal> {
        let mut state = self.state();
        let power = state.operate();
        if power == Power::Off {
            return Err(Refusal::Error);
        }
        let file = state.add(Contents::default());
        state.names.entry(path.to_owned()).or_default().since.push(Some(file));
        if power == Power::On { Ok(file) } else { Err(Refusal::Error) }
    }

    /// A file is about to be deleted.
    pub(crate) fn delete(&self, path: &Path) -> Result<(), Refusal> {
        let known = self.find(path).is_some();
        let mut state = self.state();
        let power = state.operate();
        if power != Power::Off && known {
            state.names.entry(path.to_owned()).or_default().since.push(None);
        }
        if power == Power::On { Ok(()) } else { Err(Refusal::Error) }
    }

    /// Writes through `pass`, which is given how many of the bytes there is room for.
    /// A disk's own error comes back as `Ok` of it.
    pub(crate) fn write<E>(
        &self,
        file: FileId,
        at: usize,
        bytes: &[u8],
        pass: impl FnOnce(usize) -> Result<(), E>,
    ) -> Result<Result<(), E>, Refusal> {
        let mut state = self.state();
        match state.operate() {
            Power::Off => return Err(Refusal::Error),
            Power::Going => {
                state.files[file].write(at, bytes);
                return Err(Refusal::Error);
            }
            Power::On => {}
        }
        if fails(&mut state.write_fault) {
            return Err(Refusal::Error);
        }
        let fitting = state.take_room(file, at, bytes.len());
        let written = pass(fitting);
        if written.is_ok() && fitting > 0 {
            state.files[file].write(at, &bytes[..fitting]);
        }
        if fitting < bytes.len() { Err(Refusal::Full) } else { Ok(written) }
    }

    /// Cuts a file through `pass`. See [`Self::write`].
    pub(crate) fn truncate<E>(
        &self,
        file: FileId,
        len: usize,
        pass: impl FnOnce() -> Result<(), E>,
    ) -> Result<Result<(), E>, Refusal> {
        let mut state = self.state();
        let power = state.operate();
        if power == Power::Off {
            return Err(Refusal::Error);
        }
        let result = if power == Power::On { pass() } else { Ok(()) };
        if result.is_ok() {
            let freed = state.files[file].len().saturating_sub(len);
            state.room = state.room.map(|room| room.saturating_add(freed));
            state.files[file].truncate(len);
        }
        if power == Power::On { Ok(result) } else { Err(Refusal::Error) }
    }

    /// Makes a file durable, or the names in a folder.
    pub(crate) fn sync(&self, fd: RawFd, path: &Path) -> Result<(), Refusal> {
        let mut state = self.state();
        let state = &mut *state;
        if state.operate() != Power::On || unheard::hears(fd, path) {
            return Err(Refusal::Error);
        }
        let failed = fails(&mut state.sync_fault);
        if failed {
            unheard::tell(all_open(path).filter(|other| *other != fd).collect(), path);
        }
        if let Some(file) = state.names.get(path).and_then(Name::now) {
            let file = &mut state.files[file];
            match (failed, state.lies) {
                (true, _) => file.fail_sync(&state.chance),
                (false, true) => {}
                (false, false) => file.sync(),
            }
        } else if !failed && !state.lies {
            for (_, name) in state.names.iter_mut().filter(|(name, _)| name.parent() == Some(path)) {
                name.durable = name.now();
                name.since.clear();
            }
        }
        if failed { Err(Refusal::Error) } else { Ok(()) }
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            chance: Seeded::new(0),
            files: Vec::new(),
            names: BTreeMap::new(),
            operations: 0,
            cut_at: None,
            cut: false,
            lies: false,
            room: None,
            write_fault: 0,
            sync_fault: 0,
        }
    }
}

impl State {
    fn operate(&mut self) -> Power {
        if self.cut {
            return Power::Off;
        }
        self.operations += 1;
        self.cut = self.cut_at.is_some_and(|at| self.operations >= at);
        if self.cut { Power::Going } else { Power::On }
    }

    fn add(&mut self, contents: Contents) -> FileId {
        self.files.push(contents);
        self.files.len() - 1
    }

    /// How many of so many bytes there is room for, which they take.
    fn take_room(&mut self, file: FileId, at: usize, len: usize) -> usize {
        let Some(room) = self.room else { return len };
        let now = self.files[file].len();
        let growth = (at + len).saturating_sub(now);
        let fitting = len - growth.saturating_sub(room).min(len);
        self.room = Some(room.saturating_sub(growth));
        fitting
    }

    fn write_left(&self, root: &Path, into: &Path) -> io::Result<()> {
        for (path, name) in &self.names {
            let which = self.below(name.since.len() + 1);
            let file = if which == 0 { name.durable } else { name.since[which - 1] };
            if let (Some(file), Some(end)) = (file, path.file_name()) {
                fs::write(into.join(end), self.files[file].left(&self.chance))?;
            }
        }
        copy_others(root, into, &|path| self.names.contains_key(path))
    }

    fn below(&self, bound: usize) -> usize {
        use steadfast_core::chance::Chance as _;
        usize::try_from(self.chance.below(bound as u64)).unwrap_or(0)
    }
}

/// Does this one fail?
fn fails(left: &mut u64) -> bool {
    let fails = *left == 1;
    *left = left.saturating_sub(1);
    fails
}

/// Through what a file is open.
fn all_open(path: &Path) -> impl Iterator<Item = RawFd> {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    entries
        .filter(move |entry| fs::read_link(entry.path()).is_ok_and(|open| open == path))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn copy_others(from: &Path, into: &Path, known: &dyn Fn(&Path) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if path.is_dir() {
            fs::create_dir_all(into.join(&name))?;
            copy_others(&path, &into.join(&name), known)?;
        } else if !known(&path) && !name.to_string_lossy().ends_with("-shm") {
            fs::copy(&path, into.join(&name))?;
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
