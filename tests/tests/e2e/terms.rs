//! The terms of licenses, from the vendor's API to the verdicts of the edge.

use licet_shared::{id::LicenseId, time::Timestamp};
use licet_tests::device::{Activation, code};
use licet_tests::wait::{SOON, now};
use licet_tests::{Request, Stack, eventually};
use serde_json::{Value, json};

use crate::overrides::Vendor;

/// A vendor with a product, who makes policies by their terms.
struct Shop<'a> {
    stack: &'a Stack,
    vendor: Vendor<'a>,
    product: Value,
    features: Value,
}

impl<'a> Shop<'a> {
    #[track_caller]
    fn open(slug: &str) -> Self {
        let stack = Stack::shared();
        let vendor = Vendor::sign_up(stack, slug);
        let product = json!({ "code": "local_cli", "name": "CLI" });
        let features = json!({ "name": "pro", "features": { "export.pdf": true } });
        Self {
            stack,
            product: vendor.make("products", &product),
            features: vendor.make("feature-sets", &features),
            vendor,
        }
    }

    #[track_caller]
    fn policy(&self, name: &str, more: &Value) -> Value {
        let mut body = json!({
            "name": name, "tier": "PRO", "feature_set_id": self.features,
            "product_ids": [self.product], "max_activations": 3,
        });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        self.vendor.make("policies", &body)
    }

    /// A license under a policy of these terms.
    #[track_caller]
    fn license(&self, policy: &Value, more: &Value) -> Value {
        let mut body = json!({ "policy_id": policy });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        self.vendor.send("POST", "licenses", &body, 201)
    }

    #[track_caller]
    fn activate(&self, license: &Value, fingerprint: &str) -> Activation {
        let demo = self.stack.license("terms-demo", 1);
        let device = self.stack.device(&demo, fingerprint);
        device.typing(license["key"].as_str().unwrap()).activated()
    }

    /// What an activation with this in its body is answered.
    #[track_caller]
    fn asked(&self, license: &Value, more: &Value) -> Value {
        let mut body = json!({ "license_key": license["key"], "product": "local_cli" });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let url = format!("{}/api/v1/licenses/activate", self.stack.edge());
        Request::post(&url).json(&body).send().verdict()
    }
}

#[track_caller]
fn refreshed(activation: &Activation) -> Activation {
    let answer = activation.refresh().send().verdict();
    assert_eq!(answer["code"], "VALID", "{answer}");
    activation.with_token(answer["license_token"].as_str().unwrap())
}

/// A license's id as the database has it.
fn uuid_of(license: &Value) -> uuid::Uuid {
    let id: LicenseId = license["id"].as_str().unwrap().parse().unwrap();
    uuid::Uuid::from_bytes(id.uuid_bytes())
}

#[test]
fn the_end_of_a_license_means_what_its_terms_say() {
    let shop = Shop::open("terms-ends");
    let policy = shop.policy("pro", &json!({}));
    let end = now().unix() - 10;
    let at = |seconds: i64| json!(Timestamp::from_unix(seconds));
    let [restrict, maintain, allow] = ["RESTRICT", "MAINTAIN", "ALLOW"].map(|expiry| {
        let more = json!({ "terms": { "expiry": expiry }, "expires_at": "2090-01-01T00:00:00Z" });
        let license = shop.license(&policy, &more);
        let device = shop.activate(&license, "laptop");
        let before = device.validate();
        assert_eq!(before["code"], "VALID", "{before}");
        assert!(before.get("expired").is_none(), "{before}");
        // Nobody has to wait for it.
        let sql = format!(
            "UPDATE licet.licenses SET expires_at = to_timestamp({end}) WHERE id = '{}'",
            uuid_of(&license)
        );
        shop.stack.superuser().rows(&sql);
        device
    });
    assert_eq!(
        code(&restrict.refresh().send().verdict()),
        "LICENSE_EXPIRED"
    );
    // The origin goes on to make tokens of the others, and they say when the end was.
    let (maintain, allow) = (refreshed(&maintain), refreshed(&allow));
    let verdict = allow.validate();
    let going_on = |verdict: &Value| (verdict["code"].clone(), verdict["expired"].clone());
    assert_eq!(
        going_on(&verdict),
        (json!("VALID"), json!(true)),
        "{verdict}"
    );
    assert_eq!(verdict["license"]["expires_at"], at(end));
    let refused = maintain.validate();
    assert_eq!(refused["code"], "VERSION_NOT_COVERED", "{refused}");
    assert_eq!(refused["grace_remaining_s"], 0, "{refused}");
    for (released, code, expired) in [
        (end - 86_400, "VALID", json!(true)),
        (end - 1, "VALID", json!(true)),
        (end, "VERSION_NOT_COVERED", json!(null)),
        (end + 86_400, "VERSION_NOT_COVERED", json!(null)),
    ] {
        let verdict = maintain.validate_with(&json!({ "released_at": at(released) }));
        assert_eq!(going_on(&verdict), (json!(code), expired), "{verdict}");
    }
    // Features are those of the license, whichever version asks.
    for device in [&maintain, &allow] {
        let verdict = device.features().send().verdict();
        assert_eq!(
            going_on(&verdict),
            (json!("VALID"), json!(true)),
            "{verdict}"
        );
    }
}

#[test]
fn a_device_that_must_be_heard_of_refreshes_to_go_on() {
    let shop = Shop::open("terms-heartbeat");
    let license = shop.license(&shop.policy("pro", &json!({})), &json!({}));
    let terms = |terms: &Value| {
        // Shorter than the API allows, so that nobody has to wait for it.
        let sql = format!(
            "UPDATE licet.licenses SET terms = '{terms}' WHERE id = '{}'",
            uuid_of(&license)
        );
        shop.stack.superuser().rows(&sql);
    };
    terms(&json!({ "heartbeat_s": 2 }));
    let device = shop.activate(&license, "laptop");
    eventually("the heartbeat is missed", SOON, || match device.code() {
        code if code == "HEARTBEAT_REQUIRED" => Ok(()),
        code => Err(code),
    });
    terms(&json!({ "heartbeat_s": 3600, "refresh_after_s": 60 }));
    let verdict = refreshed(&device).validate();
    assert_eq!(verdict["code"], "VALID", "{verdict}");
    let time =
        |name: &str| -> Timestamp { verdict["token"][name].as_str().unwrap().parse().unwrap() };
    assert_eq!(time("expires_at").since(time("refresh_after")), 86_400 - 60);
}

#[test]
fn a_device_is_known_by_enough_of_its_components() {
    let shop = Shop::open("terms-components");
    let policy = shop.policy(
        "pro",
        &json!({ "terms": { "fingerprint": { "match": 2 } } }),
    );
    let license = shop.license(&policy, &json!({}));
    let named = |board: &str, disk: &str, mac: &str| json!({ "fingerprints": { "board": board, "disk": disk, "mac": mac } });
    let answer = shop.asked(&license, &named("B1", "D1", "M1"));
    assert_eq!(answer["code"], "VALID", "{answer}");
    let again = shop.asked(&license, &named("B1", "D2", "M1"));
    assert_eq!(again["activation_id"], answer["activation_id"]);
    let device = shop.activate(&license, "by one text");
    assert_eq!(device.code(), "VALID");
    assert_ne!(json!(device.id), answer["activation_id"]);
    let device = device.with_token(answer["license_token"].as_str().unwrap());
    for (fingerprints, code) in [
        (named("B1", "D1", "M1"), "VALID"),
        (named("B1", "D9", "M1"), "VALID"),
        (named("B1", "D9", "M9"), "FINGERPRINT_MISMATCH"),
        (json!({}), "FINGERPRINT_REQUIRED"),
    ] {
        let verdict = device.validate_with(&fingerprints);
        assert_eq!(verdict["code"], code, "{verdict}");
    }
    let nameless = shop.asked(&license, &json!({}));
    assert_eq!(nameless["code"], "FINGERPRINT_REQUIRED", "{nameless}");
}

#[test]
fn a_trial_is_used_once_and_converted_where_it_is() {
    let shop = Shop::open("terms-trial");
    let trial = json!({ "tier": "TRIAL", "license_duration_s": 1_209_600 });
    let trial = shop.policy("trial", &trial);
    let (first, second) = (
        shop.license(&trial, &json!({})),
        shop.license(&trial, &json!({})),
    );
    let device = shop.activate(&first, "laptop");
    let verdict = device.validate();
    assert_eq!(verdict["license"]["tier"], "TRIAL", "{verdict}");
    assert!(verdict["license"]["expires_at"].is_string(), "{verdict}");
    let refused = shop.asked(&second, &json!({ "fingerprint": "laptop" }));
    assert_eq!(
        (&refused["valid"], &refused["code"]),
        (&json!(false), &json!("TRIAL_USED")),
        "{refused}"
    );

    let path = format!("licenses/{}/transfer", first["id"].as_str().unwrap());
    let paid = json!({ "policy_id": shop.policy("paid", &json!({})) });
    shop.vendor.send("POST", &path, &paid, 200);
    let verdict = refreshed(&device).validate();
    assert_eq!(
        (&verdict["code"], &verdict["license"]["tier"]),
        (&json!("VALID"), &json!("PRO")),
        "{verdict}"
    );
    assert_eq!(verdict["license"]["expires_at"], json!(null), "{verdict}");
    assert_eq!(verdict["activation_id"], json!(device.id));
}

#[test]
fn what_may_not_be_given_back_goes_on() {
    let shop = Shop::open("terms-giving-back");
    let limited = json!({ "terms": { "deactivations": { "max": 1, "period_s": 86_400 } } });
    let license = shop.license(&shop.policy("limited", &limited), &json!({}));
    let devices = ["one", "two"].map(|name| shop.activate(&license, name));
    assert_eq!(code(&devices[0].deactivate().send().verdict()), "VALID");
    assert_eq!(
        code(&devices[1].deactivate().send().verdict()),
        "DEACTIVATION_LIMIT"
    );
    assert_eq!(devices[0].code(), "DEACTIVATED");
    assert_eq!(devices[1].code(), "VALID");
    let fixed = shop.policy("fixed", &json!({ "terms": { "transferable": false } }));
    let device = shop.activate(&shop.license(&fixed, &json!({})), "three");
    assert_eq!(
        code(&device.deactivate().send().verdict()),
        "TRANSFER_REFUSED"
    );
    assert_eq!(device.code(), "VALID");
}
