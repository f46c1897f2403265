//! `jobs`.

use std::sync::Arc;

use clap::{Args, Subcommand};

use super::{CliError, SYSTEM_DATABASE_URL, SystemDatabaseArgs, print_json, warn};
use crate::metrics::Metrics;

/// Options of `jobs`.
#[derive(Debug, Args)]
pub(super) struct Jobs {
    #[command(flatten)]
    database: SystemDatabaseArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Do everything that is due, once
    Run,
}

impl Jobs {
    pub(super) async fn run(&self) -> Result<(), CliError> {
        let Command::Run = &self.command;
        let server = self.database.server()?;
        warn(SYSTEM_DATABASE_URL, &server);
        let jobs = self
            .database
            .jobs(&server, Arc::new(Metrics::new()))
            .await?;
        print_json(&jobs.run().await?)
    }
}
