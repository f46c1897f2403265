//! `licenses` and `license_products`.

use std::time::SystemTime;

use licet_shared::{
    documents::FeatureOverrides,
    id::{FeatureSetId, LicenseId, PolicyId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_postgres::types::{Json, Type};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Error, Tx, organizations::next_version};
use crate::{clock, licensing::terms::Terms, random::RowId};

/// Where a license stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum LicenseStatus {
    /// In force.
    Active,
    /// Its end has come.
    Expired,
    /// Stopped for a time.
    Suspended,
    /// Ended for good.
    Revoked,
}

impl LicenseStatus {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Expired => "EXPIRED",
            Self::Suspended => "SUSPENDED",
            Self::Revoked => "REVOKED",
        }
    }

    pub(super) fn from_column(text: &str) -> Result<Self, Error> {
        [Self::Active, Self::Expired, Self::Suspended, Self::Revoked]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(Error::Row("licenses.status"))
    }
}

/// Licenses to be issued on the same terms.
pub(crate) struct NewLicenses<'a> {
    pub(crate) policy: PolicyId,
    pub(crate) feature_set: FeatureSetId,
    pub(crate) max_activations: i32,
    /// The number was chosen for these, and is not their policy's.
    pub(crate) own_max_activations: bool,
    pub(crate) expires_at: Option<Timestamp>,
    /// How long they count from a start that is to come.
    pub(crate) pending_duration_s: Option<i64>,
    pub(crate) features: &'a FeatureOverrides,
    /// Their own, over the policy's.
    pub(crate) terms: &'a Terms,
    pub(crate) metadata: &'a Map<String, Value>,
    /// Each with the hash of its key.
    pub(crate) each: &'a [(LicenseId, [u8; 32])],
}

/// Issues licenses that cover the products of their policy, which must be held.
///
/// # Errors
/// Violates `licenses_features_size` when their features are too much.
pub(crate) async fn insert(tx: &Tx<'_>, new: &NewLicenses<'_>) -> Result<(), Error> {
    let ids: Vec<Uuid> = new.each.iter().map(|(id, _)| id.uuid()).collect();
    let hashes: Vec<&[u8]> = new.each.iter().map(|(_, hash)| hash.as_slice()).collect();
    tx.execute(
        "INSERT INTO licet.licenses
             (org_id, id, key_hash, policy_id, feature_set_id, max_activations, expires_at, metadata,
              features, own_max_activations, terms, pending_duration_s)
         SELECT $1, n.id, n.hash, $4, $5, $6, $7, $8, $9, $10, $11, $12
         FROM unnest($2::uuid[], $3::bytea[]) AS n (id, hash)",
        &[
            (&tx.org(), Type::UUID),
            (&ids, Type::UUID_ARRAY),
            (&hashes, Type::BYTEA_ARRAY),
            (&new.policy.uuid(), Type::UUID),
            (&new.feature_set.uuid(), Type::UUID),
            (&new.max_activations, Type::INT4),
            (&new.expires_at.map(clock::system_time), Type::TIMESTAMPTZ),
            (&Json(new.metadata), Type::JSONB),
            (&Json(new.features), Type::JSONB),
            (&new.own_max_activations, Type::BOOL),
            (&Json(new.terms), Type::JSONB),
            (&new.pending_duration_s, Type::INT8),
        ],
    )
    .await?;
    cover(tx, &ids, new.policy).await
}

/// Has licenses cover what a policy covers, beside what they do already.
async fn cover(tx: &Tx<'_>, licenses: &[Uuid], policy: PolicyId) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO licet.license_products (org_id, license_id, product_id)
         SELECT p.org_id, n.id, p.product_id
         FROM licet.policy_products p CROSS JOIN unnest($2::uuid[]) AS n (id)
         WHERE p.org_id = $1 AND p.policy_id = $3
         ON CONFLICT (org_id, license_id, product_id) DO NOTHING",
        &[
            (&tx.org(), Type::UUID),
            (&licenses, Type::UUID_ARRAY),
            (&policy.uuid(), Type::UUID),
        ],
    )
    .await?;
    Ok(())
}

/// Has a license cover what a policy covers, and nothing else. The license must be locked, the
/// policy held.
pub(crate) async fn set_products(
    tx: &Tx<'_>,
    id: LicenseId,
    policy: PolicyId,
) -> Result<(), Error> {
    tx.execute(
        "DELETE FROM licet.license_products
         WHERE org_id = $1 AND license_id = $2 AND product_id NOT IN (
             SELECT product_id FROM licet.policy_products WHERE org_id = $1 AND policy_id = $3)",
        &[
            (&tx.org(), Type::UUID),
            (&id.uuid(), Type::UUID),
            (&policy.uuid(), Type::UUID),
        ],
    )
    .await?;
    cover(tx, &[id.uuid()], policy).await
}

/// Locks a license and tells its status.
pub(crate) async fn lock_status(
    tx: &Tx<'_>,
    id: LicenseId,
) -> Result<Option<LicenseStatus>, Error> {
    let row = tx
        .query_opt(
            "SELECT status FROM licet.licenses WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE",
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    row.map(|row| LicenseStatus::from_column(row.try_get(0)?))
        .transpose()
}

/// The terms of a license that count: its own, over its policy's.
pub(crate) async fn terms(tx: &Tx<'_>, id: LicenseId) -> Result<Terms, Error> {
    let row = tx
        .query_opt(
            "SELECT l.terms, p.terms FROM licet.licenses l
             JOIN licet.policies p ON p.org_id = l.org_id AND p.id = l.policy_id
             WHERE l.org_id = $1 AND l.id = $2",
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?
        .ok_or(Error::Row("licenses"))?;
    let (Json(own), Json(policy)): (Json<Terms>, _) = (row.try_get(0)?, row.try_get(1)?);
    Ok(own.over(&policy))
}

/// Has the time of a license, which waits for its start, begin with this end; false when it does
/// not wait any more.
pub(crate) async fn begin(tx: &Tx<'_>, id: LicenseId, end: Timestamp) -> Result<bool, Error> {
    let begun = tx
        .execute(
            concat!(
                "UPDATE licet.licenses
                 SET expires_at = $3, pending_duration_s = NULL, version = version + 1,
                     updated_at = now(), state_version = ",
                next_version!("state_version"),
                " WHERE org_id = $1 AND id = $2 AND pending_duration_s IS NOT NULL"
            ),
            &[
                (&tx.org(), Type::UUID),
                (&id.uuid(), Type::UUID),
                (&clock::system_time(end), Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    Ok(begun == 1)
}

/// Whether a license was ever activated.
pub(crate) async fn was_activated(tx: &Tx<'_>, id: LicenseId) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT FROM licet.activations WHERE org_id = $1 AND license_id = $2)";
    let row = tx
        .query_opt(sql, &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)])
        .await?;
    Ok(row.ok_or(Error::Row("activations"))?.try_get(0)?)
}

/// Gives a license another status.
pub(crate) async fn set_status(
    tx: &Tx<'_>,
    id: LicenseId,
    status: LicenseStatus,
) -> Result<(), Error> {
    tx.execute(
        "UPDATE licet.licenses
         SET status = $3, status_since = now(), version = version + 1, updated_at = now()
         WHERE org_id = $1 AND id = $2",
        &[
            (&tx.org(), Type::UUID),
            (&id.uuid(), Type::UUID),
            (&status.as_str(), Type::TEXT),
        ],
    )
    .await?;
    Ok(())
}

/// Counts the version of what tokens say of a license up. It must be locked.
pub(crate) async fn raise_state(tx: &Tx<'_>, id: LicenseId) -> Result<(), Error> {
    tx.execute(
        concat!(
            "UPDATE licet.licenses SET state_version = ",
            next_version!("state_version"),
            " WHERE org_id = $1 AND id = $2"
        ),
        &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
    )
    .await?;
    Ok(())
}

/// The same for all licenses whose documents edges may hold.
pub(crate) async fn raise_states(tx: &Tx<'_>) -> Result<(), Error> {
    tx.execute(
        "SELECT FROM licet.licenses WHERE org_id = $1 AND id IN (
             SELECT license_id FROM licet.license_changes WHERE org_id = $1
             UNION SELECT license_id FROM licet.usage WHERE org_id = $1)
         ORDER BY id FOR NO KEY UPDATE",
        &[(&tx.org(), Type::UUID)],
    )
    .await?;
    tx.execute(
        concat!(
            "UPDATE licet.licenses SET state_version = ",
            next_version!("state_version"),
            " WHERE org_id = $1 AND id IN (
                 SELECT license_id FROM licet.license_changes WHERE org_id = $1
                 UNION SELECT license_id FROM licet.usage WHERE org_id = $1)"
        ),
        &[(&tx.org(), Type::UUID)],
    )
    .await?;
    Ok(())
}

/// Locks those of these licenses whose end has come and whose rows do not say so yet; hands back
/// each with its end. What somebody else holds is left for another time, and what they changed
/// meanwhile is looked at anew under the lock.
pub(crate) async fn lock_due(
    tx: &Tx<'_>,
    ids: &[LicenseId],
) -> Result<Vec<(LicenseId, Timestamp)>, Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let rows = tx
        .query(
            "SELECT id, expires_at FROM licet.licenses
             WHERE org_id = $1 AND id = ANY ($2) AND status = 'ACTIVE' AND expires_at <= now()
             ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
            &[(&tx.org(), Type::UUID), (&ids, Type::UUID_ARRAY)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok((
                LicenseId::from_uuid(row.try_get(0)?),
                clock::timestamp(row.try_get(1)?),
            ))
        })
        .collect()
}

/// Has the rows of licenses, which [`lock_due`] has locked, say that their end has come. Their
/// versions stay: to callers nothing changes.
pub(crate) async fn set_expired(tx: &Tx<'_>, ids: &[Uuid]) -> Result<u64, Error> {
    tx.execute(
        "UPDATE licet.licenses SET status = 'EXPIRED', status_since = expires_at
         WHERE org_id = $1 AND id = ANY ($2) AND status = 'ACTIVE' AND expires_at <= now()",
        &[(&tx.org(), Type::UUID), (&ids, Type::UUID_ARRAY)],
    )
    .await
}

/// A license as an operator sees it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LicenseView {
    pub(crate) id: LicenseId,
    pub(crate) status: LicenseStatus,
    pub(crate) status_since: Timestamp,
    pub(crate) policy: String,
    pub(crate) products: Vec<String>,
    pub(crate) max_activations: i32,
    pub(crate) live_activations: i64,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) created_at: Timestamp,
}

pub(crate) async fn view(tx: &Tx<'_>, id: LicenseId) -> Result<Option<LicenseView>, Error> {
    let row = tx
        .query_opt(
            "SELECT l.status, l.status_since, p.name, l.max_activations, l.expires_at, l.created_at,
                 ARRAY(SELECT d.code FROM licet.license_products c
                       JOIN licet.products d ON d.org_id = c.org_id AND d.id = c.product_id
                       WHERE c.org_id = l.org_id AND c.license_id = l.id ORDER BY d.code),
                 (SELECT count(*) FROM licet.activations a WHERE a.org_id = l.org_id
                      AND a.license_id = l.id AND a.deactivated_at IS NULL)
             FROM licet.licenses l
             JOIN licet.policies p ON p.org_id = l.org_id AND p.id = l.policy_id
             WHERE l.org_id = $1 AND l.id = $2",
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(LicenseView {
        id,
        status: LicenseStatus::from_column(row.try_get(0)?)?,
        status_since: clock::timestamp(row.try_get(1)?),
        policy: row.try_get(2)?,
        max_activations: row.try_get(3)?,
        expires_at: row
            .try_get::<_, Option<SystemTime>>(4)?
            .map(clock::timestamp),
        created_at: clock::timestamp(row.try_get(5)?),
        products: row.try_get(6)?,
        live_activations: row.try_get(7)?,
    }))
}
