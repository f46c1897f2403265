//! `projects`.

use licet_shared::{id::ProjectId, time::Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_postgres::{
    Row,
    types::{Json, Type},
};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Error, Tx};
use crate::{
    clock::{self, system_time},
    random::RowId,
};

/// Where a project stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum ProjectStatus {
    /// At work.
    Active,
    /// Kept to look at.
    Archived,
    /// Gone, but to be restored.
    Deleted,
}

impl ProjectStatus {
    pub(crate) const ALL: [Self; 3] = [Self::Active, Self::Archived, Self::Deleted];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Archived => "ARCHIVED",
            Self::Deleted => "DELETED",
        }
    }
}

/// Something that the tenant works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Project {
    pub(crate) id: ProjectId,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) status: ProjectStatus,
    pub(crate) metadata: Map<String, Value>,
    pub(crate) version: i32,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, description, status, metadata, version, created_at, updated_at
             FROM licet.projects ",
            $rest
        )
    };
}

fn project(row: &Row) -> Result<Project, Error> {
    let status: &str = row.try_get(3)?;
    let Json(metadata) = row.try_get(4)?;
    Ok(Project {
        id: ProjectId::from_uuid(row.try_get(0)?),
        name: row.try_get(1)?,
        description: row.try_get(2)?,
        status: ProjectStatus::ALL
            .into_iter()
            .find(|known| known.as_str() == status)
            .ok_or(Error::Row("projects.status"))?,
        metadata,
        version: row.try_get(5)?,
        created_at: clock::timestamp(row.try_get(6)?),
        updated_at: clock::timestamp(row.try_get(7)?),
    })
}

/// How many there are that are not deleted. Counted under the organization's lock.
pub(crate) async fn count(tx: &Tx<'_>) -> Result<i64, Error> {
    let row = tx
        .query_opt(
            "SELECT count(*) FROM licet.projects WHERE org_id = $1 AND status <> 'DELETED'",
            &[(&tx.org(), Type::UUID)],
        )
        .await?;
    Ok(row.ok_or(Error::Row("projects"))?.try_get(0)?)
}

/// # Errors
/// Violates `projects_name_key` when the name is taken, also by a deleted project, and
/// `projects_metadata_size` when there is too much of it.
pub(crate) async fn insert(tx: &Tx<'_>, project: &Project) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO licet.projects
             (org_id, id, name, description, metadata, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $6)",
        &[
            (&tx.org(), Type::UUID),
            (&project.id.uuid(), Type::UUID),
            (&project.name, Type::TEXT),
            (&project.description, Type::TEXT),
            (&Json(&project.metadata), Type::JSONB),
            (&system_time(project.created_at), Type::TIMESTAMPTZ),
        ],
    )
    .await?;
    Ok(())
}

/// A project, deleted or not.
pub(crate) async fn find(tx: &Tx<'_>, id: ProjectId) -> Result<Option<Project>, Error> {
    let row = tx
        .query_opt(
            columns!("WHERE org_id = $1 AND id = $2"),
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    row.map(|row| project(&row)).transpose()
}

/// The same, locked.
pub(crate) async fn lock(tx: &Tx<'_>, id: ProjectId) -> Result<Option<Project>, Error> {
    let row = tx
        .query_opt(
            columns!("WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE"),
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    row.map(|row| project(&row)).transpose()
}

/// What a list of projects is filtered by.
pub(crate) struct ProjectFilter<'a> {
    /// All but the deleted ones where there is none.
    pub(crate) status: Option<&'a str>,
    /// Stands in the name, in any case.
    pub(crate) text: Option<&'a str>,
}

/// Projects, the newest first.
pub(crate) async fn list(
    tx: &Tx<'_>,
    filter: &ProjectFilter<'_>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Project>, Error> {
    let rows = tx
        .query(
            columns!(
                "WHERE org_id = $1 AND ($2::uuid IS NULL OR id < $2)
                     AND CASE WHEN $3::text IS NULL THEN status <> 'DELETED' ELSE status = $3 END
                     AND ($4::text IS NULL OR strpos(lower(name), lower($4)) > 0)
                 ORDER BY id DESC LIMIT $5"
            ),
            &[
                (&tx.org(), Type::UUID),
                (&before, Type::UUID),
                (&filter.status, Type::TEXT),
                (&filter.text, Type::TEXT),
                (&limit, Type::INT8),
            ],
        )
        .await?;
    rows.iter().map(project).collect()
}

/// Writes all that may change as it now stands. The project must be locked.
///
/// # Errors
/// As [`insert`].
pub(crate) async fn update(tx: &Tx<'_>, project: &Project) -> Result<(), Error> {
    tx.execute(
        "UPDATE licet.projects
         SET name = $3, description = $4, status = $5, metadata = $6, version = $7, updated_at = $8
         WHERE org_id = $1 AND id = $2",
        &[
            (&tx.org(), Type::UUID),
            (&project.id.uuid(), Type::UUID),
            (&project.name, Type::TEXT),
            (&project.description, Type::TEXT),
            (&project.status.as_str(), Type::TEXT),
            (&Json(&project.metadata), Type::JSONB),
            (&project.version, Type::INT4),
            (&system_time(project.updated_at), Type::TIMESTAMPTZ),
        ],
    )
    .await?;
    Ok(())
}
