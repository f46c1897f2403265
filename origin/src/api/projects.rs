//! `/api/v1/projects`: what an organization works on, as many as its plan allows.

use licet_shared::{
    api::{Body, BodyError},
    id::ProjectId,
    problem::ProblemCode,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    Call, Operation, Reply, fields,
    once::Creation,
    operation::Verb::{Delete, Get, Patch, Post},
};
use crate::{
    accounts::permissions::Permission::{ProjectsRead, ProjectsWrite},
    db::{
        Error, Tx, Work, audit, organizations,
        projects::{self, Project, ProjectFilter, ProjectStatus},
    },
    http::HandlerError,
    random::RowId,
    rejection::Rejection,
};

const PATH: &str = "/api/v1/projects";
const ONE: &str = "/api/v1/projects/{id}";
const METADATA_BYTES: usize = 8 * 1024;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(Get, PATH, ProjectsRead, |call| Box::pin(list(call)))
            .named("list_projects", "List projects")
            .lists::<ProjectView>()
            .param::<ProjectStatus>(
                "status",
                "Only those of this status; all but the deleted ones if absent.",
            )
            .param::<String>("text", "Only those with this in their name, in any case."),
        Operation::new(Post, PATH, ProjectsWrite, |call| Box::pin(create(call)))
            .named("create_project", "Make a project")
            .detail("As many as the plan's `max_projects`, the deleted ones not counted.")
            .takes::<NewProject>()
            .creates::<ProjectView>()
            .or(ProblemCode::QuotaExceeded),
        Operation::new(Get, ONE, ProjectsRead, |call| Box::pin(read(call)))
            .named("read_project", "Read a project")
            .about::<ProjectId>()
            .gives::<ProjectView>(),
        Operation::new(Patch, ONE, ProjectsWrite, |call| Box::pin(update(call)))
            .named("update_project", "Change an active project")
            .about::<ProjectId>()
            .takes::<ProjectChange>()
            .gives::<ProjectView>()
            .conditional()
            .or(ProblemCode::Conflict),
        Operation::new(Delete, ONE, ProjectsWrite, |call| Box::pin(delete(call)))
            .named("delete_project", "Delete a project")
            .detail("It can be restored, and keeps its name.")
            .about::<ProjectId>()
            .conditional(),
        Operation::new(
            Post,
            "/api/v1/projects/{id}/archive",
            ProjectsWrite,
            |call| Box::pin(archive(call)),
        )
        .named("archive_project", "Archive a project")
        .about::<ProjectId>()
        .gives::<ProjectView>()
        .conditional()
        .or(ProblemCode::Conflict),
        Operation::new(
            Post,
            "/api/v1/projects/{id}/unarchive",
            ProjectsWrite,
            |call| Box::pin(unarchive(call)),
        )
        .named("unarchive_project", "Take a project out of the archive")
        .about::<ProjectId>()
        .gives::<ProjectView>()
        .conditional()
        .or(ProblemCode::Conflict),
        Operation::new(
            Post,
            "/api/v1/projects/{id}/restore",
            ProjectsWrite,
            |call| Box::pin(restore(call)),
        )
        .named("restore_project", "Restore a deleted project")
        .detail("It is active then, and counts against the plan again.")
        .about::<ProjectId>()
        .gives::<ProjectView>()
        .conditional()
        .or(ProblemCode::QuotaExceeded),
    ]
}

/// Something that the organization works on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Project)]
struct ProjectView {
    id: ProjectId,
    name: String,
    description: String,
    status: ProjectStatus,
    /// Whatever the organization keeps here.
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    metadata: Map<String, Value>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<Project> for ProjectView {
    fn from(project: Project) -> Self {
        let Project {
            id,
            name,
            description,
            status,
            metadata,
            version: _,
            created_at,
            updated_at,
        } = project;
        Self {
            id,
            name,
            description,
            status,
            metadata,
            created_at,
            updated_at,
        }
    }
}

/// A project to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewProject {
    #[schema(value_type = fields::Name, example = "Website")]
    name: String,
    #[serde(default)]
    #[schema(max_length = 2000)]
    description: String,
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    metadata: Map<String, Value>,
}

impl Body for NewProject {
    fn check(&self) -> Result<(), BodyError> {
        fields::check_name("name", &self.name)?;
        fields::check_description("description", &self.description)?;
        fields::check_object("metadata", &self.metadata, METADATA_BYTES)
    }
}

/// What is to be different. What is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProjectChange {
    #[serde(default)]
    #[schema(value_type = Option<fields::Name>)]
    name: Option<String>,
    #[serde(default)]
    #[schema(max_length = 2000)]
    description: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<std::collections::BTreeMap<String, Value>>)]
    metadata: Option<Map<String, Value>>,
}

impl Body for ProjectChange {
    fn check(&self) -> Result<(), BodyError> {
        self.name
            .iter()
            .try_for_each(|name| fields::check_name("name", name))?;
        self.description
            .iter()
            .try_for_each(|text| fields::check_description("description", text))?;
        self.metadata
            .iter()
            .try_for_each(|object| fields::check_object("metadata", object, METADATA_BYTES))
    }
}

fn not_so(error: Error) -> Error {
    let error = error.on_constraint("projects_name_key", || {
        Rejection::conflict("Another project, perhaps a deleted one, has this name.")
    });
    error.on_constraint("projects_metadata_size", || {
        Rejection::field("metadata", "must be less than that")
    })
}

/// Refuses when one more would be too many. Locks the organization, so that nobody else adds one
/// meanwhile.
async fn check_quota(tx: &Tx<'_>) -> Result<(), Error> {
    let profile = organizations::lock_profile(tx).await?;
    if projects::count(tx).await? < i64::from(profile.quotas.max_projects) {
        return Ok(());
    }
    Err(Rejection::new(
        ProblemCode::QuotaExceeded,
        format!(
            "The plan allows {} projects. Delete one first.",
            profile.quotas.max_projects
        ),
    )
    .into())
}

async fn list(call: Call) -> Result<Reply, HandlerError> {
    let page = call.page()?;
    let status = call.param("status");
    let known = |text: &str| ProjectStatus::ALL.iter().any(|it| it.as_str() == text);
    if status.is_some_and(|status| !known(status)) {
        return Err(Rejection::field("status", "must be ACTIVE, ARCHIVED or DELETED").into());
    }
    let filter = ProjectFilter {
        status,
        text: call.param("text"),
    };
    let rows = call.tenant().run_pipelined("list_projects", |tx| {
        Box::pin(projects::list(tx, &filter, page.before, page.fetch()))
    });
    page.reply(rows.await?, |project| project.id, ProjectView::from)
}

async fn read(call: Call) -> Result<Reply, HandlerError> {
    let id: ProjectId = call.id()?;
    let found = call
        .tenant()
        .run_pipelined("read_project", |tx| Box::pin(projects::find(tx, id)));
    show(found.await?.ok_or_else(Rejection::not_found)?)
}

fn show(project: Project) -> Result<Reply, HandlerError> {
    let version = project.version;
    Ok(Reply::ok(&ProjectView::from(project))?.version(version))
}

struct Create<'a> {
    call: &'a Call,
    new: NewProject,
}

impl Creation for Create<'_> {
    type Made = ProjectId;
    type Answer = Project;
    const NAME: &'static str = "create_project";

    fn make<'a>(&'a self, tx: &'a Tx<'_>) -> Work<'a, (ProjectId, Project)> {
        Box::pin(async move {
            check_quota(tx).await?;
            let project = Project {
                id: ProjectId::generate()?,
                name: self.new.name.clone(),
                description: self.new.description.clone(),
                status: ProjectStatus::Active,
                metadata: self.new.metadata.clone(),
                version: 1,
                created_at: self.call.now,
                updated_at: self.call.now,
            };
            projects::insert(tx, &project).await.map_err(not_so)?;
            let event = audit::Event::new(self.call.origin(), "project.created");
            let event = event.after(&ProjectView::from(project.clone()));
            audit::write(tx, &project.id, &event).await?;
            Ok((project.id, project))
        })
    }

    fn again<'a>(&'a self, tx: &'a Tx<'_>, id: ProjectId) -> Work<'a, Option<Project>> {
        Box::pin(projects::find(tx, id))
    }
}

async fn create(call: Call) -> Result<Reply, HandlerError> {
    let new = call.json()?;
    let creation = Create { call: &call, new };
    let reply = |project: Project| {
        let (id, version) = (project.id, project.version);
        Ok(Reply::created(&ProjectView::from(project))?
            .version(version)
            .location(PATH, id))
    };
    call.create(&creation, reply).await
}

/// Changes a project under its lock, if it is the version that the caller means. `change` leaves
/// as it was what is not to be changed. With `counted`, one that comes back is counted against
/// the plan.
async fn change(
    call: &Call,
    action: &'static str,
    counted: bool,
    change: impl Fn(&mut Project) -> Result<(), Rejection> + Send + Sync,
) -> Result<Project, HandlerError> {
    let id: ProjectId = call.id()?;
    let if_match = call.if_match();
    let (if_match, change) = (&if_match, &change);
    let changed = call.tenant().run_tx("change_project", |tx| {
        Box::pin(async move {
            if counted {
                // Before the project's lock: the organization's comes first.
                organizations::lock(tx).await?;
            }
            let before = projects::lock(tx, id)
                .await?
                .ok_or_else(Rejection::not_found)?;
            if_match.check(before.version)?;
            let mut after = before.clone();
            change(&mut after)?;
            if after == before {
                return Ok::<_, Error>(before);
            }
            if counted {
                check_quota(tx).await?;
            }
            after.version += 1;
            after.updated_at = call.now;
            projects::update(tx, &after).await.map_err(not_so)?;
            let event = audit::Event::new(call.origin(), action)
                .before(&ProjectView::from(before))
                .after(&ProjectView::from(after.clone()));
            audit::write(tx, &id, &event).await?;
            Ok(after)
        })
    });
    Ok(changed.await?)
}

async fn update(call: Call) -> Result<Reply, HandlerError> {
    let wanted: ProjectChange = call.json()?;
    let apply = |project: &mut Project| {
        if project.status != ProjectStatus::Active {
            return Err(Rejection::conflict(
                "The project is archived or deleted. Bring it back first.",
            ));
        }
        if let Some(name) = &wanted.name {
            project.name.clone_from(name);
        }
        if let Some(description) = &wanted.description {
            project.description.clone_from(description);
        }
        if let Some(metadata) = &wanted.metadata {
            project.metadata.clone_from(metadata);
        }
        Ok(())
    };
    show(change(&call, "project.updated", false, apply).await?)
}

fn unless_deleted(project: &mut Project, status: ProjectStatus) -> Result<(), Rejection> {
    if project.status == ProjectStatus::Deleted {
        return Err(Rejection::conflict(
            "The project is deleted. Restore it first.",
        ));
    }
    project.status = status;
    Ok(())
}

async fn archive(call: Call) -> Result<Reply, HandlerError> {
    let apply = |project: &mut Project| unless_deleted(project, ProjectStatus::Archived);
    show(change(&call, "project.archived", false, apply).await?)
}

async fn unarchive(call: Call) -> Result<Reply, HandlerError> {
    let apply = |project: &mut Project| unless_deleted(project, ProjectStatus::Active);
    show(change(&call, "project.unarchived", false, apply).await?)
}

async fn delete(call: Call) -> Result<Reply, HandlerError> {
    let apply = |project: &mut Project| {
        project.status = ProjectStatus::Deleted;
        Ok(())
    };
    change(&call, "project.deleted", false, apply).await?;
    Ok(Reply::no_content())
}

async fn restore(call: Call) -> Result<Reply, HandlerError> {
    let apply = |project: &mut Project| {
        if project.status == ProjectStatus::Deleted {
            project.status = ProjectStatus::Active;
        }
        Ok(())
    };
    show(change(&call, "project.restored", true, apply).await?)
}
