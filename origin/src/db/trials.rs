//! `trials`.

use licet_shared::id::LicenseId;
use tokio_postgres::types::Type;

use super::{Error, Tx};
use crate::random::RowId;

/// Notes that a device tries the products of a license; false, and nothing is noted, when it has
/// tried one of them under another license.
///
/// # Errors
/// [`Error::Changed`] when it has just done so: begin again.
pub(crate) async fn claim(
    tx: &Tx<'_>,
    license: LicenseId,
    fingerprint_hash: &str,
) -> Result<bool, Error> {
    if used(tx, license, fingerprint_hash).await? {
        return Ok(false);
    }
    // In one order: two licenses of the same products wait for each other on the first.
    tx.execute(
        "INSERT INTO licet.trials (org_id, fingerprint_hash, product_id, license_id)
         SELECT c.org_id, $3, c.product_id, c.license_id FROM licet.license_products c
         WHERE c.org_id = $1 AND c.license_id = $2 ORDER BY c.product_id
         ON CONFLICT (org_id, fingerprint_hash, product_id) DO NOTHING",
        &[
            (&tx.org(), Type::UUID),
            (&license.uuid(), Type::UUID),
            (&fingerprint_hash, Type::TEXT),
        ],
    )
    .await?;
    // A statement of its own sees whom the one before it waited for.
    if used(tx, license, fingerprint_hash).await? {
        return Err(Error::Changed);
    }
    Ok(true)
}

async fn used(tx: &Tx<'_>, license: LicenseId, fingerprint_hash: &str) -> Result<bool, Error> {
    let row = tx
        .query_opt(
            "SELECT EXISTS (SELECT FROM licet.license_products c
                 JOIN licet.trials t ON t.org_id = c.org_id AND t.product_id = c.product_id
                 WHERE c.org_id = $1 AND c.license_id = $2 AND t.fingerprint_hash = $3
                     AND t.license_id <> c.license_id)",
            &[
                (&tx.org(), Type::UUID),
                (&license.uuid(), Type::UUID),
                (&fingerprint_hash, Type::TEXT),
            ],
        )
        .await?
        .ok_or(Error::Row("trials"))?;
    Ok(row.try_get(0)?)
}
