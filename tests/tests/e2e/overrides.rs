//! A license's terms, changed by the vendor's API and seen by the product at the edge.

use licet_tests::device::Activation;
use licet_tests::{Request, Stack};
use serde_json::{Value, json};

/// A vendor who is logged in at the origin.
pub(crate) struct Vendor<'a> {
    stack: &'a Stack,
    pub(crate) token: String,
}

impl<'a> Vendor<'a> {
    #[track_caller]
    pub(crate) fn sign_up(stack: &'a Stack, slug: &str) -> Self {
        let body = json!({
            "organization": { "name": slug, "slug": slug }, "email": format!("owner@{slug}.test"),
            "password": "correct horse battery", "name": "An Owner",
        });
        let url = format!("{}/api/v1/auth/signup", stack.origin.url());
        let session = Request::post(&url).json(&body).send().expect(201).json();
        Self {
            stack,
            token: session["access_token"].as_str().unwrap().to_owned(),
        }
    }

    #[track_caller]
    pub(crate) fn send(&self, method: &str, path: &str, body: &Value, status: u16) -> Value {
        let url = format!("{}/api/v1/{path}", self.stack.origin.url());
        let request = Request::new(method, &url).bearer(&self.token).json(body);
        request.send().expect(status).json()
    }

    /// Makes something, and gives its id.
    #[track_caller]
    pub(crate) fn make(&self, path: &str, body: &Value) -> Value {
        self.send("POST", path, body, 201)["id"].clone()
    }
}

/// A verdict of which nothing is older than this moment.
#[track_caller]
fn as_of_now(activation: &Activation) -> Value {
    activation.validate_with(&json!({ "max_staleness_s": 0 }))
}

#[track_caller]
fn refreshed(activation: &Activation) -> Activation {
    let answer = activation.refresh().send().verdict();
    assert_eq!(answer["code"], "VALID", "{answer}");
    let renewed = activation.with_token(answer["license_token"].as_str().unwrap());
    // What the origin says of the features is what the edge makes of the token.
    assert_eq!(answer["features"], renewed.validate()["features"]);
    renewed
}

/// The features and their tag.
#[track_caller]
fn shown(activation: &Activation) -> (Value, String) {
    let answer = activation.features().send();
    let features = answer.verdict()["features"].clone();
    (features, answer.header("etag").unwrap().to_owned())
}

#[test]
fn what_the_vendor_changes_reaches_a_device_without_a_refresh() {
    let stack = Stack::shared();
    let vendor = Vendor::sign_up(stack, "overrides");
    let product = vendor.make("products", &json!({ "code": "local_cli", "name": "CLI" }));
    let set = |name: &str, features: &Value| {
        let body = json!({ "name": name, "features": features });
        vendor.make("feature-sets", &body)
    };
    let pro = set("pro", &json!({ "export.pdf": true, "seats": 5 }));
    let policy = |name: &str, tier: &str, set: &Value| {
        let body = json!({
            "name": name, "tier": tier, "feature_set_id": set, "product_ids": [product],
            "max_activations": 3,
        });
        vendor.make("policies", &body)
    };
    let first = policy("pro", "PRO", &pro);
    let batch = json!({ "policy_id": first, "count": 2 });
    let issued = vendor.send("POST", "licenses/batch", &batch, 201);
    let activate = |license: &Value| {
        let device = stack.device(&stack.license("overrides-demo", 1), "laptop");
        let device = device.typing(license["key"].as_str().unwrap());
        device.activated()
    };
    let (plain, special) = (activate(&issued["data"][0]), activate(&issued["data"][1]));
    let of_set = json!({ "export.pdf": true, "seats": 5 });
    assert_eq!(shown(&plain), shown(&special));
    assert_eq!(shown(&special).0, of_set);

    let path = format!("licenses/{}", issued["data"][1]["id"].as_str().unwrap());
    let own = json!({ "features": { "export.pdf": null, "seats": 50, "sso": { "idp": "x" } } });
    vendor.send("PATCH", &path, &own, 200);
    let with_own = json!({ "seats": 50, "sso": { "idp": "x" } });
    // By the token of before the change, with the list that tells of it.
    let verdict = as_of_now(&special);
    assert_eq!(verdict["features"], with_own, "{verdict}");
    assert_eq!(verdict["freshness"]["degraded"], Value::Null);
    assert_eq!(shown(&special).0, with_own);
    let newer = refreshed(&special);
    assert_eq!(shown(&newer), shown(&special));
    let (features, tag) = shown(&newer);
    assert_eq!(features, with_own);
    assert_ne!(tag, shown(&plain).1);
    assert_eq!(newer.validate()["features"], with_own);
    let unchanged = newer.features().header("if-none-match", tag.as_str());
    unchanged.send().expect(304);
    for (feature, code) in [("sso", "VALID"), ("export.pdf", "FEATURE_MISSING")] {
        let verdict = newer.validate_with(&json!({ "require": [feature] }));
        assert_eq!(verdict["code"], code, "{verdict}");
    }
    // Nobody else's.
    assert_eq!(refreshed(&plain).validate()["features"], of_set);

    // Another policy: another set and tier, under the same own values.
    let all = set(
        "all",
        &json!({ "export.pdf": true, "seats": 10, "audit": true }),
    );
    let transfer = json!({ "policy_id": policy("enterprise", "ENTERPRISE", &all) });
    vendor.send("POST", &format!("{path}/transfer"), &transfer, 200);
    let before = as_of_now(&plain);
    for token in [&special, &newer, &refreshed(&newer)] {
        let verdict = as_of_now(token);
        assert_eq!(verdict["license"]["tier"], "ENTERPRISE", "{verdict}");
        assert_eq!(verdict["feature_set"]["id"], all);
        assert_eq!(
            verdict["features"],
            json!({ "audit": true, "seats": 50, "sso": { "idp": "x" } })
        );
    }
    assert_eq!(before["license"]["tier"], "PRO");

    // A product that is no longer covered runs no more, and an earlier end has come.
    let other = vendor.make("products", &json!({ "code": "cloud_ide", "name": "IDE" }));
    let body = json!({
        "name": "ide", "tier": "PRO", "feature_set_id": pro, "product_ids": [other], "max_activations": 3,
    });
    let narrow = json!({ "policy_id": vendor.make("policies", &body) });
    let theirs = format!("licenses/{}", issued["data"][0]["id"].as_str().unwrap());
    vendor.send("POST", &format!("{theirs}/transfer"), &narrow, 200);
    assert_eq!(as_of_now(&plain)["code"], "PRODUCT_MISMATCH");

    vendor.send("PATCH", &path, &json!({ "features": {} }), 200);
    let last = refreshed(&newer);
    assert_eq!(
        shown(&last).0,
        json!({ "audit": true, "export.pdf": true, "seats": 10 })
    );
}
