//! 500 clients on 100 seats, of whom three in ten are killed while they hold one.
//!
//! With `LICET_TEST_FULL` for 60 s, else a short run of few. Leases live 3 s: less than the API lets a
//! vendor ask for, so they are written into the table. Nothing else is different.
//!
//! How well the seats are used is measured against the best that is possible: at every moment all
//! seats but those of the dead, whose leases and margins have not passed yet. So many more clients
//! ask than there are seats that there is somebody for each. A seat counts as used from when its
//! holder hears of it until it begins to give it back, so the origin's own time counts as idle.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use licet_origin::clock::unix_ms;
use licet_shared::{api::LeaseAnswer, decision::Code};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{ACQUIRE, Bed, HEARTBEAT, RELEASE, lease_answer, seat, text};
use crate::support::edge::Call;

const LEASE_S: i64 = 3;
const MARGIN_S: i64 = 5;
/// A client is killed, rather than leaves, so often.
const KILLED: f64 = 0.3;

#[derive(Default)]
struct Crowd {
    /// Seats that somebody uses.
    working: AtomicU64,
    /// When the seats of the dead come back, in milliseconds.
    dead: Mutex<Vec<u64>>,
    killed: AtomicU64,
    stop: AtomicBool,
    granted: AtomicU64,
    refused: AtomicU64,
    /// Heartbeats that this machine was too slow for.
    late: AtomicU64,
    /// Requests that the origin had no time for.
    busy: AtomicU64,
}

impl Crowd {
    /// Seats that nobody can use yet, though nobody uses them any more.
    fn lost(&self) -> u64 {
        let mut dead = self.dead.lock().unwrap();
        let now = unix_ms();
        dead.retain(|end| now <= *end);
        dead.len() as u64
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// From 0 to 1.
fn chance() -> f64 {
    let [byte, other] = licet_origin::random::bytes().unwrap();
    f64::from(u16::from_be_bytes([byte, other])) / 65_536.0
}

/// An answer, as soon as the origin has time for one: who is told to come back later does.
async fn patiently(bed: &Bed, crowd: &Crowd, path: &str, body: &Value) -> LeaseAnswer {
    loop {
        let reply = bed.call(Call::post(path, body)).await;
        if reply.status.as_u16() != 503 {
            return lease_answer(&reply);
        }
        crowd.busy.fetch_add(1, Ordering::Relaxed);
        let seconds: u64 = reply.header("retry-after").parse().unwrap();
        sleep(Duration::from_secs(seconds)).await;
    }
}

async fn client(bed: Arc<Bed>, token: String, name: usize, crowd: Arc<Crowd>, pause_s: f64) {
    // They don't come all in the same moment.
    sleep(Duration::from_secs_f64(pause_s * chance())).await;
    while !crowd.is_over() {
        let asked = seat(&token, &format!("client {name}"), &json!({}));
        let answer = patiently(&bed, &crowd, ACQUIRE, &asked).await;
        if !answer.valid {
            assert_eq!(answer.code, Code::SeatLimit);
            crowd.refused.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_secs_f64(pause_s * (0.5 + chance()))).await;
            continue;
        }
        crowd.granted.fetch_add(1, Ordering::Relaxed);
        crowd.working.fetch_add(1, Ordering::Relaxed);
        let killed = chance() < KILLED;
        let leaves = Instant::now() + Duration::from_secs_f64(2.0 + 6.0 * chance());
        let mut lease = answer;
        while Instant::now() < leaves && !crowd.is_over() {
            sleep(Duration::from_secs_f64(1.0)).await;
            let shown = json!({ "token": text(&lease) });
            let renewed = patiently(&bed, &crowd, HEARTBEAT, &shown).await;
            if renewed.code == Code::LeaseExpired {
                // This machine stood still for longer than lease and margin.
                crowd.late.fetch_add(1, Ordering::Relaxed);
                break;
            }
            assert_eq!(renewed.code, Code::Valid, "who is alive keeps the seat");
            lease = renewed;
        }
        if killed {
            let back = lease.lease.unwrap().expires_at.plus(MARGIN_S);
            let back_ms = u64::try_from(back.unix()).unwrap() * 1000;
            crowd.dead.lock().unwrap().push(back_ms);
            crowd.killed.fetch_add(1, Ordering::Relaxed);
            crowd.working.fetch_sub(1, Ordering::Relaxed);
        } else {
            crowd.working.fetch_sub(1, Ordering::Relaxed);
            let shown = json!({ "token": text(&lease) });
            assert!(patiently(&bed, &crowd, RELEASE, &shown).await.valid);
        }
        sleep(Duration::from_secs_f64(pause_s * chance())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_seats_of_the_dead_come_back_and_none_is_sold_twice() {
    let full = std::env::var_os("LICET_TEST_FULL").is_some();
    let (clients, seats, seconds, pause_s) = if full {
        (500, 100, 60, 6.0)
    } else {
        (50, 10, 15, 0.5)
    };
    let bed = Arc::new(Bed::new());
    let seeded = bed.database.seed("alpha", 5);
    bed.float(&seeded, &json!({ "max": seats, "lease_s": LEASE_S }));
    let token = bed.device(&seeded, "device 1").await;
    let crowd = Arc::new(Crowd::default());
    let tasks: Vec<_> = (0..clients)
        .map(|name| {
            let (bed, crowd) = (Arc::clone(&bed), Arc::clone(&crowd));
            tokio::spawn(client(bed, token.clone(), name, crowd, pause_s))
        })
        .collect();

    let start = Instant::now();
    let (mut looks, mut used, mut best, mut most_held) = (0, 0, 0, 0);
    while start.elapsed() < Duration::from_secs(seconds) {
        sleep(Duration::from_millis(200)).await;
        let held = tokio::task::block_in_place(|| bed.held());
        assert!(held <= seats, "{held} of {seats} seats are held");
        most_held = most_held.max(held);
        // Once all have come, and a lease's time has passed.
        let settled =
            Duration::from_secs_f64(pause_s) + Duration::from_secs(LEASE_S.unsigned_abs());
        if start.elapsed() > settled {
            let lost = crowd.lost();
            looks += 1;
            used += crowd.working.load(Ordering::Relaxed);
            best += u64::try_from(seats).unwrap().saturating_sub(lost);
        }
    }
    crowd.stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    let (granted, refused) = (
        crowd.granted.load(Ordering::Relaxed),
        crowd.refused.load(Ordering::Relaxed),
    );
    #[allow(clippy::cast_precision_loss, reason = "far from 2^52")]
    let utilisation = used as f64 / best as f64;
    println!(
        "{clients} clients, {seats} seats, {seconds} s: {granted} granted, {refused} refused, {} killed, \
         at most {most_held} held, {} heartbeats too late, {} times busy, {} in use \
         of {} that could be: {:.1} % of the best possible use",
        crowd.killed.load(Ordering::Relaxed),
        crowd.late.load(Ordering::Relaxed),
        crowd.busy.load(Ordering::Relaxed),
        used / looks,
        best / looks,
        100.0 * utilisation
    );
    assert!(granted > u64::try_from(seats).unwrap(), "{granted}");
    // That a slow machine is slow is no fault of the seats': the short run only looks for sales.
    assert!(!full || utilisation > 0.95, "{utilisation}");
}
