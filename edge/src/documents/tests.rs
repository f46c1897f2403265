//! The tiers, seen through `validate`, with an origin, cache and store that a test can tamper with.

use std::rc::Rc;

use licet_shared::{
    documents::{OrgKeys, StatusDocument},
    id::FeatureSetId,
    status_list::status,
};
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

use super::{Document, Freshness, Held, Memory, Name, kv};
use crate::{
    bindings,
    endpoints::validate,
    http::Answer,
    isolate::Scope,
    testing::{DEVICE, Org, World, post},
};

mod ahead;
mod crowd;
mod failures;
mod feed;
mod licenses;

const DAY_S: i64 = 86_400;

/// What is done to a stored text, by its key.
type Change<'a> = dyn Fn(&str, String) -> String + 'a;

/// Asks, and hands out code and freshness.
async fn ask_with(scope: &Rc<Scope>, token: &str, extra: Value) -> (String, Value) {
    let mut body = json!({"token": token, "product": "local_cli", "fingerprint": DEVICE});
    for (name, value) in extra.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    let headers = [("content-type", "application/json")];
    let request = post("/api/v1/licenses/validate", &headers, &body.to_string());
    let id = scope.request_id;
    let Answer { body, .. } = validate::handle(scope, &request)
        .await
        .unwrap_or_else(|fault| fault.into_answer(id));
    let mut answer: Value = serde_json::from_slice(&body).unwrap();
    (
        answer["code"].as_str().unwrap().to_owned(),
        answer["freshness"].take(),
    )
}

async fn ask(scope: &Rc<Scope>, token: &str) -> (String, Value) {
    ask_with(scope, token, json!({})).await
}

/// Whether a key of the cache is that of a note, and of no document.
fn is_note(key: &str) -> bool {
    key.ends_with("/feed") || key.contains("/asking")
}

async fn code(scope: &Rc<Scope>, token: &str) -> String {
    ask(scope, token).await.0
}

#[wasm_bindgen_test]
async fn three_calls_at_first_and_none_after() {
    let org = Org::default();
    let world = World::new(&org);
    let token = org.token(DAY_S);
    let (code, freshness) = ask(&world.scope(), &token).await;
    assert_eq!(
        (code.as_str(), &freshness["source"]),
        ("VALID", &json!("origin"))
    );
    assert_eq!(world.calls().len(), 3);
    for _ in 0..3 {
        let (code, freshness) = ask(&world.scope(), &token).await;
        assert_eq!(
            (code.as_str(), &freshness["source"]),
            ("VALID", &json!("memory"))
        );
    }
    assert_eq!(world.calls().len(), 0);
}

#[wasm_bindgen_test]
async fn a_crowd_on_a_cold_isolate_asks_once() {
    let org = Org::default();
    let world = World::new(&org);
    let token = org.token(DAY_S);
    let scopes: Vec<_> = (0..50).map(|_| world.scope()).collect();
    let asked = scopes.iter().map(|scope| code(scope, &token));
    let codes = futures_util::future::join_all(asked).await;
    assert!(codes.iter().all(|code| code == "VALID"), "{codes:?}");
    assert_eq!(world.calls().len(), 3);
}

#[wasm_bindgen_test]
async fn another_isolate_finds_the_cached_copies() {
    let org = Org::default();
    let mut world = World::new(&org);
    let token = org.token(DAY_S);
    code(&world.scope(), &token).await;
    world.settle().await;
    world.calls();
    world.restart();
    let (code, freshness) = ask(&world.scope(), &token).await;
    assert_eq!(
        (code.as_str(), &freshness["source"]),
        ("VALID", &json!("cache"))
    );
    assert_eq!(world.calls().len(), 0);
}

#[wasm_bindgen_test]
async fn where_no_isolate_has_the_keys_the_rest_is_not_looked_for_in_the_cache() {
    let org = Org::default();
    let mut world = World::new(&org);
    let token = org.token(DAY_S);
    code(&world.scope(), &token).await;
    world.settle().await;
    world.calls();
    world.remove("cache", |key| key.ends_with("/keys"));
    world.restart();
    let (code, freshness) = ask(&world.scope(), &token).await;
    assert_eq!(
        (code.as_str(), &freshness["source"]),
        ("VALID", &json!("origin"))
    );
    assert_eq!(world.calls().len(), 3);
}

#[wasm_bindgen_test]
async fn an_ageing_list_is_renewed_and_no_answer_waits() {
    let org = Org {
        ago: 20,
        ..Org::default()
    };
    let world = World::new(&org);
    let token = org.token(DAY_S);
    ask(&world.scope(), &token).await;
    world.calls();
    world.publish(&Org {
        list_version: 2,
        ago: 0,
        ..org.clone()
    });
    let (code, freshness) = ask(&world.scope(), &token).await;
    assert_eq!(
        (code.as_str(), freshness["age_s"].as_i64() >= Some(20)),
        ("VALID", true)
    );
    // Others wait for a renewal that is under way, so it must not wait for this request's answer.
    while world.calls_so_far() == 0 {
        bindings::sleep(1).await;
    }
    world.settle().await;
    assert_eq!(world.calls().len(), 1, "one renewal");
    let (_, freshness) = ask(&world.scope(), &token).await;
    assert!(freshness["age_s"].as_i64() < Some(20), "{freshness}");
}

#[wasm_bindgen_test]
async fn without_the_origin_the_newest_copy_serves_degraded_from_any_tier() {
    let org = Org::default();
    let mut world = World::new(&org);
    let token = org.token(DAY_S);
    code(&world.scope(), &token).await;
    world.settle().await;
    world.set_down(true);
    for source in ["memory", "cache", "kv"] {
        if source != "memory" {
            world.restart();
        }
        if source == "kv" {
            world.clear("cache");
        }
        let (code, freshness) = ask(&world.scope_in(120), &token).await;
        assert_eq!(
            (code.as_str(), &freshness["source"]),
            ("VALID", &json!(source))
        );
        assert_eq!(freshness["degraded"], "origin_unreachable");
        let demand = json!({"max_staleness_s": 60});
        assert_eq!(
            ask_with(&world.scope_in(120), &token, demand).await.0,
            "STALE"
        );
    }
    world.clear("kv");
    world.clear("cache");
    world.restart();
    assert_eq!(
        code(&world.scope_in(120), &token).await,
        "ORIGIN_UNREACHABLE"
    );
}

#[wasm_bindgen_test]
async fn a_tampered_copy_is_as_good_as_none() {
    let org = Org::default();
    let token = org.token(DAY_S);
    let flip = |_: &str, text: String| {
        let middle = text.len() / 2;
        let (head, tail) = text.split_at(middle);
        let other = if tail.starts_with('A') { 'B' } else { 'A' };
        format!("{head}{other}{}", &tail[1..])
    };
    let foreign = |key: &str, text: String| {
        let theirs = Org {
            key: 9,
            status: status::VALID,
            list_version: 99,
            ..org.clone()
        };
        if key.contains("statuslists") {
            theirs.list()
        } else {
            text
        }
    };
    let swapped = |key: &str, text: String| {
        if key.contains("statuslists") {
            org.features()
        } else {
            text
        }
    };
    let junk = |_: &str, _: String| "null".to_owned();
    let changes: [&Change<'_>; 4] = [&flip, &foreign, &swapped, &junk];
    for (number, change) in changes.iter().enumerate() {
        let mut world = World::new(&org);
        code(&world.scope(), &token).await;
        world.settle().await;
        assert_eq!(world.tamper("cache", change).await, 3);
        assert_eq!(world.tamper("kv", change).await, 3);
        world.restart();
        world.calls();
        let (verdict, freshness) = ask(&world.scope(), &token).await;
        assert_eq!(
            (verdict.as_str(), &freshness["source"]),
            ("VALID", &json!("origin")),
            "{number}"
        );
        assert!(!world.calls().is_empty());
        world.settle().await;
        world.tamper("cache", change).await;
        world.tamper("kv", change).await;
        world.set_down(true);
        world.restart();
        assert_eq!(
            code(&world.scope(), &token).await,
            "ORIGIN_UNREACHABLE",
            "{number}"
        );
    }
}

#[wasm_bindgen_test]
async fn a_known_revocation_outlives_older_copies_and_the_origin() {
    let org = Org::default();
    let mut world = World::new(&org);
    let token = org.token(DAY_S);
    code(&world.scope(), &token).await;
    world.settle().await;
    let revoked = Org {
        status: status::REVOKED,
        list_version: 2,
        ..org.clone()
    };
    world.publish(&revoked);
    assert_eq!(code(&world.scope_in(31), &token).await, "REVOKED");
    // The origin is set back to before the revocation: no lower version is taken from it.
    world.publish(&org);
    assert_eq!(code(&world.scope_in(62), &token).await, "REVOKED");
    world.settle().await;
    world
        .tamper("cache", |key, text| {
            if key.contains("statuslists") {
                org.list()
            } else {
                text
            }
        })
        .await;
    assert_eq!(code(&world.scope_in(93), &token).await, "REVOKED");
    // A cold isolate takes the store's copy over the cache's older one.
    world.set_down(true);
    world.restart();
    let (verdict, freshness) = ask(&world.scope_in(120), &token).await;
    assert_eq!(
        (verdict.as_str(), &freshness["source"]),
        ("REVOKED", &json!("kv"))
    );
}

#[wasm_bindgen_test]
async fn who_is_told_of_a_revocation_is_not_told_otherwise_by_the_next_isolate() {
    let org = Org::default();
    let mut world = World::new(&org);
    let token = org.token(DAY_S);
    code(&world.scope(), &token).await;
    world.settle().await;
    world.publish(&Org {
        status: status::REVOKED,
        list_version: 2,
        ..org.clone()
    });
    let demand = json!({"max_staleness_s": 0});
    let (told, _) = ask_with(&world.scope(), &token, demand).await;
    assert_eq!(told, "REVOKED");
    // Nothing that was put off has run when this isolate ends.
    world.set_down(true);
    world.restart();
    let (verdict, freshness) = ask(&world.scope(), &token).await;
    assert_eq!(
        (verdict.as_str(), &freshness["source"]),
        ("REVOKED", &json!("cache"))
    );
}

#[wasm_bindgen_test]
async fn only_a_signed_time_makes_a_status_list_fresh() {
    let org = Org::default();
    let world = World::new(&org);
    let token = org.token(DAY_S);
    code(&world.scope(), &token).await;
    let list = format!("/edge/v1/orgs/{}/statuslists/0", Org::tag());
    world.answer(&list, 304, "application/statuslist+jwt", "");
    let (code, freshness) = ask(&world.scope_in(31), &token).await;
    assert_eq!(
        (code.as_str(), &freshness["degraded"]),
        ("VALID", &json!("origin_unusable"))
    );
}

#[wasm_bindgen_test]
async fn zero_staleness_asks_the_origin_each_time() {
    let org = Org::default();
    let world = World::new(&org);
    let token = org.token(DAY_S);
    code(&world.scope(), &token).await;
    world.calls();
    let suspended = Org {
        status: status::SUSPENDED,
        list_version: 2,
        ..org.clone()
    };
    world.publish(&suspended);
    let demand = json!({"max_staleness_s": 0});
    for _ in 0..2 {
        let (code, _) = ask_with(&world.scope(), &token, demand.clone()).await;
        assert_eq!((code.as_str(), world.calls().len()), ("SUSPENDED", 1));
    }
}

#[wasm_bindgen_test]
async fn made_up_organizations_and_key_ids_cost_the_origin_little() {
    let org = Org::default();
    let world = World::new(&org);
    code(&world.scope(), &org.token(DAY_S)).await;
    world.calls();
    let unknown = Org {
        key: 3,
        ..org.clone()
    }
    .token(DAY_S);
    for _ in 0..10 {
        assert_eq!(code(&world.scope(), &unknown).await, "UNKNOWN_KEY");
    }
    assert_eq!(world.calls().len(), 1, "newer keys are sought once");
    let (header, rest) = unknown.split_once('.').unwrap();
    assert!(header.len() > 10);
    let header = "eyJhbGciOiJFZERTQSIsImtpZCI6IlpaWlpaWlpaLjEiLCJ0eXAiOiJsaWNlbnNlK2p3dCJ9";
    for _ in 0..10 {
        assert_eq!(
            code(&world.scope(), &format!("{header}.{rest}")).await,
            "UNKNOWN_KEY"
        );
    }
    assert_eq!(
        world.calls().len(),
        1,
        "an unknown organization is remembered"
    );
}

#[wasm_bindgen_test]
async fn a_new_key_is_believed_at_once_and_a_removed_one_no_more() {
    let org = Org::default();
    let world = World::new(&org);
    let old = org.token(DAY_S);
    assert_eq!(code(&world.scope(), &old).await, "VALID");
    let rotated = Org {
        key: 2,
        keys_version: 2,
        list_version: 2,
        ..org.clone()
    };
    world.publish(&rotated);
    assert_eq!(code(&world.scope(), &rotated.token(DAY_S)).await, "VALID");
    assert_eq!(
        code(&world.scope(), &old).await,
        "UNKNOWN_KEY",
        "though its signature was remembered"
    );
}

#[wasm_bindgen_test]
async fn a_request_with_older_keys_takes_nothing_from_those_with_newer() {
    let org = Org::default();
    let world = World::new(&org);
    let scope = world.scope();
    let platform = &scope.isolate.config.platform.keys;
    let keys = |org: &Org| {
        OrgKeys::verify(
            (&org.keys()).into(),
            &org.issuer,
            Org::tag(),
            platform,
            scope.now(),
        )
        .unwrap()
    };
    let rotated = Org {
        key: 2,
        keys_version: 2,
        ..org.clone()
    };
    let (older, newer) = (keys(&org), keys(&rotated));
    let name = Name::status_list(Org::tag(), 0);
    let verify = <StatusDocument as Document>::verify;
    let list = Rc::new(verify((&rotated.list()).into(), name, &newer, scope.now()).unwrap());
    let mut memory = Memory::new();
    memory.keep(name, Held::stored(list, rotated.list().into(), 2));
    let seen = memory.look::<StatusDocument>(name, &older, scope.now());
    assert!(seen.is_none(), "they do not vouch for it");
    assert!(
        memory
            .look::<StatusDocument>(name, &newer, scope.now())
            .is_some()
    );

    let list = Rc::new(verify((&org.list()).into(), name, &older, scope.now()).unwrap());
    let mut memory = Memory::new();
    memory.keep(name, Held::stored(list, org.list().into(), 1));
    assert!(
        memory
            .look::<StatusDocument>(name, &newer, scope.now())
            .is_none()
    );
    let after = memory.look::<StatusDocument>(name, &older, scope.now());
    assert!(after.is_none(), "withdrawn for good");
}

#[wasm_bindgen_test]
async fn a_newer_copy_in_the_lower_tiers_is_not_overwritten() {
    let org = Org::default();
    let world = World::new(&org);
    let token = org.token(DAY_S);
    code(&world.scope(), &token).await;
    world.settle().await;
    let newer = Org {
        status: status::REVOKED,
        list_version: 9,
        ..org.clone()
    }
    .list();
    let put = |key: &str, text: String| {
        if key.contains("statuslists") {
            newer.clone()
        } else {
            text
        }
    };
    world.tamper("cache", put).await;
    world.tamper("kv", put).await;
    world.publish(&Org {
        list_version: 2,
        ..org.clone()
    });
    let demand = json!({"max_staleness_s": 0});
    ask_with(&world.scope(), &token, demand).await;
    world.settle().await;
    for tier in ["cache", "kv"] {
        let kept = |key: &str, text: String| {
            if key.contains("statuslists") {
                assert_eq!(text, newer, "{tier}");
            }
            text
        };
        world.tamper(tier, kept).await;
    }
    assert_eq!(
        code(&world.scope(), &token).await,
        "REVOKED",
        "and learnt from"
    );
}

#[wasm_bindgen_test]
async fn a_demand_for_freshness_reaches_the_origin() {
    let org = Org {
        ago: 10,
        ..Org::default()
    };
    let world = World::new(&org);
    let token = org.token(DAY_S);
    code(&world.scope(), &token).await;
    world.calls();
    world.publish(&Org {
        ago: 0,
        ..org.clone()
    });
    let (code, freshness) = ask_with(&world.scope(), &token, json!({"max_staleness_s": 3})).await;
    assert_eq!(
        (code.as_str(), &freshness["source"]),
        ("VALID", &json!("origin"))
    );
    let calls = world.calls();
    assert_eq!(calls.len(), 1);
    let cache_control = calls[0].header("cache-control");
    assert_eq!(cache_control.as_deref(), Some("max-age=3"));
}

#[wasm_bindgen_test]
async fn memory_stays_within_its_bounds() {
    let org = Org::default();
    let world = World::new(&org);
    let scope = world.scope();
    let keys = OrgKeys::verify(
        (&org.keys()).into(),
        &org.issuer,
        Org::tag(),
        &scope.isolate.config.platform.keys,
        scope.now(),
    )
    .unwrap();
    let text = org.features();
    let name = |n: u32| {
        let mut id = [2; 16];
        id[12..].copy_from_slice(&n.to_be_bytes());
        Name::features(Org::tag(), FeatureSetId::from_uuid_bytes(id))
    };
    let mut memory = Memory::new();
    let set = <licet_shared::documents::FeatureSet as Document>::verify(
        (&text).into(),
        Name::features(Org::tag(), Org::features_id()),
        &keys,
        scope.now(),
    );
    let set = Rc::new(set.unwrap());
    for n in 0..20_000 {
        memory.keep(
            name(n),
            Held::stored(Rc::clone(&set), text.clone().into(), 1),
        );
        assert!(memory.bytes() <= Memory::BUDGET_BYTES, "{n}");
    }
    let kept = (0..20_000)
        .filter(|n| {
            memory
                .look::<licet_shared::documents::FeatureSet>(name(*n), &keys, scope.now())
                .is_some()
        })
        .count();
    assert!((500..20_000).contains(&kept), "{kept}");
}

#[wasm_bindgen_test]
fn half_of_a_span_is_fresh_and_half_ageing() {
    let org = Org::default();
    let start = org.now();
    for (age, expected) in [
        (-60, Freshness::Fresh),
        (14, Freshness::Fresh),
        (15, Freshness::Ageing),
        (29, Freshness::Ageing),
        (30, Freshness::Overdue),
    ] {
        assert_eq!(
            Freshness::within(30, start, start.plus(age)),
            expected,
            "{age}"
        );
    }
}

#[wasm_bindgen_test]
fn the_store_is_written_for_new_versions_and_every_few_minutes() {
    let now = Org::default().now();
    let edition = |version, issued_at| super::Edition { version, issued_at };
    let stored = Some(edition(5, now));
    assert!(kv::is_due(None, edition(1, now)));
    assert!(kv::is_due(stored, edition(6, now)));
    assert!(kv::is_due(stored, edition(5, now.plus(300))));
    assert!(!kv::is_due(stored, edition(5, now.plus(299))));
    assert!(!kv::is_due(stored, edition(4, now)));
}
