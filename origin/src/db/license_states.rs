//! What a license is now, as its own document says it.

use std::time::SystemTime;

use licet_shared::{
    documents::{FeatureOverrides, Tier},
    id::{FeatureSetId, LicenseId},
    time::Timestamp,
};
use tokio_postgres::types::{Json, Type};

use super::{Error, Tx, grants, organizations::version};
use crate::{clock, random::RowId};

/// All of it but what was used.
pub(crate) struct LicenseState {
    pub(crate) version: u64,
    pub(crate) keys_version: u64,
    /// Each status list that it has entries in, with the list's version.
    pub(crate) lists: Vec<(u32, u64)>,
    pub(crate) products: Vec<String>,
    pub(crate) tier: Tier,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) grace_s: u32,
    pub(crate) feature_set: FeatureSetId,
    pub(crate) own_features: FeatureOverrides,
    /// A value of the set, or of its own, is a quota.
    pub(crate) metered: bool,
}

/// One statement, so that the versions of the lists can't belong to another state of the license.
pub(crate) async fn find(tx: &Tx<'_>, id: LicenseId) -> Result<Option<LicenseState>, Error> {
    let row = tx
        .query_opt(
            "SELECT l.state_version, o.keys_version, e.numbers, e.versions,
                 ARRAY(SELECT d.code FROM licet.license_products c
                       JOIN licet.products d ON d.org_id = c.org_id AND d.id = c.product_id
                       WHERE c.org_id = l.org_id AND c.license_id = l.id ORDER BY d.code),
                 p.tier, l.expires_at, p.grace_s, l.feature_set_id, l.features,
                 jsonb_path_exists(f.features, '$.*.quota') OR jsonb_path_exists(l.features, '$.*.quota')
             FROM licet.licenses l
             JOIN licet.organizations o ON o.org_id = l.org_id
             JOIN licet.policies p ON p.org_id = l.org_id AND p.id = l.policy_id
             JOIN licet.feature_sets s ON s.org_id = l.org_id AND s.id = l.feature_set_id
             JOIN licet.feature_set_revisions f ON f.org_id = s.org_id AND f.feature_set_id = s.id
                 AND f.revision = s.current_revision
             CROSS JOIN LATERAL (
                 SELECT coalesce(array_agg(v.number), '{}'), coalesce(array_agg(v.version), '{}')
                 FROM licet.status_versions v WHERE v.org_id = l.org_id AND EXISTS (
                     SELECT FROM licet.activations a WHERE a.org_id = v.org_id
                         AND a.license_id = l.id AND a.status_list = v.number)
             ) AS e (numbers, versions)
             WHERE l.org_id = $1 AND l.id = $2",
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let numbers: Vec<i32> = row.try_get(2)?;
    let versions: Vec<i64> = row.try_get(3)?;
    let lists = numbers.into_iter().zip(versions).map(|(number, of_list)| {
        let number = u32::try_from(number).map_err(|_| Error::Row("status_versions.number"))?;
        Ok((number, version(of_list)?))
    });
    let Json(own_features) = row.try_get(9)?;
    Ok(Some(LicenseState {
        version: version(row.try_get(0)?)?,
        keys_version: version(row.try_get(1)?)?,
        lists: lists.collect::<Result<_, Error>>()?,
        products: row.try_get(4)?,
        tier: grants::tier(row.try_get(5)?)?,
        expires_at: row
            .try_get::<_, Option<SystemTime>>(6)?
            .map(clock::timestamp),
        grace_s: u32::try_from(row.try_get::<_, i32>(7)?)
            .map_err(|_| Error::Row("policies.grace_s"))?,
        feature_set: FeatureSetId::from_uuid(row.try_get(8)?),
        own_features,
        metered: row.try_get(10)?,
    }))
}
