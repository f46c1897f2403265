//! The load generator of `cargo xtask bench`. Reads a burst from stdin as JSON, and writes what it
//! showed to stdout; as `licet-bench freshness` the same with a watch over revocations. For the bench of the edge it also makes a world of organizations:
//!
//! - `documents <address>` serves theirs, as an origin does;
//! - `settings` prints those that an edge needs to believe them;
//! - `bodies <orgs> <licenses> <tokens each>` prints bodies for `validate`, one a line;
//! - `verdicts <address> <orgs> <licenses> <verdicts>` asks an edge about them, ten times each.
//!
//! Everything that can be done ahead is: requests are signed and put together before the clock
//! starts, so that the generator, which shares the machine with what it measures, costs little.
//! What it did cost is in the result.

mod call;
mod connection;
mod documents;
mod freshness;
mod pace;
mod verdicts;
mod world;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    call::{Item, Signing},
    connection::Connection,
};

/// What to send.
#[derive(Deserialize)]
struct Burst {
    /// Of the server, such as `127.0.0.1:8600`.
    address: String,
    /// Connections, each with one request at a time.
    connections: usize,
    /// Requests of the burst. The items are sent in turn.
    requests: usize,
    items: Vec<Item>,
    /// How edges sign, for items that are an edge's.
    signing: Option<Signing>,
    /// Must stand in each answer: a fast wrong answer is not to be measured.
    expect: Option<String>,
    /// Whether the bodies of all answers are to be handed back.
    #[serde(default)]
    bodies: bool,
}

/// What it showed.
#[derive(Serialize)]
struct Shown {
    requests: usize,
    seconds: f64,
    rate: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Processor time of this program for each request, in microseconds, without what was done
    /// ahead.
    own_cpu_us: f64,
    bodies: Vec<String>,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [] => {
            let burst: Burst = serde_json::from_reader(std::io::stdin()).context("not a burst")?;
            show(&on_this_thread(run(&burst))?)
        }
        ["freshness"] => {
            let watch = serde_json::from_reader(std::io::stdin()).context("not a watch")?;
            show(&on_this_thread(freshness::run(watch))?)
        }
        ["documents", address] => on_this_thread(documents::serve(address)),
        ["settings"] => {
            let settings = json!({
                "ISSUER": world::ISSUER,
                "PLATFORM_KEYS": world::platform_key().verifying_key().to_string(),
                "EDGE_KEY": world::edge_key().reveal(),
            });
            println!("{settings}");
            Ok(())
        }
        ["bodies", orgs, licenses, issues] => {
            let orgs: u32 = orgs.parse()?;
            for issue in 0..issues.parse()? {
                for license in 0..licenses.parse()? {
                    println!("{}", world::Org::new(license % orgs).body(license, issue)?);
                }
            }
            Ok(())
        }
        ["verdicts", address, orgs, licenses, verdicts] => {
            let load = verdicts::Load {
                address,
                orgs: orgs.parse()?,
                licenses: licenses.parse()?,
                verdicts: verdicts.parse()?,
            };
            on_this_thread(verdicts::ask(load))
        }
        _ => bail!("there is no such command: see bench/README.md"),
    }
}

fn on_this_thread<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build()?;
    runtime.block_on(tokio::task::LocalSet::new().run_until(work))
}

fn show(what: &impl Serialize) -> Result<()> {
    serde_json::to_writer(std::io::stdout(), what)?;
    Ok(())
}

/// What the connections share.
struct Shared {
    texts: Vec<Vec<u8>>,
    next: Cell<usize>,
    latencies_us: RefCell<Vec<u32>>,
    bodies: RefCell<Vec<String>>,
    expect: Option<String>,
    keep_bodies: bool,
}

async fn run(burst: &Burst) -> Result<Shown> {
    if burst.items.is_empty() || burst.requests == 0 {
        bail!("nothing to send");
    }
    let texts = call::texts(&burst.items, burst.requests, burst.signing.as_ref())?;
    let shared = Rc::new(Shared {
        texts,
        next: Cell::new(0),
        latencies_us: RefCell::new(Vec::with_capacity(burst.requests)),
        bodies: RefCell::new(Vec::new()),
        expect: burst.expect.clone(),
        keep_bodies: burst.bodies,
    });
    let mut connections = Vec::with_capacity(burst.connections);
    for _ in 0..burst.connections {
        connections.push(Connection::open(&burst.address).await?);
    }
    let (started, cpu) = (Instant::now(), own_cpu());
    let clients: Vec<_> = connections
        .into_iter()
        .map(|connection| tokio::task::spawn_local(client(connection, Rc::clone(&shared))))
        .collect();
    for client in clients {
        client.await.context("a client broke")??;
    }
    let (elapsed, cpu) = (started.elapsed(), own_cpu().saturating_sub(cpu));
    let mut latencies = shared.latencies_us.borrow_mut();
    latencies.sort_unstable();
    let at = |part: f64| {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a place in the list"
        )]
        let place = ((latencies.len() as f64 * part) as usize).min(latencies.len() - 1);
        f64::from(latencies[place]) / 1000.0
    };
    #[allow(clippy::cast_precision_loss, reason = "for people to read")]
    let requests = burst.requests as f64;
    Ok(Shown {
        requests: burst.requests,
        seconds: elapsed.as_secs_f64(),
        rate: requests / elapsed.as_secs_f64(),
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        max_ms: at(1.0),
        own_cpu_us: cpu.as_secs_f64() * 1e6 / requests,
        bodies: shared.bodies.take(),
    })
}

async fn client(mut connection: Connection, shared: Rc<Shared>) -> Result<()> {
    loop {
        let turn = shared.next.get();
        let Some(text) = shared.texts.get(turn) else {
            return Ok(());
        };
        shared.next.set(turn + 1);
        let started = Instant::now();
        let answer = connection.exchange(text).await?;
        let micros = u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX);
        shared.latencies_us.borrow_mut().push(micros);
        let expected = shared.expect.as_deref().is_none_or(|expected| {
            let mut windows = answer.body.windows(expected.len());
            windows.any(|window| window == expected.as_bytes())
        });
        if answer.status / 100 != 2 || !expected {
            bail!(
                "HTTP {}: {}",
                answer.status,
                String::from_utf8_lossy(answer.body)
            );
        }
        if shared.keep_bodies {
            let body = String::from_utf8_lossy(answer.body).into_owned();
            shared.bodies.borrow_mut().push(body);
        }
    }
}

/// Processor time of this program so far (`/proc/self/stat`, in steps of 10 ms).
fn own_cpu() -> Duration {
    const TICK_MS: u64 = 10;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks = rest.split(' ').skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|text| text.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * TICK_MS)
}
