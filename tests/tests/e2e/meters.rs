//! Metered features, used up through the edge.

use licet_tests::device::Activation;
use licet_tests::{Request, Stack};
use serde_json::{Value, json};

use crate::overrides::Vendor;

#[track_caller]
fn consume(stack: &Stack, activation: &Activation, uses: &Value, key: &str) -> Value {
    let url = format!("{}/api/v1/licenses/consume", stack.edge());
    let request = Request::post(&url)
        .bearer(&activation.token)
        .header("idempotency-key", key)
        .json(&json!({ "uses": uses }));
    request.send().verdict()
}

#[test]
fn a_quota_is_used_up_through_the_edge_and_shown_in_verdicts() {
    let stack = Stack::shared();
    let vendor = Vendor::sign_up(stack, "meters");
    let product = vendor.make("products", &json!({ "code": "local_cli", "name": "CLI" }));
    let features = json!({ "exports": { "quota": 5, "period": "once" }, "export.pdf": true });
    let set = vendor.make(
        "feature-sets",
        &json!({ "name": "pro", "features": features }),
    );
    let policy = vendor.make(
        "policies",
        &json!({
            "name": "pro", "tier": "PRO", "feature_set_id": set, "product_ids": [product],
            "max_activations": 3,
        }),
    );
    let license = vendor.send("POST", "licenses", &json!({ "policy_id": policy }), 201);
    let device = stack.device(&stack.license("meters-demo", 1), "laptop");
    let device = device.typing(license["key"].as_str().unwrap()).activated();

    let verdict = device.validate_with(&json!({ "require": ["exports"] }));
    assert_eq!(verdict["code"], "VALID", "{verdict}");
    assert_eq!(verdict["quotas"]["exports"]["remaining"], 5, "{verdict}");

    let exports = |amount: u64| json!([{ "feature": "exports", "amount": amount }]);
    let answer = consume(stack, &device, &exports(3), "one");
    assert_eq!(
        (&answer["valid"], &answer["quotas"]["exports"]["remaining"]),
        (&json!(true), &json!(2))
    );
    let again = consume(stack, &device, &exports(3), "one");
    assert_eq!(again["quotas"], answer["quotas"], "once, though sent twice");
    let answer = consume(stack, &device, &exports(3), "two");
    assert_eq!(
        (&answer["code"], &answer["feature"]),
        (&json!("QUOTA_EXCEEDED"), &json!("exports"))
    );
    assert_eq!(answer["quotas"]["exports"]["remaining"], 2);

    // The vendor gives some back, and more to begin with: the latter reaches the device's old token.
    let path = format!("licenses/{}", license["id"].as_str().unwrap());
    let usage = vendor.send(
        "POST",
        &format!("{path}/usage"),
        &json!({ "feature": "exports", "by": -1 }),
        200,
    );
    assert_eq!(usage["used"], 2);
    let own = json!({ "features": { "exports": { "quota": 50, "period": "once" } } });
    vendor.send("PATCH", &path, &own, 200);
    let verdict = device.validate_with(&json!({ "max_staleness_s": 0 }));
    let quota = &verdict["quotas"]["exports"];
    assert_eq!(
        (&quota["limit"], &quota["used"]),
        (&json!(50), &json!(2)),
        "{verdict}"
    );
    let answer = consume(stack, &device, &exports(48), "three");
    assert_eq!(answer["quotas"]["exports"]["remaining"], 0, "{answer}");

    let own = json!({ "features": { "exports": { "quota": 0, "period": "once" } } });
    vendor.send("PATCH", &path, &own, 200);
    let verdict = device.validate_with(&json!({ "require": ["exports"], "max_staleness_s": 0 }));
    assert_eq!(verdict["code"], "FEATURE_MISSING", "{verdict}");
}
