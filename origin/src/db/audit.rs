//! `audit_events` and the chain that they form.
//!
//! An event's digest is the SHA-256 of its fields, each with its length before it. Its hash is
//! SHA-256(hash of the event before ‖ seq as 8 bytes ‖ digest); before the first there are 32
//! zero bytes. What names a person stands in `audit_personal`; the digest covers a salted hash of
//! it, so that erasing the person leaves the chain whole.

use std::{fmt::Display, time::SystemTime};

use licet_shared::id::{EventId, UserId};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use super::{Error, Tx};
use crate::{
    clock,
    licensing::Origin,
    random::{self, RowId},
};

/// What an organization may keep whatever it likes in: it may name people, whom the trail could
/// not forget. Only that it was changed is written down.
const FREE: [&str; 2] = ["metadata", "settings"];

/// Something that was done, by whom, to what.
pub(crate) struct Event<'a> {
    /// A person, an API key, an edge's `kid`, or an operator.
    pub(crate) actor: &'a str,
    /// Such as `activation.created`.
    pub(crate) action: &'static str,
    pub(crate) request_id: Option<&'a str>,
    /// Never a secret, and nothing that names a person. Ids, words and whole numbers alone:
    /// the database may write other numbers in another way, which would break the chain.
    pub(crate) details: Value,
    /// How it was before and is after, as answers show it: without secrets or persons. What an
    /// organization keeps as it likes is left out when it is written down: see [`FREE`].
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
    /// What names a person, and whom.
    pub(crate) personal: Option<(UserId, Value)>,
}

impl<'a> Event<'a> {
    /// An event of which nothing more is to be said.
    pub(crate) fn new(origin: Origin<'a>, action: &'static str) -> Self {
        Self {
            actor: origin.actor,
            action,
            request_id: origin.request_id,
            details: json!({}),
            before: None,
            after: None,
            personal: None,
        }
    }

    pub(crate) fn details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    /// How it was.
    pub(crate) fn before(mut self, before: &impl Serialize) -> Self {
        self.before = serde_json::to_value(before).ok();
        self
    }

    /// How it is.
    pub(crate) fn after(mut self, after: &impl Serialize) -> Self {
        self.after = serde_json::to_value(after).ok();
        self
    }

    /// What names the person whom it is about.
    pub(crate) fn personal(mut self, user: UserId, content: Value) -> Self {
        self.personal = Some((user, content));
        self
    }
}

/// What is written down of an event.
struct Told {
    details: Value,
    before: Option<Value>,
    after: Option<Value>,
}

impl Told {
    fn of(event: &Event<'_>) -> Self {
        let mut told = Self {
            details: event.details.clone(),
            before: event.before.clone(),
            after: event.after.clone(),
        };
        let mut take = |field: &str| {
            let take = |value: &mut Option<Value>| value.as_mut()?.as_object_mut()?.remove(field);
            let (before, after) = (take(&mut told.before), take(&mut told.after));
            before.is_some() && after.is_some() && before != after
        };
        let changed: Vec<&str> = FREE.into_iter().filter(|field| take(field)).collect();
        if let (false, Some(details)) = (changed.is_empty(), told.details.as_object_mut()) {
            details.insert("changed_too".into(), json!(changed));
        }
        told
    }
}

/// The fields that an event's digest covers, as they are stored.
pub(crate) struct Chained<'a> {
    pub(crate) org: &'a [u8],
    pub(crate) id: &'a [u8],
    /// Microseconds since the epoch.
    pub(crate) at_us: i64,
    pub(crate) actor: &'a str,
    pub(crate) action: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) request_id: Option<&'a str>,
    pub(crate) details: &'a str,
    pub(crate) before: Option<&'a str>,
    pub(crate) after: Option<&'a str>,
    pub(crate) personal_hash: Option<&'a [u8]>,
}

impl Chained<'_> {
    pub(crate) fn digest(&self) -> [u8; 32] {
        let optional = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
        let mut hash = Sha256::new();
        hash.update(b"licet audit 1");
        for field in [
            Some(self.org.to_vec()),
            Some(self.id.to_vec()),
            Some(self.at_us.to_be_bytes().to_vec()),
            optional(Some(self.actor)),
            optional(Some(self.action)),
            optional(Some(self.subject)),
            optional(self.request_id),
            optional(Some(self.details)),
            optional(self.before),
            optional(self.after),
            self.personal_hash.map(<[u8]>::to_vec),
        ] {
            // None is not an empty text.
            let length = field.as_ref().map_or(u64::MAX, |bytes| bytes.len() as u64);
            hash.update(length.to_be_bytes());
            hash.update(field.unwrap_or_default());
        }
        hash.finalize().into()
    }
}

/// The hash of an event: what the next one builds on.
pub(crate) fn link(prev_hash: &[u8], seq: i64, digest: &[u8; 32]) -> [u8; 32] {
    let hash = Sha256::new()
        .chain_update(prev_hash)
        .chain_update(seq.to_be_bytes());
    hash.chain_update(digest).finalize().into()
}

/// What stands in an event for the part that names a person.
pub(crate) fn personal_hash(salt: &[u8], content: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update(salt)
        .chain_update(content)
        .finalize()
        .into()
}

/// Writes an event in the transaction that does what it tells of.
///
/// Locks the end of the organization's chain until the transaction ends, so it comes after all
/// other locks but those of status lists.
pub(crate) async fn write(
    tx: &Tx<'_>,
    subject: &(dyn Display + Sync),
    event: &Event<'_>,
) -> Result<(), Error> {
    let id = EventId::generate()?.uuid();
    let at = clock::unix_us();
    let text = |value: &Value| value.to_string();
    let told = Told::of(event);
    let (details, before, after) = (
        text(&told.details),
        told.before.as_ref().map(text),
        told.after.as_ref().map(text),
    );
    let subject = subject.to_string();
    let salt = random::bytes::<32>()?;
    let content = event.personal.as_ref().map(|(_, content)| text(content));
    let personal_hash = content
        .as_deref()
        .map(|content| personal_hash(&salt, content));
    let digest = Chained {
        org: tx.org().as_bytes(),
        id: id.as_bytes(),
        at_us: at,
        actor: event.actor,
        action: event.action,
        subject: &subject,
        request_id: event.request_id,
        details: &details,
        before: before.as_deref(),
        after: after.as_deref(),
        personal_hash: personal_hash.as_ref().map(<[u8; 32]>::as_slice),
    }
    .digest();
    let row = EventRow {
        id,
        at,
        subject: &subject,
        digest,
        personal_hash: personal_hash.as_ref().map(<[u8; 32]>::as_slice),
    };
    match &event.personal {
        None => insert(tx, &row, event, &told).await,
        Some((user, content)) => {
            let kept = keep_personal(tx, id, *user, &salt, content);
            futures_util::future::try_join(insert(tx, &row, event, &told), kept).await?;
            Ok(())
        }
    }
}

/// What an event's row has beyond the event.
struct EventRow<'a> {
    id: Uuid,
    at: i64,
    subject: &'a str,
    digest: [u8; 32],
    personal_hash: Option<&'a [u8]>,
}

/// One statement, so that it waits for nothing but the lock. `int8send` is big-endian.
async fn insert(
    tx: &Tx<'_>,
    row: &EventRow<'_>,
    event: &Event<'_>,
    told: &Told,
) -> Result<(), Error> {
    tx.execute(
        "WITH head AS (
             INSERT INTO licet.audit_heads AS h (org_id, seq, prev_hash, hash)
             VALUES ($1, 1, decode(repeat('00', 32), 'hex'),
                 sha256(decode(repeat('00', 32), 'hex') || int8send(1) || $2))
             ON CONFLICT (org_id) DO UPDATE SET seq = h.seq + 1, prev_hash = h.hash,
                 hash = sha256(h.hash || int8send(h.seq + 1) || $2)
             RETURNING h.org_id, h.seq, h.prev_hash, h.hash)
         INSERT INTO licet.audit_events (org_id, id, at, actor, action, subject, request_id, details,
             before, after, personal_hash, seq, prev_hash, hash)
         SELECT head.org_id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, head.seq, head.prev_hash, head.hash
         FROM head",
        &[
            (&tx.org(), Type::UUID),
            (&row.digest.as_slice(), Type::BYTEA),
            (&row.id, Type::UUID),
            (&clock::from_unix_us(row.at), Type::TIMESTAMPTZ),
            (&event.actor, Type::TEXT),
            (&event.action, Type::TEXT),
            (&row.subject, Type::TEXT),
            (&event.request_id, Type::TEXT),
            (&Json(&told.details), Type::JSONB),
            (&told.before.as_ref().map(Json), Type::JSON),
            (&told.after.as_ref().map(Json), Type::JSON),
            (&row.personal_hash, Type::BYTEA),
        ],
    )
    .await?;
    Ok(())
}

async fn keep_personal(
    tx: &Tx<'_>,
    event: Uuid,
    user: UserId,
    salt: &[u8; 32],
    content: &Value,
) -> Result<(), Error> {
    tx.execute(
        "INSERT INTO licet.audit_personal (org_id, event_id, user_id, salt, content)
         VALUES ($1, $2, $3, $4, $5)",
        &[
            (&tx.org(), Type::UUID),
            (&event, Type::UUID),
            (&user.uuid(), Type::UUID),
            (&salt.as_slice(), Type::BYTEA),
            (&Json(content), Type::JSON),
        ],
    )
    .await?;
    Ok(())
}

/// Deletes what names a person in all events. Hands back in how many.
pub(crate) async fn forget(tx: &Tx<'_>, user: UserId) -> Result<u64, Error> {
    tx.execute(
        "DELETE FROM licet.audit_personal WHERE org_id = $1 AND user_id = $2",
        &[(&tx.org(), Type::UUID), (&user.uuid(), Type::UUID)],
    )
    .await
}

/// An event as it is read back to be checked.
pub(crate) struct Stored {
    pub(crate) id: EventId,
    pub(crate) seq: i64,
    pub(crate) prev_hash: Vec<u8>,
    pub(crate) hash: Vec<u8>,
    /// Recomputed from what is stored.
    pub(crate) digest: [u8; 32],
    /// Whether a personal part was written, and what became of it.
    pub(crate) personal: Personal,
}

/// What became of an event's personal part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Personal {
    Never,
    Kept,
    Erased,
    Altered,
}

/// A page of the chain after `seq`.
pub(crate) async fn page(tx: &Tx<'_>, after: i64, limit: i64) -> Result<Vec<Stored>, Error> {
    let rows = tx
        .query(
            "SELECT e.id, e.seq, e.prev_hash, e.hash, e.at, e.actor, e.action, e.subject, e.request_id,
                 e.details, e.before::text, e.after::text, e.personal_hash, p.salt, p.content::text
             FROM licet.audit_events e
             LEFT JOIN licet.audit_personal p ON p.org_id = e.org_id AND p.event_id = e.id
             WHERE e.org_id = $1 AND e.seq > $2 ORDER BY e.seq LIMIT $3",
            &[(&tx.org(), Type::UUID), (&after, Type::INT8), (&limit, Type::INT8)],
        )
        .await?;
    rows.iter()
        .map(|row| stored(row, tx.org().as_bytes()))
        .collect()
}

fn stored(row: &tokio_postgres::Row, org: &[u8]) -> Result<Stored, Error> {
    let id: Uuid = row.try_get(0)?;
    let Json(details): Json<Value> = row.try_get(9)?;
    let expected: Option<Vec<u8>> = row.try_get(12)?;
    let salt: Option<Vec<u8>> = row.try_get(13)?;
    let content: Option<&str> = row.try_get(14)?;
    let personal = match (&expected, salt.zip(content)) {
        (None, _) => Personal::Never,
        (Some(_), None) => Personal::Erased,
        (Some(hash), Some((salt, content))) if *hash == personal_hash(&salt, content) => {
            Personal::Kept
        }
        _ => Personal::Altered,
    };
    let digest = Chained {
        org,
        id: id.as_bytes(),
        at_us: clock::micros(row.try_get::<_, SystemTime>(4)?),
        actor: row.try_get(5)?,
        action: row.try_get(6)?,
        subject: row.try_get(7)?,
        request_id: row.try_get(8)?,
        details: &details.to_string(),
        before: row.try_get(10)?,
        after: row.try_get(11)?,
        personal_hash: expected.as_deref(),
    }
    .digest();
    Ok(Stored {
        id: EventId::from_uuid(id),
        seq: row.try_get(1)?,
        prev_hash: row.try_get(2)?,
        hash: row.try_get(3)?,
        digest,
        personal,
    })
}

/// A hash as people and answers have it.
pub(crate) fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The chain up to an event, in a few symbols to be kept elsewhere.
pub(crate) fn anchor(seq: i64, hash: &[u8]) -> String {
    format!("{seq}:{}", hex(hash))
}

/// Number and hash of the chain's end; none where it has not begun.
pub(crate) async fn head(tx: &Tx<'_>) -> Result<Option<(i64, Vec<u8>)>, Error> {
    let row = tx
        .query_opt(
            "SELECT seq, hash FROM licet.audit_heads WHERE org_id = $1",
            &[(&tx.org(), Type::UUID)],
        )
        .await?;
    row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .transpose()
}
