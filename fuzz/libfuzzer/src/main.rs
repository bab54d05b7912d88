//! libFuzzer over the one target that `STEADFAST_FUZZ_TARGET` names.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use steadfast_fuzz::{TARGETS, Target, target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("STEADFAST_FUZZ_TARGET").unwrap_or_default();
    target(&name).unwrap_or_else(|| {
        let known: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        panic!("STEADFAST_FUZZ_TARGET is {name:?}: expected one of {}", known.join(", "))
    })
});

fuzz_target!(|data: &[u8]| (TARGET.run)(data));
