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
    licensing::terms::Terms,
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
    /// Its own, over the policy's.
    pub(crate) terms: Terms,
    pub(crate) policy_terms: Terms,
    pub(crate) live_activations: i64,
    pub(crate) expires_at: Option<Timestamp>,
    /// How long it will count from its start, which is to come.
    pub(crate) pending_duration_s: Option<i64>,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) version: i32,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

impl LicenseRecord {
    /// Those that count: its own, over its policy's.
    pub(crate) fn effective_terms(&self) -> Terms {
        self.terms.over(&self.policy_terms)
    }

    /// The most devices that it may be active on, those over its number included; none where any
    /// number may.
    pub(crate) fn device_limit(&self) -> Option<i64> {
        self.effective_terms()
            .device_limit(self.max_activations.into())
    }
}

fn record(row: &Row) -> Result<LicenseRecord, Error> {
    let Json(metadata) = row.try_get(11)?;
    let Json(features) = row.try_get(15)?;
    let Json(terms) = row.try_get(19)?;
    let Json(policy_terms) = row.try_get(20)?;
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
        terms,
        policy_terms,
        live_activations: row.try_get(9)?,
        expires_at: row
            .try_get::<_, Option<SystemTime>>(10)?
            .map(clock::timestamp),
        pending_duration_s: row.try_get(21)?,
        metadata,
        version: row.try_get(12)?,
        created_at: clock::timestamp(row.try_get(13)?),
        updated_at: clock::timestamp(row.try_get(14)?),
    })
}

macro_rules! columns {
    ($from:literal, $rest:literal) => {
        concat!(
            "SELECT l.id, e.status, e.since, l.policy_id, p.name, p.tier, l.feature_set_id,
                 ARRAY(SELECT d.code FROM licet.license_products c
                       JOIN licet.products d ON d.org_id = c.org_id AND d.id = c.product_id
                       WHERE c.org_id = l.org_id AND c.license_id = l.id ORDER BY d.code),
                 l.max_activations,
                 (SELECT count(*) FROM licet.activations a WHERE a.org_id = l.org_id
                      AND a.license_id = l.id AND a.deactivated_at IS NULL),
                 l.expires_at, l.metadata, l.version, l.created_at, l.updated_at,
                 l.features, l.own_max_activations, p.max_activations, p.license_duration_s,
                 l.terms, p.terms, l.pending_duration_s
             FROM ",
            $from,
            " JOIN licet.policies p ON p.org_id = l.org_id AND p.id = l.policy_id
             CROSS JOIN LATERAL (SELECT
                 CASE WHEN l.status = 'ACTIVE' AND l.expires_at <= now() THEN 'EXPIRED'
                      ELSE l.status END,
                 CASE WHEN l.status = 'ACTIVE' AND l.expires_at <= now() THEN l.expires_at
                      ELSE l.status_since END) AS e (status, since) ",
            $rest
        )
    };
}

/// Those of these licenses that there are, in the order of their ids. Begins with the ids, which
/// the planner sees, so that it looks each up instead of walking all licenses in their order.
pub(crate) async fn find_all(tx: &Tx<'_>, ids: &[LicenseId]) -> Result<Vec<LicenseRecord>, Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = tx
        .query(
            columns!(
                "unnest($2::uuid[]) AS wanted (id)
                 JOIN licet.licenses l ON l.org_id = $1 AND l.id = wanted.id",
                "ORDER BY l.id"
            ),
            &[(&tx.org(), Type::UUID), (&ids, Type::UUID_ARRAY)],
        )
        .await?;
    rows.iter().map(record).collect()
}

pub(crate) async fn find(tx: &Tx<'_>, id: LicenseId) -> Result<Option<LicenseRecord>, Error> {
    let row = tx
        .query_opt(
            columns!("licet.licenses l", "WHERE l.org_id = $1 AND l.id = $2"),
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    row.map(|row| record(&row)).transpose()
}

/// The license whose key has this hash.
pub(crate) async fn find_by_key(
    tx: &Tx<'_>,
    key_hash: &[u8; 32],
) -> Result<Option<LicenseRecord>, Error> {
    let row = tx
        .query_opt(
            columns!(
                "licet.licenses l",
                "WHERE l.org_id = $1 AND l.key_hash = $2"
            ),
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

/// Licenses that one page looks through for a text, at most: no index finds it.
const LOOKED_THROUGH: i64 = 10_000;

/// A page of licenses.
pub(crate) struct Listed {
    pub(crate) licenses: Vec<LicenseRecord>,
    /// Where the next page goes on although this one is not full: as far as the text was looked
    /// for. None when there is nothing more to look through.
    pub(crate) looked_until: Option<Uuid>,
}

/// Licenses, the newest first.
pub(crate) async fn list(
    tx: &Tx<'_>,
    filter: &LicenseFilter<'_>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Listed, Error> {
    let window = if filter.text.is_some() {
        LOOKED_THROUGH
    } else {
        limit
    };
    let page = Window {
        before,
        skip: 0,
        look: window,
        take: limit,
    };
    let ids = select(tx, filter, filter.text, &page).await?;
    let full = i64::try_from(ids.len()).is_ok_and(|count| count >= limit);
    let looked_until = if full || filter.text.is_none() {
        None
    } else {
        let last = Window {
            skip: window - 1,
            look: 1,
            ..page
        };
        select(tx, filter, None, &last).await?.pop()
    };
    let ids: Vec<_> = ids.into_iter().map(LicenseId::from_uuid).collect();
    let mut licenses = find_all(tx, &ids).await?;
    licenses.reverse();
    Ok(Listed {
        licenses,
        looked_until,
    })
}

/// Which of the licenses that pass are wanted: `take` with the text among the `look` that follow
/// the first `skip` before `before`.
#[derive(Clone, Copy)]
struct Window {
    before: Option<Uuid>,
    skip: i64,
    look: i64,
    take: i64,
}

/// What passes, in the order of an index. The planner sees the arguments, so that of each condition
/// only the part that is meant is left. Each of the three begins with the table whose index is in
/// the order of the licenses' ids under what it is filtered by.
macro_rules! select {
    ($from:literal, $id:literal, $tier:literal, $rest:literal) => {
        concat!(
            "SELECT c.id FROM (SELECT l.id, l.metadata, l.policy_id FROM ",
            $from,
            " AND ($2::uuid IS NULL OR ",
            $id,
            " < $2)
                 AND ($3::text IS NULL OR CASE $3
                     WHEN 'ACTIVE' THEN l.status = 'ACTIVE' AND (l.expires_at IS NULL OR l.expires_at > now())
                     WHEN 'EXPIRED' THEN l.status = 'EXPIRED' OR l.status = 'ACTIVE' AND l.expires_at <= now()
                     ELSE l.status = $3 END)
                 AND ",
            $tier,
            " AND ($6::uuid IS NULL OR l.policy_id = $6)
                 AND ($7::timestamptz IS NULL OR l.expires_at < $7)
                 AND ($12::uuid IS NULL OR l.feature_set_id = $12)
             ORDER BY ",
            $id,
            " DESC ",
            $rest,
            " WHERE $8::text IS NULL OR strpos(lower(c.metadata::text), lower($8)) > 0
                 OR c.policy_id = ANY (ARRAY(SELECT n.id FROM licet.policies n
                     WHERE n.org_id = $1 AND strpos(lower(n.name), lower($8)) > 0))
             ORDER BY c.id DESC LIMIT $11"
        )
    };
}

const OF_ANY: &str = select!(
    "licet.licenses l WHERE l.org_id = $1",
    "l.id",
    "($4::text IS NULL OR EXISTS (SELECT FROM licet.policies p
         WHERE p.org_id = l.org_id AND p.id = l.policy_id AND p.tier = $4))",
    "OFFSET $9 LIMIT $10) c"
);
const OF_PRODUCT: &str = select!(
    "licet.license_products x
     JOIN licet.licenses l ON l.org_id = x.org_id AND l.id = x.license_id
     WHERE x.org_id = $1 AND x.product_id = (SELECT d.id FROM licet.products d
         WHERE d.org_id = $1 AND d.code = $5)",
    "x.license_id",
    "($4::text IS NULL OR EXISTS (SELECT FROM licet.policies p
         WHERE p.org_id = l.org_id AND p.id = l.policy_id AND p.tier = $4))",
    "OFFSET $9 LIMIT $10) c"
);
/// The newest of each policy of the tier, and of them the newest.
const OF_TIER: &str = select!(
    "(SELECT q.id FROM licet.policies q WHERE q.org_id = $1 AND q.tier = $4) q
     CROSS JOIN LATERAL (SELECT * FROM licet.licenses l WHERE l.org_id = $1 AND l.policy_id = q.id",
    "l.id",
    "true",
    "LIMIT $9::int8 + $10::int8) l ORDER BY l.id DESC OFFSET $9 LIMIT $10) c"
);

async fn select(
    tx: &Tx<'_>,
    filter: &LicenseFilter<'_>,
    text: Option<&str>,
    window: &Window,
) -> Result<Vec<Uuid>, Error> {
    let sql = match filter {
        LicenseFilter {
            product: Some(_), ..
        } => OF_PRODUCT,
        LicenseFilter {
            tier: Some(_),
            policy: None,
            ..
        } => OF_TIER,
        _ => OF_ANY,
    };
    let rows = tx
        .query(
            sql,
            &[
                (&tx.org(), Type::UUID),
                (&window.before, Type::UUID),
                (&filter.status, Type::TEXT),
                (&filter.tier, Type::TEXT),
                (&filter.product, Type::TEXT),
                (&filter.policy.map(RowId::uuid), Type::UUID),
                (&filter.expiring_before.map(system_time), Type::TIMESTAMPTZ),
                (&text, Type::TEXT),
                (&window.skip, Type::INT8),
                (&window.look, Type::INT8),
                (&window.take, Type::INT8),
                (&filter.feature_set.map(RowId::uuid), Type::UUID),
            ],
        )
        .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
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
             terms = $12, pending_duration_s = $13,
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
            (&Json(&license.terms), Type::JSONB),
            (&license.pending_duration_s, Type::INT8),
        ],
    )
    .await?;
    Ok(())
}
