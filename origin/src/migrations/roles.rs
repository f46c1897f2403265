//! The roles of the installation, and the schema they share.

use postgres_protocol::{
    escape::{escape_identifier, escape_literal},
    password::scram_sha_256,
};
use tokio_postgres::{Client, error::SqlState};

use super::MigrateError;

/// Owns everything; nobody logs in as it.
pub const OWNER: &str = "licet_owner";
/// Serves requests: subject to row-level security, owns nothing.
pub const APP: &str = "licet_app";
/// Does background work under policies of its own.
pub const SYSTEM: &str = "licet_system";

/// Passwords to give to the roles that log in. `Debug` shows none.
#[derive(Default)]
pub struct Passwords {
    /// For [`APP`]; left as it is when absent.
    pub app: Option<String>,
    /// For [`SYSTEM`]; left as it is when absent.
    pub system: Option<String>,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passwords(…)")
    }
}

/// Creates roles and schema where they are missing, and sets passwords.
pub(super) async fn prepare(client: &Client, passwords: &Passwords) -> Result<(), MigrateError> {
    for role in [OWNER, APP, SYSTEM] {
        create(client, role).await?;
    }
    refuse_powerful(client).await?;
    for (role, password) in [(APP, &passwords.app), (SYSTEM, &passwords.system)] {
        if let Some(password) = password {
            set_password(client, role, password).await?;
        }
    }
    become_member(client).await?;
    create_schema(client).await
}

/// Roles are the whole cluster's: another database's migration may be at it in this moment.
async fn create(client: &Client, role: &str) -> Result<(), MigrateError> {
    let sql = format!(
        "DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {name}) THEN
                CREATE ROLE {role} NOLOGIN;
            END IF;
         EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
         END $$",
        name = escape_literal(role),
        role = escape_identifier(role),
    );
    execute(client, &sql, "create the roles").await
}

async fn refuse_powerful(client: &Client) -> Result<(), MigrateError> {
    let powerful = client
        .query_typed_opt(
            "SELECT rolname::text FROM pg_catalog.pg_roles
             WHERE rolname IN ('licet_owner', 'licet_app', 'licet_system') AND (rolsuper OR rolbypassrls)
             ORDER BY rolname LIMIT 1",
            &[],
        )
        .await
        .map_err(MigrateError::database("read the roles"))?;
    match powerful {
        Some(row) => Err(MigrateError::PowerfulRole(row.get(0))),
        None => Ok(()),
    }
}

/// The server only ever sees the verifier, so no password ends in its log.
async fn set_password(client: &Client, role: &str, password: &str) -> Result<(), MigrateError> {
    let verifier = scram_sha_256(password.as_bytes());
    let sql = format!(
        "ALTER ROLE {} LOGIN PASSWORD {}",
        escape_identifier(role),
        escape_literal(&verifier)
    );
    execute(client, &sql, "set a role's password").await
}

/// A migrating role that is no superuser must belong to the owner to act for it. From Postgres 16
/// on, having created a role makes one its administrator, but not a member with its rights.
async fn become_member(client: &Client) -> Result<(), MigrateError> {
    let sql = format!(
        "DO $$ BEGIN
            IF NOT pg_catalog.pg_has_role(current_user, {name}, 'USAGE') THEN
                EXECUTE pg_catalog.format('GRANT {owner} TO %I', current_user);
            END IF;
         END $$",
        name = escape_literal(OWNER),
        owner = escape_identifier(OWNER),
    );
    execute(client, &sql, "become a member of licet_owner").await
}

async fn create_schema(client: &Client) -> Result<(), MigrateError> {
    let owner = escape_identifier(OWNER);
    let sql = format!(
        "CREATE SCHEMA IF NOT EXISTS licet AUTHORIZATION {owner};
         GRANT USAGE ON SCHEMA licet TO {app}, {system};
         CREATE TABLE IF NOT EXISTS licet.schema_migrations (
             version    integer     NOT NULL,
             name       text        NOT NULL,
             sha256     bytea       NOT NULL,
             applied_at timestamptz NOT NULL DEFAULT now(),
             CONSTRAINT schema_migrations_pkey PRIMARY KEY (version)
         );
         ALTER TABLE licet.schema_migrations OWNER TO {owner};
         GRANT SELECT ON licet.schema_migrations TO {app}, {system};",
        app = escape_identifier(APP),
        system = escape_identifier(SYSTEM),
    );
    execute(client, &sql, "create the schema").await
}

/// Runs a statement on shared catalogues, again when another database's migration got in between.
async fn execute(client: &Client, sql: &str, what: &'static str) -> Result<(), MigrateError> {
    const ATTEMPTS: u64 = 10;
    for attempt in 1.. {
        let result = client.batch_execute(sql).await;
        match result {
            Err(error) if attempt < ATTEMPTS && concurrently_updated(&error) => {
                tokio::time::sleep(std::time::Duration::from_millis(20 * attempt)).await;
            }
            result => return result.map_err(MigrateError::database(what)),
        }
    }
    Ok(())
}

fn concurrently_updated(error: &tokio_postgres::Error) -> bool {
    // Postgres has no code of its own for it.
    error.as_db_error().is_some_and(|error| {
        *error.code() == SqlState::INTERNAL_ERROR && error.message().contains("concurrently")
    })
}
