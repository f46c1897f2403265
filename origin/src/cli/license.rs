//! `license`: what operators do without an account.

use clap::{Args, Subcommand, builder::RangedI64ValueParser};
use licet_shared::{id::LicenseId, time::Timestamp};
use serde_json::json;

use super::{
    CliError, DatabaseArgs, MasterKeyArgs,
    operator::{ORIGIN, Operator},
    print_json,
};
use crate::{
    clock,
    config::ConfigError,
    db::{Tenant, licenses},
    licensing::{
        change_status::{Change, Changed, change},
        issue::{Chosen, issue},
    },
};

/// The range that the table allows.
pub(super) fn max_activations() -> RangedI64ValueParser<i32> {
    clap::value_parser!(i32).range(1..=1_000_000)
}

/// Options of `license`.
#[derive(Debug, Args)]
pub(super) struct License {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    master_key: MasterKeyArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Issue a license under a policy. Its key is shown this once
    Issue(Issue),
    /// Stop a license for a time
    Suspend(Target),
    /// Put a suspended license in force again
    Reinstate(Target),
    /// End a license for good
    Revoke(Target),
    /// Print a license
    Show(Target),
}

#[derive(Debug, Args)]
struct Issue {
    /// The organization's slug
    #[arg(long, value_name = "SLUG")]
    org: String,
    /// The policy's name
    #[arg(long, value_name = "NAME")]
    policy: String,
    /// End of the license, such as 2027-01-31T00:00:00Z; the policy's duration says, if absent
    #[arg(long, value_name = "RFC3339")]
    expires_at: Option<Timestamp>,
    /// Devices that it may be active on; the policy says, if absent
    #[arg(long, value_name = "N", value_parser = max_activations())]
    max_activations: Option<i32>,
}

#[derive(Debug, Args)]
struct Target {
    /// The organization's slug
    #[arg(long, value_name = "SLUG")]
    org: String,
    /// The license's id
    #[arg(value_name = "LICENSE_ID")]
    id: LicenseId,
}

impl License {
    pub(super) async fn run(&self) -> Result<(), CliError> {
        if self.master_key.is_given() {
            self.master_key.keys()?;
        }
        let operator = Operator::connect(&self.database).await?;
        match &self.command {
            Command::Issue(command) => command.run(&operator).await,
            Command::Suspend(target) => target.change(&operator, Change::Suspend).await,
            Command::Reinstate(target) => target.change(&operator, Change::Reinstate).await,
            Command::Revoke(target) => target.change(&operator, Change::Revoke).await,
            Command::Show(target) => {
                let tenant = operator.for_org(&target.org).await?;
                target.show(&tenant).await
            }
        }
    }
}

impl Issue {
    async fn run(&self, operator: &Operator) -> Result<(), CliError> {
        let now = clock::now();
        if self.expires_at.is_some_and(|end| end <= now) {
            return Err(ConfigError::new("--expires-at", "lies in the past").into());
        }
        let tenant = operator.for_org(&self.org).await?;
        let chosen = &Chosen {
            max_activations: self.max_activations,
            expires_at: self.expires_at,
            ..Chosen::default()
        };
        let policy = self.policy.as_str();
        let issued = tenant
            .run_tx("issue_license", |tx| {
                Box::pin(issue(tx, policy, chosen, ORIGIN, now))
            })
            .await?
            .ok_or_else(|| CliError::Failed(format!("{:?} has no policy {policy:?}", self.org)))?;
        print_json(&json!({
            "id": issued.id,
            "key": issued.key.reveal(),
            "policy": policy,
            "max_activations": issued.max_activations,
            "expires_at": issued.expires_at,
        }))
    }
}

impl Target {
    async fn change(&self, operator: &Operator, what: Change) -> Result<(), CliError> {
        let tenant = operator.for_org(&self.org).await?;
        let id = self.id;
        let changed = tenant
            .run_tx("change_license", |tx| {
                Box::pin(change(tx, id, what, ORIGIN))
            })
            .await?;
        match changed {
            Changed::Done => self.show(&tenant).await,
            Changed::NotFound => Err(self.not_found()),
            Changed::Impossible(status) => Err(CliError::Failed(format!(
                "license {id} is {}, so this can't be done",
                status.as_str()
            ))),
        }
    }

    async fn show(&self, tenant: &Tenant) -> Result<(), CliError> {
        let id = self.id;
        let view = tenant
            .run_pipelined("show_license", |tx| Box::pin(licenses::view(tx, id)))
            .await?;
        print_json(&view.ok_or_else(|| self.not_found())?)
    }

    fn not_found(&self) -> CliError {
        CliError::Failed(format!("{:?} has no license {}", self.org, self.id))
    }
}
