//! From the plan into the database.
//!
//! By COPY, straight into the tables: constraints, foreign keys and unique keys hold as for any
//! other row, but Postgres takes no COPY from a role that row-level security binds. So this is the
//! one thing that acts as the migrating role, which must be a superuser or have BYPASSRLS.

use std::{
    collections::{HashMap, HashSet},
    io::{Cursor, IsTerminal},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::SinkExt;
use serde::Serialize;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_postgres::Client;
use uuid::Uuid;

use super::{
    Plan, Share,
    rows::Rows,
    tables::{Common, Made, TABLES},
};
use crate::{
    db::{Error, describe},
    migrations::MIGRATIONS,
    postgres::Server,
    random::RowId,
};

/// Licenses after which a transaction ends: with the organization that they are of.
const BATCH: u32 = 10_000;
/// Bytes sent at once.
const CHUNK: usize = 256 * 1024;
/// Held while loading, so that nobody else does. Any number will do.
const ADVISORY_LOCK: i64 = 0x11ce_7001;
/// Organizations of others that a refusal looks for.
const FOREIGN: i64 = 1_000_000;

/// What became of it.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    /// Organizations made now, and those that an earlier run had made.
    pub(crate) made: usize,
    pub(crate) found: usize,
    pub(crate) rows: u64,
    pub(crate) seconds: f64,
}

/// A connection that may load.
pub(crate) struct Loader {
    client: Client,
    connection: JoinHandle<()>,
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn failed(what: &str) -> impl FnOnce(tokio_postgres::Error) -> String {
    move |error| format!("can't {what}: {}", describe(&error))
}

impl Loader {
    /// Connects.
    pub(crate) async fn connect(server: &Server) -> Result<Self, Error> {
        let connected = server.connect("licet-origin seed").await;
        let (client, connection) = connected.map_err(Error::of_connecting)?;
        let connection = tokio::spawn(async move {
            // Its error reaches us through the statement that fails.
            drop(connection.await);
        });
        Ok(Self { client, connection })
    }

    /// Refuses a role or a schema that won't do.
    pub(crate) async fn check(&self) -> Result<(), String> {
        let row = self
            .client
            .query_typed_one(
                "SELECT rolsuper OR rolbypassrls, rolname::text,
                     to_regclass('licet.schema_migrations') IS NOT NULL
                 FROM pg_catalog.pg_roles WHERE rolname = current_user",
                &[],
            )
            .await
            .map_err(failed("ask for the role's rights"))?;
        if !row.get::<_, bool>(0) {
            return Err(format!(
                "the database role {} is bound by row-level security, under which Postgres takes no COPY: \
                 give --admin-database-url of a superuser, or of a role with BYPASSRLS",
                row.get::<_, &str>(1)
            ));
        }
        let mut applied: i64 = 0;
        if row.get(2) {
            let sql = "SELECT count(*) FROM licet.schema_migrations";
            let row = self.client.query_typed_one(sql, &[]).await;
            applied = row.map_err(failed("read the schema's version"))?.get(0);
        }
        if usize::try_from(applied) != Ok(MIGRATIONS.len()) {
            return Err(format!(
                "the database has {applied} of the {} migrations of this binary: run licet-origin migrate",
                MIGRATIONS.len()
            ));
        }
        Ok(())
    }

    /// Makes what of the plan is not there yet. After an interruption the next run goes on.
    pub(crate) async fn load(mut self, plan: Plan, common: Common) -> Result<Outcome, String> {
        let started = Instant::now();
        // Whether all of it outlives a crash of the server matters to nobody.
        self.client
            .batch_execute(&format!(
                "SET synchronous_commit = off; SELECT pg_catalog.pg_advisory_lock({ADVISORY_LOCK})"
            ))
            .await
            .map_err(failed("prepare the session"))?;
        let shares = plan.shares();
        let there = self.there(&plan, &shares).await?;
        let missing: Vec<Share> = shares
            .into_iter()
            .filter(|share| !there.contains(&share.number))
            .collect();
        let mut outcome = Outcome {
            made: missing.len(),
            found: there.len(),
            rows: 0,
            seconds: 0.0,
        };
        let mut progress = Progress::of(&missing);
        let mut batches = encode(plan, missing, common);
        while let Some(batch) = batches.recv().await {
            let batch = batch?;
            outcome.rows += self.copy(&batch).await?;
            progress.advance(batch.licenses, outcome.rows);
        }
        if outcome.made > 0 {
            progress.say("vacuuming and analyzing");
            self.settle().await?;
        }
        outcome.seconds = (started.elapsed().as_secs_f64() * 10.0).round() / 10.0;
        Ok(outcome)
    }

    /// Numbers of the plan's organizations that are there.
    ///
    /// # Errors
    /// When there are others: this is no database to fill with made-up data.
    async fn there(&self, plan: &Plan, shares: &[Share]) -> Result<HashSet<u32>, String> {
        let planned: HashMap<Uuid, u32> = shares
            .iter()
            .map(|share| (plan.org(*share).id.uuid(), share.number))
            .collect();
        let rows = self
            .client
            .query_typed(
                &format!("SELECT org_id FROM licet.org_directory LIMIT {FOREIGN}"),
                &[],
            )
            .await
            .map_err(failed("look for organizations"))?;
        let there: HashSet<u32> = rows
            .iter()
            .filter_map(|row| planned.get(&row.get::<_, Uuid>(0)).copied())
            .collect();
        match rows.len() - there.len() {
            0 => Ok(there),
            others => Err(format!(
                "the database has {others} organizations that are not of this plan: use a new one, \
                 or the numbers that it was filled with"
            )),
        }
    }

    /// One transaction: organizations are there with all that is theirs, or not at all.
    async fn copy(&mut self, batch: &Batch) -> Result<u64, String> {
        let what = "fill the tables";
        let tx = self.client.transaction().await.map_err(failed(what))?;
        let mut rows = 0;
        for (sql, bytes) in &batch.tables {
            let sink = tx.copy_in::<_, Cursor<Vec<u8>>>(sql.as_str());
            let mut sink = Box::pin(sink.await.map_err(failed(sql))?);
            for chunk in bytes.chunks(CHUNK) {
                let chunk = Cursor::new(chunk.to_vec());
                sink.send(chunk).await.map_err(failed(sql))?;
            }
            rows += sink.as_mut().finish().await.map_err(failed(sql))?;
        }
        tx.commit().await.map_err(failed(what))?;
        Ok(rows)
    }

    /// Gives the planner statistics, and index scans their visibility map.
    async fn settle(&self) -> Result<(), String> {
        for table in TABLES {
            let sql = format!("VACUUM (ANALYZE) licet.{}", table.name);
            self.client
                .batch_execute(&sql)
                .await
                .map_err(failed("vacuum"))?;
        }
        Ok(())
    }
}

/// Some organizations, ready to be sent.
struct Batch {
    licenses: u32,
    tables: Vec<(String, Vec<u8>)>,
}

/// Makes one batch while the one before is being sent.
fn encode(plan: Plan, shares: Vec<Share>, common: Common) -> mpsc::Receiver<Result<Batch, String>> {
    let (sender, receiver) = mpsc::channel(1);
    let common = Arc::new(common);
    tokio::task::spawn_blocking(move || {
        let mut shares = shares.into_iter().peekable();
        while shares.peek().is_some() {
            let mut some = Vec::new();
            let mut licenses = 0;
            while licenses < BATCH
                && let Some(share) = shares.next()
            {
                licenses += share.licenses;
                some.push(Made::new(plan.org(share)));
            }
            let batch = encode_batch(&some, &common, licenses);
            // Nobody listens any more once something has failed.
            if sender.blocking_send(batch).is_err() {
                return;
            }
        }
    });
    receiver
}

fn encode_batch(some: &[Made], common: &Common, licenses: u32) -> Result<Batch, String> {
    let mut tables = Vec::with_capacity(TABLES.len());
    for table in TABLES {
        let columns = i16::try_from(table.columns.len()).map_err(|error| error.to_string())?;
        let mut rows = Rows::new(columns);
        for made in some {
            (table.fill)(made, common, &mut rows).map_err(|fault| fault.to_string())?;
        }
        let sql = format!(
            "COPY licet.{} ({}) FROM STDIN (FORMAT binary)",
            table.name,
            table.columns.join(", ")
        );
        tables.push((sql, rows.finish()));
    }
    Ok(Batch { licenses, tables })
}

/// How far it is, on stderr, about once a second.
struct Progress {
    started: Instant,
    said: Instant,
    done: u64,
    all: u64,
}

impl Progress {
    fn of(shares: &[Share]) -> Self {
        Self {
            started: Instant::now(),
            said: Instant::now(),
            done: 0,
            all: shares.iter().map(|share| u64::from(share.licenses)).sum(),
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "for people to read")]
    fn advance(&mut self, licenses: u32, rows: u64) {
        self.done += u64::from(licenses);
        if self.said.elapsed() < Duration::from_secs(1) && self.done < self.all {
            return;
        }
        self.said = Instant::now();
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        let left = seconds * (self.all - self.done) as f64 / self.done.max(1) as f64;
        self.say(&format!(
            "{} of {} licenses, {rows} rows, {:.0} rows/s, {left:.0} s left",
            self.done,
            self.all,
            rows as f64 / seconds
        ));
    }

    /// Over the line before, where there is somebody to look.
    fn say(&self, text: &str) {
        if std::io::stderr().is_terminal() && self.done < self.all {
            eprint!("\r\x1b[K{text}");
        } else {
            eprintln!("{text}");
        }
    }
}
