//! One fault after another, on the real parts. What must come of each stands in `docs/FAULTS.md`,
//! with the tests that show it, here and elsewhere.

mod clocks;
mod database;
mod documents;
mod duplicates;
mod feed;
mod keys;
mod origin;
mod storage;
mod table;

use std::time::{Duration, Instant};

use licet_tests::{Answer, Request};

/// For how long somebody asks again who was told to.
const PATIENCE: Duration = Duration::from_secs(90);

/// Asks until there is a verdict. What else is answered must be what somebody who asks again can
/// live with; how often that was comes along.
#[track_caller]
fn insist(request: &Request) -> (Answer, usize) {
    let started = Instant::now();
    for refusals in 0.. {
        let answer = request.send();
        if answer.status == 200 {
            answer.verdict();
            return (answer, refusals);
        }
        expect_come_back_later(&answer);
        assert!(started.elapsed() < PATIENCE, "still {answer:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    unreachable!("it asks until its patience is over")
}

/// Nothing is known of the outcome, or nothing was done: the same may be asked again.
#[track_caller]
fn expect_come_back_later(answer: &Answer) {
    let code = match answer.status {
        409 => "IDEMPOTENCY_IN_FLIGHT",
        503 if answer.json()["code"] == "UNAVAILABLE" => "UNAVAILABLE",
        _ => "ORIGIN_UNREACHABLE",
    };
    let status = if answer.status == 409 { 409 } else { 503 };
    answer.problem(status, code);
    answer.expect_no_cause();
    if status == 503 {
        let after = answer.header("retry-after").unwrap_or_default();
        let sensible = after.parse::<u32>().is_ok_and(|s| (1..=300).contains(&s));
        assert!(sensible, "{answer:?}");
    }
}
