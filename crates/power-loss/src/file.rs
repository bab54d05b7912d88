//! What one file holds, durably and since.

use steadfast_core::chance::Chance;

/// One thing that happened to a file.
#[derive(Debug, Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Cut(usize),
}

/// A file as the disk has it, and what has not been synced.
#[derive(Debug, Clone, Default)]
pub(crate) struct Contents {
    durable: Vec<u8>,
    since: Vec<Change>,
    len: usize,
}

impl Contents {
    /// All of it durable.
    pub(crate) fn of(durable: Vec<u8>) -> Self {
        Self { len: durable.len(), durable, since: Vec::new() }
    }

    /// As the process sees it.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn write(&mut self, at: usize, bytes: &[u8]) {
        self.len = self.len.max(at + bytes.len());
        self.since.push(Change::Write { at, bytes: bytes.to_owned() });
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = len;
        self.since.push(Change::Cut(len));
    }

    /// Everything is durable.
    pub(crate) fn sync(&mut self) {
        for change in self.since.drain(..) {
            match change {
                Change::Write { at, bytes } => put(&mut self.durable, at, &bytes, 0),
                Change::Cut(len) => self.durable.resize(len, 0),
            }
        }
    }

    /// Everything is durable or lost, and no later sync changes that.
    pub(crate) fn fail_sync(&mut self, chance: &dyn Chance) {
        self.durable = self.left(chance);
        // How long it is belongs to the file system, which writes it down on its own.
        self.durable.resize(self.len, 0);
        self.since.clear();
    }

    /// What may be left of it when the power goes now.
    pub(crate) fn left(&self, chance: &dyn Chance) -> Vec<u8> {
        let sector = if chance.below(2) == 0 { 512 } else { 4_096 };
        let filler = if chance.below(2) == 0 { 0 } else { 0xA5 };
        // From nothing to everything arrived.
        let quarters = chance.below(5);
        let mut bytes = self.durable.clone();
        let after = match self.last_cut(chance) {
            None => &self.since[..],
            Some((at, len)) => {
                scatter(&mut bytes, &self.since[..at], sector, quarters, filler, chance);
                bytes.resize(len, filler);
                &self.since[at + 1..]
            }
        };
        let shortest = bytes.len();
        scatter(&mut bytes, after, sector, quarters, filler, chance);
        let writes = || after.iter().filter_map(Change::written);
        if let Some((at, last)) = writes().next_back()
            && chance.below(2) == 0
        {
            put(&mut bytes, at, &last[..below(chance, last.len() + 1)], filler);
        }
        let longest = writes().map(|(at, bytes)| at + bytes.len()).fold(shortest, usize::max);
        bytes.resize(longest, filler);
        match chance.below(4) {
            0 => bytes.truncate(shortest),
            1 => bytes.truncate(shortest + below(chance, longest - shortest + 1)),
            _ => {}
        }
        bytes
    }

    /// The last of the cuts that happened, if any did. What was written before it cannot
    /// arrive after it.
    fn last_cut(&self, chance: &dyn Chance) -> Option<(usize, usize)> {
        let cut = |(i, change): (usize, &Change)| match change {
            Change::Cut(len) => Some((i, *len)),
            Change::Write { .. } => None,
        };
        let cuts: Vec<_> = self.since.iter().enumerate().filter_map(cut).collect();
        let which = below(chance, cuts.len() + 1);
        which.checked_sub(1).map(|which| cuts[which])
    }
}

impl Change {
    fn written(&self) -> Option<(usize, &[u8])> {
        match self {
            Self::Write { at, bytes } => Some((*at, bytes)),
            Self::Cut(_) => None,
        }
    }
}

/// Some sectors of the writes, in any order: the one that came last stays.
fn scatter(
    bytes: &mut Vec<u8>,
    changes: &[Change],
    sector: usize,
    quarters: u64,
    filler: u8,
    chance: &dyn Chance,
) {
    let mut pieces: Vec<(usize, &[u8])> = Vec::new();
    for (mut at, mut left) in changes.iter().filter_map(Change::written) {
        while !left.is_empty() {
            let (piece, rest) = left.split_at(left.len().min(sector - at % sector));
            pieces.push((at, piece));
            at += piece.len();
            left = rest;
        }
    }
    for i in (1..pieces.len()).rev() {
        pieces.swap(i, below(chance, i + 1));
    }
    for (at, piece) in pieces {
        if chance.below(4) < quarters {
            put(bytes, at, piece, filler);
        }
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, piece: &[u8], filler: u8) {
    let end = at + piece.len();
    if bytes.len() < end {
        bytes.resize(end, filler);
    }
    bytes[at..end].copy_from_slice(piece);
}

fn below(chance: &dyn Chance, bound: usize) -> usize {
    usize::try_from(chance.below(bound as u64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use steadfast_core::chance::Seeded;

    use super::*;

    fn all_left(contents: &Contents) -> BTreeSet<Vec<u8>> {
        let chance = Seeded::new(1);
        (0..2_000).map(|_| contents.left(&chance)).collect()
    }

    #[test]
    fn what_is_synced_is_left_whole() {
        let mut contents = Contents::of(b"old".to_vec());
        contents.write(1, b"ne");
        contents.truncate(2);
        contents.write(4, b"!");
        contents.sync();
        assert_eq!(all_left(&contents), [b"on\0\0!".to_vec()].into());
        assert_eq!(contents.len(), 5);
    }

    #[test]
    fn what_is_not_synced_is_left_torn_mixed_and_of_any_length() {
        let mut contents = Contents::of(vec![0; 1_024]);
        contents.write(0, &[1; 1_024]);
        contents.write(0, &[2; 1_024]);
        let left = all_left(&contents);
        for sectors in [[0, 0], [0, 1], [1, 0], [2, 1], [1, 2], [2, 2]] {
            let wanted: Vec<u8> = sectors.iter().flat_map(|byte| [*byte; 512]).collect();
            assert!(left.contains(&wanted), "{sectors:?}");
        }
        assert!(left.iter().any(|bytes| bytes[0] == 2 && bytes[511] == 0), "torn in a sector");
        assert!(left.iter().all(|bytes| bytes.len() == 1_024));
        contents.write(1_024, &[3; 100]);
        let lengths: BTreeSet<_> = all_left(&contents).iter().map(Vec::len).collect();
        assert!(lengths.contains(&1_024) && lengths.contains(&1_124) && lengths.len() > 50);
    }

    #[test]
    fn a_file_is_cut_or_not_and_what_was_written_before_does_not_come_back() {
        let mut contents = Contents::of(vec![1; 2_000]);
        contents.write(0, &[2; 2_000]);
        contents.truncate(0);
        contents.write(0, b"new");
        let left = all_left(&contents);
        assert!(left.iter().all(|bytes| bytes.len() <= 3 || bytes.len() == 2_000));
        assert!(left.iter().filter(|bytes| bytes.len() <= 3).all(|bytes| !bytes.contains(&2)));
        assert!(left.contains(&Vec::new()) && left.contains(b"new".as_slice()));
    }

    #[test]
    fn a_sync_that_failed_is_not_made_up_for_by_the_next() {
        let lost = |seed| {
            let mut contents = Contents::of(b"old".to_vec());
            contents.write(0, b"new");
            contents.fail_sync(&Seeded::new(seed));
            contents.sync();
            all_left(&contents) == [b"old".to_vec()].into()
        };
        assert!((0..50).any(lost) && !(0..50).all(lost));
    }
}
