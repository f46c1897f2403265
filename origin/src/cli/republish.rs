//! `republish`.

use clap::Args;
use serde_json::json;

use super::{
    CliError, DatabaseArgs,
    operator::{ORIGIN, Operator},
    print_json,
    whose::Whose,
};
use crate::licensing::republish::republish;

/// Options of `republish`.
#[derive(Debug, Args)]
pub(super) struct Republish {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    whose: Whose,
}

impl Republish {
    pub(super) async fn run(&self) -> Result<(), CliError> {
        let operator = Operator::connect(&self.database).await?;
        let slugs = self.whose.slugs().await?;
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
}
