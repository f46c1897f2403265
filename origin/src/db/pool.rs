//! The bounded pool.

use std::{fmt, sync::Arc, time::Duration};

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType,
};
use tokio_postgres::NoTls;

use super::{Error, directory::Directory};
use crate::metrics::Metrics;

/// How the database is used.
#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    /// Most connections.
    pub pool_size: usize,
    /// Most connections beside these that read a [`super::snapshot::Snapshot`], each of which
    /// may take minutes.
    pub snapshots: usize,
    /// Longest wait for a free connection.
    pub pool_wait: Duration,
    /// Longest run of one statement, as the server counts it.
    pub statement_timeout: Duration,
    /// Longest wait for a lock, as the server counts it.
    pub lock_timeout: Duration,
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self {
            pool_size: 16,
            snapshots: 2,
            pool_wait: Duration::from_secs(1),
            statement_timeout: Duration::from_secs(5),
            lock_timeout: Duration::from_secs(2),
        }
    }
}

/// The database. Gives no connection away: see [`super::Tenant`].
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    snapshots: Pool,
    pub(super) directory: Arc<Directory>,
    pub(super) metrics: Arc<Metrics>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Database(…)")
    }
}

impl Database {
    /// Makes the pool; connects only when a connection is needed.
    ///
    /// # Errors
    /// A sentence, should the settings not make a pool.
    pub fn new(
        config: &tokio_postgres::Config,
        settings: &DatabaseSettings,
        metrics: Arc<Metrics>,
    ) -> Result<Self, String> {
        let mut config = config.clone();
        let options = session_options(config.get_options(), settings);
        config
            .options(options)
            .application_name("licet-origin")
            .connect_timeout(Duration::from_secs(3))
            .tcp_user_timeout(Duration::from_secs(15))
            .keepalives_idle(Duration::from_secs(30));
        let make = |size: usize, wait: Duration| {
            let recycling_method = RecyclingMethod::Fast;
            let manager =
                Manager::from_config(config.clone(), NoTls, ManagerConfig { recycling_method });
            let pool = Pool::builder(manager)
                .max_size(size)
                .runtime(Runtime::Tokio1)
                .wait_timeout(Some(wait))
                .create_timeout(Some(Duration::from_secs(4)))
                .recycle_timeout(Some(Duration::from_secs(1)))
                .build();
            pool.map_err(|error| error.to_string())
        };
        Ok(Self {
            pool: make(settings.pool_size, settings.pool_wait)?,
            snapshots: make(settings.snapshots, Duration::ZERO)?,
            directory: Arc::new(Directory::new()),
            metrics,
        })
    }

    pub(super) async fn connection(&self) -> Result<Object, Error> {
        self.pool
            .get()
            .await
            .map_err(|error| Error::NoConnection(sentence(&error)))
    }

    /// A connection for a snapshot; none when all are in use.
    pub(super) async fn snapshot_connection(&self) -> Result<Option<Object>, Error> {
        match self.snapshots.get().await {
            Ok(connection) => Ok(Some(connection)),
            Err(PoolError::Timeout(TimeoutType::Wait)) => Ok(None),
            Err(error) => Err(Error::NoConnection(sentence(&error))),
        }
    }

    /// Connections that exist, and those of them that are idle.
    #[must_use]
    pub fn pool_use(&self) -> (usize, usize) {
        let status = self.pool.status();
        (status.size, status.available)
    }
}

fn sentence(error: &PoolError) -> String {
    match error {
        PoolError::Backend(error) => super::describe(error),
        other => other.to_string(),
    }
}

/// Timeouts that hold even if this process hangs; an empty search path, as every name in our SQL
/// says its schema; joins in the order in which they are written, which halves the planning of
/// statements that are planned each time.
fn session_options(given: Option<&str>, settings: &DatabaseSettings) -> String {
    let ours = format!(
        "-c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout=10000 \
         -c search_path=pg_catalog -c join_collapse_limit=1 -c jit=off",
        settings.statement_timeout.as_millis(),
        settings.lock_timeout.as_millis(),
    );
    match given {
        Some(given) => format!("{ours} {given}"),
        None => ours,
    }
}
