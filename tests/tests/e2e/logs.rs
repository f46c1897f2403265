//! What is logged, and what never is (SECURITY 27).

use licet_tests::device::code;
use licet_tests::edge_caller::Call;
use licet_tests::logs::{expect_without, files_below, json_lines};
use licet_tests::wait::SOON;
use licet_tests::{Database, Request, Stack, StackOptions, eventually};
use serde_json::json;
use xtask::postgres::Options;

/// A stack whose Postgres logs every statement, though not the values bound to it.
fn talkative_stack() -> Stack {
    let settings = [
        ("log_statement", "all"),
        ("log_parameter_max_length", "0"),
        ("log_connections", "on"),
        ("log_error_verbosity", "verbose"),
    ];
    Stack::start(&StackOptions {
        database: Database::Own(Options {
            settings: settings
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
            ..Options::default()
        }),
        status_ttl_s: 2,
        origin_env: vec![("LICET_LOG".to_owned(), "trace".to_owned())],
        ..StackOptions::default()
    })
}

/// Keeps the secrets of a run, each with the name it goes by when it is found.
#[derive(Default)]
struct Secrets(Vec<(String, String)>);

impl Secrets {
    fn add(&mut self, name: &str, secret: &str) {
        self.0.push((name.to_owned(), secret.to_owned()));
    }

    /// A token, and its signature alone: half a token would do harm as well.
    fn add_token(&mut self, name: &str, token: &str) {
        self.add(name, token);
        let signature = token.rsplit('.').next().unwrap();
        self.add(&format!("{name}'s signature"), signature);
    }

    /// A license key as it is shown, and its symbols without hyphens.
    fn add_key(&mut self, name: &str, key: &str) {
        self.add(name, key);
        self.add(&format!("{name} without hyphens"), &key.replace('-', ""));
        let secret_half = key.split('-').skip(1).collect::<Vec<_>>().join("-");
        self.add(&format!("{name} without its org"), &secret_half);
    }
}

#[test]
fn no_secret_is_in_any_log_after_a_whole_life() {
    let mut stack = talkative_stack();
    let mut secrets = Secrets::default();
    let keys = stack.keys().clone();
    for (name, secret) in [
        ("the platform key", &keys.platform_key),
        ("the edge key", &keys.edge_key),
    ] {
        secrets.add(name, secret.split_once(':').unwrap().1);
    }
    secrets.add("the master key", &keys.master_key);
    let password = stack
        .app_url()
        .split(':')
        .nth(2)
        .unwrap()
        .split('@')
        .next()
        .unwrap();
    secrets.add("licet_app's password", password);
    let fingerprint = "fingerprint-of-a-person-s-device";
    secrets.add("a fingerprint", fingerprint);

    // A whole life, in good order and not.
    let license = stack.license("logs", 1);
    secrets.add_key("the license key", &license.key);
    let device = stack.device(&license, fingerprint);
    let activation = device.activated();
    secrets.add_token("the first token", &activation.token);
    assert_eq!(activation.code(), "VALID");
    activation.features().send().expect(200);
    let refreshed = activation.refresh().send().verdict();
    let newer = activation.with_token(refreshed["license_token"].as_str().unwrap());
    secrets.add_token("the second token", &newer.token);
    assert_eq!(newer.code(), "VALID");
    device
        .request()
        .header("Idempotency-Key", "logs-key-1")
        .send()
        .expect(200);
    assert_eq!(
        stack.device(&license, "another").activation_code(),
        "ACTIVATION_LIMIT"
    );

    // Refusals and faults tend to say too much.
    let email = "buyer@example.org";
    secrets.add("an e-mail address", email);
    let mut mistyped = license.key.clone();
    mistyped.replace_range(
        9..10,
        if license.key.as_bytes()[9] == b'7' {
            "8"
        } else {
            "7"
        },
    );
    secrets.add_key("a mistyped key", &mistyped);
    stack
        .device(&license, fingerprint)
        .typing(&mistyped)
        .activate()
        .problem(422, "LICENSE_KEY_MALFORMED");
    let bad = json!({"license_key": license.key, "product": 7, "fingerprint": fingerprint, "name": email});
    let url = format!("{}/api/v1/licenses/activate", stack.edge());
    Request::post(&url).json(&bad).send().expect(400);
    Request::get(&format!(
        "{}/api/v1/licenses/features?token={}",
        stack.edge(),
        newer.token
    ))
    .bearer(&newer.token)
    .send();
    let tampered = format!("{}x", newer.token);
    newer.with_token(tampered).validate();
    let named = json!({"license_key": license.key, "product": license.product, "fingerprint": fingerprint, "name": email, "metadata": {"owner": email}});
    Request::post(&url).json(&named).send().expect(200);

    // Calls to the origin itself: refused, replayed, with the tokens in the wrong place.
    let caller = stack.caller();
    let call = Call::post(
        "/edge/v1/activations/refresh",
        &json!({"token": newer.token}),
    );
    let edge_token = caller.token(&caller.claims(&call));
    secrets.add_token("an edge's token", &edge_token);
    let request = caller.with_token(&call, &edge_token);
    request.send().expect(200);
    request.send().expect(401);
    let confused = format!(
        "{}{}?token={}",
        stack.origin.url(),
        call.target,
        newer.token
    );
    Request::post(&confused)
        .json(&json!({"token": newer.token}))
        .bearer(&newer.token)
        .send();

    // Without a database, and without an origin.
    stack.cluster().stop().unwrap();
    device.activate();
    caller.signed(&call).send();
    stack.cluster().restart().unwrap();
    eventually("works again", SOON, || {
        let answer = device.activate();
        if answer.status == 200 {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    });
    stack.origin.stop().unwrap();
    device.activate().expect(503);
    newer.refresh().send().expect(503);
    stack.origin.restart().unwrap();
    eventually("works again", SOON, || {
        let answer = newer.deactivate().send();
        if answer.status == 200 {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    });
    stack.license_command("revoke", &license);
    assert_eq!(
        code(&newer.validate_with(&json!({"max_staleness_s": 0}))),
        "REVOKED"
    );

    stack.worker().stop().unwrap();
    stack.origin.stop().unwrap();
    let postgres_log = stack.cluster().dir().join("postgres.log");
    let logs = [
        vec![
            stack.origin_log(),
            postgres_log,
            stack.dir().join("edge/wrangler.log"),
        ],
        files_below(&stack.dir().join("edge/wrangler-logs"), &[]),
    ]
    .concat();
    for log in &logs {
        expect_without(log, &secrets.0);
    }
    // The statements are there, so that their silence means something.
    let statements = std::fs::read_to_string(stack.cluster().dir().join("postgres.log")).unwrap();
    assert!(
        statements.contains("licet.org_id"),
        "Postgres logged no statement"
    );
}

#[test]
fn the_origin_logs_json_with_the_request_s_id_and_outcome() {
    let stack = Stack::shared();
    let license = stack.license("logs-shape", 1);
    let answer = stack.device(&license, "laptop").activate();
    let id = answer.header("x-request-id").unwrap().to_owned();
    assert_eq!(code(&answer.verdict()), "VALID");
    // The edge's request id goes through to the origin, so that one name leads to both.
    eventually("the origin's line on this request", SOON, || {
        let lines = json_lines(&stack.origin_log());
        let line = lines.iter().find(|line| line.to_string().contains(&id));
        line.map(|_| ())
            .ok_or_else(|| format!("{} lines without {id}", lines.len()))
    });
    for line in json_lines(&stack.origin_log()) {
        for member in ["timestamp", "level"] {
            assert!(line.get(member).is_some(), "no {member}: {line}");
        }
    }
}

#[test]
fn two_requests_never_have_one_id() {
    let stack = Stack::shared();
    let mut ids: Vec<_> = (0..20)
        .map(|_| {
            let answer = Request::get(&format!("{}/nowhere", stack.edge())).send();
            answer.problem(404, "NOT_FOUND")["request_id"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20);
}
