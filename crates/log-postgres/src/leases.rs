//! Who sees to what for now. The clock is the server's alone: nodes are told yes or no, and
//! never compare theirs.

use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use steadfast_core::NodeId;
use steadfast_log::Lease;
use tokio_postgres::{Error, IsolationLevel};

use crate::server::execute;

/// See [`steadfast_log::Log::lease`].
pub(crate) async fn ask(
    client: &mut ClientWrapper,
    name: &str,
    holder: NodeId,
    ttl: Duration,
) -> Result<Lease, Error> {
    loop {
        // What another node changed while the row was waited for must be seen.
        let tx = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start().await?;
        let made = tx
            .execute(
                "INSERT INTO leases VALUES ($1, $2, clock_timestamp() + $3 * interval '1 second', false)
                 ON CONFLICT DO NOTHING",
                &[&name, &holder.0, &ttl.as_secs_f64()],
            )
            .await?;
        if made == 1 {
            tx.commit().await?;
            return Ok(Lease::Held { again: false, wanted: false });
        }
        let sql = "SELECT holder, wanted, until > clock_timestamp() FROM leases WHERE name = $1 FOR UPDATE";
        let Some(row) = tx.query_opt(sql, &[&name]).await? else {
            // It was given back in between.
            continue;
        };
        let (by, wanted, live) = (NodeId(row.try_get(0)?), row.try_get(1)?, row.try_get(2)?);
        // Even if it ran out: nobody else took it in between.
        let again = by == holder;
        let lease = match (again, live) {
            (false, true) => Lease::Taken { by },
            _ => Lease::Held { again, wanted: again && wanted },
        };
        match lease {
            Lease::Taken { .. } => {
                tx.execute("UPDATE leases SET wanted = true WHERE name = $1", &[&name]).await?;
            }
            Lease::Held { .. } => {
                tx.execute(
                    "UPDATE leases SET holder = $2, wanted = false,
                         until = clock_timestamp() + $3 * interval '1 second' WHERE name = $1",
                    &[&name, &holder.0, &ttl.as_secs_f64()],
                )
                .await?;
            }
        }
        tx.commit().await?;
        return Ok(lease);
    }
}

/// See [`steadfast_log::Log::release`].
pub(crate) async fn release(client: &ClientWrapper, name: &str, holder: NodeId) -> Result<(), Error> {
    execute(client, "DELETE FROM leases WHERE name = $1 AND holder = $2", &[&name, &holder.0]).await?;
    Ok(())
}
