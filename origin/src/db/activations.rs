//! `activations`.

use std::collections::BTreeMap;

use licet_shared::id::{ActivationId, LicenseId};
use serde_json::{Map, Value};
use tokio_postgres::{
    Row,
    types::{Json, Type},
};

use super::{Error, Tx, organizations::version, status_lists::StatusEntry};
use crate::random::RowId;

/// Hashes of component fingerprints, by name.
pub(crate) type Hashes = BTreeMap<String, String>;

/// One installation of a license.
#[derive(Clone, Debug)]
pub(crate) struct Activation {
    pub(crate) id: ActivationId,
    /// Base64url of the SHA-256 of the device's fingerprint.
    /// None where it named none.
    pub(crate) fingerprint_hash: Option<String>,
    /// Hashes of its component fingerprints, by name.
    pub(crate) components: Option<Hashes>,
    pub(crate) entry: StatusEntry,
    /// Not given back.
    pub(crate) live: bool,
    /// The version of the entry's list when all this was read; 0 where it had none yet.
    pub(crate) list_version: u64,
}

impl Activation {
    /// From seven columns that begin at `first`: id, fingerprint hash, list, index, live,
    /// components, the list's version.
    pub(super) fn from_columns(row: &Row, first: usize) -> Result<Self, Error> {
        let components: Option<Json<Hashes>> = row.try_get(first + 5)?;
        Ok(Self {
            id: ActivationId::from_uuid(row.try_get(first)?),
            fingerprint_hash: row.try_get(first + 1)?,
            entry: StatusEntry::from_columns(row.try_get(first + 2)?, row.try_get(first + 3)?)?,
            live: row.try_get(first + 4)?,
            components: components.map(|Json(hashes)| hashes),
            list_version: version(row.try_get(first + 6)?)?,
        })
    }
}

/// How a license's seats stand, seen by one device.
pub(crate) struct Seats {
    /// Live activations of the license.
    pub(crate) taken: i64,
    /// The device's own, if it has one.
    pub(crate) own: Option<Activation>,
}

/// Counts the live activations of the license with this key, and finds the device's own. Exact
/// only while the license's row is locked; as a statement of its own it sees what was committed
/// by those who held the lock before.
pub(crate) async fn seats(
    tx: &Tx<'_>,
    key_hash: &[u8; 32],
    fingerprint_hash: Option<&str>,
) -> Result<Option<Seats>, Error> {
    let row = tx
        .query_opt(
            "SELECT (SELECT count(*) FROM licet.activations c WHERE c.org_id = l.org_id
                         AND c.license_id = l.id AND c.deactivated_at IS NULL),
                 a.id IS NOT NULL, a.id, a.fingerprint_hash, a.status_list, a.status_index, true,
                 a.components, v.version
             FROM licet.licenses l
             LEFT JOIN licet.activations a ON a.org_id = l.org_id AND a.license_id = l.id
                 AND a.fingerprint_hash = $3 AND a.deactivated_at IS NULL
             LEFT JOIN licet.status_versions v ON v.org_id = a.org_id AND v.number = a.status_list
             WHERE l.org_id = $1 AND l.key_hash = $2",
            &[
                (&tx.org(), Type::UUID),
                (&key_hash.as_slice(), Type::BYTEA),
                (&fingerprint_hash, Type::TEXT),
            ],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let own = if row.try_get(1)? {
        Some(Activation::from_columns(&row, 2)?)
    } else {
        None
    };
    Ok(Some(Seats {
        taken: row.try_get(0)?,
        own,
    }))
}

/// The live activation of the license of which so many components, or all, are those of the
/// device: of several the one with the most. Looks at each live one of the license.
pub(crate) async fn with_components(
    tx: &Tx<'_>,
    license: LicenseId,
    components: &Hashes,
    matching: Option<u8>,
) -> Result<Option<Activation>, Error> {
    let row = tx
        .query_opt(
            "SELECT a.id, a.fingerprint_hash, a.status_list, a.status_index, true, a.components,
                 v.version
             FROM licet.activations a
             JOIN licet.status_versions v ON v.org_id = a.org_id AND v.number = a.status_list
             CROSS JOIN LATERAL (SELECT count(*) AS whole,
                     count(*) FILTER (WHERE $3::jsonb ->> c.key = c.value) AS same
                 FROM jsonb_each_text(a.components) c) AS m
             WHERE a.org_id = $1 AND a.license_id = $2 AND a.deactivated_at IS NULL
                 AND a.components IS NOT NULL AND m.same >= least($4::int8, m.whole)
             ORDER BY m.same DESC, a.id LIMIT 1",
            &[
                (&tx.org(), Type::UUID),
                (&license.uuid(), Type::UUID),
                (&Json(components), Type::JSONB),
                (&matching.map(i64::from), Type::INT8),
            ],
        )
        .await?;
    row.map(|row| Activation::from_columns(&row, 0)).transpose()
}

/// An activation to be made.
pub(crate) struct NewActivation<'a> {
    pub(crate) id: ActivationId,
    pub(crate) license: LicenseId,
    pub(crate) fingerprint_hash: Option<&'a str>,
    pub(crate) components: Option<&'a Hashes>,
    pub(crate) name: Option<&'a str>,
    pub(crate) metadata: Option<&'a Map<String, Value>>,
}

/// Makes an activation with the entry that [`super::status_lists::advance`] has just passed.
///
/// # Errors
/// [`Error::Changed`] when there is no such entry because the list was full.
pub(crate) async fn insert(
    tx: &Tx<'_>,
    activation: &NewActivation<'_>,
    list: u32,
) -> Result<StatusEntry, Error> {
    let inserted = tx
        .query_opt(
            "INSERT INTO licet.activations
                 (org_id, id, license_id, fingerprint_hash, name, metadata, status_list, status_index,
                  components)
             SELECT s.org_id, $2, $3, $4, $5, $6, s.number, s.next_index - 1, $8
             FROM licet.status_versions s WHERE s.org_id = $1 AND s.number = $7
             RETURNING status_list, status_index",
            &[
                (&tx.org(), Type::UUID),
                (&activation.id.uuid(), Type::UUID),
                (&activation.license.uuid(), Type::UUID),
                (&activation.fingerprint_hash, Type::TEXT),
                (&activation.name, Type::TEXT),
                (&activation.metadata.map(Json), Type::JSONB),
                (&StatusEntry::column(list)?, Type::INT4),
                (&activation.components.map(Json), Type::JSONB),
            ],
        )
        .await;
    match inserted {
        Ok(Some(row)) => StatusEntry::from_columns(row.try_get(0)?, row.try_get(1)?),
        Ok(None) => Err(Error::Row("status_versions")),
        // Somebody took the list's last entry first.
        Err(error) if error.constraint() == Some("activations_status_key") => Err(Error::Changed),
        Err(error) => Err(error),
    }
}

/// Notes that a live activation was heard of, what it now calls itself, and its components where
/// it had none. Holds its row until the
/// transaction ends, so that it stays live as long. False when it has just been given back.
pub(crate) async fn touch(
    tx: &Tx<'_>,
    id: ActivationId,
    name: Option<&str>,
    metadata: Option<&Map<String, Value>>,
    components: Option<&Hashes>,
) -> Result<bool, Error> {
    let touched = tx
        .execute(
            "UPDATE licet.activations
         SET last_seen_at = now(), name = coalesce($3, name), metadata = coalesce($4, metadata),
             components = coalesce(components, $5)
         WHERE org_id = $1 AND id = $2 AND deactivated_at IS NULL",
            &[
                (&tx.org(), Type::UUID),
                (&id.uuid(), Type::UUID),
                (&name, Type::TEXT),
                (&metadata.map(Json), Type::JSONB),
                (&components.map(Json), Type::JSONB),
            ],
        )
        .await?;
    Ok(touched == 1)
}

/// Notes that a live activation was heard of, to the minute: a device that refreshes in a loop
/// causes no writes.
pub(crate) async fn see(tx: &Tx<'_>, id: ActivationId) -> Result<(), Error> {
    tx.execute(
        "UPDATE licet.activations SET last_seen_at = now()
         WHERE org_id = $1 AND id = $2 AND deactivated_at IS NULL
             AND last_seen_at < now() - interval '1 minute'",
        &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
    )
    .await?;
    Ok(())
}

/// What a license's devices gave back of late.
pub(crate) struct GivenBack {
    /// How many within the period.
    pub(crate) count: i64,
    /// Whether the activation at hand is live.
    pub(crate) live: bool,
}

/// Counts the activations that a license's devices gave back within so many seconds. Exact only
/// while the license's row is locked by all who do so.
pub(crate) async fn given_back(
    tx: &Tx<'_>,
    id: ActivationId,
    license: LicenseId,
    period_s: u32,
) -> Result<GivenBack, Error> {
    let row = tx
        .query_opt(
            "SELECT (SELECT count(*) FROM licet.activations WHERE org_id = $1 AND license_id = $3
                         AND given_back AND deactivated_at > now() - make_interval(secs => $4)),
                 EXISTS (SELECT FROM licet.activations WHERE org_id = $1 AND id = $2
                         AND license_id = $3 AND deactivated_at IS NULL)",
            &[
                (&tx.org(), Type::UUID),
                (&id.uuid(), Type::UUID),
                (&license.uuid(), Type::UUID),
                (&f64::from(period_s), Type::FLOAT8),
            ],
        )
        .await?
        .ok_or(Error::Row("a count"))?;
    Ok(GivenBack {
        count: row.try_get(0)?,
        live: row.try_get(1)?,
    })
}

/// Who takes an activation off its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The device, or somebody at it.
    Device,
    /// The vendor's people.
    Vendor,
}

/// Takes a live activation off its device. Hands back its entry; none when it was not live.
pub(crate) async fn deactivate(
    tx: &Tx<'_>,
    id: ActivationId,
    license: LicenseId,
    by: By,
) -> Result<Option<StatusEntry>, Error> {
    let row = tx
        .query_opt(
            "UPDATE licet.activations SET deactivated_at = now(), given_back = $4
             WHERE org_id = $1 AND id = $2 AND license_id = $3 AND deactivated_at IS NULL
             RETURNING status_list, status_index",
            &[
                (&tx.org(), Type::UUID),
                (&id.uuid(), Type::UUID),
                (&license.uuid(), Type::UUID),
                (&(by == By::Device), Type::BOOL),
            ],
        )
        .await?;
    row.map(|row| StatusEntry::from_columns(row.try_get(0)?, row.try_get(1)?))
        .transpose()
}
