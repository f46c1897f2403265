//! Everything that is stored about an organization or a person, as lines of JSON (NDJSON).
//!
//! Read from one snapshot and sent as it is read, so memory does not grow with what there is. The
//! last line says that it is complete and how much there was: a file without it was cut off.

pub mod tables;

use std::{collections::BTreeMap, fmt::Write as _, io, sync::Arc, time::Duration};

use axum::body::{Body, Bytes};
use futures_util::stream;
use licet_shared::{id::UserId, time::Timestamp};
use postgres_protocol::escape::escape_literal;
use serde_json::{Value, json};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    time::{Instant, timeout, timeout_at},
};

use self::tables::{TABLES, Table};
use crate::{
    db::{Error, snapshot::Snapshot},
    metrics::Metrics,
    random::RowId,
};

/// About how many bytes are sent at once.
const CHUNK: usize = 64 * 1024;
/// Chunks that wait to be sent.
const AHEAD: usize = 2;
/// For how long a reader may stop.
const STALL: Duration = Duration::from_secs(30);
/// Longest time for one: as long as it lasts, the database can't clean up behind it.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// What is exported.
#[derive(Clone, Debug)]
pub(crate) enum Scope {
    /// All of the organization.
    Organization,
    /// One person of it. The e-mail is empty once they are erased.
    Person { id: UserId, email: String },
}

/// A part of an export: rows of a table.
struct Part {
    table: &'static Table,
    /// Beyond the organization.
    condition: Option<String>,
}

impl Scope {
    fn parts(&self) -> Vec<Part> {
        let Self::Person { id, email } = self else {
            let whole = |table| Part {
                table,
                condition: None,
            };
            return TABLES.iter().map(whole).collect();
        };
        let (uuid, name) = (
            escape_literal(&id.uuid().to_string()),
            escape_literal(&id.to_string()),
        );
        let of = |table: &str| match table {
            "users" => Some(format!("id = {uuid}")),
            "sessions" | "audit_personal" => Some(format!("user_id = {uuid}")),
            "invitations" if email.is_empty() => None,
            "invitations" => Some(format!("email = {}", escape_literal(email))),
            "api_keys" => Some(format!("created_by = {name}")),
            "audit_events" => Some(format!("(actor = {name} OR subject = {name})")),
            _ => None,
        };
        let part = |table: &'static Table| {
            let condition = Some(of(table.name)?);
            Some(Part { table, condition })
        };
        TABLES.iter().filter_map(part).collect()
    }

    fn heading(&self, snapshot: &Snapshot, now: Timestamp) -> Value {
        let organization = snapshot.org();
        match self {
            Self::Organization => {
                json!({ "format": 1, "at": now, "organization_id": organization })
            }
            Self::Person { id, .. } => {
                json!({ "format": 1, "at": now, "organization_id": organization, "user_id": id })
            }
        }
    }
}

/// Why an export was not completed.
#[derive(Debug)]
enum Cut {
    Database(Error),
    /// Nobody reads any more.
    Left,
    /// Somebody might, but has not for too long.
    Stalled,
    TooLong,
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Database(error) => write!(f, "the database: {error}"),
            Self::Left => f.write_str("the client has left"),
            Self::Stalled => f.write_str("the client has stopped reading"),
            Self::TooLong => f.write_str("it took too long"),
        }
    }
}

impl From<Error> for Cut {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

/// What goes from the one who reads the database to the one who sends.
enum Message {
    Chunk(Bytes),
    /// All was said. Without it the answer is broken off.
    Complete,
}

/// Exports as a body. `held` is kept until the end, whatever that is.
pub(crate) fn body(
    snapshot: Snapshot,
    scope: Scope,
    now: Timestamp,
    request_id: String,
    metrics: Arc<Metrics>,
    held: impl Send + 'static,
) -> Body {
    let (sender, receiver) = channel(AHEAD);
    tokio::spawn(async move {
        let started = Instant::now();
        let export = write(snapshot, &scope, now, sender);
        let done = timeout_at(started + LONGEST, export)
            .await
            .unwrap_or(Err(Cut::TooLong));
        metrics.tx_ended("export", started.elapsed(), done.is_ok());
        // First, so that whoever has read the end may begin the next.
        drop(held);
        match done {
            Ok(sender) => drop(sender.send(Message::Complete).await),
            Err(cut) => tracing::warn!(request_id, %cut, "an export was cut off"),
        }
    });
    Body::from_stream(stream::unfold(Some(receiver), next))
}

type Item = Result<Bytes, io::Error>;

async fn next(receiver: Option<Receiver<Message>>) -> Option<(Item, Option<Receiver<Message>>)> {
    let mut receiver = receiver?;
    match receiver.recv().await {
        Some(Message::Chunk(bytes)) => Some((Ok(bytes), Some(receiver))),
        Some(Message::Complete) => None,
        // An error ends the connection, so that nobody takes what came for all there is.
        None => Some((Err(io::Error::other("the export was cut off")), None)),
    }
}

/// Lines on their way out.
struct Lines {
    sender: Sender<Message>,
    buffer: String,
    counts: BTreeMap<&'static str, u64>,
}

async fn write(
    snapshot: Snapshot,
    scope: &Scope,
    now: Timestamp,
    sender: Sender<Message>,
) -> Result<Sender<Message>, Cut> {
    let mut lines = Lines {
        sender,
        buffer: String::with_capacity(2 * CHUNK),
        counts: BTreeMap::new(),
    };
    lines.say("export", &scope.heading(&snapshot, now));
    for part in scope.parts() {
        let query = part.table.query(snapshot.org(), part.condition.as_deref());
        snapshot.open(&query).await?;
        let mut count = 0;
        loop {
            let rows = snapshot.fetch().await?;
            if rows.is_empty() {
                break;
            }
            for row in &rows {
                part.table.write_line(row, &mut lines.buffer)?;
                count += 1;
                if lines.buffer.len() >= CHUNK {
                    lines.flush().await?;
                }
            }
        }
        snapshot.close().await?;
        lines.counts.insert(part.table.kind, count);
    }
    snapshot.end().await?;
    let total: u64 = lines.counts.values().sum();
    let end = json!({ "complete": true, "lines": total, "counts": lines.counts });
    lines.say("end", &end);
    lines.flush().await?;
    Ok(lines.sender)
}

impl Lines {
    fn say(&mut self, kind: &str, data: &Value) {
        let _ = writeln!(self.buffer, "{{\"kind\":\"{kind}\",\"data\":{data}}}");
    }

    async fn flush(&mut self) -> Result<(), Cut> {
        let chunk = std::mem::replace(&mut self.buffer, String::with_capacity(2 * CHUNK));
        self.send(Message::Chunk(chunk.into())).await
    }

    async fn send(&self, message: Message) -> Result<(), Cut> {
        match timeout(STALL, self.sender.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Cut::Left),
            Err(_) => Err(Cut::Stalled),
        }
    }
}
