//! Many requests to isolates that know nothing, while the origin is gone and when it is back: what they
//! cost the origin. A thousand isolates of one data centre are in the edge's own tests
//! (`edge/src/documents/tests/crowd.rs`); here the parts are the real ones.

use std::collections::BTreeMap;
use std::time::Instant;

use licet_tests::load::race;
use licet_tests::wait::SOON;
use licet_tests::{Activation, Request, Stack, StackOptions, eventually};

const THREADS: usize = 20;
const ROUNDS: usize = 50;
/// Keys, status list, feature set.
const DOCUMENTS: u64 = 3;

/// A thousand requests at once, each of which gets its yes.
fn crowd(activations: &[Activation]) {
    race(THREADS, |thread| {
        for round in 0..ROUNDS {
            let activation = &activations[(thread + round) % activations.len()];
            let verdict = activation.validate();
            assert_eq!(verdict["code"], "VALID", "{verdict}");
        }
    });
}

/// How many documents of each kind this origin has served.
fn served(stack: &Stack) -> BTreeMap<String, u64> {
    let metrics = Request::get(&format!("{}/metrics", stack.origin.url())).send();
    let mut served = BTreeMap::new();
    for line in metrics.expect(200).text().lines() {
        let Some(rest) = line.strip_prefix("licet_origin_documents_total{kind=\"") else {
            continue;
        };
        let (kind, rest) = rest.split_once('"').unwrap();
        let count: u64 = rest.rsplit(' ').next().unwrap().parse().unwrap();
        *served.entry(kind.to_owned()).or_default() += count;
    }
    served
}

#[test]
fn crowds_on_cold_isolates_cost_an_origin_that_returns_a_few_calls() {
    let mut stack = Stack::start(&StackOptions {
        status_ttl_s: 10,
        ..StackOptions::default()
    });
    let license = stack.license("crowd", 10);
    let activations: Vec<_> = (0..10)
        .map(|number| {
            stack
                .device(&license, &format!("device {number}"))
                .activated()
        })
        .collect();
    crowd(&activations);

    // Gone: each isolate that begins gets along with what the data centre has.
    stack.origin.stop().unwrap();
    for _ in 0..2 {
        stack.worker().restart().unwrap();
        crowd(&activations);
    }

    // Back: with what is counted from now on.
    stack.origin.restart().unwrap();
    let began = Instant::now();
    stack.worker().restart().unwrap();
    crowd(&activations);
    eventually("no longer degraded", SOON, || {
        let verdict = activations[0].validate();
        if verdict["freshness"]["degraded"].is_null() {
            Ok(())
        } else {
            Err(verdict.to_string())
        }
    });
    crowd(&activations);
    let seconds = began.elapsed().as_secs() + 1;
    let mut served = served(&stack);
    let feeds = served.remove("revocations").unwrap_or_default();
    assert!(feeds <= seconds / 4 + 2, "{feeds} in {seconds} s");
    // Each document at most twice, and once more for each half of the list's life.
    let documents: u64 = served.values().sum();
    assert!(
        documents <= 2 * DOCUMENTS + seconds / 5,
        "{served:?} in {seconds} s, of 2,000 requests"
    );
}
