//! What a license grants right now: the license with its policy, products and features, as
//! activation and refresh need it, in one statement.

use licet_shared::{
    documents::{FeatureOverrides, Tier},
    id::{ActivationId, FeatureSetId, LicenseId, PolicyId},
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
use crate::{
    clock,
    licensing::terms::{Fingerprint, Terms},
    random::RowId,
};

/// What a license grants.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) license: LicenseId,
    pub(crate) policy: PolicyId,
    pub(crate) status: LicenseStatus,
    pub(crate) expires_at: Option<Timestamp>,
    /// How long it will count from its start, which is to come.
    pub(crate) pending_duration_s: Option<i64>,
    pub(crate) max_activations: i64,
    pub(crate) tier: Tier,
    pub(crate) token_lifetime_s: i64,
    pub(crate) grace_s: u32,
    /// Whether its tokens name the device.
    pub(crate) fingerprint: Fingerprint,
    /// Those that count: the license's own, over its policy's.
    pub(crate) terms: Terms,
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

/// Where the columns begin that are selected beside the grant's own.
const MORE: usize = 19;

macro_rules! select {
    ($more:literal, $from:expr) => {
        concat!(
            "SELECT l.id, l.status, l.expires_at, l.max_activations, p.tier, p.token_lifetime_s,
                p.grace_s, p.fingerprint_rule, f.feature_set_id, f.revision, f.features, o.keys_version, l.features,
                ARRAY(SELECT d.code FROM licet.license_products c
                      JOIN licet.products d ON d.org_id = c.org_id AND d.id = c.product_id
                      WHERE c.org_id = l.org_id AND c.license_id = l.id ORDER BY d.code),
                l.terms, p.terms, l.pending_duration_s, l.state_version, l.policy_id",
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

impl Grant {
    /// Whether its end has come, and with it the end of all use.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.is_past_end(now) && !self.terms.goes_on()
    }

    /// Whether so many devices are all that it may be active on.
    pub(crate) fn is_full(&self, taken: i64) -> bool {
        let limit = self.terms.device_limit(self.max_activations);
        limit.is_some_and(|limit| taken >= limit)
    }

    /// Whether its end has come.
    pub(crate) fn is_past_end(&self, now: Timestamp) -> bool {
        self.status == LicenseStatus::Expired || self.expires_at.is_some_and(|end| now >= end)
    }
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

/// The grant of a license, as it stands, and each status list that it has entries in with the
/// list's version. One statement, so that the versions can't belong to another state of it.
pub(crate) async fn with_lists(
    tx: &Tx<'_>,
    id: LicenseId,
) -> Result<Option<(Grant, Vec<(u32, u64)>)>, Error> {
    let row = tx
        .query_opt(
            select!(
                ", e.numbers, e.versions",
                "CROSS JOIN LATERAL (
                     SELECT coalesce(array_agg(v.number), '{}'), coalesce(array_agg(v.version), '{}')
                     FROM licet.status_versions v WHERE v.org_id = l.org_id AND EXISTS (
                         SELECT FROM licet.activations a WHERE a.org_id = v.org_id
                             AND a.license_id = l.id AND a.status_list = v.number)
                 ) AS e (numbers, versions)
                 WHERE l.org_id = $1 AND l.id = $2"
            ),
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let numbers: Vec<i32> = row.try_get(MORE)?;
    let versions: Vec<i64> = row.try_get(MORE + 1)?;
    let lists = numbers.into_iter().zip(versions).map(|(number, of_list)| {
        let number = u32::try_from(number).map_err(|_| Error::Row("status_versions.number"))?;
        Ok((number, version(of_list)?))
    });
    let lists = lists.collect::<Result<_, Error>>()?;
    Ok(Some((grant(&row)?, lists)))
}

macro_rules! select_activation {
    ($lock:literal) => {
        select!(
            ", a.id, a.fingerprint_hash, a.status_list, a.status_index, a.deactivated_at IS NULL,
               a.components, v.version",
            concat!(
                "JOIN licet.activations a ON a.org_id = l.org_id AND a.license_id = l.id
                 JOIN licet.status_versions v ON v.org_id = a.org_id AND v.number = a.status_list
                 WHERE l.org_id = $1 AND a.id = $2 AND l.id = $3 ",
                $lock
            )
        )
    };
}

/// An activation, live or not, and the grant of its license.
pub(crate) async fn of_activation(
    tx: &Tx<'_>,
    id: ActivationId,
    license: LicenseId,
) -> Result<Option<(Grant, Activation)>, Error> {
    activation(tx, select_activation!(""), id, license).await
}

/// The same, with the license's row locked as in [`lock_by_key`], and the activation held: it stays
/// live, or given back, until the transaction ends.
pub(crate) async fn lock_by_activation(
    tx: &Tx<'_>,
    id: ActivationId,
    license: LicenseId,
) -> Result<Option<(Grant, Activation)>, Error> {
    let sql = select_activation!("FOR NO KEY UPDATE OF l FOR SHARE OF a");
    activation(tx, sql, id, license).await
}

async fn activation(
    tx: &Tx<'_>,
    sql: &'static str,
    id: ActivationId,
    license: LicenseId,
) -> Result<Option<(Grant, Activation)>, Error> {
    let row = tx
        .query_opt(
            sql,
            &[
                (&tx.org(), Type::UUID),
                (&id.uuid(), Type::UUID),
                (&license.uuid(), Type::UUID),
            ],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some((grant(&row)?, Activation::from_columns(&row, MORE)?)))
}

fn grant(row: &Row) -> Result<Grant, Error> {
    let positive = |number: i32| u32::try_from(number).map_err(|_| Error::Row("policies.grace_s"));
    let Json(features) = row.try_get(10)?;
    let Json(own_features) = row.try_get(12)?;
    let Json(own_terms): Json<Terms> = row.try_get(14)?;
    let Json(policy_terms) = row.try_get(15)?;
    let terms = own_terms.over(&policy_terms);
    Ok(Grant {
        license: LicenseId::from_uuid(row.try_get(0)?),
        policy: PolicyId::from_uuid(row.try_get(18)?),
        status: LicenseStatus::from_column(row.try_get(1)?)?,
        expires_at: row
            .try_get::<_, Option<SystemTime>>(2)?
            .map(clock::timestamp),
        pending_duration_s: row.try_get(16)?,
        max_activations: i64::from(row.try_get::<_, i32>(3)?),
        tier: tier(row.try_get(4)?)?,
        token_lifetime_s: i64::from(row.try_get::<_, i32>(5)?),
        grace_s: positive(row.try_get(6)?)?,
        fingerprint: terms.fingerprint_rule(row.try_get::<_, &str>(7)? == "BOUND"),
        terms,
        feature_set: FeatureSetId::from_uuid(row.try_get(8)?),
        revision: revision(row.try_get(9)?)?,
        features,
        own_features,
        keys_version: version(row.try_get(11)?)?,
        products: row.try_get(13)?,
        state_version: version(row.try_get(17)?)?,
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
