//! Whose data an operator's command is about.

use clap::Args;

use super::{CliError, admin_server};
use crate::{config::Secret, db::all_slugs};

/// One organization, or all of them.
#[derive(Debug, Args)]
pub(super) struct Whose {
    #[command(flatten)]
    which: Which,
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
struct Which {
    /// The organization's slug
    #[arg(long, value_name = "SLUG")]
    org: Option<String>,
    /// Every organization, each in a transaction of its own
    #[arg(long)]
    all: bool,
}

impl Whose {
    /// The slugs of those organizations.
    ///
    /// # Errors
    /// [`CliError`] when they can't be listed.
    pub(super) async fn slugs(&self) -> Result<Vec<String>, CliError> {
        if let Some(slug) = &self.which.org {
            return Ok(vec![slug.clone()]);
        }
        let server = admin_server(self.admin_database_url.as_ref())?;
        all_slugs(&server).await.map_err(CliError::of_admin)
    }
}
