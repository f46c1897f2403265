//! The audit trail as its organization reads it.

use std::time::SystemTime;

use licet_shared::{
    id::{EventId, UserId},
    time::Timestamp,
};
use serde_json::Value;
use tokio_postgres::{
    Row,
    types::{Json, Type},
};
use uuid::Uuid;

use super::{Error, Tx};
use crate::{clock, random::RowId};

/// By how much an event's id may be younger or older than its time says: both are read from one
/// clock, one after the other.
const ID_LEEWAY_MS: i64 = 1000;

/// An event.
pub(crate) struct EventRecord {
    pub(crate) id: EventId,
    /// Null on events from before the chain.
    pub(crate) seq: Option<i64>,
    /// Microseconds since the epoch.
    pub(crate) at_us: i64,
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) subject: String,
    pub(crate) request_id: Option<String>,
    pub(crate) details: Value,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
    /// Whom it names and how, where that is still kept.
    pub(crate) personal: Option<(UserId, Value)>,
    pub(crate) personal_hash: Option<Vec<u8>>,
    pub(crate) prev_hash: Option<Vec<u8>>,
    pub(crate) hash: Option<Vec<u8>>,
}

macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "SELECT e.id, e.seq, e.at, e.actor, e.action, e.subject, e.request_id, e.details,
                 e.before, e.after, p.user_id, p.content, e.personal_hash, e.prev_hash, e.hash
             FROM licet.audit_events e
             LEFT JOIN licet.audit_personal p ON p.org_id = e.org_id AND p.event_id = e.id ",
            $rest
        )
    };
}

fn record(row: &Row) -> Result<EventRecord, Error> {
    let json = |column: usize| -> Result<Option<Value>, Error> {
        let value: Option<Json<Value>> = row.try_get(column)?;
        Ok(value.map(|Json(value)| value))
    };
    let user: Option<Uuid> = row.try_get(10)?;
    Ok(EventRecord {
        id: EventId::from_uuid(row.try_get(0)?),
        seq: row.try_get(1)?,
        at_us: clock::micros(row.try_get::<_, SystemTime>(2)?),
        actor: row.try_get(3)?,
        action: row.try_get(4)?,
        subject: row.try_get(5)?,
        request_id: row.try_get(6)?,
        details: json(7)?.unwrap_or_default(),
        before: json(8)?,
        after: json(9)?,
        personal: user.map(UserId::from_uuid).zip(json(11)?),
        personal_hash: row.try_get(12)?,
        prev_hash: row.try_get(13)?,
        hash: row.try_get(14)?,
    })
}

pub(crate) async fn find(tx: &Tx<'_>, id: EventId) -> Result<Option<EventRecord>, Error> {
    let row = tx
        .query_opt(
            columns!("WHERE e.org_id = $1 AND e.id = $2"),
            &[(&tx.org(), Type::UUID), (&id.uuid(), Type::UUID)],
        )
        .await?;
    row.map(|row| record(&row)).transpose()
}

/// What a list of events is filtered by.
pub(crate) struct EventFilter<'a> {
    pub(crate) actor: Option<&'a str>,
    pub(crate) action: Option<&'a str>,
    /// What the action begins with.
    pub(crate) action_group: Option<&'a str>,
    pub(crate) subject: Option<&'a str>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) until: Option<Timestamp>,
}

/// Events of the chain, the newest first, before the number `before`.
pub(crate) async fn list(
    tx: &Tx<'_>,
    filter: &EventFilter<'_>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<EventRecord>, Error> {
    let since_id = filter.since.map(|time| id_bound(time, -ID_LEEWAY_MS));
    let until_id = filter.until.map(|time| id_bound(time, ID_LEEWAY_MS));
    let rows = tx
        .query(
            columns!(
                "WHERE e.org_id = $1 AND e.seq IS NOT NULL AND ($2::int8 IS NULL OR e.seq < $2)
                     AND ($3::text IS NULL OR e.actor = $3)
                     AND ($4::text IS NULL OR e.action = $4)
                     AND ($5::text IS NULL OR starts_with(e.action, $5))
                     AND ($6::text IS NULL OR e.subject = $6)
                     AND ($7::timestamptz IS NULL OR e.at >= $7)
                     AND ($8::timestamptz IS NULL OR e.at < $8)
                     AND ($9::uuid IS NULL OR e.id >= $9)
                     AND ($10::uuid IS NULL OR e.id < $10)
                 ORDER BY e.seq DESC LIMIT $11"
            ),
            &[
                (&tx.org(), Type::UUID),
                (&before, Type::INT8),
                (&filter.actor, Type::TEXT),
                (&filter.action, Type::TEXT),
                (&filter.action_group, Type::TEXT),
                (&filter.subject, Type::TEXT),
                (&filter.since.map(clock::system_time), Type::TIMESTAMPTZ),
                (&filter.until.map(clock::system_time), Type::TIMESTAMPTZ),
                (&since_id, Type::UUID),
                (&until_id, Type::UUID),
                (&limit, Type::INT8),
            ],
        )
        .await?;
    rows.iter().map(record).collect()
}

/// The least id of a time: `at` has no index, but the ids begin with it.
fn id_bound(time: Timestamp, leeway_ms: i64) -> Uuid {
    let ms = time.unix().saturating_mul(1000).saturating_add(leeway_ms);
    let ms = u128::try_from(ms.clamp(0, (1 << 48) - 1)).unwrap_or(0);
    Uuid::from_u128(ms << 80)
}
