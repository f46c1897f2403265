//! `products`.

use std::time::SystemTime;

use licet_shared::{id::ProductId, time::Timestamp};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::{Error, Tx};
use crate::{
    clock::{self, system_time},
    random::RowId,
};

/// Something that the tenant sells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Product {
    pub(crate) id: ProductId,
    pub(crate) code: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) version: i32,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) deleted_at: Option<Timestamp>,
}

macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "SELECT id, code, name, description, version, created_at, updated_at, deleted_at
             FROM licet.products ",
            $rest
        )
    };
}

fn product(row: &Row) -> Result<Product, Error> {
    Ok(Product {
        id: ProductId::from_uuid(row.try_get(0)?),
        code: row.try_get(1)?,
        name: row.try_get(2)?,
        description: row.try_get(3)?,
        version: row.try_get(4)?,
        created_at: clock::timestamp(row.try_get(5)?),
        updated_at: clock::timestamp(row.try_get(6)?),
        deleted_at: row
            .try_get::<_, Option<SystemTime>>(7)?
            .map(clock::timestamp),
    })
}

/// # Errors
/// Violates `products_code_key` when the code is taken, also by a deleted product.
pub(crate) async fn insert(tx: &Tx<'_>, product: &Product) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO licet.products (org_id, id, code, name, description, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $6)",
        &[
            (&tx.org(), Type::UUID),
            (&product.id.uuid(), Type::UUID),
            (&product.code, Type::TEXT),
            (&product.name, Type::TEXT),
            (&product.description, Type::TEXT),
            (&system_time(product.created_at), Type::TIMESTAMPTZ),
        ],
    )
    .await?;
    Ok(())
}

/// A product, deleted or not.
pub(crate) async fn find(tx: &Tx<'_>, id: ProductId) -> Result<Option<Product>, Error> {
    let row = tx
        .query_opt(
            columns!("WHERE org_id = $1 AND id = $2"),
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    row.map(|row| product(&row)).transpose()
}

/// The same, locked.
pub(crate) async fn lock(tx: &Tx<'_>, id: ProductId) -> Result<Option<Product>, Error> {
    let row = tx
        .query_opt(
            columns!("WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE"),
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    row.map(|row| product(&row)).transpose()
}

/// Whether a policy that is not deleted covers it. Stays so while the product is locked.
pub(crate) async fn is_sold(tx: &Tx<'_>, id: ProductId) -> Result<bool, Error> {
    let row = tx
        .query_opt(
            "SELECT EXISTS (SELECT FROM licet.policy_products c
                 JOIN licet.policies p ON p.org_id = c.org_id AND p.id = c.policy_id
                 WHERE c.org_id = $1 AND c.product_id = $2 AND p.deleted_at IS NULL)",
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    Ok(row.ok_or(Error::Row("products"))?.try_get(0)?)
}

/// What a list of products is filtered by.
pub(crate) struct ProductFilter<'a> {
    pub(crate) code: Option<&'a str>,
    /// Stands in code or name, in any case.
    pub(crate) text: Option<&'a str>,
    /// The deleted ones instead of the others.
    pub(crate) deleted: bool,
}

/// Products, the newest first.
pub(crate) async fn list(
    tx: &Tx<'_>,
    filter: &ProductFilter<'_>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Product>, Error> {
    let rows = tx
        .query(
            columns!(
                "WHERE org_id = $1 AND ($2::uuid IS NULL OR id < $2)
                     AND (deleted_at IS NOT NULL) = $3
                     AND ($4::text IS NULL OR code = $4)
                     AND ($5::text IS NULL OR strpos(code, lower($5)) > 0
                          OR strpos(lower(name), lower($5)) > 0)
                 ORDER BY id DESC LIMIT $6"
            ),
            &[
                (&tx.org(), Type::UUID),
                (&before, Type::UUID),
                (&filter.deleted, Type::BOOL),
                (&filter.code, Type::TEXT),
                (&filter.text, Type::TEXT),
                (&limit, Type::INT8),
            ],
        )
        .await?;
    rows.iter().map(product).collect()
}

/// Writes all that may change as it now stands. The product must be locked.
pub(crate) async fn update(tx: &Tx<'_>, product: &Product) -> Result<(), Error> {
    tx.execute(
        "UPDATE licet.products
         SET name = $3, description = $4, version = $5, updated_at = $6, deleted_at = $7
         WHERE org_id = $1 AND id = $2",
        &[
            (&tx.org(), Type::UUID),
            (&product.id.uuid(), Type::UUID),
            (&product.name, Type::TEXT),
            (&product.description, Type::TEXT),
            (&product.version, Type::INT4),
            (&system_time(product.updated_at), Type::TIMESTAMPTZ),
            (&product.deleted_at.map(system_time), Type::TIMESTAMPTZ),
        ],
    )
    .await?;
    Ok(())
}
