//! Statements that connections keep prepared. Planning a lookup over seven tables takes several
//! times as long as running it, so what finds one row or writes is planned once per connection.
//!
//! Nobody waits for it: a statement that is not ready goes unnamed, as if there were nothing to
//! keep, and is prepared after its transaction, before the connection goes back to the pool. So
//! statements also run in the order in which they are first polled, whether kept or not.
//!
//! A pooler in transaction mode hands a name that one client gave to another. So nothing is kept
//! unless the server itself got the options of the connection, which such a pooler ignores.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use deadpool_postgres::{Object, ObjectId};
use tokio_postgres::{Statement, types::Type};

/// Shows that a connection leads to the server with nothing in between that pools.
pub(super) const MARK: &str = "licet.direct=on";
const IS_DIRECT: &str = "SELECT current_setting('licet.direct', true) IS NOT DISTINCT FROM 'on'";
/// Times a statement goes unnamed on a connection: what comes once is not worth keeping.
const FIRST_TIMES: u32 = 1;

/// A statement's text, told from others by its place in the program: texts that are the same may
/// count as two, which does no harm.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Text(usize, usize);

impl Text {
    fn of(sql: &'static str) -> Self {
        Self(sql.as_ptr() as usize, sql.len())
    }
}

#[derive(Default)]
struct Slot {
    uses: u32,
    statement: Option<Statement>,
}

/// What there is on each connection.
pub(super) struct Kept {
    /// Until a connection shows otherwise.
    direct: AtomicBool,
    /// Connections that are remembered at once; beyond them all are forgotten, as most are gone.
    most: usize,
    connections: Mutex<HashMap<ObjectId, HashMap<Text, Slot>>>,
}

/// A statement that is to be prepared.
pub(super) struct Wanted {
    sql: &'static str,
    types: Vec<Type>,
}

impl Kept {
    pub(super) fn new(pool_size: usize) -> Self {
        Self {
            direct: AtomicBool::new(true),
            most: pool_size * 4,
            connections: Mutex::default(),
        }
    }

    /// The statement, if the connection has it ready; else, once it is worth it, what to prepare.
    pub(super) fn find(
        &self,
        connection: ObjectId,
        sql: &'static str,
        types: impl Iterator<Item = Type>,
    ) -> Result<Statement, Option<Wanted>> {
        if !self.direct.load(Ordering::Relaxed) {
            return Err(None);
        }
        let mut connections = self.lock();
        if connections.len() > self.most {
            connections.clear();
        }
        let slots = connections.entry(connection).or_default();
        let slot = slots.entry(Text::of(sql)).or_default();
        if let Some(statement) = &slot.statement {
            return Ok(statement.clone());
        }
        slot.uses = slot.uses.saturating_add(1);
        Err((slot.uses > FIRST_TIMES).then(|| Wanted {
            sql,
            types: types.collect(),
        }))
    }

    /// Prepares what is wanted. False when the connection is of no more use.
    pub(super) async fn prepare(&self, connection: &Object, wanted: Vec<Wanted>) -> bool {
        match connection.query_typed_one(IS_DIRECT, &[]).await {
            Ok(row) if row.try_get(0).unwrap_or(false) => {}
            Ok(_) => {
                self.direct.store(false, Ordering::Relaxed);
                self.lock().clear();
                return true;
            }
            Err(_) => return false,
        }
        let prepared = wanted
            .iter()
            .map(|wanted| connection.prepare_typed(wanted.sql, &wanted.types));
        let Ok(prepared) = futures_util::future::try_join_all(prepared).await else {
            return false;
        };
        let mut connections = self.lock();
        let slots = connections.entry(Object::id(connection)).or_default();
        for (wanted, statement) in wanted.iter().zip(prepared) {
            slots.entry(Text::of(wanted.sql)).or_default().statement = Some(statement);
        }
        true
    }

    /// The connection has ended.
    pub(super) fn forget(&self, connection: ObjectId) {
        self.lock().remove(&connection);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectId, HashMap<Text, Slot>>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
