//! License files, and machines that never connect.

use std::{collections::BTreeSet, sync::Arc};

use axum::http::Method;
use licet_shared::{api::ActivationAnswer, decision::Code, license_file::MachineCode};
use serde_json::{Value, json};

use crate::{
    licenses::{Shop, one},
    support::{
        Bed,
        edge::{Call, Reply, now},
        machine::Machine,
    },
};

const CHECKOUT: &str = "/edge/v1/activations/license-file";
const ACTIVATE: &str = "/edge/v1/activations/offline";
const RECEIPT: &str = "/edge/v1/activations/receipt";
const DAY: i64 = 86_400;

impl Shop {
    /// A license whose customers may make files that hold for a week.
    async fn offline_license(&self, max_activations: i32) -> (Value, String) {
        let terms = json!({ "offline_max_s": 7 * DAY });
        let more = [
            ("max_activations", json!(max_activations)),
            ("terms", terms),
        ];
        let made = self.issue(&more).await;
        let key = made["key"].as_str().unwrap().to_owned();
        (made, key)
    }

    async fn vendors(&self, path: &str, body: &Value) -> Reply {
        self.bed.post(&self.owner, path, body).await
    }

    async fn vendors_file(&self, activation: &str, lifetime_s: i64) -> Reply {
        let path = format!("/api/v1/activations/{activation}/license-file");
        self.vendors(&path, &json!({ "lifetime_s": lifetime_s }))
            .await
    }

    fn audited(&self, action: &str) -> usize {
        let sql = format!("SELECT FROM licet.audit_events WHERE action = '{action}'");
        self.bed.database.admin(&sql).len()
    }

    fn live(&self, license: &Value) -> usize {
        let id: licet_shared::id::LicenseId = license["id"].as_str().unwrap().parse().unwrap();
        let id = uuid::Uuid::from_bytes(id.uuid_bytes());
        let sql = format!(
            "SELECT FROM licet.activations WHERE deactivated_at IS NULL AND license_id = '{id}'"
        );
        self.bed.database.admin(&sql).len()
    }
}

async fn edge(bed: &Bed, path: &str, body: &Value) -> Reply {
    bed.call(Call::post(path, body)).await
}

async fn by_request(bed: &Bed, machine: &Machine, key: &str) -> ActivationAnswer {
    let body = json!({ "request": machine.request(key) });
    edge(bed, ACTIVATE, &body).await.answer()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vendor_makes_a_file_for_a_device() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let answer = bed.activate(&shop.seeded.key, "plant-7").await;
    let id = answer.activation_id.unwrap().to_string();
    let made = shop.vendors_file(&id, 30 * DAY).await;
    let made = made.json(200);
    assert_eq!(text(&made["activation_id"]), id);
    let file = text(&made["license_file"]);
    let machine = Machine::new("plant-7");
    let verdict = machine.decide(file, now());
    assert_eq!(verdict.code, Code::Valid);
    assert_eq!(verdict.activation_id, answer.activation_id);
    let features = serde_json::to_value(&verdict.features).unwrap();
    assert_eq!(features, Value::Object(answer.features.unwrap()));
    assert_eq!(verdict.license, answer.license);
    let ended = machine.decide(file, now().plus(30 * DAY));
    assert_eq!(ended.code, Code::TokenExpired);
    let elsewhere = Machine::new("plant-8").decide(file, now());
    assert_eq!(elsewhere.code, Code::FingerprintMismatch);
    let early = machine.decide(file, now().plus(-120));
    assert_eq!(early.code, Code::ClockMovedBack);
    // It is no token, and there is none in it.
    let json = bed.refresh(file).await;
    assert_eq!(json.code, Code::Malformed);
    assert_eq!(shop.audited("license_file.made"), 1);

    for (lifetime, code) in [(59, 400), (34_560_001, 400), (60, 200), (34_560_000, 200)] {
        let reply = shop.vendors_file(&id, lifetime).await;
        assert_eq!(reply.status.as_u16(), code, "{lifetime}");
    }
    let nobodys = "act_01jd3t6q8zf5k9v7m2x4c6b8n0";
    assert_eq!(shop.vendors_file(nobodys, DAY).await.code(), "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_names_its_device_also_where_tokens_name_none() {
    let shop = Shop::open().await;
    let rule = json!({ "fingerprint_rule": "FREE" });
    let path = format!("/api/v1/policies/{}", shop.policy);
    shop.bed.patch(&shop.owner, &path, &rule).await.json(200);
    let answer = shop.bed.activate(&shop.seeded.key, "plant-7").await;
    let id = answer.activation_id.unwrap().to_string();
    let made = shop.vendors_file(&id, DAY).await.json(200);
    let file = text(&made["license_file"]);
    let code = |fingerprint: &str| Machine::new(fingerprint).decide(file, now()).code;
    assert_eq!(code("plant-7"), Code::Valid);
    assert_eq!(code("plant-8"), Code::FingerprintMismatch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_in_force_gets_no_file() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let (license, key) = shop.offline_license(5).await;
    let device = bed.activate(&key, "laptop").await;
    let token = device.license_token.unwrap();
    let id = device.activation_id.unwrap().to_string();
    let back = bed.activate(&key, "given back").await;
    bed.deactivate(back.license_token.as_deref().unwrap()).await;
    let back_id = back.activation_id.unwrap().to_string();
    let refused = shop.vendors_file(&back_id, DAY).await.problem();
    assert!(refused.detail.starts_with("DEACTIVATED: "), "{refused:?}");
    let by_token = json!({ "token": back.license_token.unwrap() });
    let answer = edge(bed, CHECKOUT, &by_token).await.answer();
    assert_eq!(
        (answer.code, answer.license_file),
        (Code::Deactivated, None)
    );

    let machine = Machine::new("plant-7");
    for (verb, code) in [("suspend", Code::Suspended), ("revoke", Code::Revoked)] {
        shop.act(&format!("{}/{verb}", one(&license)))
            .await
            .json(200);
        let refused = shop.vendors_file(&id, DAY).await.problem();
        assert_eq!(refused.code.as_str(), "CONFLICT");
        assert!(refused.detail.starts_with(code.as_str()), "{refused:?}");
        let answer = edge(bed, CHECKOUT, &json!({ "token": token }))
            .await
            .answer();
        assert_eq!((answer.code, answer.license_file), (code, None));
        let answer = by_request(bed, &machine, &key).await;
        assert_eq!((answer.code, answer.license_file), (code, None));
    }
    assert_eq!(shop.audited("license_file.made"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_makes_a_file_as_the_terms_allow() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let device = bed.activate(&shop.seeded.key, "laptop").await;
    let token = device.license_token.unwrap();
    let check_out = |lifetime: Option<i64>| {
        let token = &token;
        async move {
            let mut body = json!({ "token": token });
            if let Some(lifetime) = lifetime {
                body["lifetime_s"] = json!(lifetime);
            }
            edge(bed, CHECKOUT, &body).await
        }
    };
    assert_eq!(check_out(None).await.code(), "FORBIDDEN");
    let policy = format!("/api/v1/policies/{}", shop.policy);
    let terms = json!({ "terms": { "offline_max_s": 7 * DAY } });
    bed.patch(&shop.owner, &policy, &terms).await.json(200);
    let machine = Machine::new("laptop");
    for (wanted, given) in [
        (None, 7 * DAY),
        (Some(DAY), DAY),
        (Some(7 * DAY + 1), 7 * DAY),
    ] {
        let answer = check_out(wanted).await.answer();
        let file = answer.license_file.unwrap();
        assert_eq!(machine.decide(&file, now()).code, Code::Valid);
        let file = machine.file(&file);
        assert_eq!(file.expires_at().since(file.as_of()), given, "{wanted:?}");
        assert_eq!(answer.token.unwrap().expires_at, file.expires_at());
        assert_eq!(Some(file.activation()), device.activation_id);
        assert!(answer.license_token.is_none());
    }
    // The license's own term stands in place of its policy's.
    let terms = json!({ "terms": { "offline_max_s": 60 } });
    let license = format!("/api/v1/licenses/{}", shop.seeded.license);
    bed.patch(&shop.owner, &license, &terms).await.json(200);
    let file = check_out(None).await.answer().license_file.unwrap();
    assert_eq!(
        machine.decide(&file, now().plus(60)).code,
        Code::TokenExpired
    );

    assert_eq!(check_out(Some(59)).await.code(), "BAD_REQUEST");
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    let answer = edge(bed, CHECKOUT, &json!({ "token": forged }))
        .await
        .answer();
    assert_eq!(answer.code, Code::SignatureInvalid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_never_connects_is_activated_by_its_request() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let (license, key) = shop.offline_license(2).await;
    let machine = Machine::new("plant-7");
    let first = by_request(bed, &machine, &key).await;
    let file = first.license_file.clone().unwrap();
    assert_eq!(machine.decide(&file, now()).code, Code::Valid);
    let read = machine.file(&file);
    assert_eq!(read.machine_key(), Some(&machine.signer.verifying_key()));
    // Again by the customer, and by the vendor: the same activation.
    let again = by_request(bed, &machine, &key).await;
    assert_eq!(again.activation_id, first.activation_id);
    let body = json!({ "request": machine.request(&key), "lifetime_s": 300 * DAY });
    let vendors = shop.vendors("/api/v1/offline-activations", &body).await;
    let vendors = vendors.json(200);
    let id = first.activation_id.unwrap().to_string();
    assert_eq!(text(&vendors["activation_id"]), id);
    let long = machine.file(text(&vendors["license_file"]));
    assert_eq!(long.expires_at().since(long.as_of()), 300 * DAY);
    assert_eq!(shop.live(&license), 1);
    assert_eq!(shop.audited("activation.created"), 1);
    assert_eq!(shop.audited("license_file.made"), 3);

    // Another machine's request with the same nonce is no repetition.
    let mut other = Machine::new("plant-8");
    other.nonce = machine.nonce;
    let body = json!({ "request": other.request(&key) });
    assert_eq!(edge(bed, ACTIVATE, &body).await.code(), "CONFLICT");

    // Seats are those of all devices.
    assert!(bed.activate(&key, "laptop").await.valid);
    let third = by_request(bed, &Machine::new("plant-8"), &key).await;
    assert_eq!(
        (third.code, third.license_file),
        (Code::ActivationLimit, None)
    );
    let body = json!({ "request": Machine::new("plant-8").request(&key), "lifetime_s": DAY });
    let refused = shop.vendors("/api/v1/offline-activations", &body).await;
    let refused = refused.problem();
    assert_eq!(refused.code.as_str(), "CONFLICT");
    assert!(
        refused.detail.starts_with("ACTIVATION_LIMIT: "),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_never_connects_is_activated_by_its_code() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let (license, key) = shop.offline_license(1).await;
    let machine = Machine::new("plant-7");
    let asked = |code: &str| {
        json!({
            "license_key": key.to_lowercase(), "product": "local_cli", "code": code,
            "name": "Press 7",
        })
    };
    let answer = edge(bed, ACTIVATE, &asked(&machine.code())).await.answer();
    let file = answer.license_file.unwrap();
    assert_eq!(machine.decide(&file, now()).code, Code::Valid);
    assert_eq!(machine.file(&file).machine_key(), None);
    let mut body = asked(&machine.code().to_lowercase().replace('-', " "));
    body["lifetime_s"] = json!(DAY);
    let vendors = shop.vendors("/api/v1/offline-activations", &body).await;
    let id = answer.activation_id.unwrap().to_string();
    assert_eq!(text(&vendors.json(200)["activation_id"]), id);
    assert_eq!(shop.live(&license), 1);
    // The same device by the network is the same seat.
    assert_eq!(
        bed.activate(&key, "plant-7").await.activation_id,
        answer.activation_id
    );

    let path = format!("/api/v1/activations/{id}");
    let shown = bed.get(&shop.owner, &path).await.json(200);
    assert_eq!(shown["name"], "Press 7");
    let typo = machine
        .code()
        .replacen(|c: char| c.is_ascii_digit(), "Z", 1);
    let refused = edge(bed, ACTIVATE, &asked(&typo)).await.problem();
    assert_eq!(refused.code.as_str(), "BAD_REQUEST");
    assert!(
        refused.detail.starts_with("code: the code has a typo"),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_asks_for_nothing_that_is_there_is_refused() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let (_, key) = shop.offline_license(1).await;
    let machine = Machine::new("plant-7");
    let request = machine.request(&key);
    let code = MachineCode::of("plant-7").to_string();
    for (body, named) in [
        (json!({}), "request: send either"),
        (
            json!({ "request": request, "code": code }),
            "request: send either",
        ),
        (
            json!({ "request": request, "name": "x" }),
            "request: send either",
        ),
        (
            json!({ "license_key": key, "code": code }),
            "request: send either",
        ),
        (
            json!({ "request": "x" }),
            "request: not an activation request",
        ),
        (
            json!({ "request": request.replace("REQUEST", "RECEIPT") }),
            "request: not an",
        ),
        (json!({ "request": request, "lifetime_s": 1 }), "lifetime_s"),
        (
            json!({ "license_key": key, "product": "", "code": code }),
            "product: must not be empty",
        ),
    ] {
        let refused = edge(bed, ACTIVATE, &body).await.problem();
        assert_eq!(refused.code.as_str(), "BAD_REQUEST", "{body}");
        assert!(refused.detail.starts_with(named), "{body}: {refused:?}");
        let mut vendors = body.clone();
        if vendors.get("lifetime_s").is_none() {
            vendors["lifetime_s"] = json!(DAY);
        }
        let refused = shop.vendors("/api/v1/offline-activations", &vendors).await;
        assert_eq!(refused.code(), "BAD_REQUEST", "{body}");
    }
    let typo = json!({ "license_key": key[..key.len() - 1], "product": "local_cli", "code": code });
    assert_eq!(
        edge(bed, ACTIVATE, &typo).await.code(),
        "LICENSE_KEY_MALFORMED"
    );

    // A key of nobody's, and one of another organization's, are alike to a vendor.
    let nobodys = licet_shared::license_key::LicenseKey::new(shop.seeded.tag, [9; 16]);
    let answer = by_request(bed, &machine, &nobodys.reveal()).await;
    assert_eq!(answer.code, Code::LicenseNotFound);
    let beta = bed.database.seed("beta", 5);
    for key in [nobodys.reveal(), beta.key.clone()] {
        let body = json!({ "request": machine.request(&key), "lifetime_s": DAY });
        let refused = shop.vendors("/api/v1/offline-activations", &body).await;
        assert_eq!(refused.code(), "NOT_FOUND");
    }
    // Terms leave it to the vendor; no seat is taken.
    let answer = edge(
        bed,
        ACTIVATE,
        &json!({ "request": machine.request(&beta.key) }),
    )
    .await;
    assert_eq!(answer.code(), "FORBIDDEN");
    assert_eq!(shop.audited("activation.created"), 0);
}

/// From a license with floating seats: a license file says that the machine may, and a borrowed
/// lease that there is a seat for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_and_a_borrowed_lease_take_a_floating_seat_offline() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let seats = json!({ "max": 1, "borrow_max_s": 2 * DAY });
    let terms = json!({ "offline_max_s": 7 * DAY, "seats": seats });
    let made = shop.issue(&[("terms", terms)]).await;
    let key = text(&made["key"]);
    let machine = Machine::new("laptop");
    let token = bed.activate(key, "laptop").await.license_token.unwrap();
    let file = edge(bed, CHECKOUT, &json!({ "token": token })).await;
    let file = file.answer().license_file.unwrap();
    let borrowed = bed
        .acquire_with(&token, "ada", &json!({ "borrow_s": 2 * DAY }))
        .await;
    let end = borrowed.lease.unwrap().expires_at;
    let lease = borrowed.lease_token.unwrap();
    let elsewhere = bed.activate(key, "desk").await.license_token.unwrap();
    let no_seat = async || bed.acquire(&elsewhere, "grace").await.code;
    assert_eq!(no_seat().await, Code::SeatLimit, "it is in use meanwhile");

    // From here on `shared` alone.
    let code = |lease: Option<&str>, at| machine.decide_with(&file, lease, at).code;
    assert_eq!(code(None, now()), Code::LeaseRequired);
    let verdict = machine.decide_with(&file, Some(&lease), now());
    assert_eq!(verdict.code, Code::Valid);
    assert_eq!(verdict.lease, borrowed.lease);
    assert_eq!(code(Some(&lease), end.plus(-1)), Code::Valid);
    assert_eq!(code(Some(&lease), end), Code::LeaseExpired);
    let file_end = machine.file(&file).expires_at();
    assert_eq!(code(Some(&lease), file_end), Code::TokenExpired);
    let set_back = machine.file(&file).as_of().plus(-120);
    assert_eq!(code(Some(&lease), set_back), Code::ClockMovedBack);
    let middle = lease.len() / 2;
    let flipped = if lease.as_bytes()[middle] == b'A' {
        "B"
    } else {
        "A"
    };
    let mut altered = lease.clone();
    altered.replace_range(middle..=middle, flipped);
    for wrong in [&altered, &token, &file, ""] {
        assert_eq!(code(Some(wrong), now()), Code::LeaseInvalid, "{wrong}");
    }
    let copied = Machine::new("desk").decide_with(&file, Some(&lease), now());
    assert_eq!(copied.code, Code::FingerprintMismatch);

    // Given back, and taken by the other: nobody's lease counts beside another's file.
    assert!(bed.release(&lease).await.valid);
    let other = bed.acquire(&elsewhere, "grace").await.lease_token.unwrap();
    assert_eq!(code(Some(&other), now()), Code::LeaseInvalid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_gives_the_activation_back_once() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let (license, key) = shop.offline_license(1).await;
    let mut machine = Machine::new("plant-7");
    let file = by_request(bed, &machine, &key).await.license_file.unwrap();
    let receipt = machine.receipt(&file);
    let give_back = |receipt: &str| {
        let body = json!({ "receipt": receipt });
        async move { edge(bed, RECEIPT, &body).await.answer() }
    };
    let first = give_back(&receipt).await;
    assert_eq!((first.valid, first.code), (true, Code::Valid));
    assert_eq!(shop.live(&license), 0);

    // The seat is free for another; the receipt, shown again, takes nothing from it.
    let mut other = Machine::new("plant-8");
    other.nonce = [2; 16];
    let theirs = by_request(bed, &other, &key).await;
    assert!(theirs.valid);
    for _ in 0..2 {
        assert!(give_back(&receipt).await.valid);
    }
    let body = json!({ "receipt": receipt });
    let vendors = shop.vendors("/api/v1/offline-deactivations", &body).await;
    assert_eq!(vendors.json(200)["license_id"], license["id"]);
    assert_eq!(shop.live(&license), 1);
    assert_eq!(shop.audited("activation.deactivated"), 1);

    // Nor is the old request good for anything more; a new one is.
    assert_eq!(
        by_request(bed, &machine, &key).await.code,
        Code::Deactivated
    );
    let theirs = other.receipt(&theirs.license_file.unwrap());
    assert!(give_back(&theirs).await.valid);
    assert_eq!(
        by_request(bed, &machine, &key).await.code,
        Code::Deactivated
    );
    machine.nonce = [3; 16];
    let newer = by_request(bed, &machine, &key).await;
    assert!(newer.valid && newer.activation_id != first.activation_id);
    assert!(give_back(&receipt).await.valid);
    assert_eq!(shop.live(&license), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_machine_itself_gives_its_activation_back() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let (license, key) = shop.offline_license(3).await;
    let machine = Machine::new("plant-7");
    let file = by_request(bed, &machine, &key).await.license_file.unwrap();
    // A machine of its own making, with a file that says the same but for the key.
    let thief = Machine {
        signer: Machine::new("thief").signer,
        ..Machine::new("plant-8")
    };
    let theirs = by_request(bed, &thief, &key).await.license_file.unwrap();
    let own = thief.receipt(&theirs);
    let forged = forge(&own, &machine.receipt(&file));
    let refuse = |receipt: String| async move {
        let body = json!({ "receipt": receipt });
        edge(bed, RECEIPT, &body).await.answer().code
    };
    let body = json!({ "receipt": forged });
    let refused = shop.vendors("/api/v1/offline-deactivations", &body).await;
    let refused = refused.problem().detail;
    assert!(refused.starts_with("SIGNATURE_INVALID: "), "{refused}");
    assert_eq!(refuse(forged).await, Code::SignatureInvalid);
    assert_eq!(shop.live(&license), 2);

    // Newer keys of the same machine outdo older ones.
    let newer = Machine {
        signer: Machine::new("new key").signer,
        nonce: [2; 16],
        ..Machine::new("plant-7")
    };
    let newer_file = by_request(bed, &newer, &key).await.license_file.unwrap();
    assert_eq!(refuse(machine.receipt(&file)).await, Code::SignatureInvalid);
    let body = json!({ "receipt": newer.receipt(&newer_file) });
    assert!(edge(bed, RECEIPT, &body).await.answer().valid);
    assert_eq!(shop.live(&license), 1);

    // Another organization's vendor has no such activation.
    let beta = bed.sign_up("beta").await;
    let body = json!({ "receipt": own });
    let path = "/api/v1/offline-deactivations";
    assert_eq!(
        bed.post(&beta.caller, path, &body).await.code(),
        "NOT_FOUND"
    );
    let junk = json!({ "receipt": "x" });
    assert_eq!(edge(bed, RECEIPT, &junk).await.code(), "BAD_REQUEST");
    assert_eq!(shop.vendors(path, &junk).await.code(), "BAD_REQUEST");
    assert_eq!(shop.live(&license), 1);
}

/// The claims of one receipt under the signature of another.
fn forge(claims: &str, signature: &str) -> String {
    use base64ct::{Base64, Encoding};
    let token = |text: &str| {
        let lines: Vec<&str> = text.lines().collect();
        String::from_utf8(Base64::decode_vec(&lines[1..lines.len() - 1].concat()).unwrap()).unwrap()
    };
    let (claims, signature) = (token(claims), token(signature));
    let (head, _) = claims.rsplit_once('.').unwrap();
    let (_, tail) = signature.rsplit_once('.').unwrap();
    let base64 = Base64::encode_string(format!("{head}.{tail}").as_bytes());
    let lines: Vec<&str> = base64
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let name = "LICET DEACTIVATION RECEIPT";
    format!(
        "-----BEGIN {name}-----\n{}\n-----END {name}-----\n",
        lines.join("\n")
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machines_and_devices_at_once_never_take_a_seat_too_many() {
    let shop = Arc::new(Shop::open().await);
    let (license, key) = shop.offline_license(5).await;
    let tasks = (0..24).map(|number| {
        let (shop, key) = (Arc::clone(&shop), key.clone());
        tokio::spawn(async move {
            let name = format!("n{number}");
            let mut machine = Machine::new(&name);
            machine.nonce = [number; 16];
            match number % 3 {
                0 => shop.bed.activate(&key, &name).await,
                1 => by_request(&shop.bed, &machine, &key).await,
                _ => {
                    let code = machine.code();
                    let body = json!({ "license_key": key, "product": "local_cli", "code": code });
                    edge(&shop.bed, ACTIVATE, &body).await.answer()
                }
            }
            .code
        })
    });
    let mut granted = 0;
    for task in tasks.collect::<Vec<_>>() {
        match task.await.unwrap() {
            Code::Valid => granted += 1,
            code => assert_eq!(code, Code::ActivationLimit),
        }
    }
    assert_eq!((granted, shop.live(&license)), (5, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_many_times_at_once_is_one_activation_and_one_receipt_one_event() {
    let shop = Arc::new(Shop::open().await);
    let (license, key) = shop.offline_license(5).await;
    let tasks = (0..16).map(|_| {
        let (shop, key) = (Arc::clone(&shop), key.clone());
        tokio::spawn(async move { by_request(&shop.bed, &Machine::new("plant-7"), &key).await })
    });
    let (mut ids, mut files) = (BTreeSet::new(), Vec::new());
    for task in tasks.collect::<Vec<_>>() {
        let answer = task.await.unwrap();
        ids.insert(answer.activation_id.unwrap());
        files.push(answer.license_file.unwrap());
    }
    assert_eq!((ids.len(), shop.live(&license)), (1, 1));
    let receipt = Machine::new("plant-7").receipt(&files[0]);
    let tasks = (0..16).map(|_| {
        let (shop, body) = (Arc::clone(&shop), json!({ "receipt": receipt }));
        tokio::spawn(async move { edge(&shop.bed, RECEIPT, &body).await.answer().valid })
    });
    for task in tasks.collect::<Vec<_>>() {
        assert!(task.await.unwrap());
    }
    assert_eq!(shop.live(&license), 0);
    assert_eq!(shop.audited("activation.deactivated"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_file_is_made_after_a_revocation() {
    let shop = Arc::new(Shop::open().await);
    let (license, key) = shop.offline_license(5).await;
    let token = shop
        .bed
        .activate(&key, "laptop")
        .await
        .license_token
        .unwrap();
    let tasks = (0..16).map(|number| {
        let (shop, token, path) = (Arc::clone(&shop), token.clone(), one(&license));
        tokio::spawn(async move {
            if number == 8 {
                let path = format!("{path}/revoke");
                let bed = &shop.bed;
                bed.ask_with(&shop.owner, Method::POST, &path, None, &[])
                    .await
                    .json(200);
                return;
            }
            let answer = edge(&shop.bed, CHECKOUT, &json!({ "token": token }))
                .await
                .answer();
            assert!(
                matches!(answer.code, Code::Valid | Code::Revoked),
                "{answer:?}"
            );
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let late = shop.bed.database.admin(
        "SELECT FROM licet.audit_events f JOIN licet.audit_events r
             ON r.org_id = f.org_id AND r.action = 'license.revoked' AND f.seq > r.seq
         WHERE f.action = 'license_file.made'",
    );
    assert_eq!(late.len(), 0);
    assert_eq!(shop.audited("license.revoked"), 1);
}
