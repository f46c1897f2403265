//! `seed`: the demo organization, or with `--orgs` many.

mod bulk;

use clap::Args;
use licet_shared::id::{OrgId, OrgTag};
use serde_json::json;

use super::{
    CliError, DatabaseArgs, MasterKeyArgs,
    license::max_activations,
    operator::{ORIGIN, Operator},
    print_json,
};
use crate::{
    clock,
    db::{self, Tenant},
    keys::Vault,
    licensing::{
        demo,
        found::{Founding, found},
        issue::{Chosen, issue},
    },
    random::{self, RowId},
};

/// Options of `seed`.
#[derive(Debug, Args)]
pub(super) struct Seed {
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    master_key: MasterKeyArgs,
    /// The organization's slug
    #[arg(
        long,
        default_value = "demo",
        value_name = "SLUG",
        conflicts_with = "orgs"
    )]
    org: String,
    /// Devices that the new license may be active on; the policy says 5
    #[arg(long, value_name = "N", value_parser = max_activations(), conflicts_with = "orgs")]
    max_activations: Option<i32>,
    #[command(flatten)]
    bulk: bulk::Bulk,
}

impl Seed {
    pub(super) async fn run(&self) -> Result<(), CliError> {
        if let Some(plan) = self.bulk.plan()? {
            return self.bulk.run(plan, &self.master_key).await;
        }
        let vault = self.master_key.vault()?;
        let operator = Operator::connect(&self.database).await?;
        let tenant = self.org(&operator, &vault).await?;
        let chosen = &Chosen {
            max_activations: self.max_activations,
            ..Chosen::default()
        };
        let now = clock::now();
        let (organization, issued) = tenant
            .run_tx("seed", |tx| {
                Box::pin(async move {
                    demo::fill_catalogue(tx, ORIGIN, now).await?;
                    let organization = db::organizations::find(tx).await?;
                    let issued = issue(tx, demo::POLICY, chosen, ORIGIN, now).await?;
                    Ok((organization, issued))
                })
            })
            .await?;
        let (Some(organization), Some(issued)) = (organization, issued) else {
            return Err(CliError::Failed(
                "the demo organization vanished meanwhile".into(),
            ));
        };
        eprintln!(
            "issued a license in {:?} for {} devices",
            organization.slug, issued.max_activations
        );
        print_json(&json!({
            "org": { "id": tenant.org(), "slug": organization.slug, "tag": organization.tag },
            "product": demo::PRODUCT,
            "policy": demo::POLICY,
            "license": { "id": issued.id, "key": issued.key.reveal() },
        }))
    }

    async fn org(&self, operator: &Operator, vault: &Vault) -> Result<Tenant, CliError> {
        const ATTEMPTS: usize = 3;
        for _ in 0..ATTEMPTS {
            if let Some(tenant) = operator.find_org(&self.org).await? {
                return Ok(tenant);
            }
            let tenant = operator.org_to_be(OrgId::generate()?);
            let tag = OrgTag::new(random::bytes()?);
            let slug = &self.org;
            let created = tenant.run_tx("create_org", |tx| {
                Box::pin(async move {
                    let founding = Founding {
                        slug,
                        name: slug,
                        tag,
                    };
                    found(tx, vault, &founding, ORIGIN).await
                })
            });
            match created.await {
                Ok(true) => return Ok(tenant),
                // Another seed was faster, or the tag is taken: once more.
                Ok(false) => {}
                Err(error) if error.constraint() == Some("organizations_slug_form") => {
                    return Err(CliError::Failed(format!(
                        "{slug:?} is no slug: it must be 1 to 63 lower-case letters, digits and inner hyphens"
                    )));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(CliError::Failed(
            "no free tag was found for the organization: try again".into(),
        ))
    }
}
