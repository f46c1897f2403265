//! Bad input and too much of it.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{Method, Request},
};
use licet_origin::{db::DatabaseSettings, http::StateSettings};
use serde_json::json;

use super::support::{
    Bed, BedOptions, TestDatabase,
    edge::{ACTIVATE, Call, activation},
    sql::begin,
};

fn body(call: Call, json: &str) -> Call {
    // Signed anew over the new body.
    let mut new = Call::new(call.method, &call.target, json.as_bytes().to_vec());
    new.headers = call.headers;
    new
}

#[tokio::test]
async fn bodies_that_cannot_be_taken_say_why() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    let good = activation(&seeded.key, "one");
    for (json, code, detail) in [
        ("{", "BAD_REQUEST", "EOF"),
        ("[]", "BAD_REQUEST", "invalid"),
        ("", "BAD_REQUEST", "EOF"),
        (
            r#"{"license_key":"k","fingerprint":"f"}"#,
            "BAD_REQUEST",
            "product",
        ),
        (
            r#"{"license_key":"k","product":"p","fingerprints":{"A":"x"}}"#,
            "BAD_REQUEST",
            "fingerprints: must have names",
        ),
        (
            r#"{"license_key":"k","product":"p","fingerprint":7}"#,
            "BAD_REQUEST",
            "fingerprint: invalid type",
        ),
        (
            r#"{"license_key":"k","product":"p","fingerprint":"f","colour":1}"#,
            "BAD_REQUEST",
            "colour",
        ),
        (
            r#"{"license_key":"k","product":"p","fingerprint":""}"#,
            "BAD_REQUEST",
            "fingerprint: must not be empty",
        ),
        (
            r#"{"license_key":"k","product":"p","fingerprint":"a\u0000b"}"#,
            "BAD_REQUEST",
            "U+0000",
        ),
        (
            r#"{"license_key":"k","product":"p","fingerprint":"f"}"#,
            "LICENSE_KEY_MALFORMED",
            "letters and digits",
        ),
    ] {
        let reply = bed.call(body(good.clone(), json)).await;
        let problem = reply.problem();
        assert_eq!(problem.code.as_str(), code, "{json}");
        assert!(
            problem.detail.contains(detail),
            "{json}: {}",
            problem.detail
        );
    }
    for target in [
        super::support::edge::REFRESH,
        super::support::edge::DEACTIVATE,
    ] {
        let reply = bed.call(Call::post(target, &json!({ "tokens": 1 }))).await;
        assert!(
            reply.problem().detail.contains("tokens"),
            "{}",
            reply.text()
        );
    }
}

#[tokio::test]
async fn the_content_type_must_be_json() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    for (content_type, taken) in [
        (None, false),
        (Some("text/plain"), false),
        (Some("application/x-www-form-urlencoded"), false),
        (Some("application/json"), true),
        (Some("Application/JSON; charset=utf-8"), true),
    ] {
        let mut call = activation(&seeded.key, "one");
        call.headers = content_type
            .map(|value| ("content-type", value.to_owned()))
            .into_iter()
            .collect();
        let reply = bed.call(call).await;
        if taken {
            assert!(reply.answer().valid);
        } else {
            assert_eq!(reply.code(), "UNSUPPORTED_MEDIA_TYPE", "{content_type:?}");
        }
    }
}

#[tokio::test]
async fn a_body_may_have_64_kib() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    let json = serde_json::to_string(&json!({
        "license_key": seeded.key, "product": "local_cli", "fingerprint": "one",
    }))
    .unwrap();
    let padded = |length: usize| format!("{json}{}", " ".repeat(length - json.len()));
    let good = activation(&seeded.key, "one");
    assert!(
        bed.call(body(good.clone(), &padded(65_536)))
            .await
            .answer()
            .valid
    );
    assert_eq!(
        bed.call(body(good.clone(), &padded(65_537))).await.code(),
        "BODY_TOO_LARGE"
    );

    // Not declared beforehand, or declared and never sent.
    let big = body(good, &padded(70_000));
    let bytes = big.body.clone();
    let mut chunked = big.clone().request();
    let chunks = bytes
        .chunks(1000)
        .map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec()))
        .collect::<Vec<_>>();
    *chunked.body_mut() = Body::from_stream(futures_util::stream::iter(chunks));
    assert_eq!(bed.send(chunked).await.code(), "BODY_TOO_LARGE");
    let mut declared = big.request();
    declared
        .headers_mut()
        .insert("content-length", "70000".parse().unwrap());
    *declared.body_mut() = Body::empty();
    assert_eq!(bed.send(declared).await.code(), "BODY_TOO_LARGE");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let bed = Bed::new();
    for target in [
        "/",
        "/nope",
        "/edge/v1",
        "/edge/v1/",
        "/edge/v1/activations/",
        "/edge/v1/activations/nope",
        "/api/v1/nope",
        "/%ff",
    ] {
        let reply = bed
            .send(Request::get(target).body(Body::empty()).unwrap())
            .await;
        assert_eq!(reply.code(), "NOT_FOUND", "{target}");
    }
    for (method, target, allowed) in [
        (Method::GET, ACTIVATE, "POST"),
        (Method::DELETE, "/edge/v1/orgs/ABCDEFGH/keys", "GET,HEAD"),
        (Method::POST, "/health/live", "GET,HEAD"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .body(Body::empty())
            .unwrap();
        let reply = bed.send(request).await;
        assert_eq!(
            (reply.code(), reply.header("allow")),
            ("METHOD_NOT_ALLOWED", allowed),
            "{target}"
        );
    }
    let reply = bed.call(Call::get("/edge/v1/orgs/%ff/keys")).await;
    assert!(reply.status.is_client_error());
    reply.problem();
}

#[tokio::test]
async fn health_and_metrics_need_nobody() {
    let bed = Bed::new();
    let get = |target: &str| bed.send(Request::get(target).body(Body::empty()).unwrap());
    assert_eq!(get("/health/live").await.text(), r#"{"status":"live"}"#);
    assert_eq!(get("/health/ready").await.text(), r#"{"status":"ready"}"#);
    let seeded = bed.database.seed("alpha", 5);
    bed.activate(&seeded.key, "one").await;
    let metrics = get("/metrics").await;
    assert!(
        metrics
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    let text = metrics.text();
    for line in [
        r#"licet_origin_http_requests_total{route="/edge/v1/activations",method="POST",status="200"} 1"#,
        r#"licet_origin_answers_total{operation="activate",code="VALID"} 1"#,
        r#"licet_origin_tx_duration_seconds_count{name="activate"} 1"#,
        r#"licet_origin_replay_memory_entries{calls="writes"} 1"#,
        r#"licet_origin_replay_memory_entries{calls="reads"} 0"#,
        "licet_origin_resident_memory_bytes ",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn a_schema_that_went_away_makes_the_origin_unready() {
    let bed = Bed::new();
    bed.database
        .admin("UPDATE licet.schema_migrations SET sha256 = '\\x00' WHERE version = 4");
    let reply = bed
        .send(Request::get("/health/ready").body(Body::empty()).unwrap())
        .await;
    assert_eq!(reply.code(), "UNAVAILABLE");
    let reply = bed
        .send(Request::get("/health/live").body(Body::empty()).unwrap())
        .await;
    assert_eq!(reply.status.as_u16(), 200);
}

/// Asking often must not prolong an answer.
#[tokio::test]
async fn readiness_follows_the_database_however_often_it_is_asked() {
    let bed = Bed::new();
    let ready = || async {
        let request = Request::get("/health/ready").body(Body::empty()).unwrap();
        bed.send(request).await.status.as_u16()
    };
    let set = |hash: &str| {
        bed.database.admin(&format!(
            "UPDATE licet.schema_migrations SET sha256 = {hash} WHERE version = 4"
        ));
    };
    assert_eq!(ready().await, 200);
    set("'\\x00' || sha256");
    for expected in [503, 200] {
        let started = std::time::Instant::now();
        while ready().await != expected {
            assert!(
                started.elapsed() < Duration::from_secs(3),
                "still not {expected}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        set("substring(sha256 FROM 2)");
    }
}

/// The one license is locked by somebody else, so whoever comes has to wait.
async fn held_up(
    options: BedOptions,
) -> (Arc<Bed>, super::support::Seeded, tokio_postgres::Client) {
    let bed = Bed::with(TestDatabase::migrated(), &options);
    let seeded = bed.database.seed("alpha", 5);
    bed.activate(&seeded.key, "warm").await;
    let holder = bed.database.app().await;
    begin(&holder, seeded.org).await;
    holder
        .execute("SELECT FROM licet.licenses FOR UPDATE", &[])
        .await
        .unwrap();
    (Arc::new(bed), seeded, holder)
}

#[tokio::test]
async fn too_many_requests_are_refused_at_once_and_health_is_not() {
    let state = StateSettings {
        max_in_flight: 2,
        ..StateSettings::default()
    };
    let (bed, seeded, holder) = held_up(BedOptions {
        state,
        ..BedOptions::default()
    })
    .await;
    let waiting: Vec<_> = (0..2)
        .map(|device| {
            let (bed, key) = (Arc::clone(&bed), seeded.key.clone());
            tokio::spawn(async move { bed.activate(&key, &format!("{device}")).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let reply = bed.call(activation(&seeded.key, "late")).await;
    assert_eq!(
        (reply.code(), reply.header("retry-after")),
        ("UNAVAILABLE", "1")
    );
    let ready = bed
        .send(Request::get("/health/ready").body(Body::empty()).unwrap())
        .await;
    assert_eq!(ready.status.as_u16(), 200);
    holder.batch_execute("ROLLBACK").await.unwrap();
    for waiting in waiting {
        assert!(waiting.await.unwrap().valid);
    }
    assert!(bed.activate(&seeded.key, "late").await.valid);
}

#[tokio::test]
async fn a_pool_that_is_in_use_is_waited_for_within_bounds() {
    let database = DatabaseSettings {
        pool_size: 1,
        pool_wait: Duration::from_millis(200),
        ..DatabaseSettings::default()
    };
    let (bed, seeded, holder) = held_up(BedOptions {
        database,
        ..BedOptions::default()
    })
    .await;
    let (other, key) = (Arc::clone(&bed), seeded.key.clone());
    let waiting = tokio::spawn(async move { other.activate(&key, "one").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let reply = bed.call(activation(&seeded.key, "two")).await;
    assert_eq!(
        (reply.code(), reply.header("retry-after")),
        ("UNAVAILABLE", "1")
    );
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert!(waiting.await.unwrap().valid);
}

/// A request that ran out of time was cancelled in the middle of its transaction. Its connection
/// must not come back with that transaction still open.
#[tokio::test]
async fn a_request_that_takes_too_long_leaves_nothing_behind() {
    let state = StateSettings {
        request_timeout: Duration::from_secs(2),
        ..StateSettings::default()
    };
    let database = DatabaseSettings {
        pool_size: 1,
        ..DatabaseSettings::default()
    };
    let (bed, seeded, holder) = held_up(BedOptions {
        state,
        database,
        ..BedOptions::default()
    })
    .await;
    let reply = bed.call(activation(&seeded.key, "one").once("k1")).await;
    assert_eq!(
        (reply.code(), reply.header("retry-after")),
        ("UNAVAILABLE", "1")
    );
    holder.batch_execute("ROLLBACK").await.unwrap();
    // The same pool of one; the same key, which nobody has taken.
    assert!(
        bed.call(activation(&seeded.key, "one").once("k1"))
            .await
            .answer()
            .valid
    );
    let open = bed.database.admin(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'",
    );
    assert_eq!(open[0][0].as_deref(), Some("0"));
}

#[tokio::test]
async fn a_database_that_is_away_is_said_to_be_so_and_found_again() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    assert!(bed.activate(&seeded.key, "one").await.valid);
    let everyone = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND usename = 'licet_app'";
    for _ in 0..3 {
        bed.database.admin(everyone);
        assert!(
            bed.activate(&seeded.key, "one").await.valid,
            "a lost connection is replaced"
        );
    }
    bed.database
        .admin("ALTER ROLE licet_app CONNECTION LIMIT 400");
    let name = bed.database.admin("SELECT current_database()")[0][0]
        .clone()
        .unwrap();
    bed.database
        .admin(&format!("REVOKE CONNECT ON DATABASE {name} FROM PUBLIC"));
    bed.database.admin(everyone);
    let reply = bed.call(activation(&seeded.key, "one")).await;
    assert_eq!(
        (reply.code(), reply.header("retry-after")),
        ("UNAVAILABLE", "1")
    );
    bed.database
        .admin(&format!("GRANT CONNECT ON DATABASE {name} TO PUBLIC"));
    assert!(bed.activate(&seeded.key, "one").await.valid);
}
