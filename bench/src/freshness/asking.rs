//! Questions to the edge: in rotation, and about what is watched.

use std::{
    cell::Cell,
    cmp::Reverse,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use tokio::task::{JoinHandle, spawn_local};

use super::{Asked, Shared, findings::Shown};
use crate::{
    connection::{Answer, Connection},
    pace::{now, until},
};

/// Connections to each instance.
const CONNECTIONS: usize = 8;
/// How often and for how long a token is asked about that was refused.
const AGAIN: Duration = Duration::from_secs(1);
const AFTERWARDS: Duration = Duration::from_secs(10);
/// Tries at a token before its instance is thought to be broken, and the pause between them.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);

/// What was said of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Valid,
    /// Valid for all that is known, as the origin can't be asked.
    Degraded,
    Revoked,
    /// Another code, or a problem.
    Other(String),
}

impl Said {
    fn of(answer: &Answer<'_>) -> Self {
        let body: serde_json::Value = serde_json::from_slice(answer.body).unwrap_or_default();
        match (answer.status, body["code"].as_str()) {
            (200, Some("VALID")) if body["degraded"].is_null() => Self::Valid,
            (200, Some("VALID")) => Self::Degraded,
            (200, Some("REVOKED")) => Self::Revoked,
            (200, Some(code)) => Self::Other(code.to_owned()),
            (status, code) => Self::Other(format!("{status} {}", code.unwrap_or_default())),
        }
    }

    pub(super) fn code(&self) -> &str {
        match self {
            Self::Valid => "VALID",
            Self::Degraded => "VALID, degraded",
            Self::Revoked => "REVOKED",
            Self::Other(code) => code,
        }
    }
}

/// Asks once, on a connection that is opened anew after it broke.
pub(super) async fn ask(
    connection: &mut Option<Connection>,
    address: &str,
    request: &[u8],
) -> Said {
    let mut open = match connection.take() {
        Some(open) => open,
        None => match Connection::open(address).await {
            Ok(open) => open,
            Err(_) => return Said::Other("no connection".into()),
        },
    };
    match open.exchange(request).await {
        Ok(answer) => {
            let said = Said::of(&answer);
            *connection = Some(open);
            said
        }
        Err(_) => Said::Other("broken connection".into()),
    }
}

/// Asks each instance about each token until it is valid there.
pub(super) async fn warm_up(edges: &[String], tokens: &[Asked]) -> Result<Shown> {
    let requests: Rc<Vec<Vec<u8>>> =
        Rc::new(tokens.iter().map(|token| token.request.clone()).collect());
    let mut all = Vec::new();
    for edge in edges {
        let next = Rc::new(Cell::new(0));
        for _ in 0..CONNECTIONS / 2 {
            let (edge, next, requests) = (edge.clone(), Rc::clone(&next), Rc::clone(&requests));
            all.push(spawn_local(async move {
                let mut connection = None;
                while let Some(request) = requests.get(next.replace(next.get() + 1)) {
                    until_valid(&mut connection, &edge, request).await?;
                }
                anyhow::Ok(())
            }));
        }
    }
    for task in all {
        task.await??;
    }
    Ok(Shown::default())
}

async fn until_valid(
    connection: &mut Option<Connection>,
    edge: &str,
    request: &[u8],
) -> Result<()> {
    let mut last = Said::Valid;
    for _ in 0..TRIES {
        last = ask(connection, edge, request).await;
        if last == Said::Valid {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("a token that should be VALID: {}", last.code());
}

pub(super) fn start(shared: &Rc<Shared>) -> Vec<JoinHandle<Result<()>>> {
    let edges = 0..shared.watch.edges.len();
    edges
        .flat_map(|edge| (0..CONNECTIONS).map(move |_| edge))
        .map(|edge| spawn_local(ask_in_turn(Rc::clone(shared), edge)))
        .collect()
}

async fn ask_in_turn(shared: Rc<Shared>, edge: usize) -> Result<()> {
    let mut connection = None;
    while let Some((_, due)) = shared.paces[edge].next(now()) {
        let under_way = until(due).await;
        let sent = now();
        let (number, watching) = shared.to_ask(edge, sent);
        let request = &shared.tokens[number].request;
        let said = ask(&mut connection, &shared.watch.edges[edge], request).await;
        shared.heard(edge, number, sent, &said);
        shared.found.borrow_mut().answered(&said, now() - under_way);
        if watching {
            shared.ask_again(edge, number, sent);
        }
    }
    Ok(())
}

impl Shared {
    /// The watched token that is due, or the next of the rotation; and which of them it is.
    fn to_ask(&self, edge: usize, now: Instant) -> (usize, bool) {
        let mut due = self.due[edge].borrow_mut();
        if due.peek().is_some_and(|Reverse((when, _))| *when <= now)
            && let Some(Reverse((_, number))) = due.pop()
        {
            return (number, true);
        }
        let turn = self.turn[edge].get();
        self.turn[edge].set((turn + 1) % self.tokens.len());
        (turn, false)
    }

    /// Has a token asked about at an instance at this time.
    fn ask_at(&self, edge: usize, number: usize, when: Instant) {
        self.due[edge].borrow_mut().push(Reverse((when, number)));
    }

    /// From now on a token is watched at each instance.
    pub(super) fn watch(&self, number: usize, revoked: Instant) {
        self.tokens[number].watched.set(true);
        let step = Duration::from_millis(self.watch.every_ms) / (self.due.len() as u32).max(1);
        for edge in 0..self.due.len() {
            self.ask_at(edge, number, revoked + step * edge as u32);
            // Told by then already, when the commit was faster than its answer.
            if self.tokens[number].seen.borrow()[edge].refused.is_some() {
                self.found.borrow_mut().to_refusal.push(Duration::ZERO);
            }
        }
    }

    fn heard(&self, edge: usize, number: usize, sent: Instant, said: &Said) {
        let token = &self.tokens[number];
        let revoked = token.revoked.get().filter(|_| token.watched.get());
        let mut seen = token.seen.borrow_mut();
        let seen = &mut seen[edge];
        let now = now();
        let mut found = self.found.borrow_mut();
        if let (None, Some(before), Some(revoked)) = (seen.refused, seen.asked, revoked)
            && before >= revoked
        {
            found.gaps.push(sent.saturating_duration_since(before));
        }
        seen.asked = Some(sent);
        match said {
            Said::Revoked if !token.touched.get() => found.revoked_untouched += 1,
            Said::Revoked if seen.refused.is_none() => {
                seen.refused = Some(now);
                found.to_refusal.extend(revoked.map(|at| now - at));
            }
            Said::Valid | Said::Degraded if seen.refused.is_some_and(|at| sent > at) => {
                found.valid_after_refusal += 1;
            }
            Said::Valid | Said::Degraded | Said::Revoked | Said::Other(_) => {}
        }
    }

    /// Goes on asking about a watched token, less often once it was refused.
    fn ask_again(&self, edge: usize, number: usize, sent: Instant) {
        let every = Duration::from_millis(self.watch.every_ms);
        let refused = self.tokens[number].seen.borrow()[edge].refused;
        match refused {
            None => self.ask_at(edge, number, sent + every),
            Some(refused) if sent < refused + AFTERWARDS => {
                self.ask_at(edge, number, sent + AGAIN);
            }
            Some(_) => {}
        }
    }
}
