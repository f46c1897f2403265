//! The account API held to its own description by Schemathesis: every operation, with what the
//! description allows and with what it forbids, as an OWNER.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use licet_tests::scratch::Scratch;
use licet_tests::{Request, Stack, StackOptions};
use serde_json::{Value, json};

/// Of each kind, so that what deletes or ends one leaves others.
const EACH: usize = 5;
const PASSWORD: &str = "correct horse battery";

/// An organization in a stack, and its OWNER.
struct Vendor<'a> {
    stack: &'a Stack,
    token: String,
}

impl<'a> Vendor<'a> {
    fn sign_up(stack: &'a Stack) -> Self {
        let body = json!({
            "organization": { "name": "Contract", "slug": "contract" },
            "email": "owner@contract.test", "password": PASSWORD, "name": "Ada",
        });
        let session = open(stack, "/api/v1/auth/signup", &body);
        // Far beyond what any plan allows: what is made is never in the way.
        stack.superuser().rows(
            "UPDATE licet.organizations SET plan = 'ENTERPRISE', max_users = 1000000,
                 max_projects = 1000000, max_licenses = 1000000000",
        );
        let token = session["access_token"].as_str().unwrap().to_owned();
        Self { stack, token }
    }

    fn make(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.stack.origin.url());
        let request = Request::post(&url).bearer(&self.token).json(body);
        request.send().expect(201).json()
    }

    fn id(&self, path: &str, body: &Value) -> String {
        text(&self.make(path, body)["id"])
    }

    /// Something of everything, with the ids in files by which Schemathesis finds them.
    fn fill(&self, dir: &Path) {
        let mut files = vec![String::new(); KINDS.len()];
        for number in 0..EACH {
            let ids = self.one_of_each(number);
            for (file, id) in files.iter_mut().zip(ids) {
                writeln!(file, "\"{id}\"").unwrap();
            }
        }
        for (kind, file) in KINDS.iter().zip(files) {
            fs::write(dir.join(kind), file).unwrap();
        }
    }

    /// In the order of [`KINDS`].
    fn one_of_each(&self, number: usize) -> [String; KINDS.len()] {
        let name = format!("thing-{number}");
        let product = json!({ "code": name, "name": name });
        let product = self.id("/api/v1/products", &product);
        let features = json!({ "name": name, "features": { "export.pdf": true } });
        let feature_set = self.id("/api/v1/feature-sets", &features);
        let policy = json!({
            "name": name, "tier": "PRO", "feature_set_id": feature_set,
            "product_ids": [product], "max_activations": 3,
        });
        let policy = self.id("/api/v1/policies", &policy);
        let license = self.make("/api/v1/licenses", &json!({ "policy_id": policy }));
        let project = self.id("/api/v1/projects", &json!({ "name": name }));
        let activation = json!({
            "license_key": license["key"], "product": name, "fingerprint": "a device",
        });
        let caller = self.stack.caller();
        let activation = caller.post("/edge/v1/activations", &activation).send();
        let invitation = json!({ "email": format!("{name}@contract.test"), "role": "MEMBER" });
        let invitation = self.make("/api/v1/invitations", &invitation);
        let acceptance =
            json!({ "token": invitation["token"], "name": name, "password": PASSWORD });
        let person = open(self.stack, "/api/v1/auth/accept-invitation", &acceptance);
        [
            product,
            feature_set,
            policy,
            text(&license["id"]),
            text(&activation.expect(200).json()["activation_id"]),
            project,
            text(&person["user_id"]),
        ]
    }
}

/// The files' names, as `schemathesis.toml` has them.
const KINDS: [&str; 7] = [
    "products",
    "feature-sets",
    "policies",
    "licenses",
    "activations",
    "projects",
    "users",
];

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn open(stack: &Stack, path: &str, body: &Value) -> Value {
    let url = format!("{}{path}", stack.origin.url());
    Request::post(&url).json(body).send().expect(201).json()
}

#[test]
#[ignore = "takes minutes, and Python: cargo xtask test --full contract"]
fn the_account_api_is_what_its_description_says() {
    let schemathesis = xtask::tools::schemathesis().unwrap();
    let many = "FREE=60000,PRO=60000,ENTERPRISE=60000";
    let env = [
        ("LICET_RATE_LIMITS", many),
        ("LICET_NEWCOMER_LIMIT", "100000"),
        ("LICET_REFUSED_LIMIT", "60000"),
    ];
    let stack = Stack::start(&StackOptions {
        worker: false,
        origin_env: env.map(|(name, value)| (name.into(), value.into())).into(),
        ..StackOptions::default()
    });
    let vendor = Vendor::sign_up(&stack);

    let scratch = Scratch::new();
    let dir = scratch.path();
    let ids = xtask::paths::make_dir(dir.join("ids")).unwrap();
    vendor.fill(&ids);
    let config = xtask::paths::workspace().join("tests/schemathesis");
    for file in ["schemathesis.toml", "hooks.py"] {
        fs::copy(config.join(file), dir.join(file)).unwrap();
    }
    let report = dir.join("report.json");
    let origin = stack.origin.url();
    let output = Command::new(schemathesis)
        .args(["--config-file", "schemathesis.toml", "run", "--checks=all"])
        .arg("--report-json-path")
        .arg(&report)
        .arg(format!("{origin}/openapi.json"))
        .current_dir(dir)
        .env("ORIGIN", &origin)
        .env("TOKEN", &vendor.token)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");

    // It was let in to the end, and tried what there is to try.
    let me = format!("{origin}/api/v1/auth/me");
    Request::get(&me).bearer(&vendor.token).send().expect(200);
    let report: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    let calls = &report["test_cases"];
    println!("Schemathesis: {calls}");
    let tried = calls["generated"].as_u64().unwrap();
    assert!(tried > 3000, "{calls}");
    let log = fs::read_to_string(stack.origin_log()).unwrap();
    let answered = |status: &str| log.matches(&format!("\"status\":{status}")).count();
    let (read, made, failed) = (answered("200"), answered("201"), answered("5"));
    assert!(read > 500 && made > 100, "{read} {made}");
    assert_eq!(failed, 0);
}
