//! Transactions. The tenant is set by the statement that begins them, and that statement
//! travels together with the first ones of the work: a transaction of one statement takes two
//! round trips, or one where COMMIT needs no answers to wait for.

use std::{
    marker::PhantomData,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use deadpool_postgres::{Object, ObjectId};
use futures_util::future::{BoxFuture, join, join3};
use licet_shared::id::OrgId;
use postgres_protocol::escape::escape_literal;
use tokio_postgres::{
    Row, Statement,
    types::{ToSql, Type},
};
use uuid::Uuid;

use super::{
    Error, Tenant,
    error::is_of_connection,
    kept::{Kept, Wanted},
};
use crate::random::{self, RowId};

/// What a transaction's work hands back.
pub type Work<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// A statement's argument and its type: given, so that nothing is prepared or asked for first.
pub(crate) type Argument<'a> = (&'a (dyn ToSql + Sync), Type);

/// How often a transaction is begun before its conflict is the caller's.
const ATTEMPTS: u32 = 6;

/// An open transaction of one tenant. `'s` is the life of what the work borrows.
pub struct Tx<'s> {
    connection: Checkout,
    kept: Arc<Kept>,
    wanted: Mutex<Vec<Wanted>>,
    org: OrgId,
    failed: AtomicBool,
    /// COMMIT has been sent.
    ended: AtomicBool,
    borrows: PhantomData<&'s ()>,
}

impl Tx<'_> {
    /// The tenant, as every statement names it.
    #[must_use]
    pub fn org(&self) -> Uuid {
        self.org.uuid()
    }

    /// The tenant.
    #[must_use]
    pub const fn org_id(&self) -> OrgId {
        self.org
    }

    /// Runs a statement for its rows, planned anew for its arguments. Statements polled together travel together and run in the
    /// order in which they were first polled.
    ///
    /// # Errors
    /// [`Error::Statement`]. The transaction is lost with it, whatever the caller does then.
    pub async fn query(
        &self,
        sql: &'static str,
        arguments: &[Argument<'_>],
    ) -> Result<Vec<Row>, Error> {
        self.note(self.client()?.query_typed(sql, arguments).await)
    }

    /// Runs a statement for the one row that it may find. It is kept prepared, so it must be one
    /// whose plan does not depend on its arguments.
    ///
    /// # Errors
    /// [`Error::Statement`], also for a second row.
    pub async fn query_opt(
        &self,
        sql: &'static str,
        arguments: &[Argument<'_>],
    ) -> Result<Option<Row>, Error> {
        let client = self.client()?;
        self.note(match self.ready(sql, arguments)? {
            Some(statement) => client.query_opt(&statement, &values(arguments)).await,
            None => client.query_typed_opt(sql, arguments).await,
        })
    }

    /// Runs a statement for the number of rows that it touched. It is kept as well.
    ///
    /// # Errors
    /// [`Error::Statement`].
    pub async fn execute(
        &self,
        sql: &'static str,
        arguments: &[Argument<'_>],
    ) -> Result<u64, Error> {
        let client = self.client()?;
        self.note(match self.ready(sql, arguments)? {
            Some(statement) => client.execute(&statement, &values(arguments)).await,
            None => client.execute_typed(sql, arguments).await,
        })
    }

    /// The connection, while the transaction is open.
    fn client(&self) -> Result<&tokio_postgres::Client, Error> {
        if self.ended.load(Ordering::Relaxed) {
            return Err(Error::Ended);
        }
        self.connection.client()
    }

    /// The statement as the connection has it ready. If it has not, it may be prepared after the
    /// transaction.
    fn ready(
        &self,
        sql: &'static str,
        arguments: &[Argument<'_>],
    ) -> Result<Option<Statement>, Error> {
        let types = arguments.iter().map(|(_, kind)| kind.clone());
        match self.kept.find(self.connection.id()?, sql, types) {
            Ok(statement) => Ok(Some(statement)),
            Err(wanted) => {
                let mut all = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
                all.extend(wanted);
                Ok(None)
            }
        }
    }

    fn note<T>(&self, result: Result<T, tokio_postgres::Error>) -> Result<T, Error> {
        if result.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        Ok(result?)
    }
}

fn values<'a>(arguments: &[Argument<'a>]) -> Vec<&'a (dyn ToSql + Sync)> {
    arguments.iter().map(|(value, _)| *value).collect()
}

/// A connection that goes back to the pool only when its transaction is known to have ended.
/// Otherwise, as when the request was cancelled halfway, it is closed.
pub(super) struct Checkout {
    object: Option<Object>,
    kept: Arc<Kept>,
}

impl Checkout {
    pub(super) fn new(object: Object, kept: &Arc<Kept>) -> Self {
        Self {
            object: Some(object),
            kept: Arc::clone(kept),
        }
    }

    pub(super) fn client(&self) -> Result<&tokio_postgres::Client, Error> {
        match &self.object {
            Some(object) => Ok(object),
            None => Err(Error::NoConnection("it was given back".into())),
        }
    }

    fn id(&self) -> Result<ObjectId, Error> {
        match &self.object {
            Some(object) => Ok(Object::id(object)),
            None => Err(Error::NoConnection("it was given back".into())),
        }
    }

    /// Hands it to the pool.
    pub(super) fn give_back(self) {
        self.prepare_and_give_back(Vec::new());
    }

    /// The same, once it has prepared what is wanted. The caller does not wait.
    fn prepare_and_give_back(mut self, wanted: Vec<Wanted>) {
        let Some(object) = self.object.take() else {
            return;
        };
        if wanted.is_empty() {
            return drop(object);
        }
        let checkout = Self {
            object: Some(object),
            kept: Arc::clone(&self.kept),
        };
        tokio::spawn(async move {
            if let Some(object) = &checkout.object
                && checkout.kept.prepare(object, wanted).await
            {
                checkout.give_back();
            }
        });
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            self.kept.forget(Object::id(&object));
            drop(Object::take(object));
        }
    }
}

/// How an attempt ended, if not well.
pub(super) struct Failure {
    error: Error,
    /// COMMIT was sent and its answer never came: it may have happened.
    pub(super) in_doubt: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            error,
            in_doubt: false,
        }
    }
}

/// When COMMIT is sent.
#[derive(Clone, Copy)]
enum Commit {
    /// Once the work is done.
    Afterwards,
    /// Together with the work's statements.
    Along,
}

impl Tenant {
    /// Runs `work` in a transaction that sees this organization alone.
    ///
    /// `work` may run several times: after a serialization failure or a deadlock, or when the
    /// connection was lost before the end, everything is rolled back and begun again. So it must
    /// have no effect outside of the transaction. `name` labels the metrics.
    ///
    /// # Errors
    /// The last [`Error`] when it still fails after a few attempts. When the connection was lost
    /// during COMMIT the outcome is unknown, and nothing is tried again.
    pub async fn run_tx<'s, T, F>(&self, name: &'static str, work: F) -> Result<T, Error>
    where
        F: for<'a> Fn(&'a Tx<'s>) -> Work<'a, T> + Send + Sync,
        T: Send,
    {
        self.run(name, Commit::Afterwards, work).await
    }

    /// The same in one round trip, for work that sends all its statements before it waits for an
    /// answer: BEGIN, they and COMMIT travel together. A statement that fails still undoes all.
    /// The work must be such that it may as well happen twice: it is begun again also when the
    /// connection was lost during COMMIT.
    ///
    /// # Errors
    /// As [`run_tx`](Self::run_tx); [`Error::Ended`] when a statement came too late, in which case
    /// those before it have been committed.
    pub async fn run_pipelined<'s, T, F>(&self, name: &'static str, work: F) -> Result<T, Error>
    where
        F: for<'a> Fn(&'a Tx<'s>) -> Work<'a, T> + Send + Sync,
        T: Send,
    {
        self.run(name, Commit::Along, work).await
    }

    async fn run<'s, T, F>(&self, name: &'static str, commit: Commit, work: F) -> Result<T, Error>
    where
        F: for<'a> Fn(&'a Tx<'s>) -> Work<'a, T> + Send + Sync,
        T: Send,
    {
        let started = Instant::now();
        let mut attempt = 1;
        let result = loop {
            let failure = match self.attempt(commit, &work).await {
                Ok(value) => break Ok(value),
                Err(failure) => failure,
            };
            let again = failure.error.is_conflict()
                || (failure.error.is_disconnect() && !failure.in_doubt && attempt == 1);
            if !again || attempt == ATTEMPTS {
                break Err(failure.error);
            }
            self.database.metrics.tx_retried(name);
            tokio::time::sleep(pause(attempt)).await;
            attempt += 1;
        };
        // What the caller did wrong is no failure of ours.
        let well = matches!(result, Ok(_) | Err(Error::Rejected(_)));
        self.database
            .metrics
            .tx_ended(name, started.elapsed(), well);
        result
    }

    async fn attempt<'s, T, F>(&self, commit: Commit, work: &F) -> Result<T, Failure>
    where
        F: for<'a> Fn(&'a Tx<'s>) -> Work<'a, T>,
    {
        let connection = Checkout::new(self.database.connection().await?, &self.database.kept);
        let tx = Tx {
            connection,
            kept: Arc::clone(&self.database.kept),
            wanted: Mutex::default(),
            org: self.org(),
            failed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            borrows: PhantomData,
        };
        let begin = begin(self.org());
        let client = tx.connection.client()?;
        // Polled in this order, so BEGIN is written first and the work does not wait for it.
        let begun = client.batch_execute(&begin);
        let (begun, worked, committed) = match commit {
            Commit::Afterwards => {
                let (begun, worked) = join(begun, work(&tx)).await;
                (begun, worked, None)
            }
            Commit::Along => {
                let committed = async {
                    tx.ended.store(true, Ordering::Relaxed);
                    client.batch_execute("COMMIT").await
                };
                let (begun, worked, committed) = join3(begun, work(&tx), committed).await;
                (begun, worked, Some(committed))
            }
        };
        begun.map_err(Error::from)?;
        let failed = tx.failed.load(Ordering::Relaxed);
        let wanted = tx.wanted.into_inner();
        let wanted = wanted.unwrap_or_else(PoisonError::into_inner);
        let connection = tx.connection;
        match worked {
            Ok(value) if !failed => {
                match committed {
                    Some(committed) => committed.map_err(Error::from)?,
                    None => connection
                        .client()?
                        .batch_execute("COMMIT")
                        .await
                        .map_err(in_doubt)?,
                }
                connection.prepare_and_give_back(wanted);
                Ok(value)
            }
            worked => {
                let error = worked.err().unwrap_or(Error::Aborted);
                let ended = match committed {
                    Some(committed) => committed.is_ok(),
                    None => connection.client()?.batch_execute("ROLLBACK").await.is_ok(),
                };
                // Failing that the connection is closed, which rolls back as well. So is one
                // whose prepared statements no longer fit, as after a migration.
                if ended && !error.is_stale_statement() {
                    connection.give_back();
                }
                Err(error.into())
            }
        }
    }
}

/// A typed id, quoted: SET takes no parameters. `SET LOCAL` rather than `set_config()`, which
/// Citus does not hand on to its workers.
fn begin(org: OrgId) -> String {
    format!(
        "BEGIN; SET LOCAL licet.org_id = {}",
        escape_literal(&org.uuid().to_string())
    )
}

pub(super) fn in_doubt(error: tokio_postgres::Error) -> Failure {
    // An answer from the server, such as a serialization failure, leaves no doubt; one from a
    // pooler that the server is gone does.
    let in_doubt = error.code().is_none_or(is_of_connection);
    Failure {
        error: error.into(),
        in_doubt,
    }
}

/// Longer with each attempt, and different for each of those who collided.
fn pause(attempt: u32) -> Duration {
    let jitter = random::bytes::<1>().map_or(128, |[byte]| u64::from(byte));
    Duration::from_micros(u64::from(attempt) * (500 + jitter * 40))
}
