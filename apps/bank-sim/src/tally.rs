//! Counts the codes of errors, wherever they come up.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::future::{BoxFuture, FutureExt};
use serde_json::Value;
use steadfast_core::Coded as _;
use steadfast_log::{Between, Commit, CommitError, Committed, Log, Reading};

/// How often each code came up.
#[derive(Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<BTreeMap<String, u64>>>);

impl Tally {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(crate) fn note(&self, code: &str) {
        if !code.is_empty() {
            *self.lock().entry(code.to_owned()).or_default() += 1;
        }
    }
    pub(crate) fn all(&self) -> BTreeMap<String, u64> {
        self.lock().clone()
    }
    /// Every code that a recorded event or an answer tells of: failures, and lists of failed
    /// attempts.
    pub(crate) fn read(&self, body: &Value) {
        match body {
            Value::Object(members) => {
                for (name, value) in members {
                    match (name.as_str(), value) {
                        ("code", Value::String(code)) => self.note(code),
                        ("f" | "failed_attempts", Value::Array(codes)) => {
                            codes.iter().filter_map(Value::as_str).for_each(|code| self.note(code));
                        }
                        _ => self.read(value),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.read(item)),
            _ => {}
        }
    }
}

/// A node's way to the log, on which errors are counted.
pub(crate) struct Heard {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) tally: Tally,
}

impl Between for Heard {
    fn store(&self) -> &dyn Log {
        &*self.log
    }
    fn carry(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        let answer = self.log.commit(commit);
        async move { answer.await.inspect_err(|error| self.tally.note(error.code())) }.boxed()
    }
    fn fetch<'a, T: Send + 'a>(
        &'a self,
        ask: impl FnOnce(&'a dyn Log) -> Reading<'a, T> + Send + 'a,
    ) -> Reading<'a, T> {
        let answer = ask(&*self.log);
        async move { answer.await.inspect_err(|error| self.tally.note(error.code())) }.boxed()
    }
}
