//! `organization`: what only the service's operator may do with one.

use clap::{Args, Subcommand, builder::RangedI64ValueParser};
use serde_json::json;

use super::{
    CliError, DatabaseArgs,
    operator::{ORIGIN, Operator},
    print_json,
};
use crate::{
    accounts::account,
    clock,
    db::{
        Tx, Work,
        organizations::{self, Plan, Profile, Quotas},
    },
};

/// Options of `organization`.
#[derive(Debug, Args)]
pub(super) struct Organization {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print an organization: its plan, its quotas, whether its account is closed
    Show(Target),
    /// Put it on a plan, with the plan's quotas or others
    Plan(NewPlan),
    /// Close its account: its people and API keys get in no more; its licenses stay
    Close(Target),
    /// Open a closed account again
    Reopen(Target),
}

#[derive(Debug, Args)]
struct Target {
    /// The organization's slug
    #[arg(long, value_name = "SLUG")]
    org: String,
}

#[derive(Debug, Args)]
struct NewPlan {
    #[command(flatten)]
    target: Target,
    /// The plan: FREE, PRO or ENTERPRISE
    #[arg(value_name = "PLAN")]
    plan: Plan,
    /// People, if not as many as the plan says
    #[arg(long, value_name = "N", value_parser = positive())]
    max_users: Option<i32>,
    /// Projects, if not as many as the plan says
    #[arg(long, value_name = "N", value_parser = positive())]
    max_projects: Option<i32>,
    /// Licenses, if not as many as the plan says
    #[arg(long, value_name = "N", value_parser = positive())]
    max_licenses: Option<i32>,
}

fn positive() -> RangedI64ValueParser<i32> {
    clap::value_parser!(i32).range(1..)
}

impl NewPlan {
    fn quotas(&self) -> Quotas {
        let usual = self.plan.quotas();
        Quotas {
            max_users: self.max_users.unwrap_or(usual.max_users),
            max_projects: self.max_projects.unwrap_or(usual.max_projects),
            max_licenses: self.max_licenses.unwrap_or(usual.max_licenses),
        }
    }
}

impl Organization {
    pub(super) async fn run(&self) -> Result<(), CliError> {
        let operator = Operator::connect(&self.database).await?;
        let slug = match &self.command {
            Command::Show(target) | Command::Close(target) | Command::Reopen(target) => &target.org,
            Command::Plan(command) => &command.target.org,
        };
        let tenant = operator.for_org(slug).await?;
        let profile = tenant
            .run_tx("operate_organization", |tx| self.carry_out(tx))
            .await?;
        print_json(&json!({
            "id": tenant.org(),
            "slug": profile.slug,
            "tag": profile.tag,
            "name": profile.name,
            "plan": profile.plan,
            "quotas": profile.quotas,
            "created_at": profile.created_at,
            "closed_at": profile.closed_at,
        }))
    }

    /// Does what is to be done, and tells how the organization then is.
    fn carry_out<'a>(&'a self, tx: &'a Tx<'_>) -> Work<'a, Profile> {
        Box::pin(async move {
            let now = clock::now();
            let profile = organizations::lock_profile(tx).await?;
            match &self.command {
                Command::Show(_) => return Ok(profile),
                Command::Plan(new) => {
                    account::subscribe(tx, profile, new.plan, new.quotas(), ORIGIN, now).await?;
                }
                Command::Close(_) => account::close(tx, profile, ORIGIN, now).await?,
                Command::Reopen(_) => account::reopen(tx, profile, ORIGIN, now).await?,
            }
            organizations::profile(tx).await
        })
    }
}
