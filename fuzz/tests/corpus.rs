//! Every input that was ever of interest, and mutations of each, hold against the rules.

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use steadfast_fuzz::{TARGETS, Target};

/// Mutated inputs of each target.
const CASES: u32 = 300;
/// A committed corpus stays small.
const CORPUS_FILES_MAX: usize = 80;
const FILE_BYTES_MAX: u64 = 4 << 10;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn corpus(target: &Target) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder().join(target.name))
        .expect("a folder for each target")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.display().to_string(), fs::read(path).expect("a file")))
        .collect();
    files.sort();
    files
}

/// What libFuzzer does to inputs, in small.
#[derive(Debug, Clone)]
enum Edit {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index, u8),
    Double(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Splice(prop::sample::Index, prop::sample::Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    // What parsers stumble over.
    let odd: Vec<&[u8]> = vec![
        b"0",
        b"-",
        b"9",
        b"\"",
        b"\\",
        b"{",
        b"}",
        b"[",
        b",",
        b".",
        b"e9",
        b"\n",
        b"\0",
        b"\xC3",
        b"null",
        b"\xE2\x80\xAE",
        b"99999999999999999999",
        b"1e999",
        b"\\u0000",
        b"\\ud800",
        b"  ",
        b"\x80",
    ];
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, with)| Edit::Flip(at, with)),
        (at(), any::<u8>()).prop_map(|(at, size)| Edit::Cut(at, size)),
        (at(), any::<u8>()).prop_map(|(at, size)| Edit::Double(at, size)),
        (at(), prop::sample::select(odd)).prop_map(|(at, what)| Edit::Insert(at, what.to_vec())),
        (at(), at()).prop_map(|(other, at)| Edit::Splice(other, at)),
    ]
}

fn apply(mut bytes: Vec<u8>, edits: &[Edit], files: &[(String, Vec<u8>)]) -> Vec<u8> {
    for edit in edits {
        let place = |at: &prop::sample::Index| at.index(bytes.len() + 1);
        match edit {
            Edit::Flip(at, with) => {
                let at = place(at);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= *with;
                }
            }
            Edit::Cut(at, size) => {
                let from = place(at);
                bytes.drain(from..(from + usize::from(*size)).min(bytes.len()));
            }
            Edit::Double(at, size) => {
                let from = place(at);
                let part = bytes[from..(from + usize::from(*size)).min(bytes.len())].to_vec();
                bytes.splice(from..from, part);
            }
            Edit::Insert(at, what) => {
                let at = place(at);
                bytes.splice(at..at, what.iter().copied());
            }
            Edit::Splice(other, at) => {
                let other = &other.get(files).1;
                let at = place(at).min(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[at..]);
            }
        }
    }
    bytes
}

fn holds(target: &Target, bytes: &[u8]) -> Result<(), TestCaseError> {
    let run = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
    run.map_err(|_| {
        let (name, hex) = (target.name, hex::encode(bytes));
        TestCaseError::fail(format!("{name} breaks a rule with the bytes {hex}"))
    })
}

#[test]
fn every_target_has_a_small_corpus_and_every_corpus_a_target() {
    let wanted: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let found = fs::read_dir(folder()).expect("the corpus");
    let found: BTreeSet<String> =
        found.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(found, wanted);
    for target in TARGETS {
        let files = corpus(target);
        assert!((1..=CORPUS_FILES_MAX).contains(&files.len()), "{} has {} files", target.name, files.len());
        for (name, bytes) in files {
            assert!(bytes.len() as u64 <= FILE_BYTES_MAX, "{name} is too large");
        }
    }
}

#[test]
fn the_corpus_and_what_is_like_it_holds() {
    for target in TARGETS {
        let files = corpus(target);
        (target.run)(b"");
        for (name, bytes) in &files {
            holds(target, bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
        let mutated = (any::<prop::sample::Index>(), prop::collection::vec(edit(), 1..6));
        TestRunner::new(config)
            .run(&mutated, |(which, edits)| {
                holds(target, &apply(which.get(&files).1.clone(), &edits, &files))
            })
            .unwrap_or_else(|error| panic!("{error}"));
    }
}
