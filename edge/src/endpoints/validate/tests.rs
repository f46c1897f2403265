//! The short way, beside the whole one.

use licet_shared::{
    documents::{FeatureSet, LicenseState, OrgKeys, StatusDocument, Tier},
    status_list::status,
};
use serde_json::{Value, json};
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::wasm_bindgen_test;

use super::{AtOnce, again};
use crate::{
    documents::{Memory, Name},
    endpoints::{
        tests::{DAY_S, JSON, read, verdict},
        validate,
    },
    testing::{DEVICE, Org, SeenCall, World, forged, post},
};

const TICKET: u64 = 7;

/// What the short way says, if it says anything. The request is kept under [`TICKET`].
fn at_once(world: &World, body: &Value) -> Option<Value> {
    read_text(&text_at_once(world, body)?)
}

fn text_at_once(world: &World, body: &Value) -> Option<String> {
    let isolate = &world.scope().isolate;
    isolate.documents.borrow_mut().told.rest();
    let body = body.to_string();
    match validate::at_once(isolate, body.as_bytes(), TICKET)? {
        AtOnce::Answer(answer) => Some(answer),
        AtOnce::Unseen(_) => None,
    }
}

/// What is said to the request of [`TICKET`] when it comes again, given what was said to it before; as the
/// entry puts it together.
fn again(world: &World, before: &str) -> Option<Value> {
    let end = again::answer(&world.scope().isolate, TICKET)?;
    let begin = &before[..before.rfind("\"freshness\":{").unwrap()];
    read_text(&format!("{begin}{end}"))
}

/// What it says of a token that was not seen before, if it says anything, given that its signature
/// holds or does not.
async fn unseen(world: &World, body: &Value) -> Option<Value> {
    let isolate = &world.scope().isolate;
    isolate.documents.borrow_mut().told.rest();
    let body = body.to_string();
    let AtOnce::Unseen(unseen) = validate::at_once(isolate, body.as_bytes(), TICKET)? else {
        return None;
    };
    let holds = JsFuture::from(unseen.check().clone()).await.unwrap();
    read_text(&unseen.conclude(isolate, holds.is_truthy())?)
}

fn read_text(answer: &str) -> Option<Value> {
    // The entry finds the id there.
    let id = answer.rsplit_once(':').unwrap().1;
    assert!(id.starts_with("\"req_") && id.ends_with("\"}"), "{answer}");
    Some(serde_json::from_str(answer).unwrap())
}

fn with(token: &str, more: &Value) -> Value {
    let mut body = json!({"token": token, "product": "local_cli", "fingerprint": DEVICE});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

#[wasm_bindgen_test]
async fn the_short_way_says_what_the_whole_way_says() {
    let org = Org::default();
    let world = World::new(&org);
    let token = org.token(DAY_S);
    assert_eq!(
        at_once(&world, &with(&token, &json!({}))),
        None,
        "not seen before"
    );
    verdict(&world, &token).await;
    for more in [
        json!({}),
        json!({"product": "another"}),
        json!({"fingerprint": "another"}),
        json!({"fingerprint": null}),
        json!({"require": ["export.pdf"]}),
        json!({"require": ["export.pdf", "export.dwg"]}),
        json!({"max_staleness_s": 3_600}),
    ] {
        let body = with(&token, &more);
        let text = text_at_once(&world, &body).unwrap_or_else(|| panic!("{more}"));
        let mut short = read_text(&text).unwrap();
        let mut again = again(&world, &text).unwrap_or_else(|| panic!("{more}"));
        let request = post("/x", &[JSON], &body.to_string());
        let mut whole = read(&validate::handle(&world.scope(), &request).await.unwrap());
        assert_ne!(again["request_id"], short["request_id"]);
        for answer in [&mut short, &mut again, &mut whole] {
            answer["request_id"].take();
            // A second may have passed in between.
            answer["freshness"]["age_s"].take();
            answer["grace_remaining_s"].take();
        }
        assert_eq!(short, whole, "{more}");
        assert_eq!(again, whole, "{more}");
    }
}

#[wasm_bindgen_test]
async fn a_request_that_comes_again_is_decided_anew() {
    let forget_list = |memory: &mut Memory| {
        memory.forget::<StatusDocument>(Name::status_list(Org::tag(), 0));
    };
    let forget_features = |memory: &mut Memory| {
        memory.forget::<FeatureSet>(Name::features(Org::tag(), Org::features_id()));
    };
    let forget_keys = |memory: &mut Memory| memory.forget::<OrgKeys>(Name::keys(Org::tag()));
    type Change = (fn(&mut Org), fn(&mut Memory), Option<&'static str>);
    let changes: [Change; 5] = [
        (|_| {}, |_| {}, Some("VALID")),
        (|_| {}, forget_list, Some("VALID")),
        // As the document is another, though it may say the same.
        (|_| {}, forget_features, None),
        (
            |org| {
                org.list_version = 2;
                org.status = status::REVOKED;
            },
            forget_list,
            None,
        ),
        (
            |org| {
                org.keys_version = 2;
                org.key = 2;
            },
            forget_keys,
            None,
        ),
    ];
    for (number, (change, forget, code)) in changes.into_iter().enumerate() {
        let mut org = Org::default();
        let world = World::new(&org);
        let token = org.token(DAY_S);
        verdict(&world, &token).await;
        let before = text_at_once(&world, &with(&token, &json!({}))).unwrap();
        change(&mut org);
        world.publish(&org);
        ["cache", "kv"].iter().for_each(|tier| world.clear(tier));
        forget(&mut world.scope().isolate.documents.borrow_mut());
        // Memory has what it needs again.
        verdict(&world, &token).await;
        world.scope().isolate.documents.borrow_mut().told.rest();
        let said = again(&world, &before).map(|said| said["code"].clone());
        assert_eq!(said, code.map(Value::from), "change {number}");
    }
}

#[wasm_bindgen_test]
async fn what_comes_again_is_for_the_short_way_where_that_is() {
    let org = Org::default();
    let world = World::new(&org);
    let token = org.token(DAY_S);
    verdict(&world, &token).await;
    let isolate = &world.scope().isolate;
    let kept = || isolate.answered.borrow_mut().has(TICKET);
    assert!(!kept() && again::answer(isolate, TICKET).is_none());
    // Leases and what is left of quotas change by themselves.
    let lease = with(&token, &json!({"lease": org.lease(DAY_S)}));
    assert!(at_once(&world, &lease).is_some() && !kept());
    let before = text_at_once(&world, &with(&token, &json!({}))).unwrap();
    assert!(kept() && again(&world, &before).is_some());
    // Somebody has to look at the feed.
    isolate.documents.borrow_mut().told.make_due();
    assert_eq!(again(&world, &before), None);
    let metered = Org {
        metered: true,
        ..Org::default()
    };
    let world = World::new(&metered);
    let token = metered.token(DAY_S);
    verdict(&world, &token).await;
    assert!(at_once(&world, &with(&token, &json!({}))).is_some());
    assert!(!world.scope().isolate.answered.borrow_mut().has(TICKET));
}

#[wasm_bindgen_test]
async fn the_short_way_is_for_what_is_known_alone() {
    let org = Org::default();
    let world = World::new(&org);
    let token = org.token(DAY_S);
    verdict(&world, &token).await;
    let forged = forged(&token);
    for body in [
        with(&org.token(DAY_S - 1), &json!({})),
        with(&forged, &json!({})),
        with(&format!("{token} "), &json!({})),
        with(&token, &json!({"max_staleness_s": 0})),
        with(&token, &json!({"colour": "red"})),
        with(&token, &json!({"product": ""})),
        json!([token, "local_cli", null, [], null]),
        json!({"token": token}),
        json!(null),
    ] {
        assert_eq!(at_once(&world, &body), None, "{body}");
    }
    // Somebody has to look at the feed.
    let isolate = &world.scope().isolate;
    let body = with(&token, &json!({})).to_string();
    assert!(validate::at_once(isolate, body.as_bytes(), TICKET).is_some());
    isolate.documents.borrow_mut().told.make_due();
    assert!(validate::at_once(isolate, body.as_bytes(), TICKET).is_none());
    // Another organization's isolate knows nothing of it.
    assert_eq!(
        at_once(&World::new(&Org::default()), &with(&token, &json!({}))),
        None
    );
}

#[wasm_bindgen_test]
async fn a_token_not_seen_before_waits_for_its_signature_alone() {
    let org = Org::default();
    let world = World::new(&org);
    verdict(&world, &org.token(DAY_S)).await;
    world.calls();
    let token = org.token(DAY_S - 1);
    let forged = forged(&token);
    let elsewhere = org.claims_token(|claims| claims.iss = "https://evil.example".into());
    for (text, code) in [
        (&forged, "SIGNATURE_INVALID"),
        (&elsewhere, "UNKNOWN_KEY"),
        (&token, "VALID"),
    ] {
        let body = with(text, &json!({}));
        assert_eq!(at_once(&world, &body), None, "{code}");
        let mut short = unseen(&world, &body).await.unwrap();
        assert_eq!(short["code"], code);
        let mut whole = verdict(&world, text).await;
        for answer in [&mut short, &mut whole] {
            answer["request_id"].take();
            answer["freshness"]["age_s"].take();
            answer["grace_remaining_s"].take();
        }
        assert_eq!(short, whole, "{code}");
    }
    assert!(
        at_once(&world, &with(&token, &json!({}))).is_some(),
        "remembered"
    );
    assert_eq!(at_once(&world, &with(&forged, &json!({}))), None, "not so");
    assert_eq!(world.calls().len(), 0);
    // Of a key or an organization that memory does not know.
    let other = Org {
        key: 2,
        ..org.clone()
    };
    assert_eq!(
        unseen(&world, &with(&other.token(DAY_S), &json!({}))).await,
        None
    );
    // The keys have changed while the signature was being checked: the whole way finds out.
    let body = with(&org.token(DAY_S - 2), &json!({})).to_string();
    let isolate = &world.scope().isolate;
    let Some(AtOnce::Unseen(begun)) = validate::at_once(isolate, body.as_bytes(), TICKET) else {
        panic!("{body}");
    };
    isolate
        .documents
        .borrow_mut()
        .forget::<OrgKeys>(Name::keys(Org::tag()));
    assert_eq!(begun.conclude(isolate, true), None);
}

#[wasm_bindgen_test]
async fn the_short_way_knows_of_licenses_that_changed_and_of_quotas() {
    for org in [
        Org {
            metered: true,
            used: 4,
            ..Org::default()
        },
        Org {
            status: status::CHANGED,
            list_version: 5,
            changed: 5,
            license_version: 5,
            tier: Tier::Enterprise,
            ..Org::default()
        },
    ] {
        let world = World::new(&org);
        // From before the change.
        let token = Org {
            list_version: 1,
            license_version: 1,
            changed: 0,
            tier: Tier::Pro,
            ..org.clone()
        }
        .token(DAY_S);
        let mut whole = verdict(&world, &token).await;
        let mut short = at_once(&world, &with(&token, &json!({}))).unwrap();
        for answer in [&mut short, &mut whole] {
            answer["request_id"].take();
            answer["freshness"].take();
            answer["grace_remaining_s"].take();
        }
        assert_eq!(short, whole);
        // Without the license's document in memory it is not for the short way.
        let name = Name::license(Org::tag(), Org::license_id());
        let isolate = &world.scope().isolate;
        isolate.documents.borrow_mut().forget::<LicenseState>(name);
        assert_eq!(at_once(&world, &with(&token, &json!({}))), None);
    }
}

#[wasm_bindgen_test]
async fn what_is_to_be_renewed_is_by_the_whole_way() {
    // In the second half of its list's 30 seconds.
    let org = Org {
        ago: 20,
        ..Org::default()
    };
    let world = World::new(&org);
    let body = with(&org.token(DAY_S), &json!({}));
    verdict(&world, body["token"].as_str().unwrap()).await;
    assert_eq!(at_once(&world, &body), None, "somebody has to renew it");
    world.calls();
    verdict(&world, body["token"].as_str().unwrap()).await;
    assert!(
        at_once(&world, &body).is_some(),
        "a renewal is under way, so the others need not care"
    );
    world.settle().await;
    let seen: Vec<_> = world.calls().iter().map(SeenCall::path).collect();
    assert_eq!(seen, ["/edge/v1/orgs/ABCDEFGH/statuslists/0"]);
}
