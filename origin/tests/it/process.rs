//! The process itself: its log, its end, its memory.

use std::{
    io::Read,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use axum::{body::Body, http::Request};
use base64ct::{Base64UrlUnpadded, Encoding};
use licet_shared::api::ActivationAnswer;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::support::{
    APP_PASSWORD, MASTER_KEY, TestDatabase,
    edge::{Call, DEACTIVATE, REFRESH, activation},
    edge_key,
    http::{body, bytes, exchange, status},
    platform,
    sql::begin,
};

/// A running `serve` whose log is kept.
struct Served {
    child: Child,
    port: u16,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Served {
    async fn start(database: &TestDatabase, env: &[(&str, &str)]) -> Self {
        let port = xtask::net::free_port().unwrap();
        let mut run = database
            .command(&["serve"])
            .env("LICET_LISTEN", &format!("127.0.0.1:{port}"));
        for (name, value) in env {
            run = run.env(name, value);
        }
        let child = run.command.stderr(Stdio::piped()).spawn().unwrap();
        let served = Self { child, port };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "it does not listen"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        served
    }

    async fn get(&self, target: &str) -> String {
        exchange(self.port, Request::get(target).body(Body::empty()).unwrap()).await
    }

    async fn call(&self, call: Call) -> String {
        exchange(self.port, call.request()).await
    }

    fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(
            std::process::Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the end; hands back exit code and log.
    fn end(mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut log)
            .unwrap();
        (self.child.wait().unwrap().code(), log)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_json_with_request_ids_and_without_secrets() {
    let database = TestDatabase::migrated();
    let seeded = database.seed("alpha", 5);
    let served = Served::start(&database, &[("LICET_LOG", "trace")]).await;
    let call = activation(&seeded.key, "plain-fingerprint")
        .once("plain-idempotency-key")
        .header("x-request-id", "from-the-edge-1");
    let edge_token = call.token();
    let answer: ActivationAnswer = serde_json::from_str(body(&served.call(call).await)).unwrap();
    let token = answer.license_token.unwrap();
    served
        .call(activation("WRONG-KEY-TEXT", "plain-fingerprint"))
        .await;
    served
        .call(Call::post(REFRESH, &json!({ "token": token })))
        .await;
    served
        .call(Call::post(REFRESH, &json!({ "tokin": token })))
        .await;
    served
        .call(Call::post(DEACTIVATE, &json!({ "token": token })))
        .await;
    served.get("/nope?secret=plain-query").await;
    served.get("/health/ready").await;
    // A fault of our own, with a cause.
    database.admin("ALTER TABLE licet.activations RENAME COLUMN name TO gone");
    let reply = served
        .call(activation(&seeded.key, "plain-fingerprint-2"))
        .await;
    assert_eq!(status(&reply), 500);
    assert!(
        !reply.contains("column") && !reply.contains("gone"),
        "{reply}"
    );
    let request_id = serde_json::from_str::<Value>(body(&reply)).unwrap()["request_id"].clone();
    served.terminate();
    let (code, log) = served.end();
    assert_eq!(code, Some(0), "{log}");

    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    let of = |id: &Value| {
        lines
            .iter()
            .filter(|line| line["request_id"] == *id)
            .collect::<Vec<_>>()
    };
    let answered = of(&json!("from-the-edge-1"));
    assert_eq!(answered.len(), 1, "{log}");
    assert_eq!(answered[0]["route"], "/edge/v1/activations");
    assert_eq!(answered[0]["edge"], "edge.1");
    let fault = of(&request_id);
    assert!(
        fault.iter().any(|line| line["fault"]
            .as_str()
            .is_some_and(|text| text.contains("column"))),
        "{fault:?}"
    );

    let seed = |signer: licet_shared::jws::LocalSigner| {
        signer.reveal().split_once(':').unwrap().1.to_owned()
    };
    for secret in [
        seeded.key.clone(),
        seeded.key.replace('-', ""),
        "WRONG-KEY-TEXT".into(),
        token,
        edge_token,
        "plain-fingerprint".into(),
        "plain-query".into(),
        "plain-idempotency-key".into(),
        APP_PASSWORD.into(),
        MASTER_KEY.into(),
        seed(platform()),
        seed(edge_key()),
        Base64UrlUnpadded::encode_string(&super::support::MASTER_SEED),
    ] {
        assert!(!log.contains(&secret), "{secret} is in the log:\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_requests_are_finished_before_the_end() {
    let database = TestDatabase::migrated();
    let seeded = database.seed("alpha", 5);
    let served = Served::start(&database, &[]).await;
    let holder = database.app().await;
    begin(&holder, seeded.org).await;
    holder
        .execute("SELECT FROM licet.licenses FOR UPDATE", &[])
        .await
        .unwrap();
    let (port, call) = (served.port, activation(&seeded.key, "one"));
    let running = tokio::spawn(async move { exchange(port, call.request()).await });
    // One that has nothing to do does not keep the process up.
    let _idle = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    served.terminate();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        TcpStream::connect(("127.0.0.1", port)).await.is_err(),
        "nothing new is taken"
    );
    holder.batch_execute("ROLLBACK").await.unwrap();
    let answer: ActivationAnswer = serde_json::from_str(body(&running.await.unwrap())).unwrap();
    assert!(answer.valid);
    let (code, log) = served.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains(r#""message":"stopped""#), "{log}");
}

/// A head that never ends is not waited for, and more connections than allowed are not served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_bounded() {
    let database = TestDatabase::migrated();
    let served = Served::start(&database, &[("LICET_MAX_CONNECTIONS", "2")]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(("127.0.0.1", served.port))
            .await
            .unwrap();
        stream
            .write_all(b"GET /health/live HTTP/1.1\r\n")
            .await
            .unwrap();
        held.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let third = tokio::time::timeout(Duration::from_millis(500), served.get("/health/live")).await;
    assert!(third.is_err(), "a third was served");
    held.pop();
    let third = tokio::time::timeout(Duration::from_secs(5), served.get("/health/live")).await;
    assert_eq!(status(&third.unwrap()), 200);
}

/// Several requests on one connection, as edges make them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_kept_for_more_requests() {
    use tokio::io::AsyncReadExt;
    let database = TestDatabase::migrated();
    let served = Served::start(&database, &[]).await;
    let mut stream = TcpStream::connect(("127.0.0.1", served.port))
        .await
        .unwrap();
    let request = Request::get("/health/live").body(Body::empty()).unwrap();
    let text = String::from_utf8(bytes(request).await)
        .unwrap()
        .replace("connection: close\r\n", "");
    for _ in 0..3 {
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut buffer = vec![0; 4096];
        let length = stream.read(&mut buffer).await.unwrap();
        assert!(String::from_utf8_lossy(&buffer[..length]).starts_with("HTTP/1.1 200"));
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_origin_is_small() {
    let database = TestDatabase::migrated();
    let served = Served::start(&database, &[]).await;
    assert_eq!(status(&served.get("/health/ready").await), 200);
    let text = std::fs::read_to_string(format!("/proc/{}/status", served.child.id())).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    println!("{kibibytes} KiB");
    assert!(kibibytes < 40 * 1024, "{kibibytes} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn background_work_is_done_or_said_to_be_off() {
    let database = TestDatabase::migrated();
    database.seed("alpha", 5);
    let served = Served::start(&database, &[("LICET_JOBS_INTERVAL_S", "1")]).await;
    database.admin("UPDATE licet.licenses SET expires_at = now()");
    let expired = "SELECT count(*) FROM licet.licenses WHERE status = 'EXPIRED'";
    while database.admin(expired)[0][0].as_deref() != Some("1") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Counted once the run has ended.
    let counted = "licet_origin_job_rows_total{job=\"license_expiry\"} 1";
    while !served.get("/metrics").await.contains(counted) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    served.terminate();
    let (code, log) = served.end();
    assert!(code == Some(0) && log.contains("background work"), "{log}");

    let off = [
        (
            "LICET_SYSTEM_DATABASE_URL",
            "",
            "LICET_SYSTEM_DATABASE_URL is not set",
        ),
        ("LICET_JOBS_INTERVAL_S", "0", "LICET_JOBS_INTERVAL_S is 0"),
    ];
    for (variable, value, why) in off {
        let served = Served::start(&database, &[(variable, value)]).await;
        assert_eq!(status(&served.get("/health/ready").await), 200);
        served.terminate();
        let (code, log) = served.end();
        assert!(code == Some(0) && log.contains(why), "{log}");
    }
}
