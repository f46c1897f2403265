//! `feature_sets` and `feature_set_revisions`, as the account API reads and changes them.

use std::time::SystemTime;

use licet_shared::{id::FeatureSetId, time::Timestamp};
use serde_json::{Map, Value};
use tokio_postgres::{
    Row,
    types::{Json, Type},
};
use uuid::Uuid;

use super::{Error, Tx, catalogue};
use crate::{
    clock::{self, system_time},
    random::RowId,
};

/// A feature set without its values, which are those of its current revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FeatureSet {
    pub(crate) id: FeatureSetId,
    pub(crate) name: String,
    pub(crate) revision: u32,
    pub(crate) version: i32,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) deleted_at: Option<Timestamp>,
}

/// A revision without its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Revision {
    pub(crate) number: u32,
    pub(crate) created_at: Timestamp,
}

macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, current_revision, version, created_at, updated_at, deleted_at
             FROM licet.feature_sets ",
            $rest
        )
    };
}

fn feature_set(row: &Row) -> Result<FeatureSet, Error> {
    Ok(FeatureSet {
        id: FeatureSetId::from_uuid(row.try_get(0)?),
        name: row.try_get(1)?,
        revision: catalogue::revision(row.try_get(2)?)?,
        version: row.try_get(3)?,
        created_at: clock::timestamp(row.try_get(4)?),
        updated_at: clock::timestamp(row.try_get(5)?),
        deleted_at: row
            .try_get::<_, Option<SystemTime>>(6)?
            .map(clock::timestamp),
    })
}

fn number(revision: u32) -> Result<i32, Error> {
    i32::try_from(revision).map_err(|_| Error::Row("a revision"))
}

/// Makes a feature set, as yet without its revision.
///
/// # Errors
/// Violates `feature_sets_name_key` when the name is taken, also by a deleted feature set.
pub(crate) async fn insert(tx: &Tx<'_>, set: &FeatureSet) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO licet.feature_sets (org_id, id, name, current_revision, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $5)",
        &[
            (&tx.org(), Type::UUID),
            (&set.id.uuid(), Type::UUID),
            (&set.name, Type::TEXT),
            (&number(set.revision)?, Type::INT4),
            (&system_time(set.created_at), Type::TIMESTAMPTZ),
        ],
    )
    .await?;
    Ok(())
}

/// Writes the values of the revision that the feature set names as its current one.
///
/// # Errors
/// Violates `feature_set_revisions_features_size` when they are too much.
pub(crate) async fn insert_revision(
    tx: &Tx<'_>,
    set: &FeatureSet,
    features: &Map<String, Value>,
) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO licet.feature_set_revisions (org_id, feature_set_id, revision, features, created_at)
         VALUES ($1, $2, $3, $4, $5)",
        &[
            (&tx.org(), Type::UUID),
            (&set.id.uuid(), Type::UUID),
            (&number(set.revision)?, Type::INT4),
            (&Json(features), Type::JSONB),
            (&system_time(set.updated_at), Type::TIMESTAMPTZ),
        ],
    )
    .await?;
    Ok(())
}

/// A feature set, deleted or not.
pub(crate) async fn find(tx: &Tx<'_>, id: FeatureSetId) -> Result<Option<FeatureSet>, Error> {
    let row = tx
        .query_opt(
            columns!("WHERE org_id = $1 AND id = $2"),
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    row.map(|row| feature_set(&row)).transpose()
}

/// The same, locked against changes and against new uses.
pub(crate) async fn lock(tx: &Tx<'_>, id: FeatureSetId) -> Result<Option<FeatureSet>, Error> {
    let row = tx
        .query_opt(
            columns!("WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE"),
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    row.map(|row| feature_set(&row)).transpose()
}

/// Whether there is such a feature set, not deleted. It stays so until the transaction ends.
pub(crate) async fn hold(tx: &Tx<'_>, id: FeatureSetId) -> Result<bool, Error> {
    let row = tx
        .query_opt(
            "SELECT FROM licet.feature_sets
             WHERE org_id = $1 AND id = $2 AND deleted_at IS NULL FOR SHARE",
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    Ok(row.is_some())
}

/// Whether a policy that is not deleted, or a license that is not revoked, uses it.
pub(crate) async fn is_used(tx: &Tx<'_>, id: FeatureSetId) -> Result<bool, Error> {
    let row = tx
        .query_opt(
            "SELECT EXISTS (SELECT FROM licet.policies
                            WHERE org_id = $1 AND feature_set_id = $2 AND deleted_at IS NULL)
                 OR EXISTS (SELECT FROM licet.licenses
                            WHERE org_id = $1 AND feature_set_id = $2 AND status <> 'REVOKED')",
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    Ok(row.ok_or(Error::Row("feature_sets"))?.try_get(0)?)
}

/// What a list of feature sets is filtered by.
pub(crate) struct FeatureSetFilter<'a> {
    /// Stands in the name, in any case.
    pub(crate) text: Option<&'a str>,
    /// The deleted ones instead of the others.
    pub(crate) deleted: bool,
}

/// Feature sets, the newest first.
pub(crate) async fn list(
    tx: &Tx<'_>,
    filter: &FeatureSetFilter<'_>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<FeatureSet>, Error> {
    let rows = tx
        .query(
            columns!(
                "WHERE org_id = $1 AND ($2::uuid IS NULL OR id < $2)
                     AND (deleted_at IS NOT NULL) = $3
                     AND ($4::text IS NULL OR strpos(lower(name), lower($4)) > 0)
                 ORDER BY id DESC LIMIT $5"
            ),
            &[
                (&tx.org(), Type::UUID),
                (&before, Type::UUID),
                (&filter.deleted, Type::BOOL),
                (&filter.text, Type::TEXT),
                (&limit, Type::INT8),
            ],
        )
        .await?;
    rows.iter().map(feature_set).collect()
}

/// Writes all that may change as it now stands. The feature set must be locked.
///
/// # Errors
/// Violates `feature_sets_name_key` when the name is taken, also by a deleted feature set.
pub(crate) async fn update(tx: &Tx<'_>, set: &FeatureSet) -> Result<(), Error> {
    tx.execute(
        "WITH changed AS (
             UPDATE licet.feature_sets
             SET name = $3, current_revision = $4, version = $5, updated_at = $6, deleted_at = $7
             WHERE org_id = $1 AND id = $2 RETURNING id, current_revision)
         SELECT licet.note_published('FEATURE_SET', id::text, current_revision) FROM changed",
        &[
            (&tx.org(), Type::UUID),
            (&set.id.uuid(), Type::UUID),
            (&set.name, Type::TEXT),
            (&number(set.revision)?, Type::INT4),
            (&set.version, Type::INT4),
            (&system_time(set.updated_at), Type::TIMESTAMPTZ),
            (&set.deleted_at.map(system_time), Type::TIMESTAMPTZ),
        ],
    )
    .await?;
    Ok(())
}

/// A feature set's revisions, the newest first.
pub(crate) async fn list_revisions(
    tx: &Tx<'_>,
    id: FeatureSetId,
    before: Option<i32>,
    limit: i64,
) -> Result<Vec<Revision>, Error> {
    let rows = tx
        .query(
            "SELECT revision, created_at FROM licet.feature_set_revisions
             WHERE org_id = $1 AND feature_set_id = $2 AND ($3::int4 IS NULL OR revision < $3)
             ORDER BY revision DESC LIMIT $4",
            &[
                (&tx.org(), Type::UUID),
                (&id.uuid(), Type::UUID),
                (&before, Type::INT4),
                (&limit, Type::INT8),
            ],
        )
        .await?;
    rows.iter().map(revision).collect()
}

/// One revision with its values.
pub(crate) async fn find_revision(
    tx: &Tx<'_>,
    id: FeatureSetId,
    number: i32,
) -> Result<Option<(Revision, Map<String, Value>)>, Error> {
    let row = tx
        .query_opt(
            "SELECT revision, created_at, features FROM licet.feature_set_revisions
             WHERE org_id = $1 AND feature_set_id = $2 AND revision = $3",
            &[
                (&tx.org(), Type::UUID),
                (&id.uuid(), Type::UUID),
                (&number, Type::INT4),
            ],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let Json(features) = row.try_get(2)?;
    Ok(Some((revision(&row)?, features)))
}

fn revision(row: &Row) -> Result<Revision, Error> {
    Ok(Revision {
        number: catalogue::revision(row.try_get(0)?)?,
        created_at: clock::timestamp(row.try_get(1)?),
    })
}
