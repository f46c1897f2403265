//! Background work, as `licet_system`: licenses whose end has come, and what is outworn.
//!
//! Of all processes of one database one works at a time. Every step is a short transaction of one
//! tenant that checks anew under its locks, so a run may end anywhere and the next goes on.

mod expiry;
pub mod retention;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    db::{Error, SystemDatabase},
    licensing::Origin,
    metrics::Metrics,
};

/// How often the outworn is looked for, at most: each time all organizations are walked.
const RETENTION_EVERY: Duration = Duration::from_secs(3600);

/// As the audit trail names it.
const ORIGIN: Origin<'static> = Origin {
    actor: "system",
    request_id: None,
};

/// What a run did.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Another process is at work, so nothing was done.
    pub busy: bool,
    /// Rows that each job changed or deleted.
    pub rows: BTreeMap<&'static str, u64>,
}

/// The jobs and what they work on.
#[derive(Clone)]
pub struct Jobs {
    database: SystemDatabase,
    metrics: Arc<Metrics>,
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jobs(…)")
    }
}

impl Jobs {
    /// Puts the parts together.
    #[must_use]
    pub const fn new(database: SystemDatabase, metrics: Arc<Metrics>) -> Self {
        Self { database, metrics }
    }

    /// Runs every job once.
    ///
    /// # Errors
    /// The first [`Error`]; what was done before it stays.
    pub async fn run(&self) -> Result<Report, Error> {
        self.run_some(true).await
    }

    async fn run_some(&self, retention: bool) -> Result<Report, Error> {
        let mut report = Report::default();
        let Some(turn) = self.database.take_turn().await? else {
            report.busy = true;
            return Ok(report);
        };
        let done = self.work(retention, &mut report).await;
        turn.end().await?;
        for (job, rows) in &report.rows {
            self.metrics.job_done(job, *rows);
        }
        done.map(|()| report)
    }

    async fn work(&self, retention: bool, report: &mut Report) -> Result<(), Error> {
        expiry::run(&self.database, report).await?;
        if retention {
            retention::run(&self.database, report).await?;
        }
        Ok(())
    }

    /// Runs the jobs again and again, until it is dropped.
    pub async fn repeat(self, every: Duration) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut outworn_looked_for: Option<Instant> = None;
        loop {
            ticks.tick().await;
            let retention = outworn_looked_for.is_none_or(|time| time.elapsed() >= RETENTION_EVERY);
            let started = Instant::now();
            let done = self.run_some(retention).await;
            let time_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.metrics.job_run_ended(done.is_ok());
            match done {
                Ok(report) => {
                    if retention && !report.busy {
                        outworn_looked_for = Some(started);
                    }
                    let rows = serde_json::to_string(&report.rows).unwrap_or_default();
                    tracing::info!(busy = report.busy, rows, time_ms, "background work");
                }
                Err(error) => tracing::warn!(%error, time_ms, "background work failed"),
            }
        }
    }
}

impl Report {
    fn add(&mut self, job: &'static str, rows: u64) {
        *self.rows.entry(job).or_default() += rows;
    }
}
