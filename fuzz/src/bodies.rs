//! Bodies of requests: one request has one hash, however it is spelled.

use serde::Serialize;
use serde_json::Value;
use steadfast_bank_api::{ContactBody, ImportBody, PurchaseBody, TransferBody};
use steadfast_core::canonical::Hash;
use steadfast_server::{Json, Problem, StartRequest};

use crate::told;

/// The first byte says whose body the rest is.
pub(crate) fn body(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    match which % 6 {
        0 => check(bytes, |bytes| Json::<TransferBody>::read(bytes)?.0.read().map(hash)),
        1 => check(bytes, |bytes| Json::<PurchaseBody>::read(bytes)?.0.read().map(hash)),
        2 => check(bytes, |bytes| Json::<StartRequest>::read(bytes)?.0.hash()),
        3 => check(bytes, |bytes| Json::<ContactBody>::read(bytes).map(|_| nothing())),
        4 => check(bytes, |bytes| Json::<ImportBody>::read(bytes).map(|_| nothing())),
        _ => check(bytes, |bytes| Json::<Value>::read(bytes).map(|Json(value)| hash(value))),
    }
}

fn nothing() -> Hash {
    Hash::of_bytes(b"")
}

fn hash<T: Serialize>(request: T) -> Hash {
    Hash::of(&request).expect("requests are JSON")
}

fn check(bytes: &[u8], read: impl Fn(&[u8]) -> Result<Hash, Problem>) {
    let hash = match read(bytes) {
        Ok(hash) => hash,
        Err(problem) => return told::problem(&problem),
    };
    let value: Value = serde_json::from_slice(bytes).expect("what was accepted is JSON");
    for spelled in [serde_json::to_vec(&value), serde_json::to_vec_pretty(&value)] {
        let spelled = spelled.expect("JSON");
        assert_eq!(read(&spelled).expect("the same request"), hash, "{}", String::from_utf8_lossy(&spelled));
    }
}
