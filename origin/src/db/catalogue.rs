//! `products`, `feature_sets`, `feature_set_revisions`, `policies`, `policy_products`.

use licet_shared::{
    documents::Tier,
    id::{FeatureSetId, PolicyId, ProductId},
};
use serde_json::{Map, Value};
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use super::{
    Error, Tx, grants,
    organizations::{epoch, version},
};
use crate::{licensing::terms::Terms, random::RowId, rejection::Rejection};

/// What a license is issued under.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) id: PolicyId,
    pub(crate) name: String,
    pub(crate) tier: Tier,
    pub(crate) feature_set: FeatureSetId,
    pub(crate) max_activations: i32,
    pub(crate) license_duration_s: Option<i64>,
    pub(crate) terms: Terms,
    /// Codes of the products that its licenses cover, in ascending order.
    pub(crate) products: Vec<String>,
}

/// How a policy is named.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PolicyName<'a> {
    Id(PolicyId),
    Name(&'a str),
}

/// A policy to be made. What is not said here is the table's default.
pub(crate) struct NewPolicy<'a> {
    pub(crate) id: PolicyId,
    pub(crate) name: &'a str,
    pub(crate) tier: &'a str,
    pub(crate) feature_set: FeatureSetId,
    pub(crate) max_activations: i32,
}

/// A policy to put licenses under; none where there is none. It stays as it is, with its products
/// and its feature set, until the transaction ends.
///
/// # Errors
/// A rejection when it is deleted, or one of its products is.
pub(crate) async fn hold_policy(
    tx: &Tx<'_>,
    policy: PolicyName<'_>,
) -> Result<Option<Policy>, Error> {
    let (id, name) = match policy {
        PolicyName::Id(id) => (Some(id.uuid()), None),
        PolicyName::Name(name) => (None, Some(name)),
    };
    let row = tx
        .query_opt(
            "SELECT id, name, tier, feature_set_id, max_activations, license_duration_s,
                 deleted_at IS NOT NULL, terms
             FROM licet.policies WHERE org_id = $1 AND (id = $2 OR name = $3) FOR SHARE",
            &[
                (&tx.org(), Type::UUID),
                (&id, Type::UUID),
                (&name, Type::TEXT),
            ],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let id = PolicyId::from_uuid(row.try_get(0)?);
    if row.try_get(6)? {
        return Err(Rejection::conflict("The policy is deleted. Restore it first.").into());
    }
    let Json(terms) = row.try_get(7)?;
    Ok(Some(Policy {
        id,
        name: row.try_get(1)?,
        tier: grants::tier(row.try_get(2)?)?,
        feature_set: FeatureSetId::from_uuid(row.try_get(3)?),
        max_activations: row.try_get(4)?,
        license_duration_s: row.try_get(5)?,
        terms,
        products: sold_under(tx, id).await?,
    }))
}

/// The products of a policy that is held. Asked for once it is: the statement that waited for
/// somebody's change would show them as they were before.
async fn sold_under(tx: &Tx<'_>, id: PolicyId) -> Result<Vec<String>, Error> {
    let rows = tx
        .query(
            "SELECT d.code, d.deleted_at IS NOT NULL FROM licet.policy_products c
             JOIN licet.products d ON d.org_id = c.org_id AND d.id = c.product_id
             WHERE c.org_id = $1 AND c.policy_id = $2 ORDER BY d.code",
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    let mut codes = Vec::with_capacity(rows.len());
    for row in &rows {
        let code: String = row.try_get(0)?;
        if row.try_get(1)? {
            return Err(Rejection::conflict(format!(
                "The policy covers the product {code:?}, which is deleted. Restore that, or take it off the policy."
            ))
            .into());
        }
        codes.push(code);
    }
    check_count(i64::try_from(codes.len()).unwrap_or(i64::MAX))?;
    Ok(codes)
}

pub(crate) async fn policy_by_name(tx: &Tx<'_>, name: &str) -> Result<Option<PolicyId>, Error> {
    let sql = "SELECT id FROM licet.policies WHERE org_id = $1 AND name = $2";
    let row = tx
        .query_opt(sql, &[(&tx.org(), Type::UUID), (&name, Type::TEXT)])
        .await?;
    row.map(|row| Ok(PolicyId::from_uuid(row.try_get(0)?)))
        .transpose()
}

pub(crate) async fn product_by_code(tx: &Tx<'_>, code: &str) -> Result<Option<ProductId>, Error> {
    let sql = "SELECT id FROM licet.products WHERE org_id = $1 AND code = $2";
    let row = tx
        .query_opt(sql, &[(&tx.org(), Type::UUID), (&code, Type::TEXT)])
        .await?;
    row.map(|row| Ok(ProductId::from_uuid(row.try_get(0)?)))
        .transpose()
}

pub(crate) async fn feature_set_by_name(
    tx: &Tx<'_>,
    name: &str,
) -> Result<Option<FeatureSetId>, Error> {
    let sql = "SELECT id FROM licet.feature_sets WHERE org_id = $1 AND name = $2";
    let row = tx
        .query_opt(sql, &[(&tx.org(), Type::UUID), (&name, Type::TEXT)])
        .await?;
    row.map(|row| Ok(FeatureSetId::from_uuid(row.try_get(0)?)))
        .transpose()
}

pub(crate) async fn insert_product(
    tx: &Tx<'_>,
    id: ProductId,
    code: &str,
    name: &str,
) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO licet.products (org_id, id, code, name) VALUES ($1, $2, $3, $4)",
        &[
            (&tx.org(), Type::UUID),
            (&id.uuid(), Type::UUID),
            (&code, Type::TEXT),
            (&name, Type::TEXT),
        ],
    )
    .await?;
    Ok(())
}

/// Makes a feature set with its first revision.
pub(crate) async fn insert_feature_set(
    tx: &Tx<'_>,
    id: FeatureSetId,
    name: &str,
    features: &Map<String, Value>,
) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO licet.feature_sets (org_id, id, name) VALUES ($1, $2, $3)",
        &[
            (&tx.org(), Type::UUID),
            (&id.uuid(), Type::UUID),
            (&name, Type::TEXT),
        ],
    )
    .await?;
    tx.execute(
        "INSERT INTO licet.feature_set_revisions (org_id, feature_set_id, revision, features)
         VALUES ($1, $2, 1, $3)",
        &[
            (&tx.org(), Type::UUID),
            (&id.uuid(), Type::UUID),
            (&Json(features), Type::JSONB),
        ],
    )
    .await?;
    Ok(())
}

pub(crate) async fn insert_policy(tx: &Tx<'_>, policy: &NewPolicy<'_>) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO licet.policies (org_id, id, name, tier, feature_set_id, max_activations)
         VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            (&tx.org(), Type::UUID),
            (&policy.id.uuid(), Type::UUID),
            (&policy.name, Type::TEXT),
            (&policy.tier, Type::TEXT),
            (&policy.feature_set.uuid(), Type::UUID),
            (&policy.max_activations, Type::INT4),
        ],
    )
    .await?;
    Ok(())
}

/// Most products that a policy and its licenses may cover: a token names each, and edges take
/// none beyond 8 KiB.
pub(crate) const MAX_PRODUCTS: usize = 64;

/// Has licenses of a policy cover a product from now on; false when they do already.
///
/// # Errors
/// A rejection when they are more than [`MAX_PRODUCTS`].
pub(crate) async fn cover(
    tx: &Tx<'_>,
    policy: PolicyId,
    product: ProductId,
) -> Result<bool, Error> {
    // Counted under the policy's lock, after whoever held it before.
    tx.execute(
        "SELECT FROM licet.policies WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE",
        &[(&tx.org(), Type::UUID), (&policy.uuid(), Type::UUID)],
    )
    .await?;
    let covered = tx
        .execute(
            "INSERT INTO licet.policy_products (org_id, policy_id, product_id) VALUES ($1, $2, $3)
             ON CONFLICT (org_id, policy_id, product_id) DO NOTHING",
            &[
                (&tx.org(), Type::UUID),
                (&policy.uuid(), Type::UUID),
                (&product.uuid(), Type::UUID),
            ],
        )
        .await?;
    let row = tx
        .query_opt(
            "SELECT count(*) FROM licet.policy_products WHERE org_id = $1 AND policy_id = $2",
            &[(&tx.org(), Type::UUID), (&policy.uuid(), Type::UUID)],
        )
        .await?
        .ok_or(Error::Row("a count"))?;
    check_count(row.try_get(0)?)?;
    Ok(covered == 1)
}

/// Whether so many products may be covered.
fn check_count(products: i64) -> Result<(), Error> {
    match usize::try_from(products) {
        Ok(count) if count <= MAX_PRODUCTS => Ok(()),
        _ => Err(Rejection::conflict(format!(
            "A policy and its licenses can cover at most {MAX_PRODUCTS} products."
        ))
        .into()),
    }
}

/// Which revision of a feature set is current, and under which keys it is to be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FeatureSetVersion {
    pub(crate) revision: u32,
    pub(crate) keys_version: u64,
}

/// And how far the feed had come by then.
pub(crate) async fn feature_set_version(
    tx: &Tx<'_>,
    id: FeatureSetId,
) -> Result<Option<(FeatureSetVersion, u64)>, Error> {
    let row = tx
        .query_opt(
            concat!(
                "SELECT s.current_revision, o.keys_version, ",
                epoch!(),
                " FROM licet.feature_sets s
                 JOIN licet.organizations o ON o.org_id = s.org_id
                 WHERE s.org_id = $1 AND s.id = $2"
            ),
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let current = FeatureSetVersion {
        revision: revision(row.try_get(0)?)?,
        keys_version: version(row.try_get(1)?)?,
    };
    Ok(Some((current, version(row.try_get(2)?)?)))
}

/// The values of one revision, which never change.
pub(crate) async fn features(
    tx: &Tx<'_>,
    id: FeatureSetId,
    revision: u32,
) -> Result<Map<String, Value>, Error> {
    let revision = i32::try_from(revision).map_err(|_| Error::Row("a revision"))?;
    let row = tx
        .query_opt(
            "SELECT features FROM licet.feature_set_revisions
             WHERE org_id = $1 AND feature_set_id = $2 AND revision = $3",
            &[
                (&tx.org(), Type::UUID),
                (&Uuid::from_bytes(id.uuid_bytes()), Type::UUID),
                (&revision, Type::INT4),
            ],
        )
        .await?
        .ok_or(Error::Row("feature_sets.current_revision"))?;
    let Json(features) = row.try_get(0)?;
    Ok(features)
}

/// How far revisions are raised: further than anybody publishes between two backups. They have
/// room for a million times that.
const RAISE: i32 = 1000;

/// Gives every feature set a much higher revision with the same values, and tells how many there
/// are.
pub(crate) async fn raise_revisions(tx: &Tx<'_>) -> Result<u64, Error> {
    tx.execute(
        "SELECT FROM licet.feature_sets WHERE org_id = $1 ORDER BY id FOR NO KEY UPDATE",
        &[(&tx.org(), Type::UUID)],
    )
    .await?;
    tx.execute(
        "INSERT INTO licet.feature_set_revisions (org_id, feature_set_id, revision, features)
         SELECT s.org_id, s.id, $2 + (SELECT max(m.revision) FROM licet.feature_set_revisions m
                 WHERE m.org_id = s.org_id AND m.feature_set_id = s.id), r.features
         FROM licet.feature_sets s
         JOIN licet.feature_set_revisions r ON r.org_id = s.org_id AND r.feature_set_id = s.id
             AND r.revision = s.current_revision
         WHERE s.org_id = $1",
        &[(&tx.org(), Type::UUID), (&RAISE, Type::INT4)],
    )
    .await?;
    tx.execute(
        "WITH raised AS (
             UPDATE licet.feature_sets s SET current_revision = (
                 SELECT max(m.revision) FROM licet.feature_set_revisions m
                 WHERE m.org_id = s.org_id AND m.feature_set_id = s.id)
             WHERE s.org_id = $1 RETURNING s.id, s.current_revision)
         SELECT licet.note_published('FEATURE_SET', id::text, current_revision) FROM raised
         ORDER BY id",
        &[(&tx.org(), Type::UUID)],
    )
    .await
}

/// A feature set's revision as the database holds it.
pub(super) fn revision(number: i32) -> Result<u32, Error> {
    u32::try_from(number).map_err(|_| Error::Row("a revision"))
}
