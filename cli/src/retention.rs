//! What a running node lets go of: idempotency records that ran out, payloads that nothing
//! refers to, and the events of runs that ended long ago, which move into sealed segments.

use std::{sync::Arc, time::Duration};

use steadfast_core::{Coded as _, World};
use steadfast_engine::{Status, record::RUN};
use steadfast_log::Log as _;
use steadfast_log_sqlite::{SealRule, SqliteLog, StoreConfig, StoreError};

/// How often to look.
const EVERY: Duration = Duration::from_secs(3_600);
const ENDED: [Status; 5] =
    [Status::Completed, Status::Failed, Status::Cancelled, Status::Killed, Status::Dead];

/// Lets go, now and then, for as long as it is polled. A held store is left alone.
pub(crate) async fn run(log: Arc<SqliteLog>, world: World, config: StoreConfig) {
    loop {
        world.clock().sleep(EVERY).await;
        if !log.identity().held
            && let Err(error) = once(&log, &world, &config).await
        {
            tracing::warn!(code = error.code(), "nothing could be let go of; it is tried again");
        }
    }
}

async fn once(log: &SqliteLog, world: &World, config: &StoreConfig) -> Result<(), StoreError> {
    let now = world.now();
    log.sweep(now).await?;
    log.collect(config.payload_grace.get()).await?;
    let rule = SealRule {
        category: RUN.into(),
        statuses: ENDED.map(|status| status.as_str().to_owned()).into(),
        ended_before: now.before(config.runs_kept.get()),
    };
    let sealed = log.seal(rule).await?;
    if sealed.events > 0 {
        tracing::info!(events = sealed.events, "events of ended runs were sealed");
    }
    Ok(())
}
