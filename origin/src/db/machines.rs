//! What `activations` says of machines without a network.

use licet_shared::id::{ActivationId, LicenseId};
use tokio_postgres::types::Type;

use super::{Error, Tx};
use crate::random::RowId;

/// The activation that an earlier request led to.
pub(crate) struct Requested {
    pub(crate) fingerprint_hash: Option<String>,
    /// Not given back.
    pub(crate) live: bool,
}

/// What a request has led to before, if it came before.
pub(crate) async fn by_request(
    tx: &Tx<'_>,
    license: LicenseId,
    nonce: &str,
) -> Result<Option<Requested>, Error> {
    let row = tx
        .query_opt(
            "SELECT fingerprint_hash, deactivated_at IS NULL FROM licet.activations
             WHERE org_id = $1 AND license_id = $2 AND request_nonce = $3",
            &[
                (&tx.org(), Type::UUID),
                (&license.uuid(), Type::UUID),
                (&nonce, Type::TEXT),
            ],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Requested {
        fingerprint_hash: row.try_get(0)?,
        live: row.try_get(1)?,
    }))
}

/// Notes a machine's key and its request, where it sent them.
pub(crate) async fn bind(
    tx: &Tx<'_>,
    id: ActivationId,
    key: Option<&[u8; 32]>,
    nonce: Option<&str>,
) -> Result<(), Error> {
    let key = key.map(<[u8; 32]>::as_slice);
    tx.execute(
        "UPDATE licet.activations
         SET machine_key = coalesce($3, machine_key), request_nonce = coalesce($4, request_nonce)
         WHERE org_id = $1 AND id = $2",
        &[
            (&tx.org(), Type::UUID),
            (&id.uuid(), Type::UUID),
            (&key, Type::BYTEA),
            (&nonce, Type::TEXT),
        ],
    )
    .await?;
    Ok(())
}

/// The key of an activation's machine, if it sent one; the outer none when there is no such
/// activation.
pub(crate) async fn key(
    tx: &Tx<'_>,
    id: ActivationId,
    license: LicenseId,
) -> Result<Option<Option<[u8; 32]>>, Error> {
    let row = tx
        .query_opt(
            "SELECT machine_key FROM licet.activations
             WHERE org_id = $1 AND id = $2 AND license_id = $3",
            &[
                (&tx.org(), Type::UUID),
                (&id.uuid(), Type::UUID),
                (&license.uuid(), Type::UUID),
            ],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let key: Option<Vec<u8>> = row.try_get(0)?;
    let key = key.map(|key| {
        key.try_into()
            .map_err(|_| Error::Row("activations.machine_key"))
    });
    key.transpose().map(Some)
}

/// The license of an activation.
pub(crate) async fn license(tx: &Tx<'_>, id: ActivationId) -> Result<Option<LicenseId>, Error> {
    let row = tx
        .query_opt(
            "SELECT license_id FROM licet.activations WHERE org_id = $1 AND id = $2",
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    row.map(|row| Ok(LicenseId::from_uuid(row.try_get(0)?)))
        .transpose()
}
