//! `seed --orgs N --licenses N`.

use clap::Args;
use zeroize::Zeroizing;

use super::super::{CliError, MasterKeyArgs, admin_server, print_json};
use crate::{
    accounts::passwords::PasswordPool,
    config::{ConfigError, Secret},
    generate::{Loader, PASSWORD, Plan, tables::Common},
    metrics::Metrics,
};

/// Options for made-up organizations in bulk.
#[derive(Debug, Args)]
pub(super) struct Bulk {
    /// Fill an empty database with this many made-up organizations, whose keys and passwords
    /// anybody can work out. An interrupted run goes on when it is repeated
    #[arg(long, value_name = "N", requires = "licenses", value_parser = clap::value_parser!(u32).range(1..=99_999))]
    orgs: Option<u32>,
    /// Licenses of all of them together; a few have most
    #[arg(long, value_name = "N", requires = "orgs", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    licenses: Option<u32>,
    /// Activations of all of them together; as many as licenses, if absent
    #[arg(long, value_name = "N", requires = "orgs", value_parser = clap::value_parser!(u32).range(0..=100_000_000))]
    activations: Option<u32>,
    /// The same number makes the same organizations, ids and keys
    #[arg(long, value_name = "N", default_value = "1", requires = "orgs")]
    seed: u64,
    /// Instead, print N licenses that can be activated, one from each organization in turn,
    /// with their keys and owners, as JSON lines
    #[arg(long, value_name = "N", requires = "orgs")]
    print_keys: Option<usize>,
    /// Print those of the organization with this number alone; 0 is the biggest
    #[arg(long, value_name = "NUMBER", requires = "print_keys")]
    of: Option<u32>,
    /// Postgres URL of a superuser, or of a role with BYPASSRLS
    #[arg(
        long,
        env = "LICET_ADMIN_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    admin_database_url: Option<Secret>,
}

impl Bulk {
    /// What is wanted, if anything.
    pub(super) fn plan(&self) -> Result<Option<Plan>, CliError> {
        let (Some(orgs), Some(licenses)) = (self.orgs, self.licenses) else {
            return Ok(None);
        };
        if licenses < orgs {
            let why = "is less than --orgs: each organization has a license";
            return Err(ConfigError::new("--licenses", why).into());
        }
        Ok(Some(Plan {
            seed: self.seed,
            orgs,
            licenses,
            activations: self.activations.unwrap_or(licenses),
        }))
    }

    pub(super) async fn run(&self, plan: Plan, master: &MasterKeyArgs) -> Result<(), CliError> {
        if let Some(count) = self.print_keys {
            return self.print_keys(plan, count);
        }
        let master = master.keys()?.sealing().clone();
        let server = admin_server(self.admin_database_url.as_ref())?;
        let loader = Loader::connect(&server).await.map_err(CliError::of_admin)?;
        loader.check().await.map_err(CliError::Failed)?;
        let pool = PasswordPool::new(1, 0, std::sync::Arc::new(Metrics::new()));
        // One for all: they are no secrets, and each takes its time.
        let password_hash = pool.hash(Zeroizing::new(PASSWORD.to_owned())).await?;
        let common = Common {
            master,
            password_hash,
        };
        let outcome = loader.load(plan, common).await.map_err(CliError::Failed)?;
        print_json(&serde_json::json!({ "plan": plan, "outcome": outcome }))
    }

    fn print_keys(&self, plan: Plan, count: usize) -> Result<(), CliError> {
        let orgs: Vec<_> = plan
            .shares()
            .into_iter()
            .filter(|share| self.of.is_none_or(|number| share.number == number))
            .map(|share| plan.org(share))
            .collect();
        let mut turns: Vec<_> = orgs.iter().map(|org| org.usable()).collect();
        let mut printed = 0;
        while printed < count && !turns.is_empty() {
            let mut rest = Vec::with_capacity(turns.len());
            for mut turn in turns {
                if printed < count
                    && let Some(usable) = turn.next()
                {
                    print_json(&usable)?;
                    printed += 1;
                    rest.push(turn);
                }
            }
            turns = rest;
        }
        Ok(())
    }
}
