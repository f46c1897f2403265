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
    operation::Verb::{Get, Patch},
};
use crate::{
    accounts::permissions::Permission::{OrgRead, OrgWrite},
    db::{
        audit,
        organizations::{self, Plan, Profile},
    },
    http::HandlerError,
};

const PATH: &str = "/api/v1/organization";
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
    quotas: Quotas,
    /// Whatever the organization keeps here.
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    settings: Map<String, Value>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// What the plan allows.
#[derive(Debug, Serialize, ToSchema)]
struct Quotas {
    max_users: i32,
    max_projects: i32,
    max_licenses: i32,
}

fn view(id: OrgId, profile: Profile) -> OrganizationView {
    let Profile {
        max_users,
        max_projects,
        max_licenses,
        ..
    } = profile;
    OrganizationView {
        id,
        slug: profile.slug,
        tag: profile.tag,
        name: profile.name,
        plan: profile.plan,
        quotas: Quotas {
            max_users,
            max_projects,
            max_licenses,
        },
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
    #[schema(min_length = 1, max_length = 200)]
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
        .run_tx("read_organization", |tx| {
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
