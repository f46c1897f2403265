//! `/api/v1/organization`: the caller's own.

use licet_shared::{
    api::{Body, BodyError},
    id::{OrgId, OrgTag},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    Call, Operation, Reply, fields,
    operation::Verb::{Get, Patch, Post},
};
use crate::{
    accounts::{
        account,
        permissions::Permission::{OrgClose, OrgRead, OrgWrite},
    },
    db::{
        audit,
        organizations::{self, Plan, Profile, Quotas},
    },
    http::HandlerError,
    rejection::Rejection,
};

const PATH: &str = "/api/v1/organization";
const CLOSE: &str = "/api/v1/organization/close";
const SETTINGS_BYTES: usize = 8 * 1024;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(Get, PATH, OrgRead, |call| Box::pin(read(call)))
            .named("read_organization", "Read the organization")
            .gives::<OrganizationView>(),
        Operation::new(Patch, PATH, OrgWrite, |call| Box::pin(update(call)))
            .named("update_organization", "Change the organization")
            .detail("Slug and tag stay: they stand in logins, license keys and tokens.")
            .takes::<OrganizationChange>()
            .gives::<OrganizationView>()
            .conditional(),
        Operation::new(Post, CLOSE, OrgClose, |call| Box::pin(close(call)))
            .named("close_organization", "Close the organization's account")
            .detail("From the next call on, none of its people and API keys get in, the caller included. Licenses stay as they are: activated installations go on, and so do activations; revoke first what is to end. Only the service's operator can open the account again.")
            .takes::<Closing>(),
    ]
}

/// An organization.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Organization)]
struct OrganizationView {
    id: OrgId,
    slug: String,
    /// The first group of its license keys.
    tag: OrgTag,
    name: String,
    plan: Plan,
    /// What the plan allows.
    quotas: Quotas,
    /// Whatever the organization keeps here.
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    settings: Map<String, Value>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

fn view(id: OrgId, profile: Profile) -> OrganizationView {
    OrganizationView {
        id,
        slug: profile.slug,
        tag: profile.tag,
        name: profile.name,
        plan: profile.plan,
        quotas: profile.quotas,
        settings: profile.settings,
        created_at: profile.created_at,
        updated_at: profile.updated_at,
    }
}

/// What is to be different. What is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OrganizationChange {
    #[serde(default)]
    #[schema(value_type = Option<fields::Name>)]
    name: Option<String>,
    /// In place of the settings there are; at most 8 KiB as JSON and 8 levels deep.
    #[serde(default)]
    #[schema(value_type = Option<std::collections::BTreeMap<String, Value>>)]
    settings: Option<Map<String, Value>>,
}

impl Body for OrganizationChange {
    fn check(&self) -> Result<(), BodyError> {
        self.name
            .iter()
            .try_for_each(|name| fields::check_name("name", name))?;
        self.settings
            .iter()
            .try_for_each(|settings| fields::check_object("settings", settings, SETTINGS_BYTES))
    }
}

async fn read(call: Call) -> Result<Reply, HandlerError> {
    let profile = call
        .tenant()
        .run_pipelined("read_organization", |tx| {
            Box::pin(organizations::profile(tx))
        })
        .await?;
    show(call.tenant().org(), profile)
}

fn show(id: OrgId, profile: Profile) -> Result<Reply, HandlerError> {
    let version = profile.version;
    Ok(Reply::ok(&view(id, profile))?.version(version))
}

async fn update(call: Call) -> Result<Reply, HandlerError> {
    let wanted: OrganizationChange = call.json()?;
    let id = call.tenant().org();
    let if_match = call.if_match();
    let (call, wanted, if_match) = (&call, &wanted, &if_match);
    let changed = call.tenant().run_tx("update_organization", |tx| {
        Box::pin(async move {
            let before = organizations::lock_profile(tx).await?;
            if_match.check(before.version)?;
            let mut after = before.clone();
            after.name = wanted.name.clone().unwrap_or(after.name);
            after.settings = wanted.settings.clone().unwrap_or(after.settings);
            if (&after.name, &after.settings) == (&before.name, &before.settings) {
                return Ok(before);
            }
            after.version += 1;
            after.updated_at = call.now;
            organizations::update(tx, &after).await?;
            let event = audit::Event::new(call.origin(), "organization.updated")
                .before(&view(id, before))
                .after(&view(id, after.clone()));
            audit::write(tx, &id, &event).await?;
            Ok(after)
        })
    });
    show(id, changed.await?)
}

/// Says which organization it is that is closed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Closing {
    /// The organization's slug, so that nobody closes another than they mean.
    #[schema(example = "acme", max_length = 64)]
    slug: String,
}

impl Body for Closing {
    fn check(&self) -> Result<(), BodyError> {
        Ok(())
    }
}

async fn close(call: Call) -> Result<Reply, HandlerError> {
    let Closing { slug } = call.json()?;
    let (call, slug) = (&call, &slug);
    call.tenant()
        .run_tx("close_organization", |tx| {
            Box::pin(async move {
                let profile = organizations::lock_profile(tx).await?;
                if *slug != profile.slug {
                    return Err(Rejection::field("slug", "is not this organization's").into());
                }
                account::close(tx, profile, call.origin(), call.now).await
            })
        })
        .await?;
    Ok(Reply::no_content())
}
