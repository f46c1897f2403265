//! `migrate`.

use clap::Args;

use super::{ADMIN_DATABASE_URL, CliError, admin_server, print_json};
use crate::{
    config::{ConfigError, Secret},
    migrations::{MigrateError, Migrator, Passwords},
};

/// Options of `migrate`.
#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// Postgres URL of a role that may create roles and the schema
    #[arg(
        long,
        env = "LICET_ADMIN_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    admin_database_url: Option<Secret>,
    /// Password to give to licet_app; without one it is left as it is
    #[arg(
        long,
        env = "LICET_APP_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD"
    )]
    app_password: Option<Secret>,
    /// Password to give to licet_system; without one it is left as it is
    #[arg(
        long,
        env = "LICET_SYSTEM_PASSWORD",
        hide_env_values = true,
        value_name = "PASSWORD"
    )]
    system_password: Option<Secret>,
    /// Take back the last N migrations, and the data in their tables with them
    #[arg(long, value_name = "N", conflicts_with = "status")]
    down: Option<usize>,
    /// Only print where the migrations stand
    #[arg(long)]
    status: bool,
}

impl Migrate {
    pub(super) async fn run(&self) -> Result<(), CliError> {
        let server = admin_server(self.admin_database_url.as_ref())?;
        let passwords = self.passwords()?;
        let mut migrator = Migrator::connect(&server)
            .await
            .map_err(|error| match error {
                MigrateError::Untrusted(why) => CliError::untrusted(ADMIN_DATABASE_URL, &why),
                error => CliError::failed(error),
            })?;
        if !self.status {
            let (verb, done) = match self.down {
                Some(count) => ("took back", migrator.down(count).await),
                None => ("applied", migrator.up(&passwords).await),
            };
            let done = done.map_err(CliError::failed)?;
            for migration in &done {
                eprintln!(
                    "{verb} migration {} ({})",
                    migration.version, migration.name
                );
            }
            if done.is_empty() {
                eprintln!("nothing to do");
            }
        }
        print_json(&migrator.status().await.map_err(CliError::failed)?)
    }

    fn passwords(&self) -> Result<Passwords, ConfigError> {
        let checked =
            |variable, password: &Option<Secret>| match password.as_ref().map(Secret::reveal) {
                Some("") => Err(ConfigError::new(
                    variable,
                    "is empty: unset it, or give a password",
                )),
                password => Ok(password.map(str::to_owned)),
            };
        Ok(Passwords {
            app: checked("LICET_APP_PASSWORD", &self.app_password)?,
            system: checked("LICET_SYSTEM_PASSWORD", &self.system_password)?,
        })
    }
}
