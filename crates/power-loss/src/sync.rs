//! The process's `fsync`, `fdatasync`, `write` and `close`.
//!
//! The linker finds these before the C library's, for SQLite and for Rust's own files
//! alike. So a store that syncs a file or a folder past SQLite is seen to, and one that
//! writes to SQLite's files past it too (SQLite itself writes with `pwrite`).

use std::{
    ffi::{c_int, c_void},
    path::PathBuf,
};

use crate::{
    disk::{Refusal, Shared},
    unheard,
};

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

#[unsafe(no_mangle)]
extern "C" fn write(fd: c_int, bytes: *const c_void, len: usize) -> isize {
    // SAFETY: the arguments are the caller's, as they are.
    let plain = |len: usize| unsafe { libc::syscall(libc::SYS_write, fd, bytes, len) };
    let on_disk = || {
        let path = path(fd)?;
        let disk = Shared::of(&path)?;
        Some((disk.known(&path)?, disk))
    };
    let Some((file, disk)) = on_disk() else {
        return isize::try_from(plain(len)).unwrap_or(-1);
    };
    // SAFETY: the caller's buffer has so many bytes.
    let what = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), len) };
    // SAFETY: asking where a file stands has no conditions.
    let at = usize::try_from(unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) }).unwrap_or(0);
    let pass = |fitting| if plain(fitting) < 0 { Err(()) } else { Ok(()) };
    let errno = match disk.write(file, at, what, pass) {
        Ok(Ok(())) => return isize::try_from(len).unwrap_or(-1),
        // The kernel has set it.
        Ok(Err(())) => return -1,
        Err(Refusal::Full) => libc::ENOSPC,
        Err(Refusal::Error) => libc::EIO,
    };
    // SAFETY: it is this thread's own errno.
    unsafe { *libc::__errno_location() = errno };
    -1
}

#[unsafe(no_mangle)]
extern "C" fn close(fd: c_int) -> c_int {
    unheard::closed(fd);
    // SAFETY: the argument is the caller's, as it is.
    let closed = unsafe { libc::syscall(libc::SYS_close, fd) };
    c_int::try_from(closed).unwrap_or(-1)
}

fn path(fd: c_int) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()
}
