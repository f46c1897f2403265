//! `audit_events`.

use std::fmt::Display;

use licet_shared::id::EventId;
use serde_json::Value;
use tokio_postgres::types::{Json, Type};

use super::{Error, Tx};
use crate::random::RowId;

/// Something that was done, by whom, to what.
pub(crate) struct Event<'a> {
    /// An edge's `kid`, or an operator.
    pub(crate) actor: &'a str,
    /// Such as `activation.created`.
    pub(crate) action: &'static str,
    pub(crate) request_id: Option<&'a str>,
    /// Never a secret, and nothing that names a person.
    pub(crate) details: Value,
}

/// Writes an event in the transaction that does what it tells of.
pub(crate) async fn write(
    tx: &Tx<'_>,
    subject: &(dyn Display + Sync),
    event: &Event<'_>,
) -> Result<(), Error> {
    let id = EventId::generate()?;
    tx.execute(
        "INSERT INTO licet.audit_events (org_id, id, actor, action, subject, request_id, details)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            (&tx.org(), Type::UUID),
            (&id.uuid(), Type::UUID),
            (&event.actor, Type::TEXT),
            (&event.action, Type::TEXT),
            (&subject.to_string(), Type::TEXT),
            (&event.request_id, Type::TEXT),
            (&Json(&event.details), Type::JSONB),
        ],
    )
    .await?;
    Ok(())
}
