//! The database as `licet_system` sees it: what is due, over all tenants, and nothing else. What is
//! done about it happens in transactions of one tenant each, like everything.

use std::{sync::Arc, time::Duration};

use licet_shared::id::{LicenseId, OrgId};
use tokio_postgres::{SimpleQueryMessage, types::Type};
use uuid::Uuid;

use super::{
    Database, DatabaseSettings, Error, Refusal, Tenant, sealed::Authenticated, tx::Checkout,
};
use crate::{metrics::Metrics, postgres::Server, random::RowId};

/// Held while at work. Any number will do that is not the migrations'.
const ADVISORY_LOCK: i64 = 0x11ce_7001;

/// Background work. Made nowhere but here.
struct System;

impl Authenticated for System {}

/// The database, for background work.
#[derive(Clone, Debug)]
pub struct SystemDatabase(Database);

/// The right to be the one who works, of all processes of this database.
pub(crate) struct Turn(Checkout);

impl SystemDatabase {
    /// Makes a pool of two connections, one of which holds the turn; connects only when needed.
    ///
    /// # Errors
    /// A sentence, should the settings not make a pool.
    pub fn new(server: &Server, metrics: Arc<Metrics>) -> Result<Self, String> {
        let settings = DatabaseSettings {
            pool_size: 2,
            pool_wait: Duration::from_secs(5),
            // Nobody waits for it.
            statement_timeout: Duration::from_secs(60),
            ..DatabaseSettings::default()
        };
        Database::new(server, &settings, metrics).map(Self)
    }

    /// Asks for all that must hold before background work: a role that row-level security binds,
    /// that is licet_system's and not licet_app's, and the schema that this binary knows.
    ///
    /// # Errors
    /// [`Error`] when the database can't be asked; the inner result is its answer.
    pub async fn check(&self) -> Result<Result<(), Refusal>, Error> {
        self.0.check_system().await
    }

    /// Takes the turn; none when another process has it. It is a transaction's lock, so that a
    /// pooler may stand in between, of a transaction that holds nothing else. Should its connection
    /// be lost, two may be at work: each step is sound even then.
    pub(crate) async fn take_turn(&self) -> Result<Option<Turn>, Error> {
        let connection = Checkout::new(self.0.connection().await?, &self.0.kept);
        // One simple query: what the extended protocol leaves open after a statement would hold
        // back, for as long as the turn lasts, the clearing away of all that is updated meanwhile.
        let sql = format!(
            "BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0;
             SELECT pg_try_advisory_xact_lock({ADVISORY_LOCK})"
        );
        let messages = connection.client()?.simple_query(&sql).await?;
        let taken = messages.iter().any(
            |message| matches!(message, SimpleQueryMessage::Row(row) if row.get(0) == Some("t")),
        );
        let turn = Turn(connection);
        if taken {
            return Ok(Some(turn));
        }
        turn.end().await?;
        Ok(None)
    }

    /// One organization's part.
    pub(crate) fn tenant(&self, org: OrgId) -> Tenant {
        self.0.tenant_to_be(&System, org)
    }

    /// Licenses whose end has come and whose rows do not say so yet: those first that are longest
    /// past it.
    pub(crate) async fn due_licenses(&self, limit: i64) -> Result<Vec<(OrgId, LicenseId)>, Error> {
        let connection = self.0.connection().await?;
        let rows = connection
            .query_typed(
                "SELECT org_id, id FROM licet.licenses
                 WHERE status = 'ACTIVE' AND expires_at <= now() ORDER BY expires_at LIMIT $1",
                &[(&limit, Type::INT8)],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok((
                    OrgId::from_uuid(row.try_get(0)?),
                    LicenseId::from_uuid(row.try_get(1)?),
                ))
            })
            .collect()
    }

    /// Organizations in the order of their ids, after one.
    pub(crate) async fn organizations(
        &self,
        after: Option<OrgId>,
        limit: i64,
    ) -> Result<Vec<OrgId>, Error> {
        let connection = self.0.connection().await?;
        let rows = connection
            .query_typed(
                "SELECT org_id FROM licet.organizations
                 WHERE $1::uuid IS NULL OR org_id > $1 ORDER BY org_id LIMIT $2",
                &[(&after.map(RowId::uuid), Type::UUID), (&limit, Type::INT8)],
            )
            .await?;
        rows.iter()
            .map(|row| Ok(OrgId::from_uuid(row.try_get::<_, Uuid>(0)?)))
            .collect()
    }
}

impl Turn {
    /// Lets others have it. Dropping it does so as well, by closing its connection.
    pub(crate) async fn end(self) -> Result<(), Error> {
        self.0.client()?.batch_execute("ROLLBACK").await?;
        self.0.give_back();
        Ok(())
    }
}
