//! A machine without a network: its license file is made by the real origin and edge, and decided
//! on by a program that uses nothing but `shared`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use licet_tests::scratch::Scratch;
use licet_tests::{License, Request, Stack};
use serde_json::{Value, json};

/// `shared/examples/offline.rs` on a machine of its own: an environment of what it needs and
/// nothing else.
struct Machine<'a> {
    stack: &'a Stack,
    program: PathBuf,
    license: &'a License,
    fingerprint: &'static str,
    scratch: Scratch,
}

/// Builds the example, and says where it is.
fn program() -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["build", "-q", "-p", "licet-shared", "--example", "offline"])
        .arg("--message-format=json")
        .current_dir(xtask::paths::workspace())
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let messages = String::from_utf8(built.stdout).unwrap();
    let executable = messages
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    executable.unwrap()
}

impl<'a> Machine<'a> {
    fn new(stack: &'a Stack, license: &'a License, fingerprint: &'static str) -> Self {
        Self {
            stack,
            program: program(),
            license,
            fingerprint,
            scratch: Scratch::new(),
        }
    }

    fn dir(&self) -> &Path {
        self.scratch.path()
    }

    fn run(&self, arguments: &[&str], now: Option<&str>) -> Output {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env_clear()
            .current_dir(self.dir())
            .env("LICET_ORG", self.license.org.tag.as_str())
            .env("LICET_PLATFORM_KEYS", &self.stack.keys().platform_public);
        if let Some(now) = now {
            command.env("LICET_NOW", now);
        }
        command.output().unwrap()
    }

    fn said(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments, None);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complaint}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn request(&self) -> String {
        let License { key, product, .. } = self.license;
        self.said(&["request", key, product, self.fingerprint])
    }

    /// The verdict by `license.txt`, which must not be a panic.
    fn verdict_at(&self, fingerprint: &str, now: Option<&str>) -> Value {
        let output = self.run(
            &["verify", "license.txt", &self.license.product, fingerprint],
            now,
        );
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(complaint.is_empty(), "{complaint}");
        let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            output.status.code(),
            Some(i32::from(verdict["valid"] != true))
        );
        verdict
    }

    fn code(&self) -> String {
        licet_tests::device::code(&self.verdict_at(self.fingerprint, None))
    }

    fn code_at(&self, now: &str) -> String {
        licet_tests::device::code(&self.verdict_at(self.fingerprint, Some(now)))
    }

    fn keep(&self, file: &[u8]) {
        std::fs::write(self.dir().join("license.txt"), file).unwrap();
    }

    /// What the machine keeps beside its file and its key.
    fn forget(&self) {
        std::fs::remove_file(self.dir().join("newest-seen")).ok();
    }
}

fn post(stack: &Stack, what: &str, body: &Value) -> Value {
    let url = format!("{}/api/v1/licenses/{what}", stack.edge());
    Request::post(&url).json(body).send().verdict()
}

/// A license whose customers may make files that hold for thirty days.
fn license(stack: &Stack, slug: &str) -> License {
    let license = stack.license(slug, 2);
    stack.superuser().rows(&format!(
        "UPDATE licet.licenses SET terms = '{{\"offline_max_s\": 2592000}}' WHERE id = '{}'",
        license.uuid()
    ));
    license
}

#[test]
fn a_file_made_by_the_real_parts_is_decided_without_them() {
    let stack = Stack::shared();
    let license = license(stack, "offline");
    let machine = Machine::new(stack, &license, "plant-7");
    let answer = post(
        stack,
        "activate-offline",
        &json!({ "request": machine.request() }),
    );
    let file = answer["license_file"].as_str().unwrap();
    machine.keep(file.as_bytes());
    let verdict = machine.verdict_at("plant-7", None);
    assert_eq!(verdict["code"], "VALID", "{verdict}");
    assert_eq!(verdict["activation_id"], answer["activation_id"]);
    assert_eq!(verdict["freshness"]["source"], "file");

    // On another machine.
    let elsewhere = machine.verdict_at("plant-8", None);
    assert_eq!(elsewhere["code"], "FINGERPRINT_MISMATCH");

    // With the clock set back, behind the file and behind what the program has seen since.
    assert_eq!(machine.code_at("2020-01-01T00:00:00Z"), "CLOCK_MOVED_BACK");
    assert_eq!(machine.code_at("1970-01-01T00:00:00Z"), "CLOCK_MOVED_BACK");
    assert_eq!(machine.code(), "VALID");

    // Past its time; and then it is too late to set the clock back within it.
    let end = answer["token"]["expires_at"].as_str().unwrap();
    assert_eq!(machine.code_at(end), "TOKEN_EXPIRED");
    assert_eq!(machine.code(), "CLOCK_MOVED_BACK");
    machine.forget();
    assert_eq!(machine.code(), "VALID");

    // After one flipped byte, wherever it is. All of them are tried in shared/tests/license_file.
    for position in (0..file.len()).step_by(file.len() / 40) {
        let mut bytes = file.as_bytes().to_vec();
        bytes[position] ^= 1;
        machine.keep(&bytes);
        assert_ne!(machine.code(), "VALID", "byte {position}");
    }
    machine.keep(file.as_bytes());
    assert_eq!(machine.code(), "VALID");
}

#[test]
fn a_machine_gives_its_activation_back_by_a_receipt() {
    let stack = Stack::shared();
    let license = license(stack, "offline-receipts");
    let machine = Machine::new(stack, &license, "plant-7");
    let request = json!({ "request": machine.request() });
    let answer = post(stack, "activate-offline", &request);
    machine.keep(answer["license_file"].as_str().unwrap().as_bytes());
    assert_eq!(stack.seats_taken(&license), 1);
    let again = post(stack, "activate-offline", &request);
    assert_eq!(again["activation_id"], answer["activation_id"]);
    assert_eq!(stack.seats_taken(&license), 1);

    let receipt = machine.said(&["receipt", "license.txt"]);
    assert!(!machine.dir().join("license.txt").exists());
    for _ in 0..2 {
        let back = post(stack, "deactivate-offline", &json!({ "receipt": receipt }));
        assert_eq!(back["code"], "VALID", "{back}");
        assert_eq!(stack.seats_taken(&license), 0);
    }
    let late = post(stack, "activate-offline", &request);
    assert_eq!(late["code"], "DEACTIVATED", "{late}");
}

#[test]
fn a_code_is_as_good_as_a_request() {
    let stack = Stack::shared();
    let license = license(stack, "offline-codes");
    let machine = Machine::new(stack, &license, "plant-7");
    let code = machine.said(&["code", "plant-7"]);
    assert_eq!(code.trim().len(), 63);
    let body = json!({
        "license_key": license.key, "product": license.product, "code": code.trim(), "lifetime_s": 60,
    });
    let answer = post(stack, "activate-offline", &body);
    machine.keep(answer["license_file"].as_str().unwrap().as_bytes());
    assert_eq!(machine.code(), "VALID");
    let output = machine.run(&["receipt", "license.txt"], None);
    assert!(!output.status.success(), "there is no key of the machine's");
    assert!(machine.dir().join("license.txt").exists());
}

#[test]
fn an_activated_device_checks_a_file_out_before_it_goes_offline() {
    let stack = Stack::shared();
    let license = license(stack, "offline-checkout");
    let device = stack.device(&license, "laptop").activated();
    let check_out = |token: &str| post(stack, "checkout", &json!({ "token": token }));
    let answer = check_out(&device.token);
    let machine = Machine::new(stack, &license, "laptop");
    machine.keep(answer["license_file"].as_str().unwrap().as_bytes());
    assert_eq!(machine.code(), "VALID");
    assert_eq!(check_out("x")["code"], "MALFORMED");
    // A file is no token, for whoever finds one.
    let file = std::fs::read_to_string(machine.dir().join("license.txt")).unwrap();
    assert_eq!(device.with_token(file).code(), "MALFORMED");

    stack.license_command("revoke", &license);
    let refused = check_out(&device.token);
    assert_eq!(refused["code"], "REVOKED", "{refused}");
    assert!(refused.get("license_file").is_none());
    // What is out there already holds: the documentation says so.
    assert_eq!(machine.code(), "VALID");
}

#[test]
fn what_the_terms_leave_to_the_vendor_is_forbidden_here() {
    let stack = Stack::shared();
    let license = stack.license("offline-vendors", 2);
    let machine = Machine::new(stack, &license, "plant-7");
    let edge = stack.edge();
    let ask = |what: &str, body: Value| {
        let url = format!("{edge}/api/v1/licenses/{what}");
        Request::post(&url).json(&body).send()
    };
    let request = machine.request();
    let refused = ask("activate-offline", json!({ "request": request })).expect(403);
    assert_eq!(refused.json()["code"], "FORBIDDEN");
    let device = stack.device(&license, "laptop").activated();
    ask("checkout", json!({ "token": device.token })).expect(403);
    assert_eq!(stack.seats_taken(&license), 1);

    // What can't be right is refused by the edge itself.
    for (what, body) in [
        (
            "activate-offline",
            json!({ "request": request.replacen('A', "B", 9) }),
        ),
        ("activate-offline", json!({ "license_key": license.key })),
        ("deactivate-offline", json!({ "receipt": request })),
    ] {
        let refused = ask(what, body).expect(400);
        assert_eq!(refused.json()["code"], "BAD_REQUEST");
    }
    let typo = json!({ "license_key": "x", "product": "p", "code": machine.said(&["code", "m"]) });
    ask("activate-offline", typo).expect(422);
}
