//! What must hold before the origin serves: a role that row-level security binds, and the
//! schema that this binary knows.

use std::fmt;

use postgres_protocol::escape::escape_identifier;
use tokio_postgres::types::Type;

use super::{Database, Error};
use crate::migrations::MIGRATIONS;

/// Why the origin does not serve from this database. Each is one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The connected role is a superuser, or can become one.
    Superuser(String),
    /// The connected role has BYPASSRLS, or can become a role that has.
    BypassesRls(String),
    /// The connected role owns a table, or belongs to a role that does.
    Owns(String, String),
    /// The connected role may truncate a table, which row-level security does not see.
    Truncates(String, String),
    /// Not migrated, or not far enough.
    Behind(usize),
    /// Migrated by a newer binary, or by an edited one.
    Unknown(usize),
    /// The role for background work is not to serve: its policies reach across tenants.
    ServesAsSystem(String),
    /// The role does not belong to licet_system, or belongs to licet_app as well.
    NoSystem(String),
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Serving,
    BackgroundWork,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Superuser(role) => write!(
                f,
                "the database role {role} is a superuser (or may become one), so row-level security would not bind it: connect as licet_app, or as licet_system for background work"
            ),
            Self::BypassesRls(role) => write!(
                f,
                "the database role {role} has BYPASSRLS (or may become a role that has), so row-level security would not bind it: connect as licet_app, or as licet_system for background work"
            ),
            Self::Owns(role, table) => write!(
                f,
                "the database role {role} owns {table} (or belongs to its owner) and could switch row-level security off: connect as licet_app, or as licet_system for background work"
            ),
            Self::Truncates(role, table) => write!(
                f,
                "the database role {role} may TRUNCATE {table}, which row-level security does not prevent: connect as licet_app, or as licet_system for background work"
            ),
            Self::Behind(found) => write!(
                f,
                "the database has {found} of the {} migrations that this binary needs: run licet-origin migrate",
                MIGRATIONS.len()
            ),
            Self::Unknown(found) => write!(
                f,
                "the database's migration {found} is not one that this binary knows: use the binary that migrated it, or a newer one"
            ),
            Self::ServesAsSystem(role) => write!(
                f,
                "the database role {role} belongs to licet_system, whose policies reach across organizations: connect as licet_app"
            ),
            Self::NoSystem(role) => write!(
                f,
                "the database role {role} is not licet_system's alone: connect as licet_system for background work"
            ),
        }
    }
}

impl std::error::Error for Refusal {}

/// Whether the schema is the one that this binary knows.
pub type SchemaState = Result<(), Refusal>;

const ROLE: &str = "
SELECT current_user::text,
    EXISTS (SELECT FROM pg_roles r WHERE r.rolsuper AND pg_has_role(current_user, r.oid, 'MEMBER')),
    EXISTS (SELECT FROM pg_roles r WHERE r.rolbypassrls AND pg_has_role(current_user, r.oid, 'MEMBER')),
    (SELECT min(c.oid::regclass::text) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = 'licet' AND c.relkind IN ('r', 'p') AND pg_has_role(current_user, c.relowner, 'MEMBER')),
    (SELECT min(c.oid::regclass::text) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = 'licet' AND c.relkind IN ('r', 'p') AND has_table_privilege(c.oid, 'TRUNCATE')),
    to_regclass('licet.schema_migrations') IS NOT NULL,
    EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'licet_app' AND pg_has_role(current_user, r.oid, 'MEMBER')),
    EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'licet_system' AND pg_has_role(current_user, r.oid, 'MEMBER'))
";

/// In their base units, which are ours: milliseconds.
const SETTINGS: &str =
    "SELECT current_user::text, name, setting FROM pg_settings WHERE name = ANY ($1)";

const SCHEMA: &str = "SELECT version, sha256 FROM licet.schema_migrations ORDER BY version";

impl Database {
    /// Asks for all that must hold before serving.
    ///
    /// # Errors
    /// [`Error`] when the database can't be asked; the inner result is its answer.
    pub async fn check(&self) -> Result<Result<(), Refusal>, Error> {
        self.check_for(Purpose::Serving).await
    }

    /// The same before background work.
    pub(super) async fn check_system(&self) -> Result<Result<(), Refusal>, Error> {
        self.check_for(Purpose::BackgroundWork).await
    }

    async fn check_for(&self, purpose: Purpose) -> Result<Result<(), Refusal>, Error> {
        let connection = self.connection().await?;
        let row = connection.query_typed_one(ROLE, &[]).await?;
        let role: String = row.try_get(0)?;
        if row.try_get(1)? {
            return Ok(Err(Refusal::Superuser(role)));
        }
        if row.try_get(2)? {
            return Ok(Err(Refusal::BypassesRls(role)));
        }
        if let Some(table) = row.try_get(3)? {
            return Ok(Err(Refusal::Owns(role, table)));
        }
        if let Some(table) = row.try_get(4)? {
            return Ok(Err(Refusal::Truncates(role, table)));
        }
        if !row.try_get::<_, bool>(5)? {
            return Ok(Err(Refusal::Behind(0)));
        }
        let (app, system): (bool, bool) = (row.try_get(6)?, row.try_get(7)?);
        match purpose {
            Purpose::Serving if system => return Ok(Err(Refusal::ServesAsSystem(role))),
            Purpose::BackgroundWork if app || !system => return Ok(Err(Refusal::NoSystem(role))),
            _ => {}
        }
        drop(connection);
        self.check_schema().await
    }

    /// The settings that a session was to have and has not, as behind a pooler that ignores the
    /// options of a connection: in SQL that gives them to the role.
    ///
    /// # Errors
    /// [`Error`] when the database can't be asked.
    pub async fn lost_settings(&self) -> Result<Vec<String>, Error> {
        let connection = self.connection().await?;
        let names: Vec<_> = self.session.iter().map(|(name, _)| *name).collect();
        let rows = connection
            .query_typed(SETTINGS, &[(&names, Type::TEXT_ARRAY)])
            .await?;
        let mut lost = Vec::new();
        for (name, wanted) in self.session.iter() {
            for row in &rows {
                let (role, found, value): (&str, &str, &str) =
                    (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
                if found == *name && value != wanted {
                    let role = escape_identifier(role);
                    lost.push(format!("ALTER ROLE {role} SET {name} = '{wanted}'"));
                }
            }
        }
        Ok(lost)
    }

    /// Asks whether the schema is the one that this binary knows: one round trip.
    ///
    /// # Errors
    /// [`Error`] when the database can't be asked; the inner result is its answer.
    pub async fn check_schema(&self) -> Result<SchemaState, Error> {
        let connection = self.connection().await?;
        let rows = connection.query_typed(SCHEMA, &[]).await?;
        for (position, row) in rows.iter().enumerate() {
            let (version, sha256): (i32, Vec<u8>) = (row.try_get(0)?, row.try_get(1)?);
            let known = MIGRATIONS.get(position).is_some_and(|migration| {
                migration.version == version && migration.sha256().as_slice() == sha256
            });
            if !known {
                return Ok(Err(Refusal::Unknown(position + 1)));
            }
        }
        Ok(if rows.len() < MIGRATIONS.len() {
            Err(Refusal::Behind(rows.len()))
        } else {
            Ok(())
        })
    }
}
