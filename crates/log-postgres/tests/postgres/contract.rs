//! The store against the contract and against the model.

use std::sync::Arc;

use futures::FutureExt;
use steadfast_core::World;
use steadfast_log::{
    Between, Log, MemoryLog, Reading, Recorded,
    conformance::{Differential, all, differential},
    rebuild,
};
use steadfast_log_postgres::{Options, PostgresLog};
use tokio_postgres::Client;

use crate::server::shared;

/// A store whose server has the clock of the test's world, which leases run out by.
struct InOneTime {
    log: PostgresLog,
    world: World,
    client: Client,
}

/// Found before the function of that name in `pg_catalog`.
const CLOCK: &str = "CREATE TABLE clock (at timestamptz); INSERT INTO clock VALUES (to_timestamp(0));
    CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT at FROM clock'";

impl InOneTime {
    async fn open(world: World) -> Self {
        let database = shared().database().await;
        let client = shared().client(&database).await;
        client.batch_execute(CLOCK).await.expect("a clock");
        let address = format!("{} options='-c search_path=public,pg_catalog'", shared().address(&database));
        let log = PostgresLog::open(&address, Options::new(world.clone())).await.expect("opens");
        Self { log, world, client }
    }
}

impl Between for InOneTime {
    fn store(&self) -> &dyn Log {
        &self.log
    }
    fn fetch<'a, T: Send + 'a>(
        &'a self,
        ask: impl FnOnce(&'a dyn Log) -> Reading<'a, T> + Send + 'a,
    ) -> Reading<'a, T> {
        async {
            let now = self.world.clock().elapsed().as_secs_f64();
            let sql = "UPDATE clock SET at = to_timestamp($1)";
            self.client.execute(sql, &[&now]).await.expect("a clock");
            ask(&self.log).await
        }
        .boxed()
    }
    fn fetch_stream<'a>(
        &'a self,
        ask: impl FnOnce(&'a dyn Log) -> Reading<'a, Vec<Recorded>> + Send + 'a,
    ) -> Reading<'a, Vec<Recorded>> {
        ask(&self.log)
    }
}

#[tokio::test]
async fn the_store_keeps_the_contract() {
    all(|world| async { Arc::new(InOneTime::open(world).await) as Arc<dyn Log> }).await;
}

/// One store for many sequences: opening costs more than a sequence does.
async fn sequences(seed: u64, sequences: usize) {
    let (world, clock) = World::manual(seed);
    let model = MemoryLog::new(world.clone());
    let address = shared().address(&shared().database().await);
    let store = PostgresLog::open(&address, Options::new(world.clone())).await.expect("opens");
    let run = Differential { seed, sequences, length: 10 };
    let seen = differential(&model, &store, &world, &clock, run).await;
    assert!(seen.accepted > sequences && seen.refused > sequences);
    assert_eq!(store.derived().await.expect("tables"), model.derived(), "seed {seed}: the tables");
    let whole = rebuild(&store).await.expect("a fold");
    assert_eq!(whole, model.derived(), "seed {seed}: the fold");
}

/// Several stores at once, since most of the time is spent waiting for the server. Seeds
/// and what each does stay the same; there are more of them in a soak.
#[test]
fn the_store_equals_the_model_on_random_sequences() {
    let seeds =
        std::env::var("STEADFAST_POSTGRES_SEEDS").map_or(10, |seeds| seeds.parse().expect("a number"));
    std::thread::scope(|scope| {
        for part in 0..5 {
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                for seed in (part..seeds).step_by(5) {
                    runtime.as_ref().expect("a runtime").block_on(sequences(seed, 100));
                }
            });
        }
    });
}
