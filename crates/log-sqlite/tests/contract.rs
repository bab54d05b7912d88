//! The store against the contract and against the model.

use std::sync::{Arc, Mutex};

use steadfast_core::World;
use steadfast_log::{
    Log, MemoryLog,
    conformance::{Differential, all, differential},
    rebuild,
};
use steadfast_log_sqlite::{Options, SqliteLog};
use tempfile::TempDir;

#[tokio::test]
async fn the_store_keeps_the_contract() {
    let dirs = Mutex::new(Vec::new());
    all(|world| {
        let dir = TempDir::new().expect("a directory");
        let log = SqliteLog::open(dir.path().join("log"), Options::new(world)).expect("opens");
        dirs.lock().expect("a lock").push(dir);
        async { Arc::new(log) as Arc<dyn Log> }
    })
    .await;
}

/// One store for many sequences: opening costs more than a sequence does.
async fn sequences(seed: u64, sequences: usize) {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("log");
    let (world, clock) = World::manual(seed);
    let model = MemoryLog::new(world.clone());
    let store = SqliteLog::open(&path, Options::new(world.clone())).expect("opens");
    let run = Differential { seed, sequences, length: 10 };
    let seen = differential(&model, &store, &world, &clock, run).await;
    assert!(seen.accepted > sequences && seen.refused > sequences);
    assert_eq!(store.derived().await.expect("tables"), model.derived(), "seed {seed}: the tables");
    let whole = rebuild(&store).await.expect("a fold");
    assert_eq!(whole, model.derived(), "seed {seed}: the fold");
}

/// Several stores at once, since most of the time is spent waiting for one thread or the
/// other. Seeds and what each does stay the same.
#[test]
fn the_store_equals_the_model_on_ten_thousand_random_sequences() {
    std::thread::scope(|scope| {
        for part in 0..5 {
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                for seed in (part..100).step_by(5) {
                    runtime.block_on(sequences(seed, 100));
                }
            });
        }
    });
}
