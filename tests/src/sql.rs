//! Straight to the database, past the origin: to arrange what no command offers, and to check
//! what is really stored.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// One answered row: each column's text, or `None` for NULL.
pub type Row = Vec<Option<String>>;

/// A connection of one role. Blocking.
pub struct Sql {
    runtime: Runtime,
    client: Client,
}

impl Sql {
    /// Connects to a `postgres://…` URL.
    #[track_caller]
    pub fn connect(url: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let mut config: Config = url.parse().expect("a URL of Postgres");
        config.connect_timeout(Duration::from_secs(10));
        let client = runtime.block_on(async {
            let (client, connection) = config.connect(NoTls).await.expect("connect to Postgres");
            tokio::spawn(connection);
            client
        });
        Self { runtime, client }
    }

    /// Runs statements as text and hands back all rows; the server's message when one fails.
    pub fn try_rows(&self, sql: &str) -> Result<Vec<Row>, String> {
        let messages = self
            .runtime
            .block_on(self.client.simple_query(sql))
            .map_err(|error| match error.as_db_error() {
                Some(db) => format!("{}: {}", db.code().code(), db.message()),
                None => error.to_string(),
            })?;
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                let column = |i| row.get(i).map(str::to_owned);
                Some((0..row.len()).map(column).collect())
            }
            _ => None,
        });
        Ok(rows.collect())
    }

    /// As [`try_rows`](Self::try_rows), but a failure is the test's.
    #[track_caller]
    pub fn rows(&self, sql: &str) -> Vec<Row> {
        self.try_rows(sql)
            .unwrap_or_else(|error| panic!("{error}\nin: {sql}"))
    }

    /// The first column of all rows; NULL as an empty text.
    #[track_caller]
    pub fn column(&self, sql: &str) -> Vec<String> {
        let first = |row: Row| row.into_iter().next().flatten().unwrap_or_default();
        self.rows(sql).into_iter().map(first).collect()
    }

    /// The one number a query answers.
    #[track_caller]
    pub fn number(&self, sql: &str) -> i64 {
        let column = self.column(sql);
        match column.as_slice() {
            [one] => one
                .parse()
                .unwrap_or_else(|_| panic!("{one:?} from: {sql}")),
            other => panic!("{} rows from: {sql}", other.len()),
        }
    }

    /// Runs statements as a tenant: in one transaction with `licet.org_id` set for it alone.
    pub fn as_tenant(&self, org: uuid::Uuid, sql: &str) -> Result<Vec<Row>, String> {
        self.in_transaction(&format!("SET LOCAL licet.org_id = '{org}'"), sql)
    }

    /// Runs statements in one transaction after `first`; rolled back when one fails.
    pub fn in_transaction(&self, first: &str, sql: &str) -> Result<Vec<Row>, String> {
        let result = self.try_rows(&format!("BEGIN; {first}; {sql}; COMMIT"));
        if result.is_err() {
            self.try_rows("ROLLBACK").ok();
        }
        result
    }
}
