//! Answers on disk: a file that is appended to, and written anew when half of it is waste.
//!
//! A thread of its own writes what others hand it through a bounded queue, all that waits in
//! one go; nobody waits for it. Nothing is synced but a file written anew: after a loss of
//! power the newest answers may be missing, which costs a call each. A record that was cut or
//! changed does not match its hash; what follows it is cut off.
//!
//! With a key every record is sealed. A file that was written without one, or with an earlier
//! key, is written anew at the start; what no key opens is dropped. What is invalidated is
//! gone from the file as well, before that is reported.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use steadfast_core::{Time, secret::Keyring};

use super::{
    Key,
    entry::{Entry, Form, Kept},
    store::Slot,
};

const MAGIC: &[u8] = b"steadfast cache 1\n";
const NAME: &str = "cache.log";
const PLAIN: u8 = 0;
const SEALED: u8 = 1;
/// What sealed records are bound to.
const SCOPE: &[u8] = b"steadfast model cache";
/// Length and hash before each record.
const HEAD: usize = 4 + 8;
/// So many bytes are written at once.
const AT_ONCE: usize = 256 << 10;
/// The largest record. Nothing that is kept comes near.
const RECORD_MAX: usize = 1 << 30;

/// A record's first part; the answer's bytes follow.
#[derive(Serialize, Deserialize)]
struct Header<K = Kept> {
    #[serde(with = "hex_key")]
    key: Key,
    form: Form,
    unpacked: Option<usize>,
    hits: u64,
    used: Time,
    #[serde(flatten)]
    kept: K,
}

/// Keys as hexadecimal text.
pub(super) mod hex_key {
    use serde::{Deserializer, Serializer};

    use super::Key;

    pub(in super::super) fn serialize<S: Serializer>(key: &Key, serializer: S) -> Result<S::Ok, S::Error> {
        hex::serde::serialize(key.0, serializer)
    }
    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        hex::serde::deserialize(deserializer).map(Key)
    }
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Another process has it.
    #[error("{0} is in use by another process")]
    Held(PathBuf),
    /// Not ours.
    #[error("{0} is no file of answers: move it away")]
    Foreign(PathBuf),
    /// Reading or writing failed.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
}

/// The file.
pub(super) struct Keeper {
    path: PathBuf,
    file: File,
    size: u64,
    ring: Option<Keyring>,
}

/// What a file held.
#[derive(Default)]
pub(super) struct Loaded {
    pub(super) slots: Vec<(Key, Slot)>,
    /// Some of it must not stay as it is.
    pub(super) outdated: bool,
}

impl Keeper {
    /// Opens the file in `folder` and reads it.
    pub(super) fn open(folder: &Path, ring: Option<Keyring>) -> Result<(Self, Loaded), FileError> {
        let path = folder.join(NAME);
        let failed = |error| FileError::Io(path.clone(), error);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FileError::Held(path)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let mut keeper = Self { path: path.clone(), file, size: 0, ring };
        let loaded = keeper.read().map_err(failed)?.ok_or(FileError::Foreign(path))?;
        Ok((keeper, loaded))
    }
    /// All good records; what follows the last of them is cut off. None if the file is not of
    /// this kind.
    fn read(&mut self) -> io::Result<Option<Loaded>> {
        let mut loaded = Loaded::default();
        self.file.seek(SeekFrom::Start(0))?;
        let mut reader = BufReader::with_capacity(1 << 16, &self.file);
        let mut magic = Vec::new();
        reader.by_ref().take(MAGIC.len() as u64).read_to_end(&mut magic)?;
        if magic != MAGIC {
            if !MAGIC.starts_with(&magic) {
                return Ok(None);
            }
            self.file.set_len(0)?;
            self.file.write_all(MAGIC)?;
            self.size = MAGIC.len() as u64;
            return Ok(Some(loaded));
        }
        let mut size = MAGIC.len() as u64;
        while let Some(record) = next_record(&mut reader)? {
            size += (HEAD + record.len()) as u64;
            match self.unseal(&record) {
                Some((slot, as_today)) => {
                    loaded.outdated |= !as_today;
                    loaded.slots.push(slot);
                }
                None => loaded.outdated = true,
            }
        }
        self.file.set_len(size)?;
        self.size = size;
        Ok(Some(loaded))
    }
    pub(super) fn size(&self) -> u64 {
        self.size
    }
    /// Adds records.
    pub(super) fn append(&mut self, slots: impl Iterator<Item = (Key, Slot)>) -> io::Result<()> {
        self.size += self.write_all(&mut &self.file, slots)?;
        Ok(())
    }
    /// Writes the file anew with these and nothing else.
    pub(super) fn rewrite(&mut self, slots: impl Iterator<Item = (Key, Slot)>) -> io::Result<()> {
        let path = self.path.with_extension("new");
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        // The lock goes with the file: nobody else may find it without one.
        file.try_lock()?;
        file.write_all(MAGIC)?;
        let size = MAGIC.len() as u64 + self.write_all(&mut file, slots)?;
        file.sync_all()?;
        std::fs::rename(&path, &self.path)?;
        (self.file, self.size) = (file, size);
        Ok(())
    }
    /// Writes records, some at a time, and says how many bytes they take.
    fn write_all(
        &self,
        file: &mut impl io::Write,
        slots: impl Iterator<Item = (Key, Slot)>,
    ) -> io::Result<u64> {
        let (mut bytes, mut size) = (Vec::new(), 0);
        for (key, slot) in slots {
            self.add(&mut bytes, key, &slot);
            if bytes.len() >= AT_ONCE {
                file.write_all(&bytes)?;
                size += bytes.len() as u64;
                bytes.clear();
            }
        }
        file.write_all(&bytes)?;
        Ok(size + bytes.len() as u64)
    }
    /// Adds one record.
    fn add(&self, out: &mut Vec<u8>, key: Key, slot: &Slot) {
        let start = out.len();
        out.extend_from_slice(&[0; HEAD]);
        match &self.ring {
            None => {
                out.push(PLAIN);
                add_plain(out, key, slot);
            }
            Some(ring) => {
                let id = ring.key_id().as_bytes();
                out.extend_from_slice(&[SEALED, u8::try_from(id.len()).unwrap_or(u8::MAX)]);
                out.extend_from_slice(id);
                let mut plain = Vec::with_capacity(1 << 10);
                add_plain(&mut plain, key, slot);
                out.extend_from_slice(&ring.seal_bytes(SCOPE, &plain));
            }
        }
        let (head, record) = out[start..].split_at_mut(HEAD);
        head[..4].copy_from_slice(&length(record.len()));
        head[4..].copy_from_slice(&Sha256::digest(&record)[..HEAD - 4]);
    }
    /// What a record holds, and whether it would be written in the same way today.
    fn unseal(&self, record: &[u8]) -> Option<((Key, Slot), bool)> {
        let (plain, as_today) = match (record, &self.ring) {
            ([PLAIN, plain @ ..], ring) => (Bytes::copy_from_slice(plain), ring.is_none()),
            ([SEALED, length, rest @ ..], Some(ring)) => {
                let (id, sealed) = rest.split_at_checked(usize::from(*length))?;
                let id = std::str::from_utf8(id).ok()?;
                (ring.open_bytes(id, SCOPE, sealed).ok()?.into(), id == ring.key_id())
            }
            _ => return None,
        };
        let length = u32::from_be_bytes(*plain.first_chunk()?);
        let end = usize::try_from(length).ok()?.checked_add(4)?;
        let header: Header = serde_json::from_slice(plain.get(4..end)?).ok()?;
        let entry = Entry {
            kept: header.kept.into(),
            form: header.form,
            unpacked: header.unpacked,
            bytes: Bytes::copy_from_slice(&plain[end..]),
        };
        let slot = Slot { entry: entry.into(), hits: header.hits, used: header.used };
        Some(((header.key, slot), as_today))
    }
}

/// What is known of an answer, after its length, and the answer.
fn add_plain(out: &mut Vec<u8>, key: Key, slot: &Slot) {
    let entry = &slot.entry;
    let (form, unpacked, kept) = (entry.form, entry.unpacked, &*entry.kept);
    let header = Header { key, form, unpacked, hits: slot.hits, used: slot.used, kept };
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    // Names, numbers and texts can always be written, and memory takes them all.
    let _ = serde_json::to_writer(&mut *out, &header);
    let written = length(out.len() - start - 4);
    out[start..start + 4].copy_from_slice(&written);
    out.extend_from_slice(&entry.bytes);
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

/// The next record whose hash is right.
fn next_record(reader: &mut impl io::Read) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; HEAD];
    if !fill(reader, &mut head)? {
        return Ok(None);
    }
    let [a, b, c, d, hash @ ..] = head;
    let Ok(length) = usize::try_from(u32::from_be_bytes([a, b, c, d])) else { return Ok(None) };
    if length > RECORD_MAX {
        return Ok(None);
    }
    let mut record = Vec::new();
    reader.take(length as u64).read_to_end(&mut record)?;
    Ok((record.len() == length && Sha256::digest(&record)[..8] == hash).then_some(record))
}

/// Fills `bytes`, unless the file ends before.
fn fill(reader: &mut impl io::Read, bytes: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
