//! `keys`: what operators do with organizations' signing keys.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{
    CliError, DatabaseArgs, MasterKeyArgs,
    operator::{ORIGIN, Operator},
    print_json,
    whose::Whose,
};
use crate::{
    db::{
        Tenant,
        signing_keys::{self, WithdrawnWhy},
    },
    keys::{
        Kid,
        rotation::{self, SigningKeyView},
    },
};

/// Options of `keys`.
#[derive(Debug, Args)]
pub(super) struct Keys {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    master_key: MasterKeyArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print an organization's keys, the newest first
    List(Org),
    /// Make a key and publish it. It signs nothing until it is activated
    Create(Org),
    /// Have a published key sign
    Activate(Activate),
    /// Take a key out of the key set that nothing needs any more
    Retire(Key),
    /// Take a compromised key out of the key set at once, with all that it has signed
    Withdraw(Withdraw),
    /// Seal all keys anew that are not under LICET_MASTER_KEY. Interrupted, it goes on when it is repeated
    Reseal(Whose),
}

#[derive(Debug, Args)]
struct Org {
    /// The organization's slug
    #[arg(long, value_name = "SLUG")]
    org: String,
}

#[derive(Debug, Args)]
struct Key {
    #[command(flatten)]
    org: Org,
    /// The key, such as 7K3M9QXR.2
    #[arg(value_name = "KID")]
    kid: Kid,
}

#[derive(Debug, Args)]
struct Activate {
    #[command(flatten)]
    key: Key,
    /// Also where edges can't all know it yet
    #[arg(long)]
    emergency: bool,
}

#[derive(Debug, Args)]
struct Withdraw {
    #[command(flatten)]
    key: Key,
    /// Why
    #[arg(long, value_enum, value_name = "REASON")]
    reason: Reason,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Reason {
    /// Somebody else has the private key
    KeyCompromise,
    /// Somebody else may have it
    SuspectedCompromise,
    /// Another
    Unspecified,
}

impl From<Reason> for WithdrawnWhy {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::KeyCompromise => Self::KeyCompromise,
            Reason::SuspectedCompromise => Self::SuspectedCompromise,
            Reason::Unspecified => Self::Unspecified,
        }
    }
}

impl Keys {
    pub(super) async fn run(&self) -> Result<(), CliError> {
        let view = match &self.command {
            Command::List(org) => return self.list(org).await,
            Command::Reseal(whose) => return self.reseal(whose).await,
            Command::Create(org) => {
                let vault = &self.master_key.vault()?;
                let tenant = self.tenant(org).await?;
                let created = tenant.run_tx("create_signing_key", |tx| {
                    Box::pin(rotation::publish(tx, vault, ORIGIN))
                });
                created.await?
            }
            Command::Activate(Activate { key, emergency }) => {
                let tenant = self.tenant(&key.org).await?;
                let activated = tenant.run_tx("activate_signing_key", |tx| {
                    Box::pin(rotation::activate(tx, key.kid, *emergency, ORIGIN))
                });
                activated.await?
            }
            Command::Retire(key) => {
                let tenant = self.tenant(&key.org).await?;
                let retired = tenant.run_tx("retire_signing_key", |tx| {
                    Box::pin(rotation::retire(tx, key.kid, ORIGIN))
                });
                retired.await?
            }
            Command::Withdraw(Withdraw { key, reason }) => {
                let vault = &self.master_key.vault()?;
                let tenant = self.tenant(&key.org).await?;
                let (kid, why) = (key.kid, (*reason).into());
                let withdrawn = tenant.run_tx("withdraw_signing_key", |tx| {
                    Box::pin(rotation::withdraw(tx, vault, kid, why, ORIGIN))
                });
                withdrawn.await?
            }
        };
        print_json(&view)
    }

    async fn tenant(&self, org: &Org) -> Result<Tenant, CliError> {
        Operator::connect(&self.database)
            .await?
            .for_org(&org.org)
            .await
    }

    async fn list(&self, org: &Org) -> Result<(), CliError> {
        let tenant = self.tenant(org).await?;
        let (tag, keys) = tenant
            .run_pipelined("list_signing_keys", |tx| {
                Box::pin(async move {
                    let keys = signing_keys::list(tx, None, i64::from(i32::MAX));
                    futures_util::future::try_join(rotation::tag(tx), keys).await
                })
            })
            .await?;
        let keys: Vec<_> = keys
            .iter()
            .map(|key| SigningKeyView::new(tag, key))
            .collect();
        print_json(&keys)
    }

    /// One organization at a time: each is done or not, and done again it is left alone.
    async fn reseal(&self, whose: &Whose) -> Result<(), CliError> {
        let vault = &self.master_key.vault()?;
        let operator = Operator::connect(&self.database).await?;
        let slugs = whose.slugs().await?;
        let (mut keys, mut organizations) = (0, 0_u64);
        for (done, slug) in slugs.iter().enumerate() {
            let tenant = operator.for_org(slug).await?;
            let resealed = tenant
                .run_tx("reseal", |tx| Box::pin(rotation::reseal(tx, vault, ORIGIN)))
                .await
                .map_err(|error| {
                    CliError::Failed(format!(
                        "{done} of {} organizations are done, {slug:?} is not: {error}. Run it again when that is mended: it goes on",
                        slugs.len()
                    ))
                })?;
            keys += resealed;
            organizations += u64::from(resealed > 0);
        }
        print_json(&json!({
            "looked_at": slugs.len(), "organizations": organizations, "keys": keys,
        }))
    }
}
