//! The lists of what can occur, held against the sources: whoever adds an event or a code adds
//! it to the lists, with a way for it to happen or the reason why it cannot.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use steadfast_bank_sim::coverage::{LAYERS, Layer};

fn files(of: &Path, found: &mut Vec<PathBuf>) {
    if of.is_file() {
        return found.push(of.to_owned());
    }
    for entry in fs::read_dir(of).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let of_tests = name == "tests" || name == "conformance" || name.ends_with("tests.rs");
        if !of_tests && (path.is_dir() || path.extension().is_some_and(|it| it == "rs")) {
            files(&path, found);
        }
    }
}

/// A source without its comments and its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source");
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    // Quotes that begin and end no text.
    lines.collect::<Vec<_>>().join("\n").replace("\\\"", "'").replace("'\"'", "''")
}

/// What looks like a code: `words.and_words` anywhere, and a single word where a refusal is
/// made or an event of a purchase is named.
fn looks_like_a_code(before: &str, text: &str) -> bool {
    let words = |text: &str| {
        !text.is_empty()
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    };
    let mut parts = text.split('.');
    let dotted = parts.clone().count() > 1 && parts.all(words);
    let refuses = ["refused(", "internal(", "upstream(", "Reason::new(", "refuse("]
        .iter()
        .any(|made| before.trim_end().ends_with(made));
    let shouted = text.len() > 8 && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    dotted || refuses && words(text) || shouted && before.trim_end().ends_with('=')
}

fn in_sources(layer: &Layer) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut paths = Vec::new();
    layer.sources.iter().for_each(|source| files(&root.join(source), &mut paths));
    let mut found = BTreeSet::new();
    for path in paths {
        let code = code(&path);
        let mut pieces = code.split('"');
        let mut before = pieces.next().unwrap_or_default();
        while let (Some(text), Some(after)) = (pieces.next(), pieces.next()) {
            if looks_like_a_code(before, text) {
                found.insert(text.to_owned());
            }
            before = after;
        }
    }
    found
}

#[test]
fn every_event_and_code_of_the_sources_is_listed() {
    let mut wrong = Vec::new();
    for layer in LAYERS {
        let apart = layer.apart.iter().flat_map(|(codes, _)| codes.iter());
        let listed = layer.events.iter().chain(layer.codes).chain(apart).chain(layer.names);
        let listed: BTreeSet<String> = listed.map(|it| (*it).to_owned()).collect();
        let found = in_sources(layer);
        let unlisted: Vec<_> = found.difference(&listed).collect();
        let gone: Vec<_> = listed.difference(&found).collect();
        let name = layer.name;
        wrong.extend(unlisted.iter().map(|it| format!("{it} is in the sources of {name} and not listed")));
        wrong.extend(gone.iter().map(|it| format!("{it} is listed and not in the sources of {name}")));
    }
    assert_eq!(wrong, Vec::<String>::new());
}
