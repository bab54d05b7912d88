//! A disk that loses power, refuses, or lies, under a SQLite that does not know.
//!
//! [`Disk::at`] makes a folder such a disk. SQLite's files in it stay real files, which
//! this process sees as always. Beside them it is remembered what a sync has made durable
//! and what was done since, so that [`Disk::cut`] can write out, into another folder, what
//! could be left after the power went. Product code does not change: a shim (`vfs.rs`) is
//! SQLite's default file system from the first disk on, and the process's `fsync` is ours
//! (`sync.rs`), which sees the syncs of SQLite and of everybody else.
//!
//! *What may be left.* Of each database, write-ahead log and rollback journal: what is
//! durable, and of the writes since any sectors (512 or 4 096 bytes), in any order, the last
//! write also torn at any byte. A longer file may have any length up to the longest, with
//! zeros or rubbish where nothing arrived. A shorter one was cut or was not: file systems
//! do that at once, and SQLite counts on it. A name that was made or taken away since its
//! folder was last synced may be there or not, each file for itself.
//!
//! *What is assumed*, as SQLite does: a write changes no byte outside of it, and a sector
//! holds what was written to it, then or before.
//!
//! *What is not modelled*: all other files, such as locks, keys and sealed segments. They
//! are copied as they are. The index in shared memory (`-shm`) never survives. A write
//! through `mmap` would go unseen; there is none, since the shim offers no mapping.
//!
//! *A sync that fails* (the I/O error of [`Disk::fail_sync`]) behaves as on Linux: what it
//! should have made durable is durable or lost at random, the process goes on seeing it
//! as written, and no later sync makes up for it. Everybody who has the file open hears of it
//! once, at their own next sync.
//!
//! In a process that links this crate no sync reaches the real disk.

#![cfg(target_os = "linux")]

mod disk;
mod file;
mod sync;
mod unheard;
mod vfs;

pub use disk::Disk;
