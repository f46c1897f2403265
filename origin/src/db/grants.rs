//! What a license grants right now: the license with its policy, products and features, as
//! activation and refresh need it, in one statement.

use licet_shared::{
    documents::{FeatureOverrides, Tier},
    id::{ActivationId, FeatureSetId, LicenseId},
    time::Timestamp,
};
use serde_json::{Map, Value};
use std::time::SystemTime;
use tokio_postgres::{
    Row,
    types::{Json, Type},
};

use super::{
    Error, Tx, activations::Activation, catalogue::revision, licenses::LicenseStatus,
    organizations::version, tx::Argument,
};
use crate::{clock, random::RowId};

/// What a license grants.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) license: LicenseId,
    pub(crate) status: LicenseStatus,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) max_activations: i64,
    pub(crate) tier: Tier,
    pub(crate) token_lifetime_s: i64,
    pub(crate) grace_s: u32,
    /// Whether its tokens name the device.
    pub(crate) bound: bool,
    pub(crate) products: Vec<String>,
    pub(crate) feature_set: FeatureSetId,
    pub(crate) revision: u32,
    /// The set's.
    pub(crate) features: Map<String, Value>,
    /// The license's own, in their place.
    pub(crate) own_features: FeatureOverrides,
    /// Version of what tokens say of the license.
    pub(crate) state_version: u64,
    /// Version of the organization's key set that tokens must be signed under.
    pub(crate) keys_version: u64,
}

macro_rules! select {
    ($more:literal, $from:literal) => {
        concat!(
            "SELECT l.id, l.status, l.expires_at, l.max_activations, p.tier, p.token_lifetime_s,
                p.grace_s, p.fingerprint_rule, f.feature_set_id, f.revision, f.features, o.keys_version, l.features,
                ARRAY(SELECT d.code FROM licet.license_products c
                      JOIN licet.products d ON d.org_id = c.org_id AND d.id = c.product_id
                      WHERE c.org_id = l.org_id AND c.license_id = l.id ORDER BY d.code),
                l.state_version",
            $more,
            " FROM licet.licenses l
             JOIN licet.organizations o ON o.org_id = l.org_id
             JOIN licet.policies p ON p.org_id = l.org_id AND p.id = l.policy_id
             JOIN licet.feature_sets s ON s.org_id = l.org_id AND s.id = l.feature_set_id
             JOIN licet.feature_set_revisions f ON f.org_id = s.org_id AND f.feature_set_id = s.id
                 AND f.revision = s.current_revision ",
            $from,
        )
    };
}

/// The grant of the license with this key, whose row is locked until the transaction ends: its
/// seats are counted under the lock. Not so strong a lock that an activation's reference to the
/// license would wait for it.
pub(crate) async fn lock_by_key(tx: &Tx<'_>, key_hash: &[u8; 32]) -> Result<Option<Grant>, Error> {
    // A statement of its own sees what those did who held the lock before, in all tables.
    let (org, hash) = (tx.org(), key_hash.as_slice());
    let arguments: [Argument<'_>; 2] = [(&org, Type::UUID), (&hash, Type::BYTEA)];
    let locked = tx.execute(
        "SELECT FROM licet.licenses WHERE org_id = $1 AND key_hash = $2 FOR NO KEY UPDATE",
        &arguments,
    );
    let found = tx.query_opt(
        select!("", "WHERE l.org_id = $1 AND l.key_hash = $2"),
        &arguments,
    );
    let (locked, found) = futures_util::future::join(locked, found).await;
    locked?;
    found?.map(|row| grant(&row)).transpose()
}

/// The grant of a license, as it stands.
pub(crate) async fn of_license(tx: &Tx<'_>, id: LicenseId) -> Result<Option<Grant>, Error> {
    let row = tx
        .query_opt(
            select!("", "WHERE l.org_id = $1 AND l.id = $2"),
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    row.map(|row| grant(&row)).transpose()
}

/// An activation, live or not, and the grant of its license.
pub(crate) async fn of_activation(
    tx: &Tx<'_>,
    id: ActivationId,
    license: LicenseId,
) -> Result<Option<(Grant, Activation)>, Error> {
    let row = tx
        .query_opt(
            select!(
                ", a.id, a.fingerprint_hash, a.status_list, a.status_index, a.deactivated_at IS NULL, v.version",
                "JOIN licet.activations a ON a.org_id = l.org_id AND a.license_id = l.id
                 JOIN licet.status_versions v ON v.org_id = a.org_id AND v.number = a.status_list
                 WHERE l.org_id = $1 AND a.id = $2 AND l.id = $3"
            ),
            &[
                (&tx.org(), Type::UUID),
                (&id.uuid(), Type::UUID),
                (&license.uuid(), Type::UUID),
            ],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some((grant(&row)?, Activation::from_columns(&row, 15)?)))
}

fn grant(row: &Row) -> Result<Grant, Error> {
    let positive = |number: i32| u32::try_from(number).map_err(|_| Error::Row("policies.grace_s"));
    let Json(features) = row.try_get(10)?;
    let Json(own_features) = row.try_get(12)?;
    Ok(Grant {
        license: LicenseId::from_uuid(row.try_get(0)?),
        status: LicenseStatus::from_column(row.try_get(1)?)?,
        expires_at: row
            .try_get::<_, Option<SystemTime>>(2)?
            .map(clock::timestamp),
        max_activations: i64::from(row.try_get::<_, i32>(3)?),
        tier: tier(row.try_get(4)?)?,
        token_lifetime_s: i64::from(row.try_get::<_, i32>(5)?),
        grace_s: positive(row.try_get(6)?)?,
        bound: row.try_get::<_, &str>(7)? == "BOUND",
        feature_set: FeatureSetId::from_uuid(row.try_get(8)?),
        revision: revision(row.try_get(9)?)?,
        features,
        own_features,
        keys_version: version(row.try_get(11)?)?,
        products: row.try_get(13)?,
        state_version: version(row.try_get(14)?)?,
    })
}

pub(super) fn tier(text: &str) -> Result<Tier, Error> {
    match text {
        "FREE" => Ok(Tier::Free),
        "PRO" => Ok(Tier::Pro),
        "ENTERPRISE" => Ok(Tier::Enterprise),
        "TRIAL" => Ok(Tier::Trial),
        _ => Err(Error::Row("policies.tier")),
    }
}
