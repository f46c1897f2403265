//! Bursts of load from our own generator (`bench/`).

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::paths;

/// A request, as the generator takes it.
#[derive(Clone, Debug)]
pub(super) struct Item(Value);

impl Item {
    pub(super) fn get(path: &str, bearer: &str) -> Self {
        Self(json!({ "method": "GET", "path": path, "bearer": bearer }))
    }

    pub(super) fn post(path: &str, body: &Value) -> Self {
        Self(json!({ "method": "POST", "path": path, "body": body.to_string() }))
    }

    pub(super) fn post_by(bearer: &str, path: &str, body: &Value) -> Self {
        let body = body.to_string();
        Self(json!({ "method": "POST", "path": path, "body": body, "bearer": bearer }))
    }

    /// Signed as an edge signs, with an idempotency key if `once`.
    pub(super) fn edge(path: &str, body: &Value, once: bool) -> Self {
        let body = body.to_string();
        Self(json!({ "method": "POST", "path": path, "body": body, "edge": true, "once": once }))
    }

    pub(super) fn edge_get(path: &str) -> Self {
        Self(json!({ "method": "GET", "path": path, "edge": true }))
    }
}

/// What to send.
pub(super) struct Burst<'a> {
    pub(super) address: &'a str,
    pub(super) connections: usize,
    pub(super) requests: usize,
    pub(super) items: &'a [Item],
    /// `kid:seed` of an edge.
    pub(super) signing: Option<&'a str>,
    /// Must stand in each answer.
    pub(super) expect: Option<&'a str>,
    /// Whether the answers are wanted.
    pub(super) bodies: bool,
}

/// What it showed.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) rate: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// Processor time of the generator per request.
    pub(super) own_cpu_us: f64,
    pub(super) bodies: Vec<String>,
}

/// Sends it.
///
/// # Errors
/// When any answer was not the expected one: such figures mean nothing.
pub(super) fn burst(burst: &Burst<'_>) -> Result<Shown> {
    let signing = match burst.signing {
        Some(key) => {
            let (kid, seed) = key.split_once(':').context("the edge's key has no kid")?;
            json!({ "kid": kid, "seed": seed })
        }
        None => Value::Null,
    };
    let items: Vec<&Value> = burst.items.iter().map(|item| &item.0).collect();
    let input = json!({
        "address": burst.address, "connections": burst.connections, "requests": burst.requests,
        "items": items, "signing": signing, "expect": burst.expect, "bodies": burst.bodies,
    });
    let mut child = Command::new(paths::target().join("release/licet-bench"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start the load generator")?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    stdin.write_all(input.to_string().as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!(
            "the load generator: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let shown: Value = serde_json::from_slice(&output.stdout)?;
    let number = |name: &str| shown[name].as_f64().unwrap_or(f64::NAN);
    let bodies = shown["bodies"].as_array().into_iter().flatten();
    Ok(Shown {
        rate: number("rate"),
        p50_ms: number("p50_ms"),
        p99_ms: number("p99_ms"),
        own_cpu_us: number("own_cpu_us"),
        bodies: bodies
            .filter_map(|body| body.as_str().map(str::to_owned))
            .collect(),
    })
}
