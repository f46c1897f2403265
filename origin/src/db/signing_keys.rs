//! `signing_keys`.

use tokio_postgres::types::Type;

use super::{Error, Tx};

/// What a key may still do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyState {
    /// Signs and verifies.
    Active,
    /// Verifies what it signed before.
    VerifyOnly,
}

/// An organization's key.
pub(crate) struct SigningKey {
    /// Second half of the kid.
    pub(crate) number: u32,
    pub(crate) public: [u8; 32],
    pub(crate) sealed_seed: Vec<u8>,
    pub(crate) state: KeyState,
}

/// The keys that verify, the newest first. Withdrawn ones are not among them.
pub(crate) async fn in_force(tx: &Tx<'_>) -> Result<Vec<SigningKey>, Error> {
    let rows = tx
        .query(
            "SELECT number, public_key, sealed_seed, state FROM licet.signing_keys
             WHERE org_id = $1 AND state <> 'WITHDRAWN' ORDER BY number DESC",
            &[(&tx.org(), Type::UUID)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let public: Vec<u8> = row.try_get(1)?;
            Ok(SigningKey {
                number: u32::try_from(row.try_get::<_, i32>(0)?)
                    .map_err(|_| Error::Row("signing_keys.number"))?,
                public: public
                    .try_into()
                    .map_err(|_| Error::Row("signing_keys.public_key"))?,
                sealed_seed: row.try_get(2)?,
                state: match row.try_get(3)? {
                    "ACTIVE" => KeyState::Active,
                    "VERIFY_ONLY" => KeyState::VerifyOnly,
                    _ => return Err(Error::Row("signing_keys.state")),
                },
            })
        })
        .collect()
}

/// Adds an organization's first key.
pub(crate) async fn insert_first(
    tx: &Tx<'_>,
    public: &[u8; 32],
    sealed_seed: &[u8],
) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO licet.signing_keys (org_id, number, public_key, sealed_seed)
         VALUES ($1, 1, $2, $3)",
        &[
            (&tx.org(), Type::UUID),
            (&public.as_slice(), Type::BYTEA),
            (&sealed_seed, Type::BYTEA),
        ],
    )
    .await?;
    Ok(())
}
