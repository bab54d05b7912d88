use std::{path::Path, time::Duration};

use steadfast_core::World;

use crate::store::blocking;

const ONE_ROW: u64 = 1_000;
const GROUPS: u64 = 300;
const GROUP: u64 = 64;

/// What SQLite alone does on this file system: the store's own table and index, bodies of
/// 200 bytes, a prepared insert, WAL with full syncs.
pub(super) struct Floor {
    /// Rows a second with one row a transaction.
    pub(super) one: f64,
    /// The wait that half of those transactions stayed within.
    pub(super) one_p50: Duration,
    /// Rows a second with 64 rows a transaction.
    pub(super) group: f64,
}

pub(super) async fn measure(folder: &Path, world: &World) -> anyhow::Result<Floor> {
    let (folder, world) = (folder.to_owned(), world.clone());
    blocking(move || {
        let place = tempfile::tempdir_in(folder)?;
        let floor = steadfast_log_sqlite::bench::floor;
        let one = floor(&place.path().join("one"), &world, ONE_ROW, 1)?;
        let group = floor(&place.path().join("group"), &world, GROUPS, GROUP)?;
        Ok(Floor { one: one.rate(), one_p50: one.p50(), group: group.rate() })
    })
    .await
}
