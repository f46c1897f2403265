//! `policies` and `policy_products`, as the account API reads and changes them.

use std::time::SystemTime;

use licet_shared::{
    documents::Tier,
    id::{FeatureSetId, PolicyId, ProductId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use tokio_postgres::{
    Row,
    types::{Json, Type},
};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Error, Tx, grants};
use crate::{
    clock::{self, system_time},
    licensing::terms::Terms,
    random::RowId,
};

/// Where a token counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum FingerprintRule {
    /// On the device that it was made for.
    Bound,
    /// On any device.
    Free,
}

impl FingerprintRule {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Bound => "BOUND",
            Self::Free => "FREE",
        }
    }

    fn from_column(text: &str) -> Result<Self, Error> {
        match text {
            "BOUND" => Ok(Self::Bound),
            "FREE" => Ok(Self::Free),
            _ => Err(Error::Row("policies.fingerprint_rule")),
        }
    }
}

/// What licenses are issued under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) id: PolicyId,
    pub(crate) name: String,
    pub(crate) tier: Tier,
    pub(crate) feature_set: FeatureSetId,
    /// In ascending order.
    pub(crate) products: Vec<ProductId>,
    pub(crate) max_activations: i32,
    pub(crate) token_lifetime_s: i32,
    pub(crate) grace_s: i32,
    pub(crate) license_duration_s: Option<i64>,
    pub(crate) fingerprint_rule: FingerprintRule,
    pub(crate) terms: Terms,
    pub(crate) version: i32,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) deleted_at: Option<Timestamp>,
}

macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "SELECT p.id, p.name, p.tier, p.feature_set_id, p.max_activations, p.token_lifetime_s,
                 p.grace_s, p.license_duration_s, p.fingerprint_rule, p.version, p.created_at,
                 p.updated_at, p.deleted_at,
                 ARRAY(SELECT c.product_id FROM licet.policy_products c
                       WHERE c.org_id = p.org_id AND c.policy_id = p.id ORDER BY c.product_id),
                 p.terms
             FROM licet.policies p ",
            $rest
        )
    };
}

/// A tier as the table holds it.
pub(crate) const fn tier_name(tier: Tier) -> &'static str {
    match tier {
        Tier::Free => "FREE",
        Tier::Pro => "PRO",
        Tier::Enterprise => "ENTERPRISE",
        Tier::Trial => "TRIAL",
    }
}

fn policy(row: &Row) -> Result<Policy, Error> {
    let products: Vec<Uuid> = row.try_get(13)?;
    let Json(terms) = row.try_get(14)?;
    Ok(Policy {
        id: PolicyId::from_uuid(row.try_get(0)?),
        name: row.try_get(1)?,
        tier: grants::tier(row.try_get(2)?)?,
        feature_set: FeatureSetId::from_uuid(row.try_get(3)?),
        products: products.into_iter().map(ProductId::from_uuid).collect(),
        max_activations: row.try_get(4)?,
        token_lifetime_s: row.try_get(5)?,
        grace_s: row.try_get(6)?,
        license_duration_s: row.try_get(7)?,
        fingerprint_rule: FingerprintRule::from_column(row.try_get(8)?)?,
        terms,
        version: row.try_get(9)?,
        created_at: clock::timestamp(row.try_get(10)?),
        updated_at: clock::timestamp(row.try_get(11)?),
        deleted_at: row
            .try_get::<_, Option<SystemTime>>(12)?
            .map(clock::timestamp),
    })
}

/// Makes a policy, as yet without its products.
///
/// # Errors
/// Violates `policies_name_key` when the name is taken, also by a deleted policy.
pub(crate) async fn insert(tx: &Tx<'_>, policy: &Policy) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO licet.policies
             (org_id, id, name, tier, feature_set_id, max_activations, token_lifetime_s, grace_s,
              license_duration_s, fingerprint_rule, created_at, updated_at, terms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $12)",
        &[
            (&tx.org(), Type::UUID),
            (&policy.id.uuid(), Type::UUID),
            (&policy.name, Type::TEXT),
            (&tier_name(policy.tier), Type::TEXT),
            (&policy.feature_set.uuid(), Type::UUID),
            (&policy.max_activations, Type::INT4),
            (&policy.token_lifetime_s, Type::INT4),
            (&policy.grace_s, Type::INT4),
            (&policy.license_duration_s, Type::INT8),
            (&policy.fingerprint_rule.as_str(), Type::TEXT),
            (&system_time(policy.created_at), Type::TIMESTAMPTZ),
            (&Json(&policy.terms), Type::JSONB),
        ],
    )
    .await?;
    Ok(())
}

/// Has the policy cover its products as they now stand, and no others. It must be locked or new.
pub(crate) async fn set_products(tx: &Tx<'_>, policy: &Policy) -> Result<(), Error> {
    let products = uuids(&policy.products);
    tx.execute(
        "DELETE FROM licet.policy_products
         WHERE org_id = $1 AND policy_id = $2 AND NOT (product_id = ANY ($3))",
        &[
            (&tx.org(), Type::UUID),
            (&policy.id.uuid(), Type::UUID),
            (&products, Type::UUID_ARRAY),
        ],
    )
    .await?;
    tx.execute(
        "INSERT INTO licet.policy_products (org_id, policy_id, product_id)
         SELECT $1, $2, unnest($3::uuid[])
         ON CONFLICT (org_id, policy_id, product_id) DO NOTHING",
        &[
            (&tx.org(), Type::UUID),
            (&policy.id.uuid(), Type::UUID),
            (&products, Type::UUID_ARRAY),
        ],
    )
    .await?;
    Ok(())
}

fn uuids(products: &[ProductId]) -> Vec<Uuid> {
    products.iter().map(|id| id.uuid()).collect()
}

/// Whether these products, each named once, are all there and not deleted. They stay so until the
/// transaction ends.
pub(crate) async fn hold_products(tx: &Tx<'_>, products: &[ProductId]) -> Result<bool, Error> {
    let rows = tx
        .query(
            "SELECT FROM licet.products
             WHERE org_id = $1 AND id = ANY ($2) AND deleted_at IS NULL ORDER BY id FOR SHARE",
            &[
                (&tx.org(), Type::UUID),
                (&uuids(products), Type::UUID_ARRAY),
            ],
        )
        .await?;
    Ok(rows.len() == products.len())
}

/// A policy, deleted or not.
pub(crate) async fn find(tx: &Tx<'_>, id: PolicyId) -> Result<Option<Policy>, Error> {
    let row = tx
        .query_opt(
            columns!("WHERE p.org_id = $1 AND p.id = $2"),
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    row.map(|row| policy(&row)).transpose()
}

/// The same, locked.
pub(crate) async fn lock(tx: &Tx<'_>, id: PolicyId) -> Result<Option<Policy>, Error> {
    let locked = tx
        .query_opt(
            "SELECT FROM licet.policies WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE",
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    // A statement of its own: the one that waited would show the products as they were before.
    match locked {
        Some(_) => find(tx, id).await,
        None => Ok(None),
    }
}

/// What a list of policies is filtered by.
pub(crate) struct PolicyFilter<'a> {
    pub(crate) tier: Option<&'a str>,
    pub(crate) feature_set: Option<FeatureSetId>,
    /// A code.
    pub(crate) product: Option<&'a str>,
    /// Stands in the name, in any case.
    pub(crate) text: Option<&'a str>,
    /// The deleted ones instead of the others.
    pub(crate) deleted: bool,
}

/// Policies, the newest first.
pub(crate) async fn list(
    tx: &Tx<'_>,
    filter: &PolicyFilter<'_>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Policy>, Error> {
    let rows = tx
        .query(
            columns!(
                "WHERE p.org_id = $1 AND ($2::uuid IS NULL OR p.id < $2)
                     AND (p.deleted_at IS NOT NULL) = $3
                     AND ($4::text IS NULL OR p.tier = $4)
                     AND ($5::text IS NULL OR strpos(lower(p.name), lower($5)) > 0)
                     AND ($7::uuid IS NULL OR p.feature_set_id = $7)
                     AND ($8::text IS NULL OR EXISTS (SELECT FROM licet.policy_products x
                         JOIN licet.products y ON y.org_id = x.org_id AND y.id = x.product_id
                         WHERE x.org_id = p.org_id AND x.policy_id = p.id AND y.code = $8))
                 ORDER BY p.id DESC LIMIT $6"
            ),
            &[
                (&tx.org(), Type::UUID),
                (&before, Type::UUID),
                (&filter.deleted, Type::BOOL),
                (&filter.tier, Type::TEXT),
                (&filter.text, Type::TEXT),
                (&limit, Type::INT8),
                (&filter.feature_set.map(RowId::uuid), Type::UUID),
                (&filter.product, Type::TEXT),
            ],
        )
        .await?;
    rows.iter().map(policy).collect()
}

/// Writes all that may change as it now stands, but for the products. The policy must be locked.
///
/// # Errors
/// Violates `policies_name_key` when the name is taken, also by a deleted policy.
pub(crate) async fn update(tx: &Tx<'_>, policy: &Policy) -> Result<(), Error> {
    tx.execute(
        "UPDATE licet.policies
         SET name = $3, tier = $4, feature_set_id = $5, max_activations = $6, token_lifetime_s = $7,
             grace_s = $8, license_duration_s = $9, fingerprint_rule = $10, version = $11,
             updated_at = $12, deleted_at = $13, terms = $14,
             token_reach_s = greatest(token_reach_s, token_lifetime_s + grace_s)
         WHERE org_id = $1 AND id = $2",
        &[
            (&tx.org(), Type::UUID),
            (&policy.id.uuid(), Type::UUID),
            (&policy.name, Type::TEXT),
            (&tier_name(policy.tier), Type::TEXT),
            (&policy.feature_set.uuid(), Type::UUID),
            (&policy.max_activations, Type::INT4),
            (&policy.token_lifetime_s, Type::INT4),
            (&policy.grace_s, Type::INT4),
            (&policy.license_duration_s, Type::INT8),
            (&policy.fingerprint_rule.as_str(), Type::TEXT),
            (&policy.version, Type::INT4),
            (&system_time(policy.updated_at), Type::TIMESTAMPTZ),
            (&policy.deleted_at.map(system_time), Type::TIMESTAMPTZ),
            (&Json(&policy.terms), Type::JSONB),
        ],
    )
    .await?;
    Ok(())
}
