//! The process's `fsync` and `fdatasync`.
//!
//! The linker finds these before the C library's, for SQLite and for Rust's own files
//! alike. So a store that syncs a file or a folder past SQLite is seen to.

use std::{ffi::c_int, path::PathBuf};

use crate::disk::Shared;

#[unsafe(no_mangle)]
extern "C" fn fsync(fd: c_int) -> c_int {
    let synced = path(fd).and_then(|path| Some(Shared::of(&path)?.sync(fd, &path)));
    if let Some(Err(_)) = synced {
        // SAFETY: it is this thread's own errno.
        unsafe { *libc::__errno_location() = libc::EIO };
        return -1;
    }
    0
}

#[unsafe(no_mangle)]
extern "C" fn fdatasync(fd: c_int) -> c_int {
    fsync(fd)
}

fn path(fd: c_int) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()
}
