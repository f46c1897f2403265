//! `republish`.

use clap::Args;
use serde_json::json;

use super::{
    CliError, DatabaseArgs, admin_server,
    operator::{ORIGIN, Operator},
    print_json,
};
use crate::{config::Secret, db::all_slugs, licensing::republish::republish};

/// Options of `republish`.
#[derive(Debug, Args)]
pub(super) struct Republish {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    whose: Whose,
    /// Postgres URL of the role that migrates, for --all: no other may list the organizations
    #[arg(
        long,
        env = "LICET_ADMIN_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    admin_database_url: Option<Secret>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Whose {
    /// The organization's slug
    #[arg(long, value_name = "SLUG")]
    org: Option<String>,
    /// Every organization, each in a transaction of its own
    #[arg(long)]
    all: bool,
}

impl Republish {
    pub(super) async fn run(&self) -> Result<(), CliError> {
        let operator = Operator::connect(&self.database).await?;
        let slugs = match &self.whose.org {
            Some(slug) => vec![slug.clone()],
            None => self.every_slug().await?,
        };
        let mut done = Vec::with_capacity(slugs.len());
        for slug in &slugs {
            let tenant = operator.for_org(slug).await?;
            let republished = tenant
                .run_tx("republish", |tx| Box::pin(republish(tx, ORIGIN)))
                .await
                .map_err(|error| {
                    CliError::Failed(format!(
                        "{} of {} organizations are done, {slug:?} is not: {error}",
                        done.len(),
                        slugs.len()
                    ))
                })?;
            done.push(json!({ "org": slug, "republished": republished }));
        }
        print_json(&done)
    }

    async fn every_slug(&self) -> Result<Vec<String>, CliError> {
        let server = admin_server(self.admin_database_url.as_ref())?;
        all_slugs(&server).await.map_err(CliError::of_admin)
    }
}
