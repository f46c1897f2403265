//! One moment of an organization, read at the reader's pace: for what is too much to be held.

use licet_shared::id::OrgId;
use postgres_protocol::escape::escape_literal;
use tokio_postgres::Row;

use super::{Error, Tenant, tx::Checkout};
use crate::random::RowId;

/// A transaction that sees the organization as it was when it first read, and changes nothing. It
/// has a connection of those that are set apart for this, so that however long it takes, nobody
/// waits for it. Dropping it ends it.
pub(crate) struct Snapshot {
    connection: Checkout,
    org: OrgId,
}

impl Tenant {
    /// Begins; none when all connections for this are in use.
    pub(crate) async fn snapshot(&self) -> Result<Option<Snapshot>, Error> {
        let Some(connection) = self.database.snapshot_connection().await? else {
            return Ok(None);
        };
        let connection = Checkout::new(connection, &self.database.kept);
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL licet.org_id = {};
             SET LOCAL timezone = 'UTC'; SET LOCAL idle_in_transaction_session_timeout = '60s'",
            escape_literal(&self.org().uuid().to_string())
        );
        connection.client()?.batch_execute(&begin).await?;
        Ok(Some(Snapshot {
            connection,
            org: self.org(),
        }))
    }
}

impl Snapshot {
    pub(crate) const fn org(&self) -> OrgId {
        self.org
    }

    /// Begins to read what a query gives. The server runs it bit by bit, as it is fetched.
    pub(crate) async fn open(&self, query: &str) -> Result<(), Error> {
        let sql = format!("DECLARE pages NO SCROLL CURSOR FOR {query}");
        Ok(self.connection.client()?.batch_execute(&sql).await?)
    }

    /// The next rows; none at the end.
    pub(crate) async fn fetch(&self) -> Result<Vec<Row>, Error> {
        let client = self.connection.client()?;
        Ok(client.query_typed("FETCH 100 FROM pages", &[]).await?)
    }

    /// Ends the query.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        let client = self.connection.client()?;
        Ok(client.batch_execute("CLOSE pages").await?)
    }

    /// Ends the transaction, and gives the connection back.
    pub(crate) async fn end(self) -> Result<(), Error> {
        self.connection.client()?.batch_execute("COMMIT").await?;
        self.connection.give_back();
        Ok(())
    }
}
