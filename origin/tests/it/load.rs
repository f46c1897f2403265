//! Memory and speed under load. Run by hand, on a release build:
//! `cargo build --release -p licet-origin`, then
//! `LICET_LOAD_BIN=target/release/licet-origin cargo test -p licet-origin --test it load -- --ignored --nocapture`.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use licet_shared::api::ActivationAnswer;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::support::{
    Seeded, TestDatabase,
    edge::{Call, REFRESH, activation},
    http::bytes,
};

/// As many as the origin works on at once.
const CLIENTS: usize = 256;
const SECONDS: u64 = 20;

#[derive(Default)]
struct Tally {
    ok: AtomicU64,
    shed: AtomicU64,
    other: AtomicU64,
    micros: AtomicU64,
}

/// Sends a request on a connection that is kept, and reads its whole answer.
async fn exchange(stream: &mut TcpStream, call: Call) -> (u16, Vec<u8>) {
    let text = bytes(call.request()).await;
    let keep = String::from_utf8(text)
        .unwrap()
        .replace("connection: close\r\n", "");
    stream.write_all(keep.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let read = stream.read(&mut buffer).await.unwrap();
        assert_ne!(read, 0, "closed");
        answer.extend_from_slice(&buffer[..read]);
        let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = std::str::from_utf8(&answer[..end]).unwrap();
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse::<usize>()
                    .ok()
            })
            .unwrap_or(0);
        if answer.len() >= end + 4 + length {
            let status = head[9..12].parse().unwrap();
            return (status, answer[end + 4..].to_vec());
        }
    }
}

async fn client(
    number: usize,
    port: u16,
    orgs: Arc<Vec<Seeded>>,
    tally: Arc<Tally>,
    until: Instant,
) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut token = String::new();
    let mut turn = number;
    while Instant::now() < until {
        let org = &orgs[turn % orgs.len()];
        let call = match turn % 4 {
            0 => {
                activation(&org.key, &format!("{number}-{turn}")).once(&format!("{number}-{turn}"))
            }
            1 if !token.is_empty() => Call::post(REFRESH, &json!({ "token": token })),
            2 => Call::get(&format!("/edge/v1/orgs/{}/keys", org.tag)),
            _ => Call::get(&format!("/edge/v1/orgs/{}/statuslists/0", org.tag))
                .header("cache-control", "max-age=0"),
        };
        turn += 1;
        let started = Instant::now();
        let (status, body) = exchange(&mut stream, call).await;
        tally
            .micros
            .fetch_add(started.elapsed().as_micros() as u64, Ordering::Relaxed);
        let counter = match status {
            200 => &tally.ok,
            503 => &tally.shed,
            _ => &tally.other,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Ok(answer) = serde_json::from_slice::<ActivationAnswer>(&body) {
            token = answer.license_token.unwrap_or(token);
        }
    }
}

fn resident_kib(id: u32) -> usize {
    let text = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes half a minute of all cores: run it by hand"]
async fn memory_under_load() {
    let database = TestDatabase::migrated();
    let orgs: Vec<_> = (0..8)
        .map(|org| database.seed(&format!("org{org}"), 1_000_000))
        .collect();
    let port = xtask::net::free_port().unwrap();
    let mut command = database
        .command(&["serve"])
        .env("LICET_LISTEN", &format!("127.0.0.1:{port}"))
        .command;
    if let Some(binary) = std::env::var_os("LICET_LOAD_BIN") {
        let mut other = std::process::Command::new(
            std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("..")
                .join(binary),
        );
        other.arg("serve").envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        command = other;
    }
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let idle = resident_kib(child.id());

    let (orgs, tally) = (Arc::new(orgs), Arc::new(Tally::default()));
    let until = Instant::now() + Duration::from_secs(SECONDS);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            tokio::spawn(client(
                number,
                port,
                Arc::clone(&orgs),
                Arc::clone(&tally),
                until,
            ))
        })
        .collect();
    let most = Arc::new(AtomicUsize::new(0));
    while Instant::now() < until {
        most.fetch_max(resident_kib(child.id()), Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for client in clients {
        client.await.unwrap();
    }
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (ok, shed, other) = (count(&tally.ok), count(&tally.shed), count(&tally.other));
    let most = most.load(Ordering::Relaxed);
    println!(
        "idle {idle} KiB, most {most} KiB; {} requests/s, {ok} answered, {shed} shed, {other} other, mean {} us",
        ok / SECONDS,
        count(&tally.micros) / (ok + shed + other).max(1),
    );
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(idle < 40 * 1024 && most < 150 * 1024);
    assert_eq!(other, 0);
}
