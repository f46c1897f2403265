//! Licenses as their vendor sees them.

use std::time::SystemTime;

use licet_shared::{
    documents::{FeatureOverrides, Tier},
    id::{FeatureSetId, LicenseId, PolicyId},
    time::Timestamp,
};
use serde_json::{Map, Value};
use tokio_postgres::{
    Row,
    types::{Json, Type},
};
use uuid::Uuid;

use super::{
    Error, Tx, grants,
    licenses::{self, LicenseStatus},
};
use crate::{
    clock::{self, system_time},
    random::RowId,
};

/// A license with what it was sold as and how it is used.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LicenseRecord {
    pub(crate) id: LicenseId,
    /// Expired from its end on, whatever its row says.
    pub(crate) status: LicenseStatus,
    pub(crate) status_since: Timestamp,
    pub(crate) policy: PolicyId,
    pub(crate) policy_name: String,
    pub(crate) tier: Tier,
    pub(crate) feature_set: FeatureSetId,
    pub(crate) products: Vec<String>,
    /// Values of its own, in place of the feature set's.
    pub(crate) features: FeatureOverrides,
    pub(crate) max_activations: i32,
    /// The number was chosen for this license, and is not its policy's.
    pub(crate) own_max_activations: bool,
    /// What the policy gives licenses that are issued now.
    pub(crate) policy_max_activations: i32,
    pub(crate) policy_duration_s: Option<i64>,
    pub(crate) live_activations: i64,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) version: i32,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "SELECT l.id, e.status, e.since, l.policy_id, p.name, p.tier, l.feature_set_id,
                 ARRAY(SELECT d.code FROM licet.license_products c
                       JOIN licet.products d ON d.org_id = c.org_id AND d.id = c.product_id
                       WHERE c.org_id = l.org_id AND c.license_id = l.id ORDER BY d.code),
                 l.max_activations,
                 (SELECT count(*) FROM licet.activations a WHERE a.org_id = l.org_id
                      AND a.license_id = l.id AND a.deactivated_at IS NULL),
                 l.expires_at, l.metadata, l.version, l.created_at, l.updated_at,
                 l.features, l.own_max_activations, p.max_activations, p.license_duration_s
             FROM licet.licenses l
             JOIN licet.policies p ON p.org_id = l.org_id AND p.id = l.policy_id
             CROSS JOIN LATERAL (SELECT
                 CASE WHEN l.status = 'ACTIVE' AND l.expires_at <= now() THEN 'EXPIRED'
                      ELSE l.status END,
                 CASE WHEN l.status = 'ACTIVE' AND l.expires_at <= now() THEN l.expires_at
                      ELSE l.status_since END) AS e (status, since) ",
            $rest
        )
    };
}

fn record(row: &Row) -> Result<LicenseRecord, Error> {
    let Json(metadata) = row.try_get(11)?;
    let Json(features) = row.try_get(15)?;
    Ok(LicenseRecord {
        id: LicenseId::from_uuid(row.try_get(0)?),
        status: LicenseStatus::from_column(row.try_get(1)?)?,
        status_since: clock::timestamp(row.try_get(2)?),
        policy: PolicyId::from_uuid(row.try_get(3)?),
        policy_name: row.try_get(4)?,
        tier: grants::tier(row.try_get(5)?)?,
        feature_set: FeatureSetId::from_uuid(row.try_get(6)?),
        products: row.try_get(7)?,
        features,
        max_activations: row.try_get(8)?,
        own_max_activations: row.try_get(16)?,
        policy_max_activations: row.try_get(17)?,
        policy_duration_s: row.try_get(18)?,
        live_activations: row.try_get(9)?,
        expires_at: row
            .try_get::<_, Option<SystemTime>>(10)?
            .map(clock::timestamp),
        metadata,
        version: row.try_get(12)?,
        created_at: clock::timestamp(row.try_get(13)?),
        updated_at: clock::timestamp(row.try_get(14)?),
    })
}

/// Those of these licenses that there are, in the order of their ids.
pub(crate) async fn find_all(tx: &Tx<'_>, ids: &[LicenseId]) -> Result<Vec<LicenseRecord>, Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = tx
        .query(
            columns!("WHERE l.org_id = $1 AND l.id = ANY ($2) ORDER BY l.id"),
            &[(&tx.org(), Type::UUID), (&ids, Type::UUID_ARRAY)],
        )
        .await?;
    rows.iter().map(record).collect()
}

pub(crate) async fn find(tx: &Tx<'_>, id: LicenseId) -> Result<Option<LicenseRecord>, Error> {
    Ok(find_all(tx, &[id]).await?.pop())
}

/// The license whose key has this hash.
pub(crate) async fn find_by_key(
    tx: &Tx<'_>,
    key_hash: &[u8; 32],
) -> Result<Option<LicenseRecord>, Error> {
    let row = tx
        .query_opt(
            columns!("WHERE l.org_id = $1 AND l.key_hash = $2"),
            &[(&tx.org(), Type::UUID), (&key_hash.as_slice(), Type::BYTEA)],
        )
        .await?;
    row.map(|row| record(&row)).transpose()
}

/// The same, locked. A statement of its own sees what those did who held the lock before.
pub(crate) async fn lock(tx: &Tx<'_>, id: LicenseId) -> Result<Option<LicenseRecord>, Error> {
    match licenses::lock_status(tx, id).await? {
        Some(_) => find(tx, id).await,
        None => Ok(None),
    }
}

/// What a list of licenses is filtered by.
pub(crate) struct LicenseFilter<'a> {
    pub(crate) status: Option<&'a str>,
    pub(crate) tier: Option<&'a str>,
    /// A code.
    pub(crate) product: Option<&'a str>,
    pub(crate) policy: Option<PolicyId>,
    pub(crate) feature_set: Option<FeatureSetId>,
    pub(crate) expiring_before: Option<Timestamp>,
    /// Stands in the metadata or the policy's name, in any case.
    pub(crate) text: Option<&'a str>,
}

/// Licenses, the newest first.
pub(crate) async fn list(
    tx: &Tx<'_>,
    filter: &LicenseFilter<'_>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<LicenseRecord>, Error> {
    let rows = tx
        .query(
            columns!(
                "WHERE l.org_id = $1 AND ($2::uuid IS NULL OR l.id < $2)
                     AND ($3::text IS NULL OR e.status = $3)
                     AND ($4::text IS NULL OR p.tier = $4)
                     AND ($5::text IS NULL OR EXISTS (SELECT FROM licet.license_products x
                         JOIN licet.products y ON y.org_id = x.org_id AND y.id = x.product_id
                         WHERE x.org_id = l.org_id AND x.license_id = l.id AND y.code = $5))
                     AND ($6::uuid IS NULL OR l.policy_id = $6)
                     AND ($7::timestamptz IS NULL OR l.expires_at < $7)
                     AND ($10::uuid IS NULL OR l.feature_set_id = $10)
                     AND ($8::text IS NULL OR strpos(lower(l.metadata::text), lower($8)) > 0
                          OR strpos(lower(p.name), lower($8)) > 0)
                 ORDER BY l.id DESC LIMIT $9"
            ),
            &[
                (&tx.org(), Type::UUID),
                (&before, Type::UUID),
                (&filter.status, Type::TEXT),
                (&filter.tier, Type::TEXT),
                (&filter.product, Type::TEXT),
                (&filter.policy.map(RowId::uuid), Type::UUID),
                (&filter.expiring_before.map(system_time), Type::TIMESTAMPTZ),
                (&filter.text, Type::TEXT),
                (&limit, Type::INT8),
                (&filter.feature_set.map(RowId::uuid), Type::UUID),
            ],
        )
        .await?;
    rows.iter().map(record).collect()
}

/// How many licenses count against the quota: all but the revoked ones. Exact only while the
/// organization's row is locked.
pub(crate) async fn count(tx: &Tx<'_>) -> Result<i64, Error> {
    let sql = "SELECT count(*) FROM licet.licenses WHERE org_id = $1 AND status <> 'REVOKED'";
    let row = tx.query_opt(sql, &[(&tx.org(), Type::UUID)]).await?;
    Ok(row.ok_or(Error::Row("licenses"))?.try_get(0)?)
}

/// Writes the terms of a license as they now stand, but for the products. A license that had ended,
/// and whose end is not there yet, is in force again. The license must be locked.
///
/// # Errors
/// Violates `licenses_features_size` when its features are too much.
pub(crate) async fn update(tx: &Tx<'_>, license: &LicenseRecord) -> Result<(), Error> {
    tx.execute(
        "UPDATE licet.licenses
         SET max_activations = $3, expires_at = $4, metadata = $5, version = $6, updated_at = $7,
             features = $8, own_max_activations = $9, policy_id = $10, feature_set_id = $11,
             status = CASE WHEN status = 'EXPIRED' AND ($4 IS NULL OR $4 > $7) THEN 'ACTIVE'
                           ELSE status END,
             status_since = CASE WHEN (status = 'EXPIRED' OR status = 'ACTIVE' AND expires_at <= $7)
                                     AND ($4 IS NULL OR $4 > $7) THEN $7 ELSE status_since END
         WHERE org_id = $1 AND id = $2",
        &[
            (&tx.org(), Type::UUID),
            (&license.id.uuid(), Type::UUID),
            (&license.max_activations, Type::INT4),
            (&license.expires_at.map(system_time), Type::TIMESTAMPTZ),
            (&Json(&license.metadata), Type::JSONB),
            (&license.version, Type::INT4),
            (&system_time(license.updated_at), Type::TIMESTAMPTZ),
            (&Json(&license.features), Type::JSONB),
            (&license.own_max_activations, Type::BOOL),
            (&license.policy.uuid(), Type::UUID),
            (&license.feature_set.uuid(), Type::UUID),
        ],
    )
    .await?;
    Ok(())
}
