//! What is asked for while an organization's keys are on their way.

use licet_shared::id::OrgTag;
use serde_json::json;
use wasm_bindgen_test::wasm_bindgen_test;

use super::{DAY_S, World, ask, ask_with, code};
use crate::{
    clock,
    documents::Name,
    testing::{Org, SeenCall, forged},
};

/// The last parts of the paths of the calls since the last look.
fn calls(world: &World) -> Vec<String> {
    let calls = world.calls();
    let last = |call: &SeenCall| call.path().split('/').nth(5).unwrap().to_owned();
    let mut parts: Vec<_> = calls.iter().map(last).collect();
    parts.sort_unstable();
    parts
}

const ALL: [&str; 3] = ["feature-sets", "keys", "statuslists"];

fn rest() -> [Name; 2] {
    let org = Org::tag();
    [
        Name::status_list(org, 0),
        Name::features(org, Org::features_id()),
    ]
}

#[wasm_bindgen_test]
async fn the_rest_does_not_wait_for_the_keys() {
    let org = Org::default();
    let world = World::new(&org);
    let keys = format!("/edge/v1/orgs/{}/keys", Org::tag());
    world.set_silent(&keys, true);
    let token = org.token(DAY_S);
    assert_eq!(code(&world.scope(), &token).await, "ORIGIN_UNREACHABLE");
    assert_eq!(calls(&world), ALL);
}

#[wasm_bindgen_test]
async fn it_is_used_once_and_as_asked_for() {
    let org = Org::default();
    let mut world = World::new(&org);
    let token = org.token(DAY_S);
    assert_eq!(code(&world.scope(), &token).await, "VALID");
    assert_eq!(calls(&world), ALL);
    world.settle().await;
    // Whoever wants one of this moment does not get what was asked for before.
    world.clear("cache");
    world.restart();
    let (verdict, _) = ask_with(&world.scope(), &token, json!({"max_staleness_s": 30})).await;
    assert_eq!(verdict, "VALID");
    assert_eq!(
        calls(&world),
        ["feature-sets", "keys", "statuslists", "statuslists"]
    );
}

#[wasm_bindgen_test]
async fn what_a_forged_token_names_is_left_for_others_to_ask() {
    let org = Org::default();
    let world = World::new(&org);
    let token = org.token(DAY_S);
    let scope = world.scope();
    assert_eq!(code(&scope, &forged(&token)).await, "SIGNATURE_INVALID");
    assert_eq!(calls(&world), ALL);
    let being_renewed = || {
        let mut documents = scope.isolate.documents.borrow_mut();
        rest().map(|name| documents.being_renewed(name, clock::now_ms()))
    };
    assert_eq!(being_renewed(), [true; 2]);
    world.settle().await;
    assert_eq!(being_renewed(), [false; 2]);
    assert_eq!(code(&world.scope(), &token).await, "VALID");
    assert_eq!(calls(&world), ["feature-sets", "statuslists"]);
}

#[wasm_bindgen_test]
async fn one_that_does_not_come_is_asked_for_in_its_turn() {
    let org = Org::default();
    let world = World::new(&org);
    let token = org.token(DAY_S);
    let list = format!("/edge/v1/orgs/{}/statuslists/0", Org::tag());
    world.answer(&list, 500, "text/plain", "cause");
    assert_eq!(ask(&world.scope(), &token).await.0, "ORIGIN_UNREACHABLE");
    assert_eq!(
        calls(&world),
        ["feature-sets", "keys", "statuslists", "statuslists"]
    );
}

#[wasm_bindgen_test]
async fn names_tried_in_vain_cost_the_origin_little_more_than_their_keys() {
    let org = Org::default();
    let world = World::new(&org);
    let begin_ms = clock::now_ms();
    for n in 0..30 {
        let token = org.made_up_token(OrgTag::new([9, 9, 9, 9, n]));
        assert_eq!(code(&world.scope(), &token).await, "UNKNOWN_KEY");
    }
    let calls = calls(&world);
    let of = |kind: &str| calls.iter().filter(|part| *part == kind).count();
    assert_eq!(of("keys"), 30);
    // The ration fills up again, by one in 200 ms.
    let filled = usize::try_from((clock::now_ms() - begin_ms) / 200).unwrap();
    assert!((10..=12 + filled).contains(&of("statuslists")), "{calls:?}");
    assert_eq!(of("feature-sets"), of("statuslists"));
}
