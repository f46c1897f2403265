//! `/api/v1/audit-events`: what was done, by whom, to what.

use licet_shared::{
    id::{EventId, UserId},
    time::Timestamp,
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Call, Operation, Reply, operation::Verb::Get};
use crate::{
    accounts::permissions::Permission::{AuditRead, UsersRead},
    db::{
        audit,
        audit_records::{self, EventFilter, EventRecord},
    },
    http::HandlerError,
    rejection::Rejection,
};

const PATH: &str = "/api/v1/audit-events";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(Get, PATH, AuditRead, |call| Box::pin(list(call)))
            .named("list_audit_events", "List what was done")
            .detail("In the order of `seq`, the newest first, without gaps. What names a person is shown to those alone who may read people, until the person is erased.")
            .lists::<AuditEvent>()
            .param::<String>("actor", "Only what this person, API key, edge, `operator` or `system` did.")
            .param::<String>("action", "Only this action, such as `license.revoked`; with a dot at its end all that begin so: `license.`.")
            .param::<String>("subject", "Only what was done to the thing with this id.")
            .param::<Timestamp>("since", "Only what was done at this time or later.")
            .param::<Timestamp>("until", "Only what was done before this time."),
        Operation::new(Get, "/api/v1/audit-events/head", AuditRead, |call| {
            Box::pin(head(call))
        })
        .named("read_audit_head", "Read the end of the audit trail's chain")
        .detail("Kept elsewhere, `anchor` proves later that nothing before it was changed or cut off: `licet-origin audit verify --anchor` takes it.")
        .gives::<AuditHead>(),
        Operation::new(Get, "/api/v1/audit-events/{id}", AuditRead, |call| {
            Box::pin(read(call))
        })
        .named("read_audit_event", "Read one event of the audit trail")
        .about::<EventId>()
        .gives::<AuditEvent>(),
    ]
}

/// Something that was done.
#[derive(Serialize, ToSchema)]
struct AuditEvent {
    id: EventId,
    /// Its place in the organization's chain, from 1 on; null for what is older than the chain.
    seq: Option<i64>,
    at: Timestamp,
    /// The same in microseconds since 1970, as the hash covers it.
    at_us: i64,
    /// The id of a person or an API key, an edge's `kid`, `operator` or `system`.
    actor: String,
    action: String,
    /// The id of what it was done to.
    subject: String,
    request_id: Option<String>,
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    details: Value,
    /// How it was; null where that says nothing.
    #[schema(value_type = Option<std::collections::BTreeMap<String, Value>>)]
    before: Option<Value>,
    /// How it is since.
    #[schema(value_type = Option<std::collections::BTreeMap<String, Value>>)]
    after: Option<Value>,
    /// What names a person; null where nothing does, where it is erased, and for callers without
    /// `users:read`.
    personal: Option<PersonalPart>,
    /// SHA-256 of a salt and the personal part, in hexadecimal; stays when that is erased.
    personal_hash: Option<String>,
    /// `hash` of the event before, in hexadecimal.
    prev_hash: Option<String>,
    /// Covers `prev_hash`, `seq` and all that was said of it, in hexadecimal.
    hash: Option<String>,
}

/// What names a person.
#[derive(Serialize, ToSchema)]
struct PersonalPart {
    /// Whom.
    user_id: UserId,
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    content: Value,
}

fn view(event: EventRecord, with_persons: bool) -> AuditEvent {
    let personal = event.personal.filter(|_| with_persons);
    AuditEvent {
        id: event.id,
        seq: event.seq,
        at: Timestamp::from_unix(event.at_us.div_euclid(1_000_000)),
        at_us: event.at_us,
        actor: event.actor,
        action: event.action,
        subject: event.subject,
        request_id: event.request_id,
        details: event.details,
        before: event.before,
        after: event.after,
        personal: personal.map(|(user_id, content)| PersonalPart { user_id, content }),
        personal_hash: event.personal_hash.as_deref().map(audit::hex),
        prev_hash: event.prev_hash.as_deref().map(audit::hex),
        hash: event.hash.as_deref().map(audit::hex),
    }
}

/// The end of the chain.
#[derive(Serialize, ToSchema)]
struct AuditHead {
    /// How many events there are.
    seq: i64,
    /// The last event's, in hexadecimal.
    hash: String,
    /// Both, as `licet-origin audit verify` prints and takes them.
    anchor: String,
}

async fn list(call: Call) -> Result<Reply, HandlerError> {
    let page = call.page()?;
    let action = call.param("action");
    let is_group = action.is_some_and(|action| action.ends_with('.'));
    let filter = EventFilter {
        actor: call.param("actor"),
        action: action.filter(|_| !is_group),
        action_group: action.filter(|_| is_group),
        subject: call.param("subject"),
        since: call.parsed("since")?,
        until: call.parsed("until")?,
    };
    let before = page.before.map(seq_of_cursor);
    let rows = call.tenant().run_pipelined("list_audit_events", |tx| {
        Box::pin(audit_records::list(tx, &filter, before, page.fetch()))
    });
    let with_persons = call.actor().may(UsersRead);
    page.reply_by(
        rows.await?,
        |event| cursor_of_seq(event.seq),
        |event| view(event, with_persons),
    )
}

/// A cursor holds an id; here it holds the number by which the trail is read.
fn cursor_of_seq(seq: Option<i64>) -> Uuid {
    Uuid::from_u128(u128::from(seq.unwrap_or_default().unsigned_abs()))
}

/// What is no event's number lies after them all.
fn seq_of_cursor(cursor: Uuid) -> i64 {
    i64::try_from(cursor.as_u128()).unwrap_or(i64::MAX)
}

async fn read(call: Call) -> Result<Reply, HandlerError> {
    let id: EventId = call.id()?;
    let found = call
        .tenant()
        .run_pipelined("read_audit_event", |tx| {
            Box::pin(audit_records::find(tx, id))
        })
        .await?;
    let event = found.ok_or_else(Rejection::not_found)?;
    Reply::ok(&view(event, call.actor().may(UsersRead)))
}

async fn head(call: Call) -> Result<Reply, HandlerError> {
    let head = call
        .tenant()
        .run_pipelined("read_audit_head", |tx| Box::pin(audit::head(tx)))
        .await?;
    // Nothing has been done in an organization that was not founded.
    let (seq, hash) = head.ok_or_else(Rejection::not_found)?;
    Reply::ok(&AuditHead {
        seq,
        hash: audit::hex(&hash),
        anchor: audit::anchor(seq, &hash),
    })
}
