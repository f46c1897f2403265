//! The revocation feed: what it does not name is not asked for, and what it names is.

use licet_shared::{documents::Change, status_list::status};
use serde_json::json;
use wasm_bindgen_test::wasm_bindgen_test;

use super::{DAY_S, World, ask, ask_with, code, is_note};
use crate::{documents::feed::follow, testing::Org};

/// An organization whose documents were read when the feed had come to 100.
fn org() -> Org {
    Org {
        epoch: 100,
        ..Org::default()
    }
}

/// The same so many seconds later.
fn later(org: &Org, seconds: i64) -> Org {
    Org {
        ago: -seconds,
        ..org.clone()
    }
}

fn list(version: u64) -> Change {
    Change {
        org: Org::tag(),
        status_list: Some(0),
        feature_set: None,
        version,
    }
}

/// Where an edge asks that finds nothing to go on from.
const ALL: &str = "/edge/v1/revocations/0/0";

/// Leaves nothing in the cache of what isolates were told.
fn alone(world: &World) {
    world.remove("cache", is_note);
    world
        .scope()
        .isolate
        .documents
        .borrow_mut()
        .told
        .be_shared();
}

/// Has the edge look at the feed, which tells what comes after `since`, after a request so many
/// seconds from now.
async fn look(world: &World, org: &Org, since: u64, changed: &[Change], later_s: i64) {
    alone(world);
    let text = later(org, later_s).feed(since, changed);
    world.answer(ALL, 200, "application/revocations+jwt", &text);
    world.scope().isolate.documents.borrow_mut().told.make_due();
    follow(&world.scope_in(later_s));
    world.settle().await;
}

#[wasm_bindgen_test]
async fn what_the_feed_does_not_name_is_fresh_without_a_call() {
    let org = org();
    let world = World::new(&org);
    let token = org.token(DAY_S);
    assert_eq!(code(&world.scope(), &token).await, "VALID");
    world.settle().await;
    world.calls();
    // An hour of looks at the feed, and nothing else.
    for minute in 0_i64..60 {
        let now_s = minute * 60;
        let feed = Org {
            epoch: 100 + minute.unsigned_abs(),
            ..org.clone()
        };
        look(&world, &feed, 0, &[], now_s).await;
        let (code, freshness) = ask(&world.scope_in(now_s + 5), &token).await;
        let age_s = freshness["age_s"].as_i64().unwrap();
        assert_eq!(code, "VALID");
        assert!(
            (5..30).contains(&age_s),
            "as old as the feed, not as the list: {age_s}"
        );
        assert_eq!(freshness["source"], "memory");
    }
    let calls = world.calls();
    assert!(
        calls.iter().all(|call| call.path().contains("revocations")),
        "{:?}",
        calls
            .iter()
            .map(crate::testing::SeenCall::path)
            .collect::<Vec<_>>()
    );
    assert_eq!(calls.len(), 60);
}

#[wasm_bindgen_test]
async fn what_it_names_is_fetched_before_the_next_verdict() {
    let org = org();
    let world = World::new(&org);
    let token = org.token(DAY_S);
    assert_eq!(code(&world.scope(), &token).await, "VALID");
    look(&world, &org, 0, &[], 0).await;
    let revoked = Org {
        status: status::REVOKED,
        list_version: 2,
        epoch: 120,
        ..org.clone()
    };
    world.publish(&revoked);
    assert_eq!(code(&world.scope(), &token).await, "VALID", "not known yet");
    look(&world, &revoked, 100, &[list(2)], 5).await;
    world.calls();
    assert_eq!(code(&world.scope_in(5), &token).await, "REVOKED");
    assert_eq!(world.calls().len(), 1, "the list alone");
    assert_eq!(code(&world.scope_in(6), &token).await, "REVOKED");
    assert_eq!(world.calls().len(), 0);
}

#[wasm_bindgen_test]
async fn a_list_older_than_the_feed_names_is_not_believed_to_be_new() {
    let org = org();
    let world = World::new(&org);
    let token = org.token(DAY_S);
    assert_eq!(code(&world.scope(), &token).await, "VALID");
    // The feed comes through, and somebody holds the list back.
    let newer = Org {
        epoch: 120,
        ..org.clone()
    };
    look(&world, &newer, 0, &[list(2)], 5).await;
    let (code, freshness) = ask(&world.scope_in(6), &token).await;
    assert_eq!(code, "VALID");
    assert_eq!(freshness["degraded"], "origin_unusable");
    let strict = json!({"max_staleness_s": 5});
    let (code, _) = ask_with(&world.scope_in(6), &token, strict).await;
    assert_eq!(code, "STALE");
}

#[wasm_bindgen_test]
async fn a_feed_that_fails_leaves_each_document_to_its_own_times() {
    let org = org();
    let world = World::new(&org);
    let token = org.token(DAY_S);
    assert_eq!(code(&world.scope(), &token).await, "VALID");
    look(&world, &org, 0, &[], 0).await;
    // A replay of it, half a minute later, is no news: nothing in it is of a later time.
    for (status, body) in [
        (200, org.feed(0, &[])),
        (200, "nonsense".to_owned()),
        (200, later(&org, 31).feed(101, &[])),
        (404, String::new()),
        (500, String::new()),
    ] {
        alone(&world);
        world.answer(ALL, status, "application/revocations+jwt", &body);
        world.scope().isolate.documents.borrow_mut().told.make_due();
        follow(&world.scope_in(31));
        world.settle().await;
    }
    world.publish(&later(&org, 31));
    world.calls();
    let (code, freshness) = ask(&world.scope_in(31), &token).await;
    let age_s = freshness["age_s"].as_i64().unwrap();
    assert!(code == "VALID" && age_s < 30, "{age_s}");
    let paths: Vec<_> = world
        .calls()
        .iter()
        .map(crate::testing::SeenCall::path)
        .collect();
    assert!(
        paths.iter().any(|path| path.contains("statuslists")),
        "{paths:?}"
    );
}

#[wasm_bindgen_test]
async fn a_list_is_renewed_while_it_still_has_half_its_life() {
    let org = org();
    let world = World::new(&org);
    let token = org.token(30 * DAY_S);
    assert_eq!(code(&world.scope(), &token).await, "VALID");
    world.settle().await;
    let (half_s, late_s) = (DAY_S / 2, DAY_S / 8 * 5);
    look(&world, &org, 0, &[], half_s - 1).await;
    world.calls();
    assert_eq!(code(&world.scope_in(half_s - 1), &token).await, "VALID");
    world.settle().await;
    assert_eq!(world.calls().len(), 0);
    look(&world, &org, 0, &[], late_s).await;
    world.publish(&later(&org, late_s));
    world.calls();
    assert_eq!(code(&world.scope_in(late_s), &token).await, "VALID");
    assert_eq!(world.calls().len(), 0, "not in the way of the answer");
    world.settle().await;
    let paths: Vec<_> = world
        .calls()
        .iter()
        .map(crate::testing::SeenCall::path)
        .collect();
    assert!(
        paths.iter().any(|path| path.contains("statuslists")),
        "{paths:?}"
    );
}
