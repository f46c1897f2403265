//! Licenses' own documents: fetched when the token alone won't do, and kept like the others.

use licet_shared::{documents::Tier, id::OrgTag, status_list::status};
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

use super::{DAY_S, World};
use crate::{
    endpoints::{features, validate},
    testing::{DEVICE, Org, post, request},
};

fn tag() -> OrgTag {
    Org::tag()
}

fn license_path() -> String {
    format!("/edge/v1/orgs/{}/licenses/{}", tag(), Org::license_id())
}

async fn verdict_in(world: &World, later_s: i64, token: &str) -> Value {
    let body = json!({"token": token, "product": "local_cli", "fingerprint": DEVICE});
    let headers = [("content-type", "application/json")];
    let scope = world.scope_in(later_s);
    let request = post("/x", &headers, &body.to_string());
    let answer = validate::handle(&scope, &request).await.unwrap();
    serde_json::from_slice(&answer.body).unwrap()
}

/// The organization once a license of it has been upgraded.
fn upgraded(org: &Org, version: u64) -> Org {
    Org {
        status: status::CHANGED,
        list_version: version,
        changed: version,
        license_version: version,
        tier: Tier::Enterprise,
        ..org.clone()
    }
}

#[wasm_bindgen_test]
async fn an_upgrade_reaches_an_old_token_with_the_next_list() {
    let org = Org {
        ago: 40,
        ..Org::default()
    };
    let world = World::new(&org);
    let token = org.token(DAY_S);
    let fresh = Org {
        ago: 0,
        ..org.clone()
    };
    world.publish(&fresh);
    assert_eq!(
        verdict_in(&world, 0, &token).await["license"]["tier"],
        "PRO"
    );
    assert_eq!(
        world.calls().len(),
        3,
        "the license's document is not looked at"
    );
    let new = upgraded(&fresh, 5);
    world.publish(&new);
    let verdict = verdict_in(&world, 31, &token).await;
    assert_eq!(
        (&verdict["code"], &verdict["license"]["tier"]),
        (&json!("VALID"), &json!("ENTERPRISE"))
    );
    assert_eq!(verdict["license"]["revision"], 5);
    world.settle().await;
    world.calls();
    // From memory from then on, however often the list is renewed.
    for _ in 0..3 {
        assert_eq!(
            verdict_in(&world, 0, &token).await["license"]["tier"],
            "ENTERPRISE"
        );
    }
    assert_eq!(world.calls().len(), 0);
    // A token made since goes by itself.
    let mut another = World::new(&new);
    let verdict = verdict_in(&another, 0, &new.token(DAY_S)).await;
    assert_eq!(verdict["license"]["tier"], "ENTERPRISE");
    let asked: Vec<_> = another.calls().iter().map(|call| call.path()).collect();
    assert!(!asked.contains(&license_path()), "{asked:?}");
    // The old one's document is found in cache and store like the others.
    verdict_in(&another, 0, &token).await;
    another.settle().await;
    another.calls();
    another.restart();
    assert_eq!(
        verdict_in(&another, 0, &token).await["license"]["tier"],
        "ENTERPRISE"
    );
    assert_eq!(another.calls().len(), 0, "all of it from the cache");
    another.set_down(true);
    another.restart();
    another.clear("cache");
    let verdict = verdict_in(&another, 0, &token).await;
    assert_eq!(
        (&verdict["license"]["tier"], &verdict["freshness"]["source"]),
        (&json!("ENTERPRISE"), &json!("kv"))
    );
}

#[wasm_bindgen_test]
async fn a_second_change_is_noticed_though_the_entry_says_the_same() {
    let org = Org::default();
    let world = World::new(&org);
    let token = org.token(DAY_S);
    world.publish(&upgraded(&org, 5));
    assert_eq!(
        verdict_in(&world, 0, &token).await["license"]["revision"],
        5
    );
    world.settle().await;
    world.publish(&Org {
        tier: Tier::Free,
        ..upgraded(&org, 9)
    });
    let verdict = verdict_in(&world, 31, &token).await;
    assert_eq!(
        (&verdict["license"]["revision"], &verdict["license"]["tier"]),
        (&json!(9), &json!("FREE"))
    );
    // Another license's change makes the edge look once, and the same document will do.
    world.settle().await;
    world.publish(&Org {
        tier: Tier::Free,
        license_version: 9,
        ..upgraded(&org, 12)
    });
    verdict_in(&world, 62, &token).await;
    world.settle().await;
    world.calls();
    assert_eq!(
        verdict_in(&world, 0, &token).await["license"]["revision"],
        9
    );
    let asked: Vec<_> = world.calls().iter().map(|call| call.path()).collect();
    assert!(!asked.contains(&license_path()), "{asked:?}");
}

#[wasm_bindgen_test]
async fn what_can_not_be_had_leaves_the_token_its_word_and_says_so() {
    let org = Org {
        ago: 60,
        ..Org::default()
    };
    let world = World::new(&org);
    let token = org.token(DAY_S);
    world.publish(&upgraded(
        &Org {
            ago: 0,
            ..org.clone()
        },
        5,
    ));
    world.answer(&license_path(), 500, "text/plain", "broken");
    let verdict = verdict_in(&world, 0, &token).await;
    assert_eq!(
        (&verdict["code"], &verdict["license"]["tier"]),
        (&json!("VALID"), &json!("PRO"))
    );
    assert_eq!(verdict["freshness"]["degraded"], "origin_unusable");
    assert!(
        verdict["freshness"]["age_s"].as_i64() >= Some(60),
        "as old as the token: {verdict}"
    );
    // A lower version is not taken for a higher that is held.
    let world = World::new(&org);
    let new = Org {
        ago: 0,
        ..org.clone()
    };
    world.publish(&upgraded(&new, 5));
    verdict_in(&world, 0, &token).await;
    world.settle().await;
    world.publish(&upgraded(&new, 9));
    let lower = Org {
        license_version: 4,
        tier: Tier::Free,
        ..upgraded(&new, 9)
    };
    world.answer(
        &license_path(),
        200,
        "application/license-state+jwt",
        &lower.license(),
    );
    let verdict = verdict_in(&world, 31, &token).await;
    assert_eq!(
        (&verdict["license"]["tier"], &verdict["license"]["revision"]),
        (&json!("ENTERPRISE"), &json!(5))
    );
    assert_eq!(verdict["freshness"]["degraded"], "origin_unusable");
    // Nor another license's, or one that somebody else has signed.
    for forged in [
        new.features(),
        Org {
            key: 9,
            ..new.clone()
        }
        .license(),
    ] {
        let world = World::new(&org);
        world.publish(&upgraded(&new, 5));
        world.answer(
            &license_path(),
            200,
            "application/license-state+jwt",
            &forged,
        );
        let verdict = verdict_in(&world, 0, &token).await;
        assert_eq!(verdict["license"]["tier"], "PRO");
        assert!(verdict["freshness"]["degraded"].is_string(), "{verdict}");
    }
}

#[wasm_bindgen_test]
async fn what_is_left_of_a_quota_is_shown_as_of_its_document() {
    let org = Org {
        metered: true,
        used: 4,
        ..Org::default()
    };
    let world = World::new(&org);
    let token = org.token(DAY_S);
    let left = |verdict: &Value| verdict["quotas"]["exports"]["remaining"].clone();
    assert_eq!(left(&verdict_in(&world, 0, &token).await), 6);
    world.calls();
    world.publish(&Org {
        used: 9,
        ..org.clone()
    });
    assert_eq!(left(&verdict_in(&world, 0, &token).await), 6, "from memory");
    assert_eq!(world.calls().len(), 0);
    assert_eq!(
        left(&verdict_in(&world, 31, &token).await),
        1,
        "within the ttl"
    );
    // The tag of the features goes by what was used, not by when that was looked up.
    let bearer = format!("Bearer {token}");
    let tag_of = async |world: &World| {
        let request = request("GET", "/x", &[("authorization", bearer.as_str())], None);
        let answer = features::handle(&world.scope(), &request).await.unwrap();
        let tag = answer.headers.iter().find(|(name, _)| *name == "etag");
        tag.unwrap().1.clone().into_owned()
    };
    let tag = tag_of(&world).await;
    let same = World::new(&Org {
        used: 9,
        ..org.clone()
    });
    assert_eq!(tag_of(&same).await, tag);
    let other = World::new(&org);
    assert_ne!(tag_of(&other).await, tag);
    // Without it the license is as valid, and nothing is said of what is left.
    let org = Org {
        metered: true,
        ..Org::default()
    };
    let world = World::new(&org);
    let token = org.token(DAY_S);
    world.answer(&license_path(), 500, "text/plain", "broken");
    let verdict = verdict_in(&world, 0, &token).await;
    assert_eq!(
        (&verdict["code"], &verdict["quotas"]),
        (&json!("VALID"), &Value::Null)
    );
    assert_eq!(verdict["freshness"]["degraded"], "origin_unusable");
}
