//! What can be seen of the API from outside: health, keys, lists, CORS.

use std::collections::BTreeSet;

use licet_shared::documents::{OrgKeys, StatusDocument, StatusReference};
use licet_tests::device::{Activation, code};
use licet_tests::{Answer, Request, Stack, now};
use serde_json::json;

fn get(base: &str, path: &str) -> Answer {
    Request::get(&format!("{base}{path}")).send()
}

#[test]
fn both_say_that_they_live_and_are_ready() {
    let stack = Stack::shared();
    for base in [stack.edge(), stack.origin.url()] {
        for path in ["/health/live", "/health/ready"] {
            let answer = get(&base, path).expect(200);
            answer.expect_no_cause();
        }
    }
}

#[test]
fn the_origin_is_not_ready_without_its_database_and_ready_again_with_it() {
    let mut stack = Stack::start(&licet_tests::StackOptions {
        database: licet_tests::Database::Own(xtask::postgres::Options::default()),
        worker: false,
        ..licet_tests::StackOptions::default()
    });
    let ready = || get(&stack.origin.url(), "/health/ready").status;
    assert_eq!(ready(), 200);
    let origin = stack.origin.url();
    stack.cluster().stop().unwrap();
    let unready = licet_tests::eventually("not ready", licet_tests::wait::SOON, || {
        let answer = get(&origin, "/health/ready");
        if answer.status == 503 {
            Ok(answer)
        } else {
            Err(format!("{answer:?}"))
        }
    });
    unready.expect_no_cause();
    get(&origin, "/health/live").expect(200);
    stack.cluster().restart().unwrap();
    licet_tests::eventually("ready again", licet_tests::wait::SOON, || {
        let answer = get(&origin, "/health/ready");
        if answer.status == 200 {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    });
}

#[test]
fn the_origin_counts_what_it_answers_without_naming_anybody() {
    let stack = Stack::shared();
    let license = stack.license("surface", 1);
    let activation = stack.device(&license, "counted").activated();
    stack.device(&license, "refused").activate().verdict();
    let metrics = get(&stack.origin.url(), "/metrics").expect(200).text();
    assert!(metrics.ends_with("# EOF\n"), "not OpenMetrics: {metrics}");
    for counted in ["VALID", "ACTIVATION_LIMIT"] {
        assert!(
            metrics.contains(counted),
            "{counted} is not counted: {metrics}"
        );
    }
    for name in [
        &activation.id,
        &license.id.to_string(),
        license.org.tag.as_str(),
    ] {
        assert!(!metrics.contains(name), "{name} in {metrics}");
    }
}

#[test]
fn an_organization_s_keys_and_lists_are_public_and_verify() {
    let stack = Stack::shared();
    let license = stack.license("surface", 2);
    let activation = stack.device(&license, "laptop").activated();
    assert_eq!(activation.code(), "VALID");
    let edge = stack.edge();
    let tag = license.org.tag;

    let jwks = get(&edge, &format!("/api/v1/orgs/{tag}/jwks.json"))
        .expect(200)
        .json();
    let keys = jwks["keys"].as_array().unwrap();
    assert!(!keys.is_empty(), "{jwks}");
    for key in keys {
        assert!(
            key["kid"].as_str().unwrap().starts_with(tag.as_str()),
            "{key}"
        );
        assert_eq!(
            (key["kty"].as_str(), key["crv"].as_str()),
            (Some("OKP"), Some("Ed25519"))
        );
        assert!(key.get("d").is_none(), "a private key: {key}");
    }

    // What relying parties get verifies with what they get.
    let signed = stack
        .caller()
        .get(&format!("/edge/v1/orgs/{tag}/keys"))
        .send()
        .expect(200)
        .text();
    let platform = stack.keys().platform_public.parse().unwrap();
    let org_keys = OrgKeys::verify((&signed).into(), &edge, tag, &platform, now()).unwrap();
    let kids: BTreeSet<_> = org_keys.jwks().map(|jwk| jwk.kid).collect();
    let shown: BTreeSet<_> = keys
        .iter()
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kids, shown);
    let list = get(&edge, &format!("/api/v1/orgs/{tag}/statuslists/0")).expect(200);
    assert_eq!(list.media_type(), "application/statuslist+jwt");
    let uri = StatusReference::uri(&edge, tag, 0);
    StatusDocument::verify((&list.text()).into(), &uri, &org_keys, now()).unwrap();
}

/// The words of a list header, in lower case.
fn words(answer: &Answer, name: &str) -> BTreeSet<String> {
    let value = answer.header(name).unwrap_or_default();
    value
        .split(',')
        .map(|word| word.trim().to_ascii_lowercase())
        .collect()
}

#[test]
fn a_browser_may_ask_and_read_what_the_answer_says() {
    let stack = Stack::shared();
    let activation = stack
        .device(&stack.license("surface", 2), "laptop")
        .activated();
    let url = format!("{}/api/v1/licenses", stack.edge());
    for (what, method, header) in [
        ("validate", "POST", "content-type"),
        ("activate", "POST", "idempotency-key"),
        ("features", "GET", "authorization"),
        ("features", "GET", "if-none-match"),
        ("refresh", "POST", "authorization"),
        ("deactivate", "POST", "authorization"),
    ] {
        let preflight = Request::new("OPTIONS", &format!("{url}/{what}"))
            .header("Origin", "https://app.example")
            .header("Access-Control-Request-Method", method)
            .header("Access-Control-Request-Headers", header)
            .send();
        assert!([200, 204].contains(&preflight.status), "{preflight:?}");
        assert_eq!(
            preflight.header("access-control-allow-origin"),
            Some("*"),
            "{preflight:?}"
        );
        let methods = words(&preflight, "access-control-allow-methods");
        assert!(
            methods.contains(&method.to_ascii_lowercase()),
            "{preflight:?}"
        );
        assert!(
            words(&preflight, "access-control-allow-headers").contains(header),
            "{preflight:?}"
        );
        assert!(
            preflight.header("access-control-max-age").is_some(),
            "{preflight:?}"
        );
        assert_eq!(
            preflight.header("access-control-allow-credentials"),
            None,
            "{preflight:?}"
        );
    }
    let answers = [
        from_memory(&activation, Some("https://app.example")),
        activation
            .features()
            .header("Origin", "https://app.example")
            .send(),
        Request::post(&format!("{url}/validate"))
            .header("Origin", "https://app.example")
            .body("x")
            .send(),
        Request::get(&format!("{url}/nowhere"))
            .header("Origin", "https://app.example")
            .send(),
    ];
    for answer in &answers {
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some("*"),
            "{answer:?}"
        );
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{answer:?}"
        );
        let exposed = words(answer, "access-control-expose-headers");
        for name in ["etag", "retry-after", "x-request-id"] {
            assert!(exposed.contains(name), "{name}: {answer:?}");
        }
    }
    // Who is no page gets no words for pages.
    let answer = from_memory(&activation, None);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(answer.header("x-content-type-options"), None);
}

/// A verdict that was given at once.
#[track_caller]
fn from_memory(activation: &Activation, origin: Option<&str>) -> Answer {
    let request = || {
        let url = format!("{}/api/v1/licenses/validate", activation.edge);
        let request = Request::post(&url).json(&activation.question(&json!({})));
        match origin {
            Some(origin) => request.header("Origin", origin),
            None => request,
        }
    };
    // Now and then one has to look at the feed.
    let mut answers = (0..50).map(|_| request().send());
    let answer = answers.find(|answer| answer.header("server-timing").is_none());
    let answer = answer.expect("an answer that left memory alone");
    assert_eq!(code(&answer.verdict()), "VALID");
    answer
}

#[test]
fn answers_about_a_license_are_not_for_caches() {
    let stack = Stack::shared();
    let activation = stack
        .device(&stack.license("surface", 2), "laptop")
        .activated();
    let answers = [
        from_memory(&activation, Some("https://app.example")),
        activation.features().send(),
        activation.refresh().send(),
        stack
            .device(&stack.license("surface", 2), "laptop")
            .activate(),
    ];
    for answer in &answers {
        assert_eq!(code(&answer.verdict()), "VALID");
        let control = answer.header("cache-control").unwrap_or_default();
        let kept_private = ["no-store", "private", "no-cache"]
            .iter()
            .any(|word| control.contains(word));
        assert!(kept_private, "{answer:?}");
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{answer:?}"
        );
        assert_eq!(answer.header("server"), None, "{answer:?}");
    }
}

#[test]
fn head_is_get_without_a_body() {
    let stack = Stack::shared();
    let head = Request::new("HEAD", &format!("{}/health/live", stack.edge())).send();
    assert!([200, 405].contains(&head.status), "{head:?}");
    assert!(head.body.is_empty());
}

#[test]
fn only_configured_browsers_may_ask_where_a_list_is_configured() {
    let stack = Stack::start(&licet_tests::StackOptions {
        worker_vars: vec![(
            "CORS_ORIGINS".to_owned(),
            "https://app.example,https://admin.example".to_owned(),
        )],
        ..licet_tests::StackOptions::default()
    });
    let ask = |origin: &str| {
        Request::new(
            "OPTIONS",
            &format!("{}/api/v1/licenses/validate", stack.edge()),
        )
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "POST")
        .send()
    };
    for origin in ["https://app.example", "https://admin.example"] {
        let answer = ask(origin);
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some(origin),
            "{answer:?}"
        );
        assert!(words(&answer, "vary").contains("origin"), "{answer:?}");
    }
    for origin in [
        "https://evil.example",
        "https://app.example.evil.example",
        "http://app.example",
        "null",
        "https://app.example:8443",
    ] {
        let answer = ask(origin);
        assert_eq!(
            answer.header("access-control-allow-origin"),
            None,
            "{answer:?}"
        );
    }
    let activation = stack
        .device(&stack.license("surface", 2), "laptop")
        .activated();
    assert!(words(&from_memory(&activation, None), "vary").contains("origin"));
    let url = format!("{}/api/v1/licenses/validate", stack.edge());
    let request = Request::post(&url).json(&activation.question(&json!({})));
    let answer = request.header("Origin", "https://app.example").send();
    let allowed = answer.header("access-control-allow-origin");
    assert_eq!(allowed, Some("https://app.example"), "{answer:?}");
    assert!(words(&answer, "vary").contains("origin"), "{answer:?}");
}
