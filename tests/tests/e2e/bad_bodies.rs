//! Bodies that can't be taken, at the edge and at the origin.

use licet_shared::license_key::LicenseKey;
use licet_tests::edge_caller::Call;
use std::time::{Duration, Instant};

use licet_tests::http::{send_bytes, send_bytes_within};
use licet_tests::{Request, Stack};
use serde_json::{Value, json};

use crate::bad_input::{expect_alive, license_url};

const WRITES: [&str; 2] = ["activate", "validate"];

/// A body that each of the two JSON endpoints of the edge understands.
fn good_body(what: &str) -> Value {
    match what {
        // Well-formed: a typo in the key is said first.
        "activate" => {
            let key = LicenseKey::new("ABCDEFGH".parse().unwrap(), *b"0123456789abcdef").reveal();
            json!({"license_key": key, "product": "local_cli", "fingerprint": "f"})
        }
        _ => json!({"token": "x", "product": "local_cli"}),
    }
}

#[test]
fn a_body_that_does_not_come_is_given_up_after_ten_seconds() {
    let stack = Stack::shared();
    for (length, follows) in [
        ("Content-Length: 50", false),
        // The watch over it is the other request's, which is long over by then.
        ("Content-Length: 50", true),
        ("Transfer-Encoding: chunked", false),
    ] {
        if follows {
            std::thread::sleep(Duration::from_secs(2));
            let quick = Request::post(&license_url(stack, "validate"));
            quick.json(&good_body("validate")).send().expect(200);
        }
        let bytes = format!(
            "POST /api/v1/licenses/validate HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: application/json\r\n{length}\r\n\r\n5\r\n{{\"tok\r\n"
        );
        let begin = Instant::now();
        let limit = Duration::from_secs(30);
        let answer = send_bytes_within(&stack.edge(), bytes.as_bytes(), limit).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 408"), "{length}: {answer}");
        assert!(answer.contains("REQUEST_TIMEOUT"), "{length}: {answer}");
        let took = begin.elapsed().as_secs();
        assert!((9..20).contains(&took), "{length}: {took} s");
    }
    expect_alive(stack);
}

#[test]
fn a_body_over_64_kib_is_too_large_whether_or_not_it_says_so() {
    let stack = Stack::shared();
    for what in WRITES {
        let mut body = good_body(what);
        body["product"] = json!("p".repeat(70_000));
        let announced = Request::post(&license_url(stack, what)).json(&body).send();
        announced.problem(413, "BODY_TOO_LARGE");

        // In chunks, so that no length is announced.
        let text = body.to_string();
        let mut bytes = format!(
            "POST /api/v1/licenses/{what} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        for chunk in text.as_bytes().chunks(4096) {
            bytes.push_str(&format!(
                "{:x}\r\n{}\r\n",
                chunk.len(),
                std::str::from_utf8(chunk).unwrap()
            ));
        }
        bytes.push_str("0\r\n\r\n");
        let answer = send_bytes(&stack.edge(), bytes.as_bytes()).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 413"), "{what}: {answer}");
        assert!(answer.contains("BODY_TOO_LARGE"), "{what}: {answer}");
    }
    // The limit itself is not over it: it is some field that is too long.
    let mut body = good_body("validate");
    body["token"] = json!("t".repeat(64 * 1024 - 60));
    assert!(body.to_string().len() <= 64 * 1024);
    let verdict = Request::post(&license_url(stack, "validate"))
        .json(&body)
        .send()
        .verdict();
    assert_eq!(verdict["code"], "MALFORMED");
    expect_alive(stack);
}

#[test]
fn a_body_that_is_not_declared_as_json_is_an_unsupported_media_type() {
    let stack = Stack::shared();
    for what in WRITES {
        let post = || Request::post(&license_url(stack, what)).body(good_body(what).to_string());
        post().send().problem(415, "UNSUPPORTED_MEDIA_TYPE");
        for declared in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/jsonp",
            "application/json5",
            "text/json",
            "application",
            "",
            "json",
            "*/*",
        ] {
            let answer = post().header("Content-Type", declared).send();
            answer.problem(415, "UNSUPPORTED_MEDIA_TYPE");
        }
        for declared in [
            "application/json",
            "application/json; charset=utf-8",
            "Application/JSON;charset=UTF-8",
        ] {
            let answer = post().header("Content-Type", declared).send();
            assert_ne!(answer.status, 415, "{declared}: {answer:?}");
        }
    }
}

/// Bodies that can't be taken, and what the answer must name.
fn broken(what: &str) -> Vec<(Vec<u8>, &'static str)> {
    let with = |name: &str, value: Value| {
        let mut body = good_body(what);
        body[name] = value;
        body.to_string().into_bytes()
    };
    let without = |name: &str| {
        let mut body = good_body(what);
        body.as_object_mut().unwrap().remove(name);
        body.to_string().into_bytes()
    };
    let text = good_body(what).to_string();
    let mut cases: Vec<(Vec<u8>, &'static str)> = vec![
        (Vec::new(), ""),
        (b"{".to_vec(), ""),
        (b"null".to_vec(), ""),
        (b"[]".to_vec(), ""),
        (b"\"text\"".to_vec(), ""),
        (b"{}".to_vec(), "missing field"),
        (b"\xff\xfe{}".to_vec(), ""),
        (b"{\"product\":\"\xc3\x28\"}".to_vec(), ""),
        (format!("{text} {text}").into_bytes(), ""),
        (
            text.replacen('{', "{\"product\":\"twice\",", 1)
                .into_bytes(),
            "product",
        ),
        (text.replace('"', "'").into_bytes(), ""),
        ("[".repeat(60_000).into_bytes(), ""),
        (
            format!("{{\"a\":{}", "{\"a\":".repeat(10_000)).into_bytes(),
            "",
        ),
        (with("colour", json!("red")), "colour"),
        (with("__proto__", json!({})), "__proto__"),
        (without("product"), "product"),
        (with("product", json!(7)), "product"),
        (with("product", json!(null)), "product"),
        (with("product", json!("")), "product"),
        (with("product", json!("p".repeat(1025))), "product"),
        (with("product", json!("nul \0 inside")), "product"),
        (with("fingerprint", json!(["f"])), "fingerprint"),
        (with("fingerprint", json!("")), "fingerprint"),
        (with("fingerprint", json!("f".repeat(1025))), "fingerprint"),
        (with("fingerprint", json!("\0")), "fingerprint"),
        (with("fingerprints", json!(["f"])), "fingerprints"),
        (with("fingerprints", json!({})), "fingerprints"),
        (with("fingerprints", json!({"A": "f"})), "fingerprints"),
        (with("fingerprints", json!({"a": "\0"})), "fingerprints"),
        (with("fingerprints", json!({"a": {}})), "fingerprints"),
    ];
    match what {
        "activate" => cases.extend([
            (without("license_key"), "license_key"),
            (with("license_key", json!({})), "license_key"),
            (with("name", json!("n".repeat(1025))), "name"),
            (with("name", json!("\0")), "name"),
            (with("metadata", json!("text")), "metadata"),
            (with("metadata", json!([])), "metadata"),
            (with("metadata", json!({"a": "x".repeat(4096)})), "metadata"),
            (with("metadata", json!({"a": "\0"})), "metadata"),
            (with("metadata", json!({"\0": 1})), "metadata"),
            (with("metadata", nested(200)), "metadata"),
        ]),
        _ => cases.extend([
            (without("token"), "token"),
            (with("token", json!(5)), "token"),
            (with("require", json!("export.pdf")), "require"),
            (with("require", json!([1])), "require"),
            (with("require", json!(vec!["f"; 65])), "require"),
            (with("require", json!([""])), "require"),
            (with("released_at", json!("yesterday")), "released_at"),
            (with("released_at", json!(1)), "released_at"),
            (with("max_staleness_s", json!(-1)), "max_staleness_s"),
            (with("max_staleness_s", json!(1.5)), "max_staleness_s"),
            (with("max_staleness_s", json!("0")), "max_staleness_s"),
            (
                with("max_staleness_s", json!(1_u64 << 40)),
                "max_staleness_s",
            ),
        ]),
    }
    cases
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!({"a": 1}), |inner, _| json!({"a": inner}))
}

#[test]
fn a_body_that_can_t_be_understood_is_a_problem_that_names_the_field() {
    let stack = Stack::shared();
    for what in WRITES {
        for (body, field) in broken(what) {
            let shown = String::from_utf8_lossy(&body)
                .chars()
                .take(120)
                .collect::<String>();
            let request = Request::post(&license_url(stack, what));
            let answer = request
                .header("Content-Type", "application/json")
                .body(body)
                .send();
            assert_eq!(answer.status, 400, "{what} {shown}: {answer:?}");
            answer.bad_request(field);
        }
    }
    expect_alive(stack);
}

#[test]
fn the_origin_names_the_field_as_well() {
    let stack = Stack::shared();
    let caller = stack.caller();
    let post = |path: &str, body: &[u8], media_type: Option<&str>| {
        let call = Call {
            body: body.to_vec(),
            ..Call::post(path, &Value::Null)
        };
        let token = caller.token(&caller.claims(&call));
        let mut request = Request::post(&format!("{}{path}", stack.origin.url()))
            .body(body)
            .bearer(&token);
        if let Some(media_type) = media_type {
            request = request.header("Content-Type", media_type);
        }
        request.send()
    };
    let activations = "/edge/v1/activations";
    for (body, field) in broken("activate") {
        let answer = post(activations, &body, Some("application/json"));
        assert_eq!(
            answer.status,
            400,
            "{}: {answer:?}",
            String::from_utf8_lossy(&body)
        );
        answer.bad_request(field);
    }
    for path in [
        "/edge/v1/activations/refresh",
        "/edge/v1/activations/deactivate",
    ] {
        for (body, field) in [
            (&b""[..], ""),
            (&b"{"[..], ""),
            (&b"{}"[..], "token"),
            (&b"{\"token\":7}"[..], "token"),
            (&b"{\"token\":\"x\",\"more\":1}"[..], "more"),
            (&b"\xff"[..], ""),
        ] {
            post(path, body, Some("application/json")).bad_request(field);
        }
    }
    for path in [
        activations,
        "/edge/v1/activations/refresh",
        "/edge/v1/activations/deactivate",
    ] {
        post(path, b"{}", None).problem(415, "UNSUPPORTED_MEDIA_TYPE");
        post(path, b"{}", Some("text/plain")).problem(415, "UNSUPPORTED_MEDIA_TYPE");
        let large = format!("{{\"token\":\"{}\"}}", "t".repeat(70_000));
        post(path, large.as_bytes(), Some("application/json")).problem(413, "BODY_TOO_LARGE");
    }
    expect_alive(stack);
}

#[test]
fn what_is_no_utf_8_is_no_body_though_the_token_is_known() {
    let stack = Stack::shared();
    let device = stack.device(&stack.license("bad-input", 20), "Müller's laptop");
    let activation = device.activated();
    let ask = |body: Vec<u8>| {
        let request = Request::post(&license_url(stack, "validate"));
        let request = request.header("Content-Type", "application/json");
        request.body(body).send()
    };
    let good = activation.question(&json!({})).to_string();
    // More than once: the second is answered from memory.
    for _ in 0..3 {
        assert_eq!(ask(good.clone().into()).verdict()["code"], "VALID");
    }
    let umlaut = good.find('ü').unwrap();
    let with = |bytes: &[u8]| {
        let (head, tail) = (&good.as_bytes()[..umlaut], &good.as_bytes()[umlaut + 2..]);
        [head, bytes, tail].concat()
    };
    for bytes in [&b"\xff"[..], b"\xfc", b"\xc3", b"\xed\xa0\x80", b"\xc0\xbc"] {
        ask(with(bytes)).bad_request("");
    }
    let marked = [&b"\xef\xbb\xbf"[..], good.as_bytes()].concat();
    ask(marked).bad_request("");
    for character in ["ue", "\u{fffd}", "\u{10ffff}"] {
        let answer = ask(with(character.as_bytes()));
        assert_eq!(answer.verdict()["code"], "FINGERPRINT_MISMATCH");
    }
}

#[test]
fn odd_but_proper_texts_are_kept_as_they_are() {
    let stack = Stack::shared();
    let license = stack.license("bad-input", 20);
    let texts = [
        "🦀 crab",
        "a'b\"c\\d",
        "'; DROP TABLE licet.licenses; --",
        "${jndi:ldap://x}",
        "\u{202e}rtl",
        "é".repeat(512).as_str(),
        "tab\tand\nline",
        "%00%0a",
        "\u{feff}",
        "{{7*7}}",
        "<script>alert(1)</script>",
    ]
    .map(str::to_owned);
    for text in &texts {
        let body = json!({
            "license_key": license.key, "product": license.product, "fingerprint": text,
            "name": text, "metadata": {"text": text, "nested": {"list": [1, null, true, text]}},
        });
        let answer = Request::post(&license_url(stack, "activate"))
            .json(&body)
            .send();
        let device = stack.device(&license, text);
        let activation = device.activation_in(&answer);
        assert_eq!(activation.code(), "VALID", "{text:?}");
    }
    let sql = stack.superuser();
    let id = license.uuid();
    let names = sql.column(&format!(
        "SELECT name FROM licet.activations WHERE license_id = '{id}' ORDER BY created_at"
    ));
    assert_eq!(names, texts);
    let same = sql.number(&format!(
        "SELECT count(*) FROM licet.activations WHERE license_id = '{id}' AND metadata->>'text' = name"
    ));
    assert_eq!(usize::try_from(same).unwrap(), texts.len());
}
