//! Up, down and status.

use std::fmt;

use licet_shared::time::Timestamp;
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, types::Type};

use super::{MIGRATIONS, Migration, Passwords, roles};
use crate::{
    clock,
    postgres::{Server, tls_refusal},
};

/// Held while migrating, so that two migrators of one database take turns. Any number will do.
const ADVISORY_LOCK: i64 = 0x11ce_7000;

/// Hands what a migration made to the owner, and takes from everyone what Postgres gives by default.
///
/// Ownership is given after creation, not by `SET ROLE` before it: on Citus a role that can't log
/// in can't create functions.
const SETTLE: &str = "
DO $$
DECLARE
    item record;
BEGIN
    FOR item IN
        SELECT c.oid::pg_catalog.regclass AS name FROM pg_catalog.pg_class c
        WHERE c.relnamespace = 'licet'::pg_catalog.regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
          AND c.relowner <> 'licet_owner'::pg_catalog.regrole
    LOOP
        EXECUTE pg_catalog.format('ALTER TABLE %s OWNER TO licet_owner', item.name);
    END LOOP;
    FOR item IN
        SELECT p.oid::pg_catalog.regprocedure AS name FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'licet'::pg_catalog.regnamespace
          AND p.proowner <> 'licet_owner'::pg_catalog.regrole
    LOOP
        EXECUTE pg_catalog.format('ALTER ROUTINE %s OWNER TO licet_owner', item.name);
    END LOOP;
END $$;
REVOKE ALL ON ALL TABLES IN SCHEMA licet FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA licet FROM PUBLIC;
";

/// Why a database could not be migrated.
#[derive(Debug)]
#[non_exhaustive]
pub enum MigrateError {
    /// It can't be reached, or refuses to let us in.
    Connect(tokio_postgres::Error),
    /// It did not show what `sslmode` asks for, or refused our certificate.
    Untrusted(String),
    /// It refused a statement.
    Database {
        /// What was to be done.
        what: String,
        /// What it said.
        cause: tokio_postgres::Error,
    },
    /// A role that serves could bypass row-level security.
    PowerfulRole(String),
    /// A step was edited after it had been applied.
    Edited(i32, String),
    /// The database is ahead of this binary.
    Unknown(i32, String),
}

impl MigrateError {
    pub(super) fn database(
        what: impl Into<String>,
    ) -> impl FnOnce(tokio_postgres::Error) -> MigrateError {
        let what = what.into();
        move |cause| Self::Database { what, cause }
    }
}

impl fmt::Display for MigrateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(cause) => {
                write!(
                    f,
                    "can't connect to the database: {}",
                    crate::db::describe(cause)
                )
            }
            Self::Untrusted(why) => f.write_str(why),
            Self::Database { what, cause } => {
                write!(f, "can't {what}: {}", crate::db::describe(cause))
            }
            Self::PowerfulRole(role) => write!(
                f,
                "the role {role} is a superuser or bypasses row-level security: take that from it, then migrate"
            ),
            Self::Edited(version, name) => write!(
                f,
                "migration {version} ({name}) was edited after it had been applied: restore the file and add a new one"
            ),
            Self::Unknown(version, name) => write!(
                f,
                "the database has migration {version} ({name}), which this binary does not know: use a newer binary"
            ),
        }
    }
}

impl std::error::Error for MigrateError {}

/// Where one migration stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    /// Its number.
    pub version: i32,
    /// Its name.
    pub name: String,
    /// When it was applied; null where it was not.
    pub applied_at: Option<Timestamp>,
}

/// A connection that migrates. Holds the advisory lock for as long as it lives.
pub struct Migrator {
    client: Client,
    connection: JoinHandle<()>,
}

impl Drop for Migrator {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Migrator {
    /// Connects and waits for its turn.
    ///
    /// # Errors
    /// [`MigrateError`] when the database can't be reached.
    pub async fn connect(server: &Server) -> Result<Self, MigrateError> {
        let connected = server.connect("licet-origin migrate").await;
        let (client, connection) = connected.map_err(|error| match tls_refusal(&error) {
            Some(why) => MigrateError::Untrusted(why),
            None => MigrateError::Connect(error),
        })?;
        let connection = tokio::spawn(async move {
            // Its error reaches us through the statement that fails.
            drop(connection.await);
        });
        let migrator = Self { client, connection };
        migrator
            .client
            .batch_execute(&format!(
                "SET client_min_messages = warning; SELECT pg_catalog.pg_advisory_lock({ADVISORY_LOCK})"
            ))
            .await
            .map_err(MigrateError::database("take the migration lock"))?;
        Ok(migrator)
    }

    /// Prepares roles and schema and applies what is missing. Hands back what it applied.
    ///
    /// # Errors
    /// [`MigrateError`]; what had been applied before stays.
    pub async fn up(
        &mut self,
        passwords: &Passwords,
    ) -> Result<Vec<&'static Migration>, MigrateError> {
        roles::prepare(&self.client, passwords).await?;
        let applied = self.applied().await?;
        check(&applied)?;
        let missing: Vec<_> = MIGRATIONS.iter().skip(applied.len()).collect();
        for migration in &missing {
            self.step(migration, true).await?;
        }
        Ok(missing)
    }

    /// Takes back the last `count` steps. Hands back what it took.
    ///
    /// # Errors
    /// [`MigrateError`]; what had been taken back before stays so.
    pub async fn down(&mut self, count: usize) -> Result<Vec<&'static Migration>, MigrateError> {
        let applied = self.applied().await?;
        check(&applied)?;
        let last: Vec<_> = MIGRATIONS
            .iter()
            .take(applied.len())
            .rev()
            .take(count)
            .collect();
        for migration in &last {
            self.step(migration, false).await?;
        }
        Ok(last)
    }

    /// Where every migration stands.
    ///
    /// # Errors
    /// [`MigrateError`], also when the database is ahead of this binary.
    pub async fn status(&self) -> Result<Vec<State>, MigrateError> {
        let applied = self.applied().await?;
        check(&applied)?;
        let state = |(position, migration): (usize, &Migration)| State {
            version: migration.version,
            name: migration.name.into(),
            applied_at: applied.get(position).map(|row| row.applied_at),
        };
        Ok(MIGRATIONS.iter().enumerate().map(state).collect())
    }

    async fn step(&mut self, migration: &Migration, up: bool) -> Result<(), MigrateError> {
        let Migration { version, name, .. } = migration;
        let verb = if up { "apply" } else { "take back" };
        let failed = || MigrateError::database(format!("{verb} migration {version} ({name})"));
        let tx = self.client.transaction().await.map_err(failed())?;
        if up {
            tx.batch_execute(migration.up).await.map_err(failed())?;
            tx.batch_execute(SETTLE).await.map_err(failed())?;
            let sha256 = migration.sha256();
            tx.execute_typed(
                "INSERT INTO licet.schema_migrations (version, name, sha256) VALUES ($1, $2, $3)",
                &[
                    (version, Type::INT4),
                    (name, Type::TEXT),
                    (&sha256.as_slice(), Type::BYTEA),
                ],
            )
            .await
            .map_err(failed())?;
        } else {
            tx.batch_execute(migration.down).await.map_err(failed())?;
            tx.execute_typed(
                "DELETE FROM licet.schema_migrations WHERE version = $1",
                &[(version, Type::INT4)],
            )
            .await
            .map_err(failed())?;
        }
        tx.commit().await.map_err(failed())
    }

    async fn applied(&self) -> Result<Vec<Applied>, MigrateError> {
        let failed = || MigrateError::database("read licet.schema_migrations");
        let there = self
            .client
            .query_typed_one(
                "SELECT to_regclass('licet.schema_migrations') IS NOT NULL",
                &[],
            )
            .await
            .map_err(failed())?;
        if !there.get::<_, bool>(0) {
            return Ok(Vec::new());
        }
        let rows = self
            .client
            .query_typed(
                "SELECT version, name, sha256, applied_at FROM licet.schema_migrations ORDER BY version",
                &[],
            )
            .await
            .map_err(failed())?;
        let applied = |row: &tokio_postgres::Row| Applied {
            version: row.get(0),
            name: row.get(1),
            sha256: row.get(2),
            applied_at: clock::timestamp(row.get(3)),
        };
        Ok(rows.iter().map(applied).collect())
    }
}

struct Applied {
    version: i32,
    name: String,
    sha256: Vec<u8>,
    applied_at: Timestamp,
}

fn check(applied: &[Applied]) -> Result<(), MigrateError> {
    for (position, row) in applied.iter().enumerate() {
        match MIGRATIONS.get(position) {
            Some(known) if known.version == row.version => {
                if known.sha256().as_slice() != row.sha256 {
                    return Err(MigrateError::Edited(row.version, row.name.clone()));
                }
            }
            _ => return Err(MigrateError::Unknown(row.version, row.name.clone())),
        }
    }
    Ok(())
}
