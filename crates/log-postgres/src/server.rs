//! Where the server is, and connections to it that may be trusted with writes.

use std::{str::FromStr, time::Duration};

use deadpool_postgres::{ClientWrapper, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio_postgres::{
    Connection, NoTls, Row, Socket, config::TargetSessionAttrs, tls::NoTlsStream, types::ToSql,
};

use crate::{StoreConfig, StoreError};

/// How soon a connection on which nothing happens is probed.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A database, and how long to wait for it.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    address: tokio_postgres::Config,
    pub(crate) timeout: Duration,
}

/// A connection, with the other half that must be driven.
pub(crate) type Halves = (tokio_postgres::Client, Connection<Socket, NoTlsStream>);

impl Server {
    pub(crate) fn new(address: &str, config: &StoreConfig) -> Result<Self, StoreError> {
        let timeout = config.timeout.get();
        let wrong = |error: &tokio_postgres::Error| StoreError::Address(crate::error::told(error));
        let mut address = tokio_postgres::Config::from_str(address).map_err(|error| wrong(&error))?;
        // A standby that only reads is no place for a log.
        address.target_session_attrs(TargetSessionAttrs::ReadWrite);
        address.keepalives_idle(KEEPALIVE);
        if address.get_connect_timeout().is_none() {
            address.connect_timeout(timeout);
        }
        if address.get_application_name().is_none() {
            address.application_name("steadfast");
        }
        // A node that vanishes within a transaction keeps its locks until the server ends
        // the session. No bound on statements: it would also cut short the wait of a COMMIT
        // for its standbys, and report success.
        let millis = timeout.as_millis().max(1);
        let ours = format!(
            "-c lock_timeout={millis} -c idle_in_transaction_session_timeout={millis} -c statement_timeout=0"
        );
        let options = match address.get_options() {
            Some(theirs) => format!("{theirs} {ours}"),
            None => ours,
        };
        address.options(options);
        Ok(Self { address, timeout })
    }

    /// Both halves of a connection. Bounded by the address's own time limit for each host.
    pub(crate) async fn halves(&self) -> Result<Halves, StoreError> {
        Ok(self.address.connect(NoTls).await?)
    }

    /// A connection to write with: whatever it says is committed stays so.
    pub(crate) async fn connect(&self) -> Result<ClientWrapper, StoreError> {
        let (client, connection) = self.halves().await?;
        // Its errors come out of the client too.
        let driver = tokio::spawn(async move { drop(connection.await) });
        let client = ClientWrapper::new(client, driver);
        within(self.timeout, check(&client)).await?;
        Ok(client)
    }

    /// Connections to read with.
    pub(crate) fn pool(&self, size: usize) -> Result<Pool, StoreError> {
        let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(self.address.clone(), NoTls, config);
        Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(self.timeout))
            .create_timeout(Some(self.timeout))
            .recycle_timeout(Some(self.timeout))
            .build()
            .map_err(|error| StoreError::Unavailable(error.to_string()))
    }
}

/// What the work comes to, unless it takes too long.
pub(crate) async fn within<T>(
    timeout: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let late = || StoreError::Unavailable(format!("no answer within {timeout:?}"));
    tokio::time::timeout(timeout, work).await.map_err(|_| late())?
}

/// Refuses a server that loses what it has acknowledged, or cannot hold every text. What
/// the session was found with it keeps, also when the server's configuration is changed
/// and read again; `fsync` is the server's alone, and is looked at for every connection.
async fn check(client: &ClientWrapper) -> Result<(), StoreError> {
    let row = client
        .query_one(
            "SELECT current_setting('fsync'), current_setting('server_encoding'),
                    set_config('synchronous_commit', current_setting('synchronous_commit'), false)",
            &[],
        )
        .await?;
    let checks = [
        ("fsync", 0, "off", "a power cut would destroy the database; set fsync = on in postgresql.conf"),
        (
            "synchronous_commit",
            2,
            "off",
            "a crash of the server would lose commits that were acknowledged; set synchronous_commit = on, \
             for the server, the role or the database",
        ),
    ];
    for (setting, column, refused, remedy) in checks {
        let found: String = row.try_get(column)?;
        if found == refused {
            return Err(StoreError::Setting { setting, found, remedy });
        }
    }
    let found: String = row.try_get(1)?;
    if found != "UTF8" {
        let remedy = "it cannot hold every text; make the database with CREATE DATABASE … ENCODING 'UTF8' \
                      TEMPLATE template0";
        return Err(StoreError::Setting { setting: "server_encoding", found, remedy });
    }
    Ok(())
}

/// Values of a statement.
pub(crate) type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

/// The rows of a statement, which is prepared once for each connection.
pub(crate) async fn rows(
    client: &ClientWrapper,
    sql: &str,
    values: Values<'_>,
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let statement = client.prepare_cached(sql).await?;
    client.query(&statement, values).await
}

/// The one row of a statement, if there is one.
pub(crate) async fn row(
    client: &ClientWrapper,
    sql: &str,
    values: Values<'_>,
) -> Result<Option<Row>, tokio_postgres::Error> {
    let statement = client.prepare_cached(sql).await?;
    client.query_opt(&statement, values).await
}

/// Runs a statement, and tells how many rows it changed.
pub(crate) async fn execute(
    client: &ClientWrapper,
    sql: &str,
    values: Values<'_>,
) -> Result<u64, tokio_postgres::Error> {
    let statement = client.prepare_cached(sql).await?;
    client.execute(&statement, values).await
}
