//! `organizations`, and the directory entry that makes one findable.

use std::{str::FromStr, time::SystemTime};

use licet_shared::{id::OrgTag, time::Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio_postgres::{
    Row,
    types::{Json, Type},
};
use utoipa::ToSchema;

use super::{Error, Tx};
use crate::{accounts::permissions::UnknownName, clock};

/// The version that follows another: one more, and at least the milliseconds since 1970. Edges
/// take no version below one they hold, and what a restore or a failover has lost counted lower
/// than this.
macro_rules! next_version {
    ($version:literal) => {
        concat!(
            "greatest(",
            $version,
            " + 1, (extract(epoch FROM now()) * 1000)::bigint)"
        )
    };
}
pub(super) use next_version;

/// How far changes have come for the statement that has this column (`licet.epoch()`, which would be
/// planned anew each time).
macro_rules! epoch {
    () => {
        "pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::bigint - 1"
    };
}
pub(super) use epoch;

/// An organization's own row.
#[derive(Clone, Debug)]
pub(crate) struct Organization {
    pub(crate) slug: String,
    pub(crate) tag: OrgTag,
    /// Version of its published key set.
    pub(crate) keys_version: u64,
    /// How far the feed had come when this was read.
    pub(crate) epoch: u64,
}

/// The tenant's own row; none while the organization is only being made.
pub(crate) async fn find(tx: &Tx<'_>) -> Result<Option<Organization>, Error> {
    let row = tx
        .query_opt(
            concat!(
                "SELECT slug, tag, keys_version, ",
                epoch!(),
                " FROM licet.organizations WHERE org_id = $1"
            ),
            &[(&tx.org(), Type::UUID)],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let tag: String = row.try_get(1)?;
    Ok(Some(Organization {
        slug: row.try_get(0)?,
        tag: tag.parse().map_err(|_| Error::Row("organizations.tag"))?,
        keys_version: version(row.try_get(2)?)?,
        epoch: version(row.try_get(3)?)?,
    }))
}

/// What an organization has subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Plan {
    /// At no charge.
    Free,
    /// Paid.
    Pro,
    /// Paid, by contract.
    Enterprise,
}

impl Plan {
    /// As it stands in tables and answers.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "FREE",
            Self::Pro => "PRO",
            Self::Enterprise => "ENTERPRISE",
        }
    }

    /// What comes with it, unless an operator says otherwise. FREE's are the table's defaults.
    pub(crate) const fn quotas(self) -> Quotas {
        match self {
            Self::Free => Quotas::new(5, 10, 1_000),
            Self::Pro => Quotas::new(50, 100, 50_000),
            Self::Enterprise => Quotas::new(10_000, 10_000, 10_000_000),
        }
    }

    pub(crate) fn from_column(text: &str) -> Result<Self, Error> {
        text.parse().map_err(|_| Error::Row("organizations.plan"))
    }
}

impl FromStr for Plan {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        [Self::Free, Self::Pro, Self::Enterprise]
            .into_iter()
            .find(|plan| plan.as_str() == text)
            .ok_or(UnknownName)
    }
}

/// How much an organization may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Quotas {
    pub(crate) max_users: i32,
    pub(crate) max_projects: i32,
    pub(crate) max_licenses: i32,
}

impl Quotas {
    const fn new(max_users: i32, max_projects: i32, max_licenses: i32) -> Self {
        Self {
            max_users,
            max_projects,
            max_licenses,
        }
    }
}

/// All that an organization may know of itself.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) slug: String,
    pub(crate) tag: OrgTag,
    pub(crate) name: String,
    pub(crate) plan: Plan,
    pub(crate) quotas: Quotas,
    pub(crate) settings: Map<String, Value>,
    pub(crate) version: i32,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    /// When it closed its account.
    pub(crate) closed_at: Option<Timestamp>,
}

macro_rules! profile_columns {
    ($rest:literal) => {
        concat!(
            "SELECT slug, tag, name, plan, max_users, max_projects, max_licenses, settings, version,
                 created_at, updated_at, closed_at FROM licet.organizations WHERE org_id = $1",
            $rest
        )
    };
}

/// The tenant's profile.
pub(crate) async fn profile(tx: &Tx<'_>) -> Result<Profile, Error> {
    let row = tx
        .query_opt(profile_columns!(""), &[(&tx.org(), Type::UUID)])
        .await?;
    profile_of(&row.ok_or(Error::Row("organizations"))?)
}

/// The same, locked: what counts against its quotas is counted under this lock.
pub(crate) async fn lock_profile(tx: &Tx<'_>) -> Result<Profile, Error> {
    let sql = profile_columns!(" FOR NO KEY UPDATE");
    let row = tx.query_opt(sql, &[(&tx.org(), Type::UUID)]).await?;
    profile_of(&row.ok_or(Error::Row("organizations"))?)
}

fn profile_of(row: &Row) -> Result<Profile, Error> {
    let tag: &str = row.try_get(1)?;
    let Json(settings) = row.try_get(7)?;
    Ok(Profile {
        slug: row.try_get(0)?,
        tag: tag.parse().map_err(|_| Error::Row("organizations.tag"))?,
        name: row.try_get(2)?,
        plan: Plan::from_column(row.try_get(3)?)?,
        quotas: Quotas::new(row.try_get(4)?, row.try_get(5)?, row.try_get(6)?),
        settings,
        version: row.try_get(8)?,
        created_at: clock::timestamp(row.try_get(9)?),
        updated_at: clock::timestamp(row.try_get(10)?),
        closed_at: row
            .try_get::<_, Option<SystemTime>>(11)?
            .map(clock::timestamp),
    })
}

/// Writes all of it that can change as it now stands.
pub(crate) async fn update(tx: &Tx<'_>, profile: &Profile) -> Result<(), Error> {
    tx.execute(
        "UPDATE licet.organizations
         SET name = $2, settings = $3, version = $4, updated_at = $5, closed_at = $6, plan = $7,
             max_users = $8, max_projects = $9, max_licenses = $10
         WHERE org_id = $1",
        &[
            (&tx.org(), Type::UUID),
            (&profile.name, Type::TEXT),
            (&Json(&profile.settings), Type::JSONB),
            (&profile.version, Type::INT4),
            (&clock::system_time(profile.updated_at), Type::TIMESTAMPTZ),
            (
                &profile.closed_at.map(clock::system_time),
                Type::TIMESTAMPTZ,
            ),
            (&profile.plan.as_str(), Type::TEXT),
            (&profile.quotas.max_users, Type::INT4),
            (&profile.quotas.max_projects, Type::INT4),
            (&profile.quotas.max_licenses, Type::INT4),
        ],
    )
    .await?;
    Ok(())
}

/// Locks the tenant's row, so that whoever else means to change what the organization sells waits.
pub(crate) async fn lock(tx: &Tx<'_>) -> Result<(), Error> {
    tx.execute(
        "SELECT FROM licet.organizations WHERE org_id = $1 FOR NO KEY UPDATE",
        &[(&tx.org(), Type::UUID)],
    )
    .await?;
    Ok(())
}

/// Counts the version of the tenant's key set up, and tells it.
pub(crate) async fn raise_keys_version(tx: &Tx<'_>) -> Result<u64, Error> {
    let row = tx
        .query_opt(
            concat!(
                "WITH raised AS (UPDATE licet.organizations SET keys_version = ",
                next_version!("keys_version"),
                " WHERE org_id = $1 RETURNING keys_version)
                 SELECT keys_version, licet.note_published('KEYS', '', keys_version) FROM raised"
            ),
            &[(&tx.org(), Type::UUID)],
        )
        .await?
        .ok_or(Error::Row("organizations"))?;
    version(row.try_get(0)?)
}

/// Makes the tenant's row and enters it in the directory; false when tag or slug are taken.
pub(crate) async fn insert(
    tx: &Tx<'_>,
    slug: &str,
    tag: OrgTag,
    name: &str,
) -> Result<bool, Error> {
    let registered = tx
        .query_opt(
            "SELECT licet.register_org($1, $2)",
            &[(&tag.as_str(), Type::TEXT), (&slug, Type::TEXT)],
        )
        .await?;
    match registered {
        Some(row) if row.try_get(0)? => {}
        _ => return Ok(false),
    }
    tx.execute(
        concat!(
            "INSERT INTO licet.organizations (org_id, slug, tag, name, keys_version)
             VALUES ($1, $2, $3, $4, ",
            next_version!("0"),
            ")"
        ),
        &[
            (&tx.org(), Type::UUID),
            (&slug, Type::TEXT),
            (&tag.as_str(), Type::TEXT),
            (&name, Type::TEXT),
        ],
    )
    .await?;
    Ok(true)
}

/// A version as the database holds it.
pub(super) fn version(number: i64) -> Result<u64, Error> {
    u64::try_from(number).map_err(|_| Error::Row("a version"))
}

/// Version of the tenant's key set; none where there is no such organization.
pub(crate) async fn keys_version(tx: &Tx<'_>) -> Result<Option<u64>, Error> {
    Ok(find(tx)
        .await?
        .map(|organization| organization.keys_version))
}
