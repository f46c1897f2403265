//! `idempotency_keys`.

use licet_shared::{decision::Code, id::ActivationId, time::Timestamp};
use serde_json::Value;
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use super::{Error, Tx};
use crate::{clock, random::RowId};

/// How many outworn rows a request clears away, at most.
const SWEEP: i64 = 8;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) code: Code,
    pub(crate) activation: Option<ActivationId>,
}

/// What stands under a key that was taken.
pub(crate) struct Earlier {
    pub(crate) request_hash: Vec<u8>,
    pub(crate) outcome: Outcome,
}

/// For how long a key counts, in seconds.
pub(crate) const KEPT_S: i64 = 86_400;

/// Takes a key for this transaction, on behalf of a license. False when a request had it since
/// `outworn`, and also when there is no such license: keys are kept for real licenses alone.
/// Waits for a running request, as long as the lock timeout lets it.
pub(crate) async fn claim(
    tx: &Tx<'_>,
    key: &str,
    request_hash: &[u8; 32],
    license_key_hash: &[u8; 32],
    outworn: Timestamp,
) -> Result<bool, Error> {
    let claimed = tx
        .execute(
            "INSERT INTO licet.idempotency_keys AS k (org_id, key, request_hash)
             SELECT l.org_id, $2, $3 FROM licet.licenses l WHERE l.org_id = $1 AND l.key_hash = $4
             ON CONFLICT (org_id, key) DO UPDATE
                 SET request_hash = excluded.request_hash, code = NULL, activation_id = NULL,
                     created_at = excluded.created_at
                 WHERE k.created_at < $5",
            &[
                (&tx.org(), Type::UUID),
                (&key, Type::TEXT),
                (&request_hash.as_slice(), Type::BYTEA),
                (&license_key_hash.as_slice(), Type::BYTEA),
                (&clock::system_time(outworn), Type::TIMESTAMPTZ),
            ],
        )
        .await;
    match claimed {
        Ok(rows) => Ok(rows == 1),
        Err(error) if error.is_lock_timeout() => Err(Error::KeyInFlight),
        Err(error) => Err(error),
    }
}

/// What stands under a key that [`claim`] did not take, since `outworn`.
pub(crate) async fn find(
    tx: &Tx<'_>,
    key: &str,
    outworn: Timestamp,
) -> Result<Option<Earlier>, Error> {
    let row = tx
        .query_opt(
            "SELECT request_hash, code, activation_id FROM licet.idempotency_keys
             WHERE org_id = $1 AND key = $2 AND created_at >= $3",
            &[
                (&tx.org(), Type::UUID),
                (&key, Type::TEXT),
                (&clock::system_time(outworn), Type::TIMESTAMPTZ),
            ],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let text: &str = row.try_get(1)?;
    let code = Code::ALL.iter().copied().find(|code| code.as_str() == text);
    Ok(Some(Earlier {
        request_hash: row.try_get(0)?,
        outcome: Outcome {
            code: code.ok_or(Error::Row("idempotency_keys.code"))?,
            activation: row
                .try_get::<_, Option<Uuid>>(2)?
                .map(ActivationId::from_uuid),
        },
    }))
}

/// Writes down what became of the request whose key was claimed.
pub(crate) async fn record(tx: &Tx<'_>, key: &str, outcome: Outcome) -> Result<(), Error> {
    tx.execute(
        "UPDATE licet.idempotency_keys SET code = $3, activation_id = $4
         WHERE org_id = $1 AND key = $2",
        &[
            (&tx.org(), Type::UUID),
            (&key, Type::TEXT),
            (&outcome.code.as_str(), Type::TEXT),
            (&outcome.activation.map(RowId::uuid), Type::UUID),
        ],
    )
    .await?;
    Ok(())
}

/// Clears away a few outworn rows, but none that another request is just clearing.
pub(crate) async fn sweep(tx: &Tx<'_>) -> Result<(), Error> {
    tx.execute(
        "DELETE FROM licet.idempotency_keys WHERE org_id = $1 AND key IN (
             SELECT o.key FROM licet.idempotency_keys o
             WHERE o.org_id = $1 AND o.created_at < now() - interval '24 hours'
             ORDER BY o.created_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        &[(&tx.org(), Type::UUID), (&SWEEP, Type::INT8)],
    )
    .await?;
    Ok(())
}

/// Takes a key for this transaction, on behalf of a caller of the account API. False when a
/// request had it since `outworn`.
pub(crate) async fn claim_for_caller(
    tx: &Tx<'_>,
    key: &str,
    request_hash: &[u8; 32],
    outworn: Timestamp,
) -> Result<bool, Error> {
    let claimed = tx
        .execute(
            "INSERT INTO licet.idempotency_keys AS k (org_id, key, request_hash)
             VALUES ($1, $2, $3)
             ON CONFLICT (org_id, key) DO UPDATE
                 SET request_hash = excluded.request_hash, made = NULL,
                     created_at = excluded.created_at
                 WHERE k.created_at < $4",
            &[
                (&tx.org(), Type::UUID),
                (&key, Type::TEXT),
                (&request_hash.as_slice(), Type::BYTEA),
                (&clock::system_time(outworn), Type::TIMESTAMPTZ),
            ],
        )
        .await;
    match claimed {
        Ok(rows) => Ok(rows == 1),
        Err(error) if error.is_lock_timeout() => Err(Error::KeyInFlight),
        Err(error) => Err(error),
    }
}

/// Takes those of these keys for this transaction that are free or outworn; hands back the others,
/// each with its hash. Keys are taken in the order given, which must be one for all.
pub(crate) async fn claim_all<'a>(
    tx: &Tx<'_>,
    keys: impl Iterator<Item = (&'a str, &'a [u8; 32])>,
    outworn: Timestamp,
) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let (keys, hashes): (Vec<&str>, Vec<&[u8]>) =
        keys.map(|(key, hash)| (key, hash.as_slice())).unzip();
    let claimed = tx
        .query(
            "INSERT INTO licet.idempotency_keys AS k (org_id, key, request_hash)
             SELECT $1, n.key, n.hash
             FROM unnest($2::text[], $3::bytea[]) WITH ORDINALITY AS n (key, hash, place)
             ORDER BY n.place
             ON CONFLICT (org_id, key) DO UPDATE
                 SET request_hash = excluded.request_hash, created_at = excluded.created_at
                 WHERE k.created_at < $4
             RETURNING key",
            &[
                (&tx.org(), Type::UUID),
                (&keys, Type::TEXT_ARRAY),
                (&hashes, Type::BYTEA_ARRAY),
                (&clock::system_time(outworn), Type::TIMESTAMPTZ),
            ],
        )
        .await;
    let claimed = match claimed {
        Ok(rows) => rows,
        Err(error) if error.is_lock_timeout() => return Err(Error::KeyInFlight),
        Err(error) => return Err(error),
    };
    let claimed = claimed.iter().map(|row| row.try_get(0));
    let claimed: Vec<String> = claimed.collect::<Result<_, _>>()?;
    let rest: Vec<&str> = keys
        .into_iter()
        .filter(|key| !claimed.iter().any(|claimed| claimed == key))
        .collect();
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    let rows = tx
        .query(
            "SELECT k.key, k.request_hash FROM licet.idempotency_keys k
             WHERE k.org_id = $1 AND k.key = ANY ($2)",
            &[(&tx.org(), Type::UUID), (&rest, Type::TEXT_ARRAY)],
        )
        .await?;
    // Gone again when another request has just cleared it away: then begin anew.
    if rows.len() < rest.len() {
        return Err(Error::Changed);
    }
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

/// The request hash under a key, and what the request made.
pub(crate) async fn made(tx: &Tx<'_>, key: &str) -> Result<Option<(Vec<u8>, Value)>, Error> {
    let row = tx
        .query_opt(
            "SELECT request_hash, made FROM licet.idempotency_keys WHERE org_id = $1 AND key = $2",
            &[(&tx.org(), Type::UUID), (&key, Type::TEXT)],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let Json(made) = row.try_get(1)?;
    Ok(Some((row.try_get(0)?, made)))
}

/// Writes down what a request made whose key was claimed.
pub(crate) async fn record_made(tx: &Tx<'_>, key: &str, made: &Value) -> Result<(), Error> {
    tx.execute(
        "UPDATE licet.idempotency_keys SET made = $3 WHERE org_id = $1 AND key = $2",
        &[
            (&tx.org(), Type::UUID),
            (&key, Type::TEXT),
            (&Json(made), Type::JSONB),
        ],
    )
    .await?;
    Ok(())
}
