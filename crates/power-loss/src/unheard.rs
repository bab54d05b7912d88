//! Who has yet to hear that a sync failed: everybody who has the file open, once each.
//!
//! Kept apart from the disks, since a closed descriptor hears nothing any more, and may be
//! closed while a disk is being looked at.

use std::{
    collections::HashSet,
    os::fd::RawFd,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

static UNHEARD: Mutex<Option<HashSet<(RawFd, PathBuf)>>> = Mutex::new(None);

fn lock() -> MutexGuard<'static, Option<HashSet<(RawFd, PathBuf)>>> {
    UNHEARD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// These are to hear of it.
pub(crate) fn tell(fds: Vec<RawFd>, path: &Path) {
    lock().get_or_insert_default().extend(fds.into_iter().map(|fd| (fd, path.to_owned())));
}

/// Is this one to hear of it? It has now.
pub(crate) fn hears(fd: RawFd, path: &Path) -> bool {
    lock().as_mut().is_some_and(|unheard| unheard.remove(&(fd, path.to_owned())))
}

/// The number may soon stand for another file, or for the same one opened anew.
pub(crate) fn closed(fd: RawFd) {
    if let Some(unheard) = lock().as_mut() {
        unheard.retain(|(open, _)| *open != fd);
    }
}
