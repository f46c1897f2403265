//! SQL as the serving role, as it would reach the tables if the origin had a hole.

use licet_origin::random::RowId;
use licet_shared::id::OrgId;
use tokio_postgres::{Client, NoTls, error::SqlState};

use super::TestDatabase;

/// Connects as a role.
pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

impl TestDatabase {
    /// Connects as `licet_app`.
    pub async fn app(&self) -> Client {
        connect(&self.app_url()).await
    }
}

/// The UUID of an id, as SQL has it.
pub fn uuid(id: impl RowId) -> String {
    id.uuid().to_string()
}

/// Begins a transaction of a tenant.
pub async fn begin(client: &Client, org: OrgId) {
    let sql = format!("BEGIN; SET LOCAL licet.org_id = '{}'", uuid(org));
    client.batch_execute(&sql).await.unwrap();
}

/// Every table with an `org_id`.
pub async fn tenant_tables(client: &Client) -> Vec<String> {
    let sql = "SELECT c.relname::text FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'org_id' AND NOT a.attisdropped
        WHERE c.relnamespace = 'licet'::regnamespace AND c.relkind IN ('r', 'p')
            AND c.relname NOT IN ('login_directory', 'org_directory', 'published')
        ORDER BY 1";
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

pub async fn count(client: &Client, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM licet.{table}");
    client.query_one(&sql, &[]).await.unwrap().get(0)
}

/// The code that a statement is refused with.
pub async fn refusal(client: &Client, sql: &str) -> SqlState {
    match client.batch_execute(sql).await {
        Ok(()) => panic!("this was allowed: {sql}"),
        Err(error) => error
            .code()
            .unwrap_or_else(|| panic!("{sql}: {error}"))
            .clone(),
    }
}
