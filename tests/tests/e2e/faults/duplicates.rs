//! Every write of the edge's, delivered twice: one after the other, both at once, by a network that
//! repeats itself, and because the first answer was lost.

use std::sync::atomic::{AtomicBool, Ordering};

use licet_shared::jws::LocalSigner;
use licet_shared::license_file::{
    ActivationRequest, DeactivationReceipt, LicenseFile, MachineCode, Trust, machine_key,
};
use licet_tests::load::race;
use licet_tests::relay::Deed;
use licet_tests::{Activation, Answer, Device, License, Request, Stack, StackOptions, now};
use serde_json::{Value, json};

use super::insist;
use crate::overrides::Vendor;

/// How a write comes to be delivered twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Twice {
    /// Its client asks again.
    InTurn,
    /// Its client asks twice at the same moment.
    AtOnce,
    /// The call arrives at the origin a second time, as it is.
    OnTheWire,
    /// The first answer gets lost between origin and edge, which asks again by itself.
    AnswerLost,
}

const WAYS: [Twice; 4] = [
    Twice::InTurn,
    Twice::AtOnce,
    Twice::OnTheWire,
    Twice::AnswerLost,
];

/// A vendor's license with floating seats, a quota, and files for machines without a network.
struct Shop<'a> {
    stack: &'a Stack,
    /// As a product knows it.
    license: License,
}

impl<'a> Shop<'a> {
    fn open(stack: &'a Stack) -> Self {
        let vendor = Vendor::sign_up(stack, "duplicates");
        let product = vendor.make("products", &json!({"code": "local_cli", "name": "CLI"}));
        let features = json!({"exports": {"quota": 1000, "period": "once"}});
        let set = vendor.make(
            "feature-sets",
            &json!({"name": "pro", "features": features}),
        );
        let terms = json!({"seats": {"max": 100, "lease_s": 600}, "offline_max_s": 86_400});
        let policy = json!({
            "name": "pro", "tier": "PRO", "feature_set_id": set, "product_ids": [product],
            "max_activations": 200, "terms": terms,
        });
        let policy = vendor.make("policies", &policy);
        let made = vendor.send("POST", "licenses", &json!({"policy_id": policy}), 201);
        let demo = stack.license("duplicates-demo", 1);
        let license = License {
            key: made["key"].as_str().unwrap().to_owned(),
            id: made["id"].as_str().unwrap().parse().unwrap(),
            product: "local_cli".to_owned(),
            ..demo
        };
        Self { stack, license }
    }

    fn device(&self, name: &str) -> Device {
        self.stack.device(&self.license, name)
    }

    fn post(&self, what: &str) -> Request {
        Request::post(&format!("{}/api/v1/licenses/{what}", self.stack.edge()))
    }

    /// A seat's lease.
    fn lease(&self, activation: &Activation) -> String {
        let body = json!({"holder": "ada"});
        let request = self.post("acquire").bearer(&activation.token).json(&body);
        let answer = request.send().verdict();
        answer["lease_token"].as_str().unwrap().to_owned()
    }

    /// Devices, seats and uses that the origin counts.
    fn counted(&self) -> [i64; 3] {
        let (sql, license) = (self.stack.superuser(), self.license.uuid());
        [
            format!("SELECT count(*) FROM licet.activations WHERE license_id = '{license}' AND deactivated_at IS NULL"),
            format!("SELECT count(*) FROM licet.leases WHERE license_id = '{license}' AND ended_at IS NULL"),
            format!("SELECT coalesce(sum(used), 0) FROM licet.usage WHERE license_id = '{license}'"),
        ]
        .map(|query| sql.number(&query))
    }
}

/// A machine that never connects.
struct Machine {
    name: String,
    signer: LocalSigner,
}

impl Machine {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            signer: machine_key(xtask::net::random().unwrap()),
        }
    }

    fn request(&self, license: &License) -> String {
        let (key, nonce) = (license.key.parse().unwrap(), xtask::net::random().unwrap());
        ActivationRequest::new(key, &license.product, &self.name, &self.signer, nonce)
            .sign(&self.signer, now())
            .unwrap()
    }

    fn receipt(&self, stack: &Stack, license: &License, file: &str) -> String {
        let platform_keys = stack.keys().platform_public.parse().unwrap();
        let trust = Trust {
            platform_keys: &platform_keys,
            org: license.key.get(..8).unwrap().parse().unwrap(),
        };
        let file = LicenseFile::verify(file, trust).unwrap();
        DeactivationReceipt::sign(&file, &self.signer, now()).unwrap()
    }
}

/// A write, and what it is to come to.
struct Write {
    name: &'static str,
    request: Request,
    /// By how much devices, seats and uses change.
    effect: [i64; 3],
    /// What both answers have to say alike.
    told: &'static [&'static str],
    /// What else the second may say: that it is done.
    or: &'static [&'static str],
}

/// Each write of the edge's, ready to be sent.
fn writes(shop: &Shop<'_>, name: &str) -> Vec<Write> {
    let plain = |name, request: Request, effect, told| Write {
        name,
        request,
        effect,
        told,
        or: &[],
    };
    let activated = |what: &str| shop.device(&format!("{name}-{what}")).activated();
    let refreshed = activated("refreshed");
    let gone = activated("gone");
    let seated = activated("seated");
    let (held, released) = (
        shop.lease(&activated("held")),
        shop.lease(&activated("released")),
    );
    let user = activated("user");
    let file = activated("file");
    let by_request = Machine::new(&format!("{name}-by-request"));
    let by_code = MachineCode::of(&format!("{name}-by-code")).to_string();
    let ended = Machine::new(&format!("{name}-ended"));
    let body = json!({"request": ended.request(&shop.license)});
    let made = shop.post("activate-offline").json(&body).send().verdict();
    let made = made["license_file"].as_str().unwrap();
    let receipt = ended.receipt(shop.stack, &shop.license, made);
    let uses = json!({"uses": [{"feature": "exports", "amount": 3}]});
    let code = json!({
        "license_key": shop.license.key, "product": shop.license.product, "code": by_code,
    });
    vec![
        plain(
            "activate",
            shop.device(&format!("{name}-new")).request(),
            [1, 0, 0],
            &["/code", "/activation_id"],
        ),
        plain(
            "refresh",
            refreshed.refresh(),
            [0, 0, 0],
            &["/code", "/activation_id"],
        ),
        Write {
            or: &["DEACTIVATED"],
            ..plain("deactivate", gone.deactivate(), [-1, 0, 0], &["/code"])
        },
        plain(
            "acquire",
            shop.post("acquire")
                .bearer(&seated.token)
                .json(&json!({"holder": "grace"})),
            [0, 1, 0],
            &["/code", "/lease/id"],
        ),
        plain(
            "heartbeat",
            shop.post("heartbeat").bearer(&held),
            [0, 0, 0],
            &["/code", "/lease/id"],
        ),
        Write {
            or: &["LEASE_NOT_FOUND"],
            ..plain(
                "release",
                shop.post("release").bearer(&released),
                [0, -1, 0],
                &["/code"],
            )
        },
        plain(
            "checkout",
            shop.post("checkout").json(&json!({"token": file.token})),
            [0, 0, 0],
            &["/code", "/activation_id"],
        ),
        plain(
            "activate-offline, by request",
            shop.post("activate-offline")
                .json(&json!({"request": by_request.request(&shop.license)})),
            [1, 0, 0],
            &["/code", "/activation_id"],
        ),
        plain(
            "activate-offline, by code",
            shop.post("activate-offline").json(&code),
            [1, 0, 0],
            &["/code", "/activation_id"],
        ),
        plain(
            "deactivate-offline",
            shop.post("deactivate-offline")
                .json(&json!({"receipt": receipt})),
            [-1, 0, 0],
            &["/code"],
        ),
        plain(
            "consume",
            shop.post("consume").bearer(&user.token).json(&uses),
            [0, 0, 3],
            &["/code", "/quotas/exports/used"],
        ),
    ]
}

/// Has the origin get each write twice, or its first answer lost.
fn have_the_network(stack: &Stack, way: Twice) {
    let met = AtomicBool::new(false);
    stack.relay().have(move |call, origin| {
        let first = origin.pass(call);
        if call.method != "POST" {
            return first;
        }
        match way {
            Twice::OnTheWire => {
                let again = origin.ask(call).unwrap();
                assert_eq!(again.status, 401, "the same call twice");
                first
            }
            Twice::AnswerLost if !met.swap(true, Ordering::SeqCst) => Deed::HangUp,
            _ => first,
        }
    });
}

fn deliver(stack: &Stack, write: &Write, way: Twice) -> Vec<Answer> {
    have_the_network(stack, way);
    let once = || insist(&write.request).0;
    let answers = match way {
        Twice::InTurn => vec![once(), once()],
        Twice::AtOnce => race(2, |_| once()),
        Twice::OnTheWire | Twice::AnswerLost => vec![once()],
    };
    stack.relay().be_honest();
    answers
}

fn expect_once(write: &Write, way: Twice, answers: &[Answer]) {
    let what = format!("{}, {way:?}", write.name);
    let bodies: Vec<Value> = answers.iter().map(Answer::verdict).collect();
    let done = |body: &Value| write.or.iter().any(|code| body["code"] == *code);
    let first = bodies.iter().find(|body| body["code"] == "VALID");
    // Where the edge asked again, it may have been told already that it is done.
    let Some(first) = first else {
        assert!(
            way == Twice::AnswerLost && done(&bodies[0]),
            "{what}: {bodies:?}"
        );
        return;
    };
    for body in &bodies {
        if done(body) {
            continue;
        }
        for pointer in write.told {
            let told = body.pointer(pointer);
            assert!(told.is_some(), "{what}: no {pointer} in {body}");
            assert_eq!(told, first.pointer(pointer), "{what}: {pointer}");
        }
    }
}

#[test]
fn every_write_that_is_delivered_twice_acts_once() {
    let stack = Stack::start(&StackOptions {
        relay: true,
        ..StackOptions::default()
    });
    let shop = Shop::open(&stack);
    for (number, way) in WAYS.into_iter().enumerate() {
        for (place, write) in writes(&shop, &format!("{number}")).into_iter().enumerate() {
            let key = format!("duplicates-{number}-{place}");
            let write = Write {
                request: write.request.header("Idempotency-Key", key),
                ..write
            };
            let before = shop.counted();
            let answers = deliver(&stack, &write, way);
            expect_once(&write, way, &answers);
            let after = shop.counted();
            let effect = [0, 1, 2].map(|i| after[i] - before[i]);
            assert_eq!(effect, write.effect, "{}, {way:?}", write.name);
        }
    }
}

/// A write that is added to the edge has to be added here.
#[test]
fn every_write_of_the_edges_is_on_the_list() {
    let stack = Stack::shared();
    let url = format!("{}/openapi.json", stack.edge());
    let description = Request::get(&url).send().json();
    let paths = description["paths"].as_object().unwrap();
    let mut writes: Vec<_> = paths
        .iter()
        .filter(|(_, operations)| operations.get("post").is_some())
        .filter_map(|(path, _)| path.strip_prefix("/api/v1/licenses/"))
        .filter(|name| *name != "validate")
        .collect();
    writes.sort_unstable();
    assert_eq!(
        writes,
        [
            "acquire",
            "activate",
            "activate-offline",
            "checkout",
            "consume",
            "deactivate",
            "deactivate-offline",
            "heartbeat",
            "refresh",
            "release",
        ]
    );
}
