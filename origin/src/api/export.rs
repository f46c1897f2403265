//! `…/export`: everything that is stored, to be taken away.

use licet_shared::{
    id::{OrgId, UserId},
    problem::ProblemCode,
};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Call, Operation, Reply, auth::person, operation::Verb::Get};
use crate::{
    accounts::permissions::Permission::OrgExport,
    db::{Error, Tx, audit, users},
    export::{self, Scope},
    http::HandlerError,
    rejection::Rejection,
};

/// When to ask again, where another export must end first.
const AGAIN_S: u32 = 30;

const FORM: &str = "One JSON object per line, `{\"kind\": …, \"data\": {…}}`, all from one moment. The first \
    has the kind `export`; the last is `{\"kind\": \"end\", \"data\": {\"complete\": true, \"lines\": …, \"counts\": {…}}}`: \
    a file without it was cut off. There are no secrets in it. Each export is written to the audit trail. \
    One at a time for each organization.";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(Get, "/api/v1/organization/export", OrgExport, |call| {
            Box::pin(organization(call))
        })
        .named(
            "export_organization",
            "Export all that is stored about the organization",
        )
        .detail(FORM)
        .lines::<ExportLine>(),
        Operation::new(Get, "/api/v1/users/{id}/export", OrgExport, |call| {
            Box::pin(of_person(call))
        })
        .named("export_user", "Export all that is stored about a person")
        .detail(FORM)
        .about::<UserId>()
        .lines::<ExportLine>(),
        Operation::own(Get, "/api/v1/auth/me/export", |call| Box::pin(own(call)))
            .named("export_me", "Export all that is stored about me")
            .detail(FORM)
            .lines::<ExportLine>(),
    ]
}

/// One line of an export.
#[derive(Serialize, ToSchema)]
struct ExportLine {
    /// Such as `license`; `export` on the first line and `end` on the last.
    kind: String,
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    data: Map<String, Value>,
}

async fn organization(call: Call) -> Result<Reply, HandlerError> {
    let org = call.tenant().org();
    send(call, What::Organization(org), "organization").await
}

async fn of_person(call: Call) -> Result<Reply, HandlerError> {
    let id = call.id()?;
    send(call, What::Person(id), "person").await
}

async fn own(call: Call) -> Result<Reply, HandlerError> {
    let (id, _) = person(&call)?;
    send(call, What::Person(id), "person").await
}

#[derive(Clone, Copy)]
enum What {
    Organization(OrgId),
    Person(UserId),
}

async fn send(call: Call, what: What, file: &str) -> Result<Reply, HandlerError> {
    let turn = call.accounts().exports.begin(call.tenant().org());
    let turn = turn.ok_or_else(|| {
        let detail = "An export of your organization is under way. Ask again when it has ended.";
        HandlerError::problem(ProblemCode::RateLimited, detail).retry_after(AGAIN_S)
    })?;
    let snapshot = call.tenant().snapshot().await?;
    let snapshot = snapshot.ok_or_else(|| {
        let detail = "Others are exporting. Ask again when Retry-After has passed.";
        HandlerError::problem(ProblemCode::Unavailable, detail).retry_after(AGAIN_S)
    })?;
    // Before the snapshot first reads, so that the export tells of itself.
    let scope = call
        .tenant()
        .run_tx("begin_export", |tx| Box::pin(note(tx, &call, what)))
        .await?;
    let body = export::body(
        snapshot,
        scope,
        call.now,
        call.request_id().to_owned(),
        call.metrics(),
        turn,
    );
    Ok(Reply::lines(body, file))
}

async fn note(tx: &Tx<'_>, call: &Call, what: What) -> Result<Scope, Error> {
    match what {
        What::Organization(org) => {
            let event = audit::Event::new(call.origin(), "organization.exported");
            audit::write(tx, &org, &event).await?;
            Ok(Scope::Organization)
        }
        What::Person(id) => {
            let remains = users::lock_remains(tx, id).await?;
            let email = remains.ok_or_else(Rejection::not_found)?.email;
            let event = audit::Event::new(call.origin(), "user.exported");
            audit::write(tx, &id, &event).await?;
            Ok(Scope::Person { id, email })
        }
    }
}
