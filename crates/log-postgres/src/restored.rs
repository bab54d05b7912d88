//! A database that was made from a backup by PostgreSQL's own means.

use tokio_postgres::IsolationLevel;

use crate::{
    Options, PostgresLog, StoreError, schema,
    schema::{STANDING, standing},
    server::Server,
};

impl PostgresLog {
    /// To be called once for a database that was restored, or promoted without everything
    /// that had been acknowledged, before any node opens it. It becomes another incarnation
    /// of the same log and starts held: nothing runs until it is resumed.
    pub async fn restored(address: &str, options: Options) -> Result<(), StoreError> {
        let mut client = Server::new(address, &options.config)?.connect().await?;
        schema::prepare(&mut client, &options.world).await?;
        let tx = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start().await?;
        let row = tx.query_one(&format!("{STANDING} FOR UPDATE"), &[]).await?;
        let was = standing(&row)?.position;
        // By the clock, so that two restores of one backup differ: each has a future of
        // its own, and a cursor of one must not be taken for a place in the other.
        let next =
            options.world.now().seconds().clamp(0, i64::from(u32::MAX)).max(i64::from(was.incarnation) + 1);
        tx.execute("INSERT INTO incarnations SELECT $1, n FROM shards WHERE shard = 0", &[&next]).await?;
        tx.execute("UPDATE shards SET incarnation = $1, held = true WHERE shard = 0", &[&next]).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Ends the hold that a restore began: timers and steps may run, on every node.
    pub async fn resume(&self) -> Result<(), StoreError> {
        let client = self.inner.server.connect().await?;
        client.execute("UPDATE shards SET held = false WHERE shard = 0", &[]).await?;
        self.inner.set_held(false);
        Ok(())
    }
}
