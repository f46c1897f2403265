//! `signing_keys`. All that changes them holds the organization's row, so that one change is seen
//! by the next.

use std::time::SystemTime;

use licet_shared::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_postgres::{Row, types::Type};
use utoipa::ToSchema;

use super::{Error, Tx};
use crate::clock;

/// Beyond the end of what a key has signed: for calls under way when it is superseded, and for
/// clocks that differ.
const MARGIN_S: i64 = 120;

macro_rules! names {
    ($(#[$doc:meta])* $type:ident, $column:literal, $($(#[$each:meta])* $name:ident = $text:literal,)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
        pub(crate) enum $type {
            $($(#[$each])* $name,)*
        }

        impl $type {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name),*];

            /// As it stands in the table and in answers.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            fn from_column(text: &str) -> Result<Self, Error> {
                let found = Self::ALL.iter().find(|it| it.as_str() == text);
                found.copied().ok_or(Error::Row($column))
            }
        }
    };
}

names! {
    /// What a key may do.
    KeyState, "signing_keys.state",
    /// In the key set, so that all who verify know it before it signs.
    Published = "PUBLISHED",
    /// Signs and verifies. One at a time.
    Active = "ACTIVE",
    /// Verifies what it signed before.
    VerifyOnly = "VERIFY_ONLY",
    /// Out of the key set, when nothing that it signed counts any more.
    Retired = "RETIRED",
    /// Out of the key set at once, with all that it signed.
    Withdrawn = "WITHDRAWN",
}

names! {
    /// Why a key was withdrawn.
    WithdrawnWhy, "signing_keys.withdrawn_why",
    /// Somebody else has the private key.
    KeyCompromise = "KEY_COMPROMISE",
    /// Somebody else may have it.
    SuspectedCompromise = "SUSPECTED_COMPROMISE",
    /// For another reason.
    Unspecified = "UNSPECIFIED",
}

names! {
    /// Where a key's private half is.
    Store, "signing_keys.store",
    /// In the database, sealed under the master key.
    Sealed = "SEALED",
    /// In a hardware security module, which it never leaves.
    Pkcs11 = "PKCS11",
}

/// What a signer is made of.
pub(crate) enum Private {
    /// Its seed, sealed. None once it has signed its last.
    Sealed(Option<Vec<u8>>),
    /// Its `CKA_ID` in the module.
    Module(Vec<u8>),
}

/// A key of the key set, as it is needed to sign and verify.
pub(crate) struct SigningKey {
    /// Second half of the kid.
    pub(crate) number: u32,
    pub(crate) public: [u8; 32],
    pub(crate) private: Private,
    pub(crate) state: KeyState,
}

/// The keys that verify, the newest first.
pub(crate) async fn in_force(tx: &Tx<'_>) -> Result<Vec<SigningKey>, Error> {
    let rows = tx
        .query(
            "SELECT number, public_key, sealed_seed, store, object_id, state FROM licet.signing_keys
             WHERE org_id = $1 AND state IN ('PUBLISHED', 'ACTIVE', 'VERIFY_ONLY') ORDER BY number DESC",
            &[(&tx.org(), Type::UUID)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let object: Option<Vec<u8>> = row.try_get(4)?;
            let private = match Store::from_column(row.try_get(3)?)? {
                Store::Sealed => Private::Sealed(row.try_get(2)?),
                Store::Pkcs11 => {
                    Private::Module(object.ok_or(Error::Row("signing_keys.object_id"))?)
                }
            };
            Ok(SigningKey {
                number: number(row, 0)?,
                public: public(row, 1)?,
                private,
                state: KeyState::from_column(row.try_get(5)?)?,
            })
        })
        .collect()
}

fn number(row: &Row, column: usize) -> Result<u32, Error> {
    u32::try_from(row.try_get::<_, i32>(column)?).map_err(|_| Error::Row("signing_keys.number"))
}

fn public(row: &Row, column: usize) -> Result<[u8; 32], Error> {
    let bytes: Vec<u8> = row.try_get(column)?;
    let bytes = bytes.try_into();
    bytes.map_err(|_| Error::Row("signing_keys.public_key"))
}

/// A key as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeyRecord {
    pub(crate) number: u32,
    pub(crate) public: [u8; 32],
    pub(crate) state: KeyState,
    pub(crate) store: Store,
    pub(crate) created_at: Timestamp,
    pub(crate) activated_at: Option<Timestamp>,
    pub(crate) superseded_at: Option<Timestamp>,
    pub(crate) signed_until: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) withdrawn_why: Option<WithdrawnWhy>,
    /// Seconds since it was made, by the database's clock.
    pub(crate) age_s: i64,
    /// Whether, by that clock, something that it signed may still count.
    pub(crate) in_use: bool,
}

macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "SELECT number, public_key, state, store, created_at, activated_at, superseded_at,
                 signed_until, ended_at, withdrawn_why,
                 floor(extract(epoch FROM now() - created_at))::int8,
                 coalesce(signed_until > now(), false)
             FROM licet.signing_keys WHERE org_id = $1 ",
            $rest
        )
    };
}

fn record(row: &Row) -> Result<KeyRecord, Error> {
    let time = |column| -> Result<_, Error> {
        let time: Option<SystemTime> = row.try_get(column)?;
        Ok(time.map(clock::timestamp))
    };
    let why: Option<&str> = row.try_get(9)?;
    Ok(KeyRecord {
        number: number(row, 0)?,
        public: public(row, 1)?,
        state: KeyState::from_column(row.try_get(2)?)?,
        store: Store::from_column(row.try_get(3)?)?,
        created_at: clock::timestamp(row.try_get(4)?),
        activated_at: time(5)?,
        superseded_at: time(6)?,
        signed_until: time(7)?,
        ended_at: time(8)?,
        withdrawn_why: why.map(WithdrawnWhy::from_column).transpose()?,
        age_s: row.try_get(10)?,
        in_use: row.try_get(11)?,
    })
}

/// A key by its number, whatever its state.
pub(crate) async fn find(tx: &Tx<'_>, number: u32) -> Result<Option<KeyRecord>, Error> {
    // No key has a greater number than the column can hold.
    let Ok(number) = i32::try_from(number) else {
        return Ok(None);
    };
    let row = tx
        .query_opt(
            columns!("AND number = $2"),
            &[(&tx.org(), Type::UUID), (&number, Type::INT4)],
        )
        .await?;
    row.map(|row| record(&row)).transpose()
}

/// Keys with numbers below one, the newest first.
pub(crate) async fn list(
    tx: &Tx<'_>,
    before: Option<u32>,
    limit: i64,
) -> Result<Vec<KeyRecord>, Error> {
    let before = before.map(|number| i32::try_from(number).unwrap_or(i32::MAX));
    let rows = tx
        .query(
            columns!("AND ($2::int4 IS NULL OR number < $2) ORDER BY number DESC LIMIT $3"),
            &[
                (&tx.org(), Type::UUID),
                (&before, Type::INT4),
                (&limit, Type::INT8),
            ],
        )
        .await?;
    rows.iter().map(record).collect()
}

/// A key to be written.
pub(crate) struct NewKey<'a> {
    pub(crate) number: u32,
    pub(crate) public: &'a [u8; 32],
    pub(crate) private: &'a Private,
}

/// Adds a key, that signs at once or is only published.
pub(crate) async fn insert(tx: &Tx<'_>, key: &NewKey<'_>, state: KeyState) -> Result<(), Error> {
    let number = i32::try_from(key.number).map_err(|_| Error::Row("signing_keys.number"))?;
    let (store, sealed, object) = match key.private {
        Private::Sealed(seed) => (Store::Sealed, seed.as_deref(), None),
        Private::Module(id) => (Store::Pkcs11, None, Some(id.as_slice())),
    };
    tx.execute(
        "INSERT INTO licet.signing_keys
             (org_id, number, public_key, sealed_seed, store, object_id, state, activated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, CASE $7 WHEN 'ACTIVE' THEN now() END)",
        &[
            (&tx.org(), Type::UUID),
            (&number, Type::INT4),
            (&key.public.as_slice(), Type::BYTEA),
            (&sealed, Type::BYTEA),
            (&store.as_str(), Type::TEXT),
            (&object, Type::BYTEA),
            (&state.as_str(), Type::TEXT),
        ],
    )
    .await?;
    Ok(())
}

/// Has the key that signs, if there is one, verify alone from now on, and forget its private half.
/// Hands back its number. The policies tell how long a token may count, leases tell it themselves;
/// documents live for `document_life_s`, and for the grace of a token when the origin is gone.
pub(crate) async fn supersede_active(
    tx: &Tx<'_>,
    document_life_s: i64,
) -> Result<Option<u32>, Error> {
    let row = tx
        .query_opt(
            "UPDATE licet.signing_keys SET state = 'VERIFY_ONLY', sealed_seed = NULL,
                 superseded_at = now(), signed_until = make_interval(secs => $3) + greatest(
                     now() + make_interval(secs => $2 + (SELECT coalesce(max(p.grace_s), 0)::int8
                         FROM licet.policies p WHERE p.org_id = $1)),
                     now() + make_interval(secs => (
                         SELECT max(greatest(p.token_reach_s, p.token_lifetime_s + p.grace_s))::int8
                         FROM licet.policies p WHERE p.org_id = $1)),
                     (SELECT max(l.expires_at) FROM licet.leases l WHERE l.org_id = $1))
             WHERE org_id = $1 AND state = 'ACTIVE' RETURNING number",
            &[
                (&tx.org(), Type::UUID),
                (&document_life_s, Type::INT8),
                (&MARGIN_S, Type::INT8),
            ],
        )
        .await?;
    row.map(|row| number(&row, 0)).transpose()
}

/// Has a published key sign; false when it is not published.
pub(crate) async fn activate(tx: &Tx<'_>, number: u32) -> Result<bool, Error> {
    let number = i32::try_from(number).map_err(|_| Error::Row("signing_keys.number"))?;
    let done = tx
        .execute(
            "UPDATE licet.signing_keys SET state = 'ACTIVE', activated_at = now()
             WHERE org_id = $1 AND number = $2 AND state = 'PUBLISHED'",
            &[(&tx.org(), Type::UUID), (&number, Type::INT4)],
        )
        .await?;
    Ok(done == 1)
}

/// Takes a key out of the key set, for good, and forgets its private half.
pub(crate) async fn end(
    tx: &Tx<'_>,
    number: u32,
    withdrawn: Option<WithdrawnWhy>,
) -> Result<(), Error> {
    let number = i32::try_from(number).map_err(|_| Error::Row("signing_keys.number"))?;
    let state = match withdrawn {
        Some(_) => KeyState::Withdrawn,
        None => KeyState::Retired,
    };
    tx.execute(
        "UPDATE licet.signing_keys
         SET state = $3, withdrawn_why = $4, sealed_seed = NULL, ended_at = now()
         WHERE org_id = $1 AND number = $2",
        &[
            (&tx.org(), Type::UUID),
            (&number, Type::INT4),
            (&state.as_str(), Type::TEXT),
            (&withdrawn.map(WithdrawnWhy::as_str), Type::TEXT),
        ],
    )
    .await?;
    Ok(())
}

/// A sealed seed and its key.
pub(crate) struct SealedSeed {
    pub(crate) number: u32,
    pub(crate) public: [u8; 32],
    pub(crate) sealed: Vec<u8>,
}

/// The seeds that are sealed, but do not begin with `head`: it names the way and the key of sealing.
/// Their rows are locked where they are to be sealed anew.
pub(crate) async fn sealed_otherwise(tx: &Tx<'_>, head: &[u8]) -> Result<Vec<SealedSeed>, Error> {
    let rows = tx
        .query(
            "SELECT number, public_key, sealed_seed FROM licet.signing_keys
             WHERE org_id = $1 AND sealed_seed IS NOT NULL
                 AND substring(sealed_seed FROM 1 FOR octet_length($2)) <> $2
             ORDER BY number FOR NO KEY UPDATE",
            &[(&tx.org(), Type::UUID), (&head, Type::BYTEA)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(SealedSeed {
                number: number(row, 0)?,
                public: public(row, 1)?,
                sealed: row.try_get(2)?,
            })
        })
        .collect()
}

/// Puts another sealing of the same seed in place of the one there.
pub(crate) async fn put_sealed(tx: &Tx<'_>, number: u32, sealed: &[u8]) -> Result<(), Error> {
    let number = i32::try_from(number).map_err(|_| Error::Row("signing_keys.number"))?;
    tx.execute(
        "UPDATE licet.signing_keys SET sealed_seed = $3 WHERE org_id = $1 AND number = $2",
        &[
            (&tx.org(), Type::UUID),
            (&number, Type::INT4),
            (&sealed, Type::BYTEA),
        ],
    )
    .await?;
    Ok(())
}
