//! Revocations at the origin, and how long each instance of the edge goes on saying yes.
//!
//! Verdicts are asked for at a steady rate, from all instances in turn; licenses are revoked at
//! another. Of some of them a token is asked about again and again at each instance, from the
//! origin's answer until the first refusal and for a while after it.

mod asking;
mod findings;
mod revoking;

use std::{
    cell::{Cell, RefCell},
    cmp::Reverse,
    collections::BinaryHeap,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::Deserialize;

use self::findings::{Findings, Shown};
use crate::{
    connection::Connection,
    own_cpu,
    pace::{Pace, now},
};

/// What to do.
#[derive(Deserialize)]
pub(crate) struct Watch {
    /// Addresses of the edge's instances, each with an isolate of its own.
    edges: Vec<String>,
    /// Address of the origin.
    origin: String,
    tokens: Vec<Token>,
    /// Licenses that are revoked with nobody watching.
    others: Vec<License>,
    /// Verdicts a second, over all instances.
    verdicts: f64,
    /// Revocations a second.
    revocations: f64,
    /// One in so many revocations is watched; 0 for none.
    watched_of: u64,
    /// One in so many is asked about with `max_staleness_s: 0` at once; 0 for none.
    demanded_of: u64,
    /// Between two questions about a watched token at one instance.
    every_ms: u64,
    /// Before it is counted what the origin served.
    lead_s: f64,
    seconds: f64,
    /// Before the end, in which no further revocation is watched.
    settle_s: f64,
    /// Whether to do no more than ask about each token at each instance until it is valid.
    #[serde(default)]
    warm_up: bool,
}

/// A license that can be revoked.
#[derive(Clone, Deserialize)]
struct License {
    id: String,
    api_key: String,
}

/// A token of it, as it is asked about.
#[derive(Deserialize)]
struct Token {
    body: serde_json::Value,
    license: License,
}

/// A token under way.
struct Asked {
    request: Vec<u8>,
    /// The same, but that the origin must be asked.
    demanding: Vec<u8>,
    license: License,
    /// Whether its license is being revoked or has been.
    touched: Cell<bool>,
    /// When the origin had said so.
    revoked: Cell<Option<Instant>>,
    watched: Cell<bool>,
    /// By instance.
    seen: RefCell<Vec<Seen>>,
}

/// What one instance has said of one token.
#[derive(Clone, Copy, Default)]
struct Seen {
    asked: Option<Instant>,
    refused: Option<Instant>,
}

/// Numbers of tokens, the earliest due first.
type Due = BinaryHeap<Reverse<(Instant, usize)>>;

/// What all tasks share.
struct Shared {
    watch: Watch,
    tokens: Vec<Asked>,
    /// By instance: which watched token is due when.
    due: Vec<RefCell<Due>>,
    /// By instance: the next token of the rotation.
    turn: Vec<Cell<usize>>,
    paces: Vec<Pace>,
    revocations: Pace,
    /// From when on no further revocation is watched.
    settle: Instant,
    next_other: Cell<usize>,
    next_token: Cell<usize>,
    found: RefCell<Findings>,
}

const PATH: &str = "/api/v1/licenses/validate";

/// A request with a body; nothing else needs to be said to the edge.
fn post(path: &str, bearer: Option<&str>, body: &str) -> Vec<u8> {
    let bearer = bearer.map_or_else(String::new, |key| {
        format!("authorization: Bearer {key}\r\n")
    });
    format!(
        "POST {path} HTTP/1.1\r\nhost: bench\r\n{bearer}content-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl Asked {
    fn new(token: &Token, edges: usize) -> Self {
        let mut demanding = token.body.clone();
        demanding["max_staleness_s"] = 0.into();
        Self {
            request: post(PATH, None, &token.body.to_string()),
            demanding: post(PATH, None, &demanding.to_string()),
            license: token.license.clone(),
            touched: Cell::new(false),
            revoked: Cell::new(None),
            watched: Cell::new(false),
            seen: RefCell::new(vec![Seen::default(); edges]),
        }
    }
}

/// Watches, and tells what it saw.
pub(crate) async fn run(watch: Watch) -> Result<Shown> {
    let edges = watch.edges.len();
    let tokens = watch.tokens.iter().map(|token| Asked::new(token, edges));
    let tokens: Vec<_> = tokens.collect();
    anyhow::ensure!(!tokens.is_empty() && edges > 0, "nobody to ask, or nothing");
    if watch.warm_up {
        return asking::warm_up(&watch.edges, &tokens).await;
    }
    let start = now();
    let end = start + Duration::from_secs_f64(watch.lead_s + watch.seconds);
    #[allow(clippy::cast_precision_loss, reason = "some instances")]
    let each = watch.verdicts / edges as f64;
    let paces = (0..edges).map(|_| Pace::new(start, end, each)).collect();
    let shared = Rc::new(Shared {
        due: (0..edges).map(|_| RefCell::default()).collect(),
        // Not all about the same at the same time.
        turn: (0..edges)
            .map(|edge| Cell::new(edge * tokens.len() / edges))
            .collect(),
        paces,
        revocations: Pace::new(start, end, watch.revocations),
        settle: end
            .checked_sub(Duration::from_secs_f64(watch.settle_s))
            .unwrap_or(start),
        next_other: Cell::new(0),
        next_token: Cell::new(0),
        found: RefCell::default(),
        tokens,
        watch,
    });
    let cpu = own_cpu();
    let mut tasks = asking::start(&shared);
    tasks.extend(revoking::start(&shared));
    let lead = start + Duration::from_secs_f64(shared.watch.lead_s);
    tokio::time::sleep_until(lead.into()).await;
    let before = scrape(&shared.watch.origin).await?;
    for task in tasks {
        task.await.context("a task broke")??;
    }
    let counted = now() - lead;
    let after = scrape(&shared.watch.origin).await?;
    let mut shown = shared.shown(now() - start, own_cpu().saturating_sub(cpu));
    shown.counted_s = counted.as_secs_f64();
    shown.counters = vec![before, after];
    Ok(shown)
}

/// What the origin has counted so far.
async fn scrape(origin: &str) -> Result<String> {
    let mut connection = Connection::open(origin).await?;
    let answer = connection
        .exchange(b"GET /metrics HTTP/1.1\r\nhost: bench\r\n\r\n")
        .await?;
    Ok(String::from_utf8_lossy(answer.body).into_owned())
}
