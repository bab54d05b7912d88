//! Everything that reads bytes from outside, each as a function of bytes that panics when a
//! rule is broken.
//!
//! A target never asks only that nothing panics: what was accepted must come back out of its
//! own printed form, be the same however it is spelled or cut, and keep its hash; what was
//! refused must be told in words that help and are bounded. `make fuzz` has libFuzzer
//! search for inputs that break a rule (`libfuzzer/`); `tests/corpus.rs` tries those that
//! were found (`corpus/`), and mutations of them, in every `make test`.

mod amounts;
mod bodies;
mod config;
mod conversation;
mod events;
mod headers;
mod import;
mod models;
mod names;
mod sealed;
mod stored;
mod told;

/// One reader of outside bytes and the rules it is held to.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Also the name of its folder under `corpus/`.
    pub name: &'static str,
    /// Panics when these bytes break a rule.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "amount_digits", run: amounts::digits },
    Target { name: "amount_words", run: amounts::words },
    Target { name: "body", run: bodies::body },
    Target { name: "config", run: config::config },
    Target { name: "cursor", run: names::cursor },
    Target { name: "event", run: events::event },
    Target { name: "frame", run: conversation::frame },
    Target { name: "headers", run: headers::headers },
    Target { name: "history", run: events::history },
    Target { name: "import", run: import::import },
    Target { name: "key", run: sealed::key },
    Target { name: "model_call", run: models::call },
    Target { name: "model_stream", run: models::stream },
    Target { name: "name", run: names::name },
    Target { name: "payload", run: sealed::payload },
    Target { name: "segment", run: stored::segment },
    Target { name: "side", run: stored::side },
    Target { name: "token", run: sealed::token },
    Target { name: "wire", run: conversation::wire },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
