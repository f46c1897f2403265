//! Requests that nobody should send, at the edge and at the origin. Bodies: `bad_bodies.rs`.

use licet_tests::device::code;
use licet_tests::http::send_bytes;
use licet_tests::{Answer, LoneEdge, Request, Stack};
use serde_json::json;

pub(super) fn license_url(stack: &Stack, what: &str) -> String {
    format!("{}/api/v1/licenses/{what}", stack.edge())
}

/// The edge is as alive as before.
#[track_caller]
pub(super) fn expect_alive(stack: &Stack) {
    Request::get(&format!("{}/health/ready", stack.edge()))
        .send()
        .expect(200);
    Request::get(&format!("{}/health/ready", stack.origin.url()))
        .send()
        .expect(200);
}

#[test]
fn what_is_no_token_is_malformed() {
    let stack = Stack::shared();
    let good = stack
        .device(&stack.license("bad-input", 1), "laptop")
        .activated();
    let long = format!("{}{}", good.token, "A".repeat(8 * 1024));
    let texts = [
        "",
        "x",
        ".",
        "..",
        "...",
        "a.b.c",
        "é.é.é",
        "\u{0}",
        " ",
        "null",
        "{}",
        &good.token[1..],
        &format!("{}.", good.token),
        &format!(".{}", good.token),
        &format!("{} ", good.token),
        &format!("{}=", good.token),
        &good.token.replace('.', ":"),
        &good.token.replacen('.', "..", 1),
        &long,
        &"A".repeat(60_000),
        &".".repeat(60_000),
    ];
    for text in texts {
        let verdict = good.with_token(text).validate();
        let shown = text.chars().take(60).collect::<String>();
        assert_eq!(verdict["code"], "MALFORMED", "{shown}: {verdict}");
        assert_eq!(verdict["valid"], false);
        assert!(
            verdict.get("license").is_none() && verdict.get("freshness").is_none(),
            "{verdict}"
        );
    }
    assert_eq!(good.code(), "VALID");
}

#[test]
fn a_bearer_token_that_is_none_is_refused_everywhere() {
    let stack = Stack::shared();
    let routes = [
        ("GET", "features"),
        ("POST", "refresh"),
        ("POST", "deactivate"),
    ];
    for (method, what) in routes {
        let request = || Request::new(method, &license_url(stack, what));
        for (name, value) in [
            ("X-Nothing", "at all"),
            ("Authorization", ""),
            ("Authorization", "Bearer"),
            ("Authorization", "Basic dXNlcjpwYXNz"),
        ] {
            let answer = request().header(name, value).send();
            answer.problem(401, "UNAUTHORIZED");
            assert!(
                answer
                    .header("www-authenticate")
                    .is_some_and(|v| v.starts_with("Bearer")),
                "{answer:?}"
            );
        }
        for token in ["x", "a.b.c", &"A".repeat(9000)] {
            let answer = request().bearer(token).send();
            match answer.status {
                200 => assert_eq!(code(&answer.verdict()), "MALFORMED", "{what}: {answer:?}"),
                _ => drop(answer.problem(401, "UNAUTHORIZED")),
            }
        }
    }
}

#[test]
fn a_mistyped_license_key_is_told_by_the_edge_without_the_origin() {
    let edge = LoneEdge::start();
    let org = edge.org();
    let good = licet_shared::license_key::LicenseKey::new(org.tag, *b"0123456789abcdef").reveal();
    let swapped = {
        let mut chars: Vec<_> = good.chars().collect();
        let place =
            (10..20).find(|i| chars[*i] != chars[i + 1] && chars[*i] != '-' && chars[i + 1] != '-');
        chars.swap(place.unwrap(), place.unwrap() + 1);
        chars.into_iter().collect::<String>()
    };
    let mistyped = [
        "",
        "-",
        "hello",
        "licet_sk_123",
        &good[1..],
        &good[..good.len() - 1],
        &format!("{good}0"),
        &good.replacen(|c: char| c.is_ascii_digit(), "U", 1),
        &swapped,
        &"0".repeat(37),
        &"é".repeat(37),
        &"A".repeat(60_000),
    ];
    for key in mistyped {
        let body = json!({"license_key": key, "product": "local_cli", "fingerprint": "f"});
        let answer = Request::post(&format!("{}/api/v1/licenses/activate", edge.url()))
            .json(&body)
            .send();
        answer.problem(422, "LICENSE_KEY_MALFORMED");
        let shown = key.chars().take(45).collect::<String>();
        assert!(
            key.len() < 8 || !answer.text().contains(key),
            "repeats {shown}: {answer:?}"
        );
    }
    assert!(
        edge.origin.take_received().is_empty(),
        "the origin was asked"
    );

    // It listens, as a well-typed key shows.
    let body = json!({"license_key": good, "product": "local_cli", "fingerprint": "f"});
    Request::post(&format!("{}/api/v1/licenses/activate", edge.url()))
        .json(&body)
        .send();
    assert!(
        !edge.origin.take_received().is_empty(),
        "the origin was not asked"
    );
}

#[test]
fn unknown_paths_and_wrong_methods_are_problems_at_both() {
    let stack = Stack::shared();
    for base in [stack.edge(), stack.origin.url()] {
        for path in [
            "/",
            "/api",
            "/api/v1",
            "/api/v1/licence",
            "/api/v1/licenses/",
            "/api/v1/licenses/validate/",
            "/api/v2/licenses/validate",
            "/API/v1/licenses/validate",
            "/.env",
            "/../etc/passwd",
            "/.licet-documents/v1/orgs/00000000/keys",
            "/index.html",
            "/api/v1/orgs/x/jwks.json/",
            "//health/live",
            "/%00",
            "/%ff",
        ] {
            for method in ["GET", "POST"] {
                let answer = Request::new(method, &format!("{base}{path}")).send();
                // Clients and servers may tidy a path up, but not into something that answers.
                answer.problem(404, "NOT_FOUND");
            }
        }
        let answer = Request::new("DELETE", &format!("{base}/health/live")).send();
        expect_allow(&answer, "GET");
    }
    // Vendors' business is the origin's alone; and a path counts as it is written.
    for path in ["licenses", "products", "auth/login", "licenses/%76alidate"] {
        let answer = Request::get(&format!("{}/api/v1/{path}", stack.edge())).send();
        answer.problem(404, "NOT_FOUND");
    }
    for (path, allowed, wrong) in [
        ("validate", "POST", "GET"),
        ("activate", "POST", "PUT"),
        ("refresh", "POST", "GET"),
        ("deactivate", "POST", "DELETE"),
        ("features", "GET", "POST"),
        ("features", "GET", "PATCH"),
    ] {
        expect_allow(
            &Request::new(wrong, &license_url(stack, path)).send(),
            allowed,
        );
    }
    expect_allow(
        &Request::post(&format!("{}/api/v1/orgs/00000000/jwks.json", stack.edge())).send(),
        "GET",
    );
    let origin = stack.origin.url();
    expect_allow(
        &Request::get(&format!("{origin}/edge/v1/activations")).send(),
        "POST",
    );
    expect_allow(
        &Request::post(&format!("{origin}/edge/v1/orgs/00000000/keys")).send(),
        "GET",
    );
}

#[track_caller]
fn expect_allow(answer: &Answer, method: &str) {
    answer.problem(405, "METHOD_NOT_ALLOWED");
    let allow = answer.header("allow").unwrap_or_default();
    assert!(
        allow.split(',').any(|one| one.trim() == method),
        "{answer:?}"
    );
}

#[test]
fn documents_that_do_not_exist_are_not_found() {
    let stack = Stack::shared();
    let license = stack.license("bad-input", 1);
    stack.device(&license, "laptop").activated();
    let tag = license.org.tag;
    let edge = stack.edge();
    for path in [
        "orgs/00000000/jwks.json".to_owned(),
        format!("orgs/{}/jwks.json", tag.as_str().to_lowercase()),
        "orgs/..%2F..%2Fkeys/jwks.json".to_owned(),
        "orgs/x/jwks.json".to_owned(),
        format!("orgs/{tag}/statuslists/99999"),
        format!("orgs/{tag}/statuslists/-1"),
        format!("orgs/{tag}/statuslists/00"),
        format!("orgs/{tag}/statuslists/+0"),
        format!("orgs/{tag}/statuslists/0x0"),
        format!("orgs/{tag}/statuslists/4294967296"),
        format!("orgs/{tag}/statuslists/"),
    ] {
        Request::get(&format!("{edge}/api/v1/{path}"))
            .send()
            .problem(404, "NOT_FOUND");
    }
    let caller = stack.caller();
    for path in [
        "orgs/00000000/keys".to_owned(),
        "orgs/x/keys".to_owned(),
        format!("orgs/{tag}/statuslists/99999"),
        format!("orgs/{tag}/statuslists/-1"),
        format!("orgs/{tag}/statuslists/00"),
        format!("orgs/{tag}/feature-sets/x"),
        format!("orgs/{tag}/feature-sets/fs_7zzzzzzzzzzzzzzzzzzzzzzzzz"),
    ] {
        caller
            .get(&format!("/edge/v1/{path}"))
            .send()
            .problem(404, "NOT_FOUND");
    }
}

#[test]
fn junk_in_headers_does_no_harm() {
    let stack = Stack::shared();
    let activation = stack
        .device(&stack.license("bad-input", 1), "laptop")
        .activated();
    let validate =
        || Request::post(&license_url(stack, "validate")).json(&activation.question(&json!({})));
    for (name, value) in [
        ("X-Junk", "\u{1}\u{7f}".to_owned()),
        ("X-Junk", "é".repeat(100)),
        ("If-None-Match", "\"".to_owned()),
        ("If-None-Match", ",".repeat(2000)),
        ("Accept", "text/html".to_owned()),
        ("Accept-Encoding", "nonsense".to_owned()),
        ("Origin", "null".to_owned()),
        ("Range", "bytes=0-1,2-".to_owned()),
        ("Content-Encoding", "gzip".to_owned()),
        ("Idempotency-Key", "k".repeat(5000)),
        ("Idempotency-Key", String::new()),
        ("Cookie", "a=b; ".repeat(500)),
        ("Traceparent", "not-a-trace".to_owned()),
    ] {
        let answer = validate().header(name, value).send();
        // workerd may refuse what is no header at all; ours is a verdict or a complete problem.
        match answer.status {
            200 => assert_eq!(code(&answer.verdict()), "VALID", "{name}: {answer:?}"),
            400 if answer.media_type() != "application/problem+json" => answer.expect_no_cause(),
            400 => drop(answer.problem(400, "BAD_REQUEST")),
            415 => drop(answer.problem(415, "UNSUPPORTED_MEDIA_TYPE")),
            _ => panic!("{name}: {answer:?}"),
        }
    }
    for (i, request) in [activation.features(), activation.refresh()]
        .iter()
        .enumerate()
    {
        for length in [9_000, 60_000] {
            let answer = request.clone().header("X-Long", "x".repeat(length)).send();
            assert!(
                [200, 400, 431].contains(&answer.status),
                "{i} {length}: {}",
                answer.status
            );
            answer.expect_no_cause();
        }
    }
    expect_alive(stack);
}

#[test]
fn an_idempotency_key_that_can_t_be_one_is_a_bad_request() {
    let stack = Stack::shared();
    let license = stack.license("bad-input", 2);
    for key in ["k".repeat(256), "é".to_owned(), String::new()] {
        let request = stack.device(&license, "laptop").request();
        let answer = request.header("Idempotency-Key", key.as_str()).send();
        answer.problem(400, "BAD_REQUEST");
    }
    assert_eq!(stack.seats_taken(&license), 0);
    let longest = "k".repeat(255);
    let answer = stack
        .device(&license, "laptop")
        .request()
        .header("Idempotency-Key", longest)
        .send();
    assert_eq!(code(&answer.verdict()), "VALID");
}

#[test]
fn what_is_not_http_does_no_harm() {
    let stack = Stack::shared();
    for base in [stack.edge(), stack.origin.url()] {
        for bytes in [
            &b"\0\0\0\0\r\n\r\n"[..],
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"POST /api/v1/licenses/validate HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\nConnection: close\r\n\r\n",
            b"POST /api/v1/licenses/validate HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello!",
            b"POST /api/v1/licenses/validate HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
            b"GET /health/live HTTP/1.1\r\nHost : x\r\nConnection: close\r\n\r\n",
        ] {
            let answer = send_bytes(&base, bytes).unwrap_or_default();
            let text = String::from_utf8_lossy(&answer).to_lowercase();
            for cause in ["panicked", "/work", ".rs:", "backtrace"] {
                assert!(!text.contains(cause), "{cause} in {text}");
            }
        }
    }
    expect_alive(stack);
}
