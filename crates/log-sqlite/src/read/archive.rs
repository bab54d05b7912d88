//! Sealed segments: files beside the store that hold the events of ended streams.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use lru::LruCache;
use rusqlite::Connection;
use steadfast_core::canonical::Hash;
use steadfast_log::{ReadError, Recorded, Segment};

use super::unreadable;
use crate::file;

/// Segments kept in memory, unpacked.
const KEPT: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// The folder of segments, and those last read.
#[derive(Debug)]
pub(crate) struct Archive {
    dir: PathBuf,
    kept: Mutex<LruCache<String, Arc<Segment>>>,
}

/// A segment as the store knows it.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) file: String,
    pub(crate) first: u64,
    hash: Hash,
}

impl Archive {
    pub(crate) fn beside(store: &Path) -> Self {
        Self { dir: file::beside(store, ".segments"), kept: Mutex::new(LruCache::new(KEPT)) }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reads a segment and holds it against the hash that the store knows.
    pub(crate) fn load(&self, known: &Known) -> Result<Arc<Segment>, ReadError> {
        let lock = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(segment) = lock().get(&known.file) {
            return Ok(segment.clone());
        }
        let path = self.dir.join(&known.file);
        let name = path.display().to_string();
        let bytes =
            std::fs::read(&path).map_err(|error| ReadError::Corrupt(format!("segment {name}: {error}")))?;
        let segment = Segment::unpack(&name, &bytes)?;
        if segment.header.hash != known.hash {
            return Err(ReadError::Corrupt(format!("segment {name}: it is not the one that was sealed")));
        }
        let segment = Arc::new(segment);
        lock().put(known.file.clone(), segment.clone());
        Ok(segment)
    }
}

/// The segments with events after `n`, by their first event.
pub(crate) fn after(conn: &Connection, n: u64) -> Result<Vec<Known>, ReadError> {
    known(conn, "SELECT file, first, hash FROM segments WHERE last > ?1 ORDER BY first", n)
}

/// The segments with events of a stream, by its short number, in order.
pub(crate) fn of_stream(conn: &Connection, key: u64) -> Result<Vec<Known>, ReadError> {
    known(
        conn,
        "SELECT g.file, g.first, g.hash FROM sealed s JOIN segments g ON g.file = s.file
         WHERE s.stream = ?1 ORDER BY s.first",
        key,
    )
}

fn known(conn: &Connection, sql: &str, number: u64) -> Result<Vec<Known>, ReadError> {
    let read = || {
        conn.prepare_cached(sql)?
            .query_map([number], |row| {
                Ok(Known { file: row.get(0)?, first: row.get(1)?, hash: Hash(row.get(2)?) })
            })?
            .collect::<rusqlite::Result<Vec<_>>>()
    };
    read().map_err(unreadable)
}

/// The archived events after a place, in order, loading a segment only when its turn
/// comes. Segments overlap, so several may be open at once.
pub(crate) struct Walk<'a> {
    archive: &'a Archive,
    after: u64,
    /// Not yet loaded, the next one last.
    closed: Vec<Known>,
    open: Vec<(Arc<Segment>, usize)>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(conn: &Connection, archive: &'a Archive, n: u64) -> Result<Self, ReadError> {
        let mut closed = after(conn, n)?;
        closed.reverse();
        Ok(Self { archive, after: n, closed, open: Vec::new() })
    }

    /// The next event, if it comes before `n`.
    pub(crate) fn next_before(&mut self, n: u64) -> Result<Option<Recorded>, ReadError> {
        loop {
            let at = |(segment, at): &(Arc<Segment>, usize)| segment.events[*at].position.n;
            let first = self.open.iter().map(at).min();
            let bound = first.unwrap_or(n).min(n);
            if let Some(next) = self.closed.pop_if(|known| known.first < bound) {
                let segment = self.archive.load(&next)?;
                let start = segment.events.partition_point(|event| event.position.n <= self.after);
                if start < segment.events.len() {
                    self.open.push((segment, start));
                }
                continue;
            }
            let Some(first) = first.filter(|first| *first < n) else {
                return Ok(None);
            };
            let Some(which) = self.open.iter().position(|open| at(open) == first) else {
                return Ok(None);
            };
            let (segment, place) = &mut self.open[which];
            let event = segment.events[*place].clone();
            *place += 1;
            if *place == segment.events.len() {
                self.open.swap_remove(which);
            }
            return Ok(Some(event));
        }
    }
}
