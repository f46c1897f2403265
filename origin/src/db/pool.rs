//! The bounded pool.

use std::{fmt, sync::Arc, time::Duration};

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType,
};

use super::{
    Error,
    directory::Directory,
    kept::{self, Kept},
};
use crate::{
    metrics::Metrics,
    postgres::{Server, tls_refusal},
};

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
    pub(super) session: Arc<[Setting]>,
    pub(super) kept: Arc<Kept>,
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
        server: &Server,
        settings: &DatabaseSettings,
        metrics: Arc<Metrics>,
    ) -> Result<Self, String> {
        let (mut config, tls) = server.parts();
        let given = config.get_options().unwrap_or_default().to_owned();
        let mut session = session(settings);
        session.retain(|(name, _)| !gives(&given, name));
        let options = options(&session, &given);
        config
            .options(options)
            .application_name("licet-origin")
            .connect_timeout(Duration::from_secs(3))
            .tcp_user_timeout(Duration::from_secs(15))
            .keepalives_idle(Duration::from_secs(30));
        let make = |size: usize, wait: Duration| {
            let recycling_method = RecyclingMethod::Fast;
            let manager = Manager::from_config(
                config.clone(),
                tls.clone(),
                ManagerConfig { recycling_method },
            );
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
            session: session.into(),
            kept: Arc::new(Kept::new(settings.pool_size)),
        })
    }

    pub(super) async fn connection(&self) -> Result<Object, Error> {
        self.pool.get().await.map_err(|error| no_connection(&error))
    }

    /// A connection for a snapshot; none when all are in use.
    pub(super) async fn snapshot_connection(&self) -> Result<Option<Object>, Error> {
        match self.snapshots.get().await {
            Ok(connection) => Ok(Some(connection)),
            Err(PoolError::Timeout(TimeoutType::Wait)) => Ok(None),
            Err(error) => Err(no_connection(&error)),
        }
    }

    /// Connections that exist, and those of them that are idle.
    #[must_use]
    pub fn pool_use(&self) -> (usize, usize) {
        let status = self.pool.status();
        (status.size, status.available)
    }
}

fn no_connection(error: &PoolError) -> Error {
    match error {
        PoolError::Backend(error) => match tls_refusal(error) {
            Some(why) => Error::Untrusted(why),
            None => Error::NoConnection(super::describe(error)),
        },
        other => Error::NoConnection(other.to_string()),
    }
}

/// A setting that each session is to have, by name and value.
pub(super) type Setting = (&'static str, String);

/// Timeouts that hold even if this process hangs; an empty search path, as every name in our SQL
/// says its schema; joins in the order in which they are written, which halves the planning of
/// statements that are planned each time.
fn session(settings: &DatabaseSettings) -> Vec<Setting> {
    vec![
        (
            "statement_timeout",
            settings.statement_timeout.as_millis().to_string(),
        ),
        (
            "lock_timeout",
            settings.lock_timeout.as_millis().to_string(),
        ),
        ("idle_in_transaction_session_timeout", "10000".into()),
        ("search_path", "pg_catalog".into()),
        ("join_collapse_limit", "1".into()),
        ("jit", "off".into()),
    ]
}

/// Whether a URL's `options` have this setting, as `-c name=…`, `-cname=…` or `--name=…`.
fn gives(options: &str, name: &str) -> bool {
    options.split_whitespace().any(|word| {
        let setting = word.trim_start_matches("--").trim_start_matches("-c");
        setting.split('=').next() == Some(name)
    })
}

/// As a connection asks for them, with what the URL gives.
fn options(session: &[Setting], given: &str) -> String {
    let ours: Vec<_> = session
        .iter()
        .map(|(name, value)| format!("-c {name}={value}"))
        .collect();
    format!("{} -c {} {given}", ours.join(" "), kept::MARK)
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_url_gives_counts() {
        let mut session = session(&DatabaseSettings::default());
        let given = "-c statement_timeout=7 --lock_timeout=8 -c jit_above_cost=1";
        session.retain(|(name, _)| !gives(given, name));
        let names: Vec<_> = session.iter().map(|(name, _)| *name).collect();
        let rest = [
            "idle_in_transaction_session_timeout",
            "search_path",
            "join_collapse_limit",
            "jit",
        ];
        assert_eq!(names, rest);
        assert!(
            options(&session, given).ends_with(&format!("-c jit=off -c licet.direct=on {given}"))
        );
    }
}
