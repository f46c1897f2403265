//! Many isolates of one data centre: what one has asked for serves all.

use std::rc::Rc;

use futures_util::future::join_all;
use licet_shared::{documents::Change, status_list::status};
use wasm_bindgen_test::wasm_bindgen_test;

use super::{DAY_S, World, ask, code, is_note};
use crate::{
    bindings,
    clock::{self, Clock},
    documents::feed::follow,
    isolate::{Isolate, Scope},
    testing::{Org, SeenCall},
};

/// Isolates that come up.
const CROWD: usize = 1_000;
/// So many of them at the same moment: their steps alternate, and here each takes its time.
const WAVE: usize = 50;
/// Documents behind a verdict: keys, status list, feature set.
const DOCUMENTS: usize = 3;
const FEED: &str = "application/revocations+jwt";

fn org() -> Org {
    Org {
        epoch: 100,
        ..Org::default()
    }
}

/// Puts up what the origin tells of changes after `since`.
fn publish_feed(world: &World, org: &Org, since: (u64, u64), changed: &[Change]) {
    let path = format!("/edge/v1/revocations/{}/{}", since.0, since.1);
    world.answer(&path, 200, FEED, &org.feed(since.1, changed));
}

/// The paths of the calls since the last look, of documents and of the feed.
fn calls(world: &World) -> (Vec<String>, Vec<String>) {
    let paths = world.calls();
    let paths = paths.iter().map(SeenCall::path);
    paths.partition(|path| !path.contains("revocations"))
}

fn crowd(world: &World) -> Vec<Rc<Isolate>> {
    (0..CROWD).map(|_| world.another()).collect()
}

fn scope(world: &World, isolate: &Rc<Isolate>, later_s: i64) -> Rc<Scope> {
    world.scope_of(isolate, Clock::ahead(later_s))
}

/// What all of them say, asked wave by wave, and what each does after its answer.
async fn ask_all(world: &World, crowd: &[Rc<Isolate>], token: &str, later_s: i64) -> Vec<String> {
    let mut verdicts = Vec::new();
    for wave in crowd.chunks(WAVE) {
        let scopes: Vec<_> = wave.iter().map(|one| scope(world, one, later_s)).collect();
        let asked = scopes.iter().map(async |scope| {
            let verdict = ask(scope, token).await;
            follow(scope);
            scope.answered();
            verdict
        });
        verdicts.extend(join_all(asked).await);
    }
    world.settle().await;
    let told = |(code, freshness): &(String, serde_json::Value)| {
        assert_eq!(code, "VALID", "{freshness}");
        freshness["degraded"].as_str().unwrap_or("").to_owned()
    };
    verdicts.iter().map(told).collect()
}

/// How many claims there may have been since then, of two seconds each: what these tests have told by the
/// feed is not signed anew, so that it soon spares no call.
fn claims_since(begin_ms: u64) -> u64 {
    (clock::now_ms() - begin_ms) / 2_000 + 1
}

/// Makes the cache's note of what was told look as old as can be, and lets claims lapse: it is time to
/// ask again.
async fn grow_old(world: &World) {
    world.remove("cache", |key| key.contains("/asking"));
    let old = |key: &str, text: String| match text.split_once('\n') {
        Some((_, rest)) if key.ends_with("/feed") => format!("0\n{rest}"),
        _ => text,
    };
    world.tamper("cache", old).await;
}

#[wasm_bindgen_test]
async fn a_thousand_cold_isolates_of_an_empty_data_centre_ask_for_each_document_once() {
    let org = org();
    let world = World::new(&org);
    let token = org.token(DAY_S);
    publish_feed(&world, &org, (0, 0), &[]);
    publish_feed(&world, &org, (1, 100), &[]);
    let crowd = crowd(&world);
    let begin_ms = clock::now_ms();
    let degraded = ask_all(&world, &crowd, &token, 0).await;
    assert!(degraded.iter().all(String::is_empty));
    let (documents, feeds) = calls(&world);
    // Three where the machine does not stall: whoever waits for half a second in vain asks, too.
    assert!(documents.len() <= 10 * DOCUMENTS, "{documents:?}");
    assert!(feeds.len() as u64 <= claims_since(begin_ms), "{feeds:?}");
}

#[wasm_bindgen_test]
async fn a_thousand_cold_isolates_of_a_data_centre_that_keeps_up_ask_for_no_document() {
    let org = org();
    let world = World::new(&org);
    let token = org.token(DAY_S);
    assert_eq!(code(&world.scope(), &token).await, "VALID");
    world.settle().await;
    // Ten minutes later all copies are long past their own times, but the feed has not named them.
    // Signed a little ahead, for a thousand isolates take some seconds here.
    let now = Org {
        ago: -650,
        ..org.clone()
    };
    publish_feed(&world, &now, (0, 0), &[]);
    publish_feed(&world, &now, (1, 100), &[]);
    follow(&world.scope_in(600));
    world.settle().await;
    world.calls();
    let begin_ms = clock::now_ms();
    let crowd = crowd(&world);
    let degraded = ask_all(&world, &crowd, &token, 602).await;
    assert!(degraded.iter().all(String::is_empty));
    let (documents, feeds) = calls(&world);
    assert_eq!(documents, [""; 0]);
    assert!(feeds.len() as u64 <= claims_since(begin_ms), "{feeds:?}");
}

#[wasm_bindgen_test]
async fn when_the_origin_returns_one_tries_and_the_others_follow() {
    let org = org();
    let world = World::new(&org);
    let token = org.token(DAY_S);
    assert_eq!(code(&world.scope(), &token).await, "VALID");
    world.settle().await;
    world.calls();
    world.set_down(true);
    let crowd = crowd(&world);
    let begin_ms = clock::now_ms();
    let degraded = ask_all(&world, &crowd, &token, 600).await;
    assert!(degraded.iter().all(|why| why == "origin_unreachable"));
    // Each has seen for itself that it is gone, once: nobody takes another's word for that. After that
    // one tries at a time.
    let (documents, feeds) = calls(&world);
    let probes = usize::try_from((clock::now_ms() - begin_ms) / 1_000).unwrap() + 1;
    assert!(documents.len() <= CROWD + probes, "{}", documents.len());
    assert!(feeds.len() <= probes, "{feeds:?}");

    // It is back, with what all of them hold.
    bindings::sleep(5_100).await;
    world.set_down(false);
    let now = Org {
        ago: -670,
        ..org.clone()
    };
    world.publish(&now);
    publish_feed(&world, &now, (0, 0), &[]);
    publish_feed(&world, &now, (1, 100), &[]);
    let begin_ms = clock::now_ms();
    for round in 0_i64.. {
        assert!(round < 20, "not all have followed");
        let degraded = ask_all(&world, &crowd, &token, 620 + round).await;
        if degraded.iter().all(String::is_empty) {
            break;
        }
        bindings::sleep(250).await;
    }
    let (documents, feeds) = calls(&world);
    let seconds = (clock::now_ms() - begin_ms) / 1_000 + 1;
    // Besides, one tries every two seconds until the feed is there, which takes a while here; and each where
    // that takes half a minute.
    let alone = if seconds < 20 { 0 } else { CROWD as u64 };
    let most = 2 * DOCUMENTS as u64 + seconds / 2 + alone;
    assert!(documents.len() as u64 <= most, "{most}: {documents:?}");
    assert!(feeds.len() as u64 <= seconds, "{feeds:?}");
}

#[wasm_bindgen_test]
async fn what_one_isolate_was_told_serves_the_others_by_its_own_signed_time() {
    let org = org();
    let world = World::new(&org);
    let token = org.token(DAY_S);
    let [one, other] = [world.another(), world.another()];
    publish_feed(&world, &org, (0, 0), &[]);
    for isolate in [&one, &other] {
        assert_eq!(code(&scope(&world, isolate, 0), &token).await, "VALID");
        follow(&scope(&world, isolate, 0));
        world.settle().await;
    }
    assert_eq!(
        calls(&world).1.len(),
        1,
        "the other has read what the one was told"
    );

    // One is told of a revocation: the other learns it without asking for the feed.
    let list = |version| Change {
        org: Org::tag(),
        status_list: Some(0),
        feature_set: None,
        version,
    };
    let revoked = Org {
        status: status::REVOKED,
        list_version: 2,
        epoch: 120,
        ago: -5,
        ..org.clone()
    };
    world.publish(&revoked);
    publish_feed(&world, &revoked, (1, 100), &[list(2)]);
    grow_old(&world).await;
    for isolate in [&one, &other] {
        isolate.documents.borrow_mut().told.make_due();
        follow(&scope(&world, isolate, 5));
        world.settle().await;
        assert_eq!(code(&scope(&world, isolate, 6), &token).await, "REVOKED");
        world.settle().await;
    }
    let (documents, feeds) = calls(&world);
    assert_eq!(feeds, ["/edge/v1/revocations/1/100"]);
    assert_eq!(documents.len(), 1, "the list, once for both: {documents:?}");
    // So does one that begins now.
    let third = world.another();
    assert_eq!(code(&scope(&world, &third, 7), &token).await, "REVOKED");
    assert_eq!(calls(&world).0, [""; 0]);
}

#[wasm_bindgen_test]
async fn an_old_or_broken_note_spares_no_call() {
    let org = org();
    let mut world = World::new(&org);
    let token = org.token(DAY_S);
    assert_eq!(code(&world.scope(), &token).await, "VALID");
    publish_feed(&world, &org, (0, 0), &[]);
    publish_feed(&world, &org, (1, 100), &[]);
    follow(&world.scope());
    world.settle().await;
    world.calls();
    for (later_s, change) in [
        // Somebody says that the origin has just been asked; what was signed is of eight seconds ago.
        (8, None),
        (0, Some("")),
        (0, Some("junk")),
        (0, Some("1\njunk\njunk")),
        (0, Some("18446744073709551615\n\n")),
    ] {
        world.remove("cache", |key| key.contains("/asking"));
        let note = |key: &str, text: String| match change {
            Some(note) if is_note(key) => note.to_owned(),
            _ => text,
        };
        world.tamper("cache", note).await;
        world.restart();
        follow(&world.scope_in(later_s));
        world.settle().await;
        assert_eq!(calls(&world).1.len(), 1, "{later_s} {change:?}");
    }
}

#[wasm_bindgen_test]
async fn who_finds_another_asking_takes_what_that_brings_or_asks_after_a_while() {
    let org = org();
    let mut world = World::new(&org);
    let token = org.token(DAY_S);
    let keys = format!("/edge/v1/orgs/{}/keys", Org::tag());
    // One that never ends: its claim stands, and the others don't wait for long.
    world.set_silent(&keys, true);
    let first = world.scope();
    let unanswered = wasm_bindgen_futures::future_to_promise({
        let token = token.clone();
        async move { Ok(code(&first, &token).await.into()) }
    });
    while (world.calls_so_far() as usize) < DOCUMENTS {
        bindings::sleep(1).await;
    }
    world.calls();
    world.set_silent(&keys, false);
    world.restart();
    assert_eq!(code(&world.scope(), &token).await, "VALID");
    let (documents, _) = calls(&world);
    assert_eq!(documents.len(), DOCUMENTS, "{documents:?}");
    let _ = wasm_bindgen_futures::JsFuture::from(unanswered).await;
}
