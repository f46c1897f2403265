//! SIGKILL under load: nothing acknowledged is lost, a retry does not act twice (SECURITY 25).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use licet_tests::device::code;
use licet_tests::edge_caller::Call;
use licet_tests::load::while_running;
use licet_tests::wait::SOON;
use licet_tests::{Database, License, Stack, StackOptions, eventually};
use serde_json::json;
use xtask::postgres::Options;

const THREADS: usize = 8;
const SEATS: u32 = 100_000;

/// What one device was told in the end: the activation's id, and how often it had to ask.
struct Acknowledged {
    fingerprint: String,
    id: String,
    attempts: usize,
}

/// Its own Postgres, run as production runs it.
fn durable_stack() -> Stack {
    Stack::start(&StackOptions {
        database: Database::Own(Options {
            durable: true,
            ..Options::default()
        }),
        worker: false,
        ..StackOptions::default()
    })
}

/// Activates one new device, asking again with the same idempotency key until there is an answer.
fn activate(
    stack_url: &str,
    caller: &licet_tests::EdgeCaller,
    license: &License,
    fingerprint: String,
) -> Acknowledged {
    let body =
        json!({"license_key": license.key, "product": license.product, "fingerprint": fingerprint});
    let call =
        Call::post("/edge/v1/activations", &body).idempotent(&format!("crash-{fingerprint}"));
    let started = Instant::now();
    let mut attempts = 0;
    loop {
        attempts += 1;
        // A new signature for each attempt: the same call signed twice is another call's replay.
        match caller.signed(&call).try_send() {
            Ok(answer) if answer.status == 200 => {
                let body = answer.verdict();
                assert_eq!(code(&body), "VALID", "{answer:?}");
                let id = body["activation_id"].as_str().unwrap().to_owned();
                return Acknowledged {
                    fingerprint,
                    id,
                    attempts,
                };
            }
            // Neither done nor refused: whoever is told so asks again.
            Ok(answer) => assert!(
                answer.status >= 500 || answer.status == 409,
                "{fingerprint}: {answer:?}"
            ),
            Err(_) => {}
        }
        assert!(
            started.elapsed() < Duration::from_secs(120),
            "{fingerprint}: no answer from {stack_url}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Every acknowledged activation is there, none twice, and the seats add up.
fn expect_intact(stack: &Stack, license: &License, acknowledged: &[Acknowledged]) {
    let sql = stack.superuser();
    let stored: Vec<(String, String)> = sql
        .rows(&format!(
            "SELECT id, fingerprint_hash FROM licet.activations WHERE license_id = '{}' AND deactivated_at IS NULL",
            license.uuid()
        ))
        .into_iter()
        .map(|row| {
            let mut row = row.into_iter().flatten();
            (row.next().unwrap(), row.next().unwrap())
        })
        .collect();
    let by_id: BTreeMap<_, _> = stored.iter().cloned().collect();
    for one in acknowledged {
        let id: licet_shared::id::ActivationId = one.id.parse().unwrap();
        let uuid = uuid::Uuid::from_bytes(id.uuid_bytes()).to_string();
        let hash = licet_shared::decision::fingerprint_hash(&one.fingerprint);
        assert_eq!(
            by_id.get(&uuid),
            Some(&hash),
            "{} was acknowledged as {}",
            one.fingerprint,
            one.id
        );
    }
    // Every device has been answered in the end, so there is nothing else.
    let devices: BTreeSet<_> = stored.iter().map(|(_, hash)| hash).collect();
    assert_eq!(devices.len(), stored.len(), "a device holds two seats");
    assert_eq!(
        stored.len(),
        acknowledged.len(),
        "seats that nobody was told of"
    );
    let indexes = sql.number(&format!(
        "SELECT count(DISTINCT (status_list, status_index)) FROM licet.activations WHERE license_id = '{}'",
        license.uuid()
    ));
    assert_eq!(
        usize::try_from(indexes).unwrap(),
        stored.len(),
        "an index given twice"
    );
}

/// How many devices have been answered so far.
#[derive(Default)]
struct Progress(AtomicUsize);

impl Progress {
    /// Waits for so many more: a measure of load that a slow machine reaches as well.
    fn wait_for(&self, more: usize) {
        let target = self.0.load(Ordering::SeqCst) + more;
        eventually("the load goes on", Duration::from_secs(120), || {
            let now = self.0.load(Ordering::SeqCst);
            if now >= target {
                Ok(())
            } else {
                Err(format!("{now} of {target}"))
            }
        });
    }
}

/// Load on the origin while `meanwhile` kills things.
fn under_load(stack: &mut Stack, meanwhile: impl FnOnce(&mut Stack, &Progress)) {
    let license = stack.license("crash", SEATS);
    let caller = stack.caller();
    let url = stack.origin.url();
    let progress = Progress::default();
    let (gathered, ()) = while_running(
        THREADS,
        |thread, round| {
            let one = activate(&url, &caller, &license, format!("{thread}-{round}"));
            progress.0.fetch_add(1, Ordering::SeqCst);
            one
        },
        || meanwhile(stack, &progress),
    );
    let acknowledged: Vec<_> = gathered.into_iter().flatten().collect();
    let retried = acknowledged.iter().filter(|one| one.attempts > 1).count();
    assert!(retried > 0, "nothing was at work when it was killed");
    expect_intact(stack, &license, &acknowledged);

    // And it goes on as if nothing had been.
    let one_more = activate(&url, &caller, &license, "afterwards".to_owned());
    assert_eq!(one_more.attempts, 1);
}

#[test]
fn postgres_killed_under_load_loses_nothing_acknowledged_and_doubles_nothing() {
    let mut stack = durable_stack();
    under_load(&mut stack, |stack, progress| {
        for _ in 0..3 {
            progress.wait_for(100);
            stack.cluster().kill().unwrap();
            stack.cluster().restart().unwrap();
            let ready = format!("{}/health/ready", stack.origin.url());
            eventually("the origin finds the database again", SOON, || {
                if xtask::net::answers_ok(&ready) {
                    Ok(())
                } else {
                    Err("not ready".to_owned())
                }
            });
        }
        progress.wait_for(20);
    });
    // One and the same process all the time: it must not have needed to be started again.
    assert!(stack.origin.obituary().is_none());
}

#[test]
fn the_origin_killed_under_load_loses_nothing_acknowledged_and_doubles_nothing() {
    let mut stack = durable_stack();
    under_load(&mut stack, |stack, progress| {
        for _ in 0..5 {
            progress.wait_for(50);
            stack.origin.kill().unwrap();
            stack.origin.restart().unwrap();
        }
        progress.wait_for(20);
    });
}

#[test]
fn the_origin_stopped_in_good_order_finishes_what_it_has_begun() {
    let mut stack = durable_stack();
    let license = stack.license("crash", SEATS);
    let caller = stack.caller();
    let body = |fingerprint: &str| json!({"license_key": license.key, "product": license.product, "fingerprint": fingerprint});
    let progress = Progress::default();
    let (gathered, ()) = while_running(
        THREADS,
        |thread, round| {
            progress.0.fetch_add(1, Ordering::SeqCst);
            let fingerprint = format!("{thread}-{round}");
            let answer = caller
                .post("/edge/v1/activations", &body(&fingerprint))
                .try_send();
            answer.ok().map(|answer| (fingerprint, answer))
        },
        || {
            progress.wait_for(100);
            stack.origin.stop().unwrap();
        },
    );
    let done: Vec<_> = gathered
        .into_iter()
        .flatten()
        .flatten()
        .filter(|(_, answer)| answer.status == 200)
        .map(|(fingerprint, answer)| Acknowledged {
            fingerprint,
            id: answer.verdict()["activation_id"]
                .as_str()
                .unwrap()
                .to_owned(),
            attempts: 1,
        })
        .collect();
    assert!(done.len() > THREADS, "too little load: {}", done.len());
    // Whoever was let in has been answered: no seat is taken that nobody knows of.
    expect_intact(&stack, &license, &done);
}
