//! `openapi.json` against what is really answered.

use std::collections::BTreeSet;

use licet_shared::decision::Code;
use licet_shared::problem::{Problem, ProblemCode};
use licet_tests::{Activation, Answer, License, Request, Stack, schema};
use serde_json::{Value, json};

fn get(base: &str, path: &str) -> Answer {
    Request::get(&format!("{base}{path}")).send()
}

fn document(stack: &Stack) -> Value {
    get(&stack.edge(), "/openapi.json").expect(200).json()
}

/// Methods that OpenAPI can name.
const METHODS: [&str; 7] = ["get", "put", "post", "delete", "patch", "head", "trace"];

/// The edge's operations by the design, in the spelling of the document.
const DESIGNED: [(&str, &str); 18] = [
    ("post", "/api/v1/licenses/validate"),
    ("get", "/api/v1/licenses/features"),
    ("post", "/api/v1/licenses/activate"),
    ("post", "/api/v1/licenses/refresh"),
    ("post", "/api/v1/licenses/deactivate"),
    ("get", "/api/v1/orgs/{tag}/jwks.json"),
    ("get", "/api/v1/orgs/{tag}/statuslists/{number}"),
    ("get", "/health/live"),
    ("get", "/health/ready"),
    ("get", "/openapi.json"),
    ("get", "/problems/{code}"),
    ("post", "/api/v1/licenses/acquire"),
    ("post", "/api/v1/licenses/heartbeat"),
    ("post", "/api/v1/licenses/release"),
    ("post", "/api/v1/licenses/consume"),
    ("post", "/api/v1/licenses/checkout"),
    ("post", "/api/v1/licenses/activate-offline"),
    ("post", "/api/v1/licenses/deactivate-offline"),
];

#[test]
fn openapi_names_every_route_that_answers_and_every_route_it_names_answers() {
    let stack = Stack::shared();
    let license = stack.license("openapi", 2);
    stack.device(&license, "laptop").activated();
    let document = document(stack);
    let version = document["openapi"].as_str().unwrap();
    assert!(version.starts_with("3.1"), "{version}");
    let named: BTreeSet<_> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let there = METHODS.iter().filter(|method| item.get(**method).is_some());
            there.map(|method| (*method, path.as_str()))
        })
        .collect();
    assert_eq!(named, BTreeSet::from(DESIGNED));

    for path in named.iter().map(|(_, path)| *path).collect::<BTreeSet<_>>() {
        let url = path
            .replace("{tag}", license.org.tag.as_str())
            .replace("{number}", "0")
            .replace("{code}", "not-found");
        for method in METHODS {
            let answer =
                Request::new(&method.to_uppercase(), &format!("{}{url}", stack.edge())).send();
            if named.contains(&(method, path)) {
                // Without a body or a token some are refused, but by somebody who knows the route.
                assert!(![404, 405, 501].contains(&answer.status), "{answer:?}");
            } else if !["head", "trace"].contains(&method) {
                // HEAD is GET without a body (RFC 9110 §9.3.2), and TRACE is nobody's to send.
                assert_eq!(answer.status, 405, "{answer:?}");
            }
        }
    }
}

#[test]
fn answers_are_as_openapi_describes_them() {
    let stack = Stack::shared();
    let license = stack.license("openapi", 1);
    let activation = stack.device(&license, "described").activated();
    let document = document(stack);
    let mut errors = Vec::new();
    for (method, path, answer) in samples(stack, &license, &activation) {
        if let Err(error) = schema::check(&document, method, path, &answer) {
            errors.push(error);
        }
    }
    assert!(errors.is_empty(), "{errors:#?}");
}

/// Answers of every kind that can be had without harm to others.
fn samples(
    stack: &Stack,
    license: &License,
    activation: &Activation,
) -> Vec<(&'static str, &'static str, Answer)> {
    let [
        validate,
        features,
        activate,
        refresh,
        deactivate,
        jwks,
        lists,
        live,
        ready,
        ..,
    ] = DESIGNED;
    let [.., consume, check_out, activate_offline, deactivate_offline] = DESIGNED;
    let url = |path: &str| format!("{}{path}", stack.edge());
    let tag = license.org.tag;
    let of = |(method, path): (&'static str, &'static str), answer: Answer| (method, path, answer);
    let mut all = vec![
        of(validate, activation.ask(&json!({}))),
        of(validate, activation.ask(&json!({"product": "other"}))),
        of(validate, activation.with_token("x").ask(&json!({}))),
        of(
            validate,
            activation.ask(&json!({"max_staleness_s": 0, "require": ["none"]})),
        ),
        of(activate, stack.device(license, "described").activate()),
        of(
            activate,
            stack.device(license, "beyond the limit").activate(),
        ),
        of(
            activate,
            stack.device(license, "x").typing("typo").activate(),
        ),
        of(features, activation.features().send()),
        of(features, Request::get(&url(features.1)).send()),
        of(refresh, activation.refresh().send()),
        of(refresh, Request::post(&url(refresh.1)).send()),
        of(deactivate, Request::post(&url(deactivate.1)).send()),
        of(
            jwks,
            get(&stack.edge(), &format!("/api/v1/orgs/{tag}/jwks.json")),
        ),
        of(jwks, get(&stack.edge(), "/api/v1/orgs/00000000/jwks.json")),
        of(
            lists,
            get(&stack.edge(), &format!("/api/v1/orgs/{tag}/statuslists/0")),
        ),
        of(
            lists,
            get(
                &stack.edge(),
                &format!("/api/v1/orgs/{tag}/statuslists/9999"),
            ),
        ),
        of(live, get(&stack.edge(), live.1)),
        of(ready, get(&stack.edge(), ready.1)),
    ];
    let uses = json!({"uses": [{"feature": "none", "amount": 1}]});
    let used = || Request::post(&url(consume.1)).bearer(&activation.token);
    for used in [used().json(&uses), used().json(&json!({})), used()] {
        all.push(of(consume, used.send()));
    }
    all.push(of(
        consume,
        Request::post(&url(consume.1)).json(&uses).send(),
    ));
    let etag = activation.features().send();
    let etag = etag.header("etag").unwrap();
    all.push(of(
        features,
        activation.features().header("If-None-Match", etag).send(),
    ));
    for route in [
        validate,
        activate,
        check_out,
        activate_offline,
        deactivate_offline,
    ] {
        all.push(of(
            route,
            Request::post(&url(route.1)).json(&json!({})).send(),
        ));
        all.push(of(route, Request::post(&url(route.1)).body("{}").send()));
        all.push(of(
            route,
            Request::post(&url(route.1))
                .json(&json!("x".repeat(70_000)))
                .send(),
        ));
    }
    let keyed = |name: &str| {
        stack
            .device(license, name)
            .request()
            .header("Idempotency-Key", format!("openapi-{tag}"))
    };
    let file = |token: &str| {
        let request = Request::post(&url(check_out.1));
        of(check_out, request.json(&json!({ "token": token })).send())
    };
    all.extend([file("x"), file(&activation.token)]);
    stack.superuser().rows(&format!(
        "UPDATE licet.licenses SET terms = '{{\"offline_max_s\": 60}}' WHERE id = '{}'",
        license.uuid()
    ));
    all.push(file(&activation.token));
    keyed("described").send();
    all.push(of(activate, keyed("another").send()));
    // Last, for it ends the activation.
    all.push(of(deactivate, activation.deactivate().send()));
    all.push(of(validate, activation.ask(&json!({}))));
    all.push(of(features, activation.features().send()));
    all
}

#[test]
fn openapi_resolves_in_itself_and_names_every_code() {
    let document = document(Stack::shared());
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#');
        let found = pointer.and_then(|pointer| document.pointer(pointer));
        assert!(found.is_some(), "{reference} leads nowhere");
    }
    let text = document.to_string();
    let codes = Code::ALL.iter().map(|code| code.as_str());
    for code in codes.chain(ProblemCode::ALL.iter().map(|code| code.as_str())) {
        assert!(text.contains(&format!("\"{code}\"")), "{code} is not named");
    }
}

fn collect_references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), member) {
                    ("$ref", Value::String(reference)) => found.push(reference.clone()),
                    _ => collect_references(member, found),
                }
            }
        }
        Value::Array(items) => items
            .iter()
            .for_each(|item| collect_references(item, found)),
        _ => {}
    }
}

#[test]
fn the_type_of_every_problem_leads_to_its_page() {
    let edge = Stack::shared().edge();
    for code in ProblemCode::ALL {
        let problem = Problem::new(*code, "detail", "request");
        let page = get(&edge, &problem.type_).expect(200);
        assert!(page.text().contains(code.as_str()), "{page:?}");
    }
    get(&edge, "/problems/no-such-problem").problem(404, "NOT_FOUND");
}
