//! Floating seats, through the edge.

use licet_tests::device::{Activation, code};
use licet_tests::{Request, Stack};
use serde_json::{Value, json};

use crate::overrides::Vendor;

/// A license with these seats, activated on two devices; and its id.
fn floating(vendor: &Vendor<'_>, stack: &Stack, seats: &Value) -> (Activation, Activation, String) {
    let product = json!({ "code": format!("p-{}", seats["max"]), "name": "CLI" });
    let product = vendor.make("products", &product);
    let set = json!({ "name": product, "features": { "export.pdf": true } });
    let set = vendor.make("feature-sets", &set);
    let policy = json!({
        "name": product, "tier": "PRO", "feature_set_id": set, "product_ids": [product],
        "max_activations": 3, "terms": { "seats": seats },
    });
    let policy = vendor.make("policies", &policy);
    let license = json!({ "policy_id": policy });
    let license = vendor.send("POST", "licenses", &license, 201);
    let code = format!("p-{}", seats["max"]);
    let activate = |device: &str| {
        let device = stack.device(&stack.license("seats-demo", 1), device);
        let key = license["key"].as_str().unwrap();
        device.running(&code).typing(key).activated()
    };
    let id = license["id"].as_str().unwrap().to_owned();
    (activate("one"), activate("two"), id)
}

fn post(activation: &Activation, what: &str, bearer: &str) -> Request {
    Request::post(&format!("{}/api/v1/licenses/{what}", activation.edge)).bearer(bearer)
}

#[track_caller]
fn acquire(activation: &Activation, body: &Value) -> Value {
    let request = post(activation, "acquire", &activation.token).json(body);
    request.send().verdict()
}

#[track_caller]
fn with_lease(activation: &Activation, what: &str, lease: &str) -> Value {
    post(activation, what, lease).send().verdict()
}

fn lease(answer: &Value) -> &str {
    answer["lease_token"]
        .as_str()
        .unwrap_or_else(|| panic!("no lease: {answer}"))
}

#[test]
fn a_seat_floats_from_one_device_to_another() {
    let stack = Stack::shared();
    let vendor = Vendor::sign_up(stack, "seats-float");
    let seats = json!({ "max": 1, "lease_s": 60, "borrow_max_s": 3600 });
    let (one, two, license) = floating(&vendor, stack, &seats);
    assert_eq!(one.code(), "LEASE_REQUIRED");
    let first = acquire(&one, &json!({ "holder": "ada" }));
    assert_eq!(first["seats"], json!({ "max": 1, "taken": 1 }));
    let shown = json!({ "lease": lease(&first) });
    let verdict = one.validate_with(&shown);
    assert_eq!(verdict["code"], "VALID", "{verdict}");
    assert_eq!(verdict["lease"], first["lease"], "{verdict}");
    // From memory, and likewise.
    assert_eq!(one.validate_with(&shown)["lease"], first["lease"]);
    assert_eq!(code(&two.validate_with(&shown)), "LEASE_INVALID");
    let (head, signature) = lease(&first).rsplit_once('.').unwrap();
    let letter = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = json!({ "lease": format!("{head}.{letter}{}", &signature[1..]) });
    assert_eq!(code(&one.validate_with(&forged)), "LEASE_INVALID");

    let refused = acquire(&two, &json!({ "holder": "grace" }));
    assert_eq!(refused["code"], "SEAT_LIMIT", "{refused}");
    let renewed = with_lease(&one, "heartbeat", lease(&first));
    assert_eq!(renewed["lease"]["id"], first["lease"]["id"], "{renewed}");
    let released = with_lease(&one, "release", lease(&renewed));
    assert_eq!(released["code"], "VALID", "{released}");
    assert_eq!(
        code(&with_lease(&one, "heartbeat", lease(&renewed))),
        "LEASE_NOT_FOUND"
    );

    let borrowed = acquire(&two, &json!({ "holder": "grace", "borrow_s": 3600 }));
    assert_eq!(borrowed["lease"]["borrowed"], true, "{borrowed}");
    let path = format!("licenses/{license}/leases?live=true");
    let url = format!("{}/api/v1/{path}", stack.origin.url());
    let listed = Request::get(&url).bearer(&vendor.token).send().json();
    let holders: Vec<&Value> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["holder"])
        .collect();
    assert_eq!(holders, ["grace"]);
    let id = borrowed["lease"]["id"].as_str().unwrap();
    let url = format!("{}/api/v1/leases/{id}/release", stack.origin.url());
    let taken = Request::post(&url)
        .bearer(&vendor.token)
        .send()
        .expect(200)
        .json();
    assert_eq!(taken["ended_why"], "TAKEN_BACK", "{taken}");
    assert_eq!(code(&acquire(&one, &json!({ "holder": "ada" }))), "VALID");

    // Nothing is sent on that can't be a token.
    assert_eq!(
        code(&with_lease(&one, "heartbeat", "nonsense")),
        "LEASE_INVALID"
    );
    assert_eq!(
        code(&with_lease(&one, "release", &one.token)),
        "LEASE_INVALID"
    );
    let request = post(&one, "acquire", &one.token).json(&json!({ "holder": "" }));
    request.send().problem(400, "BAD_REQUEST");
    let url = format!("{}/api/v1/licenses/heartbeat", one.edge);
    Request::post(&url).send().problem(401, "UNAUTHORIZED");
}

#[test]
fn a_revoked_license_ends_its_leases_and_a_retry_takes_no_second_seat() {
    let stack = Stack::shared();
    let vendor = Vendor::sign_up(stack, "seats-revoked");
    let seats = json!({ "max": 5, "borrow_max_s": 86_400 });
    let (one, two, license) = floating(&vendor, stack, &seats);
    let keyed = || {
        let body = json!({ "holder": "ada", "borrow_s": 86_400 });
        let request = post(&one, "acquire", &one.token).json(&body);
        request
            .header("Idempotency-Key", "seats-retry")
            .send()
            .verdict()
    };
    let (first, again) = (keyed(), keyed());
    assert_eq!(first["lease"]["id"], again["lease"]["id"], "{again}");
    assert_eq!(
        acquire(&two, &json!({ "holder": "grace" }))["seats"]["taken"],
        2
    );
    let shown = json!({ "lease": lease(&first), "max_staleness_s": 0 });
    assert_eq!(code(&one.validate_with(&shown)), "VALID");
    let url = format!("{}/api/v1/licenses/{license}/revoke", stack.origin.url());
    Request::post(&url).bearer(&vendor.token).send().expect(200);
    assert_eq!(code(&one.validate_with(&shown)), "REVOKED");
    assert_eq!(
        code(&with_lease(&one, "heartbeat", lease(&first))),
        "REVOKED"
    );
}
