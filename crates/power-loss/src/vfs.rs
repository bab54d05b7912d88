//! The shim between SQLite and its own file system. All that is not safe is here, and all
//! that is decided is not.

use std::{
    ffi::{CStr, OsStr, c_char, c_int, c_void},
    os::unix::ffi::OsStrExt,
    path::Path,
    ptr,
    sync::{Arc, OnceLock},
};

use rusqlite::ffi::{self, sqlite3_file, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs};

use crate::disk::{FileId, Refusal, Shared};

/// The file system that was the default before.
struct Plain(*mut sqlite3_vfs);

// SAFETY: SQLite's own file system is made once, never freed, and used from all threads.
unsafe impl Send for Plain {}
// SAFETY: the same.
unsafe impl Sync for Plain {}

static PLAIN: OnceLock<Plain> = OnceLock::new();

/// Makes the shim the default, once.
pub(crate) fn install() {
    PLAIN.get_or_init(|| {
        // SAFETY: asking for the default has no conditions.
        let plain = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
        // SAFETY: what was found is registered for good.
        let found = unsafe { plain.as_ref() }.expect("SQLite has a file system");
        let shim = sqlite3_vfs {
            szOsFile: found.szOsFile
                + c_int::try_from(size_of::<File>()).expect("a struct of two pointers is small"),
            pNext: ptr::null_mut(),
            zName: c"power-loss".as_ptr(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            // The others look at nothing that differs.
            ..*found
        };
        // SAFETY: leaked, so it lives as long as SQLite may use it.
        let registered = unsafe { ffi::sqlite3_vfs_register(Box::leak(Box::new(shim)), 1) };
        assert_eq!(registered, ffi::SQLITE_OK, "SQLite takes a file system");
        Plain(plain)
    });
}

fn plain() -> *mut sqlite3_vfs {
    PLAIN.get().expect("set before SQLite knows of the shim").0
}

/// What SQLite holds of an open file; the plain file system's own part comes behind it.
#[repr(C)]
struct File {
    base: sqlite3_file,
    /// Null where there is no disk.
    open: *mut Open,
}

struct Open {
    disk: Arc<Shared>,
    file: FileId,
}

/// The plain file system's part.
///
/// # Safety
/// `file` is one that [`open`] was given.
unsafe fn inner(file: *mut sqlite3_file) -> *mut sqlite3_file {
    // SAFETY: `szOsFile` left room for it there.
    unsafe { file.cast::<File>().add(1).cast() }
}

/// What is known of an open file, if it is on a disk.
///
/// # Safety
/// `file` is one that [`open`] opened and [`close`] has not closed.
unsafe fn known<'a>(file: *mut sqlite3_file) -> Option<&'a Open> {
    // SAFETY: `open` set it to null or to a box that `close` frees.
    unsafe { (*file.cast::<File>()).open.as_ref() }
}

/// Calls a method of the plain file system.
macro_rules! plain {
    ($file:expr, $method:ident $(, $arg:expr)*) => {{
        // SAFETY: SQLite calls with an open file and arguments that are right for the
        // method, which go on as they are to the part that the plain file system opened.
        unsafe {
            let inner = inner($file);
            (*(*inner).pMethods).$method.expect("SQLite's own file system has all methods")(inner $(, $arg)*)
        }
    }};
}

/// Methods that go through as they are.
macro_rules! pass {
    ($($name:ident: $method:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {$(
        unsafe extern "C" fn $name(file: *mut sqlite3_file $(, $arg: $type)*) -> $answer {
            plain!(file, $method $(, $arg)*)
        }
    )*};
}

pass! {
    // Syncs are seen where they arrive: see `sync`.
    sync: xSync(flags: c_int) -> c_int;
    lock: xLock(level: c_int) -> c_int;
    unlock: xUnlock(level: c_int) -> c_int;
    check_reserved_lock: xCheckReservedLock(answer: *mut c_int) -> c_int;
    file_control: xFileControl(op: c_int, arg: *mut c_void) -> c_int;
    sector_size: xSectorSize() -> c_int;
    device_characteristics: xDeviceCharacteristics() -> c_int;
    shm_map: xShmMap(page: c_int, size: c_int, extend: c_int, to: *mut *mut c_void) -> c_int;
    shm_lock: xShmLock(offset: c_int, n: c_int, flags: c_int) -> c_int;
    shm_barrier: xShmBarrier() -> ();
    shm_unmap: xShmUnmap(delete: c_int) -> c_int;
}

/// Version 2: without `xFetch`, so nothing is mapped.
static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// The disk that a name is on, and the name as a path.
///
/// # Safety
/// `name` is null or a C string that lives as long as it is used.
unsafe fn on_disk<'a>(name: *const c_char) -> Option<(Arc<Shared>, &'a Path)> {
    if name.is_null() {
        return None;
    }
    // SAFETY: not null, and the rest is the caller's promise.
    let path = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes()));
    Some((Shared::of(path)?, path))
}

const fn code(refusal: Refusal, error: c_int) -> c_int {
    match refusal {
        Refusal::Error => error,
        Refusal::Full => ffi::SQLITE_FULL,
    }
}

unsafe extern "C" fn open(
    _: *mut sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let tracked = ffi::SQLITE_OPEN_MAIN_DB | ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL;
    // SAFETY: SQLite's name is a C string that outlives the call.
    let place = if flags & tracked == 0 { None } else { unsafe { on_disk(name) } };
    // SAFETY: SQLite gives room for `szOsFile` bytes, which nobody else looks at yet; no
    // methods mean that it is not open.
    unsafe {
        file.cast::<File>()
            .write(File { base: sqlite3_file { pMethods: ptr::null() }, open: ptr::null_mut() });
    };
    let mut known = None;
    if let Some((disk, path)) = &place {
        if disk.check().is_err() {
            return ffi::SQLITE_IOERR;
        }
        known = disk.find(path);
    }
    let plain = plain();
    // SAFETY: SQLite's arguments, for the plain file system's part of the file.
    let opened = unsafe { (*plain).xOpen.expect("it opens")(plain, name, inner(file), flags, out) };
    if opened != ffi::SQLITE_OK {
        return opened;
    }
    let mut open = ptr::null_mut();
    if let Some((disk, path)) = place {
        let Some(id) = known.or_else(|| disk.create(path).ok()) else {
            plain!(file, xClose);
            return ffi::SQLITE_IOERR;
        };
        open = Box::into_raw(Box::new(Open { disk, file: id }));
    }
    // SAFETY: as above; now it is open.
    unsafe { file.cast::<File>().write(File { base: sqlite3_file { pMethods: &raw const METHODS }, open }) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: `open` made the box, and SQLite closes once.
    unsafe {
        let open = (*file.cast::<File>()).open;
        if !open.is_null() {
            drop(Box::from_raw(open));
        }
    }
    plain!(file, xClose)
}

unsafe extern "C" fn read(file: *mut sqlite3_file, to: *mut c_void, len: c_int, at: sqlite3_int64) -> c_int {
    // SAFETY: SQLite reads open files.
    match unsafe { known(file) } {
        Some(open) if open.disk.check().is_err() => ffi::SQLITE_IOERR_READ,
        _ => plain!(file, xRead, to, len, at),
    }
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, to: *mut sqlite3_int64) -> c_int {
    // SAFETY: SQLite asks for open files.
    match unsafe { known(file) } {
        Some(open) if open.disk.check().is_err() => ffi::SQLITE_IOERR_FSTAT,
        _ => plain!(file, xFileSize, to),
    }
}

fn result(code: c_int) -> Result<(), c_int> {
    if code == ffi::SQLITE_OK { Ok(()) } else { Err(code) }
}

fn settled(done: Result<Result<(), c_int>, Refusal>, error: c_int) -> c_int {
    match done {
        Ok(Ok(())) => ffi::SQLITE_OK,
        Ok(Err(code)) => code,
        Err(refusal) => code(refusal, error),
    }
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    from: *const c_void,
    len: c_int,
    at: sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite writes to open files.
    let Some(open) = (unsafe { known(file) }) else {
        return plain!(file, xWrite, from, len, at);
    };
    let (Ok(size), Ok(place)) = (usize::try_from(len), usize::try_from(at)) else {
        return ffi::SQLITE_IOERR_WRITE;
    };
    // SAFETY: SQLite gives so many bytes.
    let bytes = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), size) };
    let pass = |fitting: usize| {
        // It fits, being no more than `len`.
        let len = c_int::try_from(fitting).unwrap_or(len);
        if len == 0 { Ok(()) } else { result(plain!(file, xWrite, from, len, at)) }
    };
    settled(open.disk.write(open.file, place, bytes, pass), ffi::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, len: sqlite3_int64) -> c_int {
    // SAFETY: SQLite cuts open files.
    let Some(open) = (unsafe { known(file) }) else {
        return plain!(file, xTruncate, len);
    };
    let Ok(size) = usize::try_from(len) else {
        return ffi::SQLITE_IOERR_TRUNCATE;
    };
    let pass = || result(plain!(file, xTruncate, len));
    settled(open.disk.truncate(open.file, size, pass), ffi::SQLITE_IOERR_TRUNCATE)
}

unsafe extern "C" fn delete(_: *mut sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    // SAFETY: SQLite's name is a C string that outlives the call.
    if let Some((disk, path)) = unsafe { on_disk(name) }
        && disk.delete(path).is_err()
    {
        return ffi::SQLITE_IOERR_DELETE;
    }
    let plain = plain();
    // SAFETY: SQLite's arguments.
    unsafe { (*plain).xDelete.expect("it deletes")(plain, name, sync_folder) }
}

unsafe extern "C" fn access(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    flags: c_int,
    answer: *mut c_int,
) -> c_int {
    // SAFETY: SQLite's name is a C string that outlives the call.
    if let Some((disk, _)) = unsafe { on_disk(name) }
        && disk.check().is_err()
    {
        return ffi::SQLITE_IOERR_ACCESS;
    }
    let plain = plain();
    // SAFETY: SQLite's arguments.
    unsafe { (*plain).xAccess.expect("it looks")(plain, name, flags, answer) }
}
