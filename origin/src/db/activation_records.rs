//! Activations as their vendor sees them.

use std::time::SystemTime;

use licet_shared::{
    id::{ActivationId, LicenseId},
    time::Timestamp,
};
use serde_json::{Map, Value};
use tokio_postgres::{
    Row,
    types::{Json, Type},
};
use uuid::Uuid;

use super::{Error, Tx};
use crate::{clock, random::RowId};

/// An activation with what its device says of itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ActivationRecord {
    pub(crate) id: ActivationId,
    pub(crate) license: LicenseId,
    pub(crate) fingerprint_hash: Option<String>,
    /// Names of the component fingerprints that it is told by.
    pub(crate) components: Vec<String>,
    pub(crate) name: Option<String>,
    pub(crate) metadata: Option<Map<String, Value>>,
    pub(crate) created_at: Timestamp,
    pub(crate) last_seen_at: Timestamp,
    pub(crate) deactivated_at: Option<Timestamp>,
}

macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "SELECT id, license_id, fingerprint_hash, name, metadata, created_at, last_seen_at,
                 deactivated_at, ARRAY(SELECT jsonb_object_keys(components) ORDER BY 1)
             FROM licet.activations ",
            $rest
        )
    };
}

fn record(row: &Row) -> Result<ActivationRecord, Error> {
    let metadata: Option<Json<Map<String, Value>>> = row.try_get(4)?;
    Ok(ActivationRecord {
        id: ActivationId::from_uuid(row.try_get(0)?),
        license: LicenseId::from_uuid(row.try_get(1)?),
        fingerprint_hash: row.try_get(2)?,
        components: row.try_get(8)?,
        name: row.try_get(3)?,
        metadata: metadata.map(|Json(metadata)| metadata),
        created_at: clock::timestamp(row.try_get(5)?),
        last_seen_at: clock::timestamp(row.try_get(6)?),
        deactivated_at: row
            .try_get::<_, Option<SystemTime>>(7)?
            .map(clock::timestamp),
    })
}

pub(crate) async fn find(tx: &Tx<'_>, id: ActivationId) -> Result<Option<ActivationRecord>, Error> {
    let row = tx
        .query_opt(
            columns!("WHERE org_id = $1 AND id = $2"),
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    row.map(|row| record(&row)).transpose()
}

/// What a list of activations is filtered by.
#[derive(Clone, Copy, Default)]
pub(crate) struct ActivationFilter<'a> {
    pub(crate) license: Option<LicenseId>,
    /// Those not given back, or those that are.
    pub(crate) live: Option<bool>,
    pub(crate) fingerprint_hash: Option<&'a str>,
}

/// Activations, the newest first.
pub(crate) async fn list(
    tx: &Tx<'_>,
    filter: &ActivationFilter<'_>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<ActivationRecord>, Error> {
    let rows = tx
        .query(
            columns!(
                "WHERE org_id = $1 AND ($2::uuid IS NULL OR id < $2)
                     AND ($3::uuid IS NULL OR license_id = $3)
                     AND ($4::bool IS NULL OR (deactivated_at IS NULL) = $4)
                     AND ($6::text IS NULL OR fingerprint_hash = $6)
                 ORDER BY id DESC LIMIT $5"
            ),
            &[
                (&tx.org(), Type::UUID),
                (&before, Type::UUID),
                (&filter.license.map(RowId::uuid), Type::UUID),
                (&filter.live, Type::BOOL),
                (&limit, Type::INT8),
                (&filter.fingerprint_hash, Type::TEXT),
            ],
        )
        .await?;
    rows.iter().map(record).collect()
}
