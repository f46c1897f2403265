//! The long soak: customers of several vendors at two edges, while something fails every 20 s.
//! `cargo xtask test --full soak`; `LICET_SOAK_MINUTES` shortens it, `LICET_TEST_SEED` repeats its
//! choices, though not the order in which threads come to them.
//!
//! In the end: every verdict was right as of the time that it named, and none was older than the
//! bound without saying so; every write that was acknowledged is there, once; memory has not grown;
//! every 5xx, and every verdict that was degraded, fell into a mishap's time.

mod mishaps;
mod model;
mod traffic;

use std::collections::BTreeSet;
use std::env;
use std::io::Write;
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use licet_shared::id::{ActivationId, LeaseId};
use licet_tests::dice::Dice;
use licet_tests::load::while_running;
use licet_tests::relay::Relay;
use licet_tests::resident::resident_kib;
use licet_tests::stack::start_worker;
use licet_tests::{Database, Stack, StackOptions};
use uuid::Uuid;
use xtask::postgres::Options;

use self::mishaps::{Stage, Window};
use self::model::Standing;
use self::traffic::{Market, Sight, Sold, TTL_S};

const VENDORS: usize = 6;
const EVERY: Duration = Duration::from_secs(20);

/// At once, whatever the test program captures.
fn say(text: &str) {
    let mut out = std::io::stderr().lock();
    writeln!(out, "soak: {text}").ok();
}

fn minutes() -> u64 {
    match env::var("LICET_SOAK_MINUTES") {
        Ok(text) => text.parse().expect("LICET_SOAK_MINUTES is a number"),
        Err(_) => 30,
    }
}

fn set_up() -> Stage {
    let stack = Stack::start(&StackOptions {
        database: Database::Own(Options {
            durable: true,
            ..Options::default()
        }),
        status_ttl_s: TTL_S,
        relay: true,
        cable: true,
        origin_env: [
            ("LICET_RATE_LIMITS", "FREE=60000"),
            ("LICET_NEWCOMER_LIMIT", "1000"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec(),
        ..StackOptions::default()
    });
    let relay = Relay::to(&stack.origin.url());
    let dir = stack.dir().join("second");
    std::fs::create_dir_all(&dir).unwrap();
    let vars = [("ISSUER".to_owned(), stack.edge())];
    let port = xtask::net::free_port().unwrap();
    let second = start_worker(&vars, stack.keys(), relay.url(), port, &dir);
    Stage {
        stack,
        second,
        second_relay: relay,
        slugs: (0..VENDORS)
            .map(|number| format!("soak-{number}"))
            .collect(),
        rotations: 0,
    }
}

/// Resident memory of the origin and of each edge's runtime, in MiB.
fn memory(stage: &mut Stage) -> [u64; 3] {
    let of = |pid: Option<u32>, name: &str| {
        let kib = pid.and_then(|pid| resident_kib(pid, name));
        kib.unwrap_or_default() / 1024
    };
    [
        of(stage.stack.origin.id(), "licet-origin"),
        of(stage.stack.worker().id(), "workerd"),
        of(stage.second.id(), "workerd"),
    ]
}

#[test]
#[ignore = "takes half an hour: cargo xtask test --full soak"]
fn half_an_hour_of_mixed_traffic_and_mishaps_leaves_nothing_wrong() {
    let (seed, length) = (Dice::seed(), Duration::from_secs(60 * minutes()));
    say(&format!(
        "LICET_TEST_SEED={seed}, {} min",
        length.as_secs() / 60
    ));
    let mut stage = set_up();
    let edges = vec![stage.stack.edge(), stage.second.url()];
    let sight = Sight::new(edges, stage.stack.origin.url());
    let mut dice = Dice::new(seed);
    let open = |number: usize| {
        let dice = Dice::new(seed.wrapping_add(1 + number as u64));
        Mutex::new(Market::open(&stage.stack, &sight, number, dice))
    };
    let markets: Vec<_> = (0..VENDORS).map(open).collect();
    let (mut windows, mut samples) = (Vec::new(), Vec::new());
    let began = Instant::now();
    let (_, ()) = while_running(
        VENDORS,
        |number, _| {
            markets[number].lock().unwrap().step(&sight);
            std::thread::sleep(Duration::from_millis(3));
        },
        || {
            let mut next = EVERY;
            while began.elapsed() < length {
                std::thread::sleep(next.saturating_sub(began.elapsed()));
                next += EVERY;
                let (what, window) = stage.mishap(&mut dice);
                windows.push(window);
                let memory = memory(&mut stage);
                samples.push(Sample {
                    at: began.elapsed(),
                    asked: sight.asked(),
                    memory,
                });
                say(&format!(
                    "{:4} s: {what}; {} verdicts ({} degraded), {} writes, {} in trouble; MiB {memory:?}",
                    began.elapsed().as_secs(),
                    sight.verdicts.load(Ordering::Relaxed),
                    sight.degraded.load(Ordering::Relaxed),
                    sight.writes.load(Ordering::Relaxed),
                    sight.troubles().len(),
                ));
            }
            // The last one's consequences.
            std::thread::sleep(Duration::from_secs(20));
        },
    );
    let markets: Vec<Market> = markets
        .into_iter()
        .map(|m| m.into_inner().unwrap())
        .collect();
    for market in &markets {
        market.judge_all(&sight);
    }
    expect_no_mistake(&sight);
    expect_explained(&sight, &windows);
    for market in &markets {
        for sold in &market.sold {
            expect_kept(&stage.stack, &market.slug, sold);
        }
    }
    expect_flat(&samples, length);
    assert!(
        sight.verdicts.load(Ordering::Relaxed) > 1_000,
        "hardly any traffic"
    );
    say(&format!(
        "{} mishaps, nothing wrong, LICET_TEST_SEED={seed}",
        windows.len()
    ));
}

fn expect_no_mistake(sight: &Sight) {
    let mistakes = sight.mistakes();
    assert!(
        mistakes.is_empty(),
        "{} mistakes, the first: {}",
        mistakes.len(),
        mistakes[0]
    );
}

fn expect_explained(sight: &Sight, windows: &[Window]) {
    let unexplained: Vec<_> = sight
        .troubles()
        .into_iter()
        .filter(|trouble| {
            let explains = |window: &Window| window.explains(trouble.from_ms, trouble.to_ms);
            !windows.iter().any(explains)
        })
        .collect();
    assert!(
        unexplained.is_empty(),
        "{} failures without a reason, the first at {}: {}",
        unexplained.len(),
        unexplained[0].from_ms,
        unexplained[0].what
    );
}

fn uuids<T: FromStr>(ids: &[String], bytes: impl Fn(T) -> [u8; 16]) -> BTreeSet<String> {
    let uuid = |id: &String| {
        let id = id.parse().unwrap_or_else(|_| panic!("{id:?} is no id"));
        Uuid::from_bytes(bytes(id)).to_string()
    };
    ids.iter().map(uuid).collect()
}

/// What the database has of a license is what was acknowledged, all of it and nothing else.
fn expect_kept(stack: &Stack, slug: &str, sold: &Sold) {
    let (sql, license) = (stack.superuser(), sold.uuid());
    let column = |what: &str| -> BTreeSet<String> { sql.column(what).into_iter().collect() };
    let of_activations = |which: &str| {
        column(&format!(
            "SELECT id FROM licet.activations WHERE license_id = '{license}' AND deactivated_at IS {which}"
        ))
    };
    let activations = |ids: &[String]| uuids(ids, |id: ActivationId| id.uuid_bytes());
    let (there, gone) = (
        activations(&sold.installed()),
        activations(&sold.given_back),
    );
    assert_eq!(of_activations("NULL"), there, "{slug}, {license}: devices");
    assert_eq!(
        of_activations("NOT NULL"),
        gone,
        "{slug}, {license}: given back"
    );
    let leases = column(&format!(
        "SELECT id FROM licet.leases WHERE license_id = '{license}' AND ended_at IS NULL"
    ));
    let held = uuids(&sold.leases(), |id: LeaseId| id.uuid_bytes());
    assert_eq!(leases, held, "{slug}, {license}: seats");
    let used = sql.number(&format!(
        "SELECT coalesce(sum(used), 0) FROM licet.usage WHERE license_id = '{license}'"
    ));
    assert_eq!(
        u64::try_from(used).unwrap(),
        sold.used,
        "{slug}, {license}: uses"
    );
    let status = sql.column(&format!(
        "SELECT status FROM licet.licenses WHERE id = '{license}'"
    ));
    let wanted = match sold.standing() {
        Standing::InForce | Standing::GivenBack => "ACTIVE",
        Standing::Suspended => "SUSPENDED",
        Standing::Revoked => "REVOKED",
    };
    assert_eq!(status, [wanted], "{slug}, {license}");
}

/// Memory in MiB, and how much had been asked by then.
struct Sample {
    at: Duration,
    asked: u64,
    memory: [u64; 3],
}

/// By what workerd grows with each request under `wrangler dev`: 10 KiB for `/health/live`, 16 for a
/// verdict, and then some. What an edge takes without it is measured by `cargo xtask bench edge`.
const KEPT_KIB: u64 = 24;

/// After the warm-up, which is the first third, nothing takes much more memory than it did in the
/// second.
fn expect_flat(samples: &[Sample], length: Duration) {
    if length < Duration::from_secs(20 * 60) {
        return say("too short to say anything of memory");
    }
    let third = length / 3;
    let (warm, last): (Vec<&Sample>, Vec<&Sample>) = samples
        .iter()
        .filter(|sample| sample.at >= third)
        .partition(|sample| sample.at < third * 2);
    let asked = |part: &[&Sample]| part.last().map_or(0, |sample| sample.asked);
    let kept = (asked(&last) - asked(&warm)) * KEPT_KIB / 2 / 1024;
    // The origin is no part of what wrangler runs.
    let who = [
        ("the origin", 0),
        ("the first edge", kept),
        ("the second edge", kept),
    ];
    for (place, (who, kept)) in who.into_iter().enumerate() {
        let most = |part: &[&Sample]| part.iter().map(|sample| sample.memory[place]).max();
        let (warm, last) = (most(&warm).unwrap_or(0), most(&last).unwrap_or(0));
        say(&format!("{who}: {warm} MiB at most, then {last}"));
        assert!(
            last <= warm * 5 / 4 + 32 + kept,
            "{who} grew from {warm} to {last} MiB"
        );
    }
}
