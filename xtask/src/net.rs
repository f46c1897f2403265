//! Loopback ports and small HTTP calls.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Below the ephemeral range, so that no outgoing connection takes a port
/// between our choosing it and a service's (re)start on it.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// A loopback port that nothing listens on, never the same twice in one process.
pub fn free_port() -> Result<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    for _ in 0..1000 {
        let [a, b] = random::<2>()?;
        let port = PORTS.start + u16::from_le_bytes([a, b]) % (PORTS.end - PORTS.start);
        if !given.contains(&port) && is_free(port) {
            given.insert(port);
            return Ok(port);
        }
    }
    bail!("no free port between {} and {}", PORTS.start, PORTS.end);
}

/// Whether a service could listen on this loopback port now.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// An error that names `flag` when `port` is taken.
pub fn expect_free(port: u16, what: &str, flag: &str) -> Result<()> {
    if is_free(port) {
        return Ok(());
    }
    bail!("port {port} ({what}) is taken: end what uses it, or choose another with {flag} N");
}

/// Bytes from the system's generator, for throw-away passwords and ports.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    Ok(bytes)
}

/// A password of 160 random bits, in hexadecimal: needs no escaping in a URL.
pub fn random_password() -> Result<String> {
    Ok(random::<20>()?
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// An answer to [`get`] or [`post_json`].
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The whole body, at most 10 MB.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body)
            .with_context(|| format!("HTTP {} and no JSON: {}", self.status, self.body))
    }
}

/// GET within `limit`; any status is an answer.
pub fn get(url: &str, limit: Duration) -> Result<Answer> {
    answer(agent(limit).get(url).call(), url)
}

/// The same with a bearer token.
pub fn get_bearer(url: &str, token: &str, limit: Duration) -> Result<Answer> {
    let request = agent(limit)
        .get(url)
        .header("authorization", format!("Bearer {token}"));
    answer(request.call(), url)
}

/// POST of a JSON body within `limit`; any status is an answer.
pub fn post_json(url: &str, body: &Value, limit: Duration) -> Result<Answer> {
    let request = agent(limit)
        .post(url)
        .header("content-type", "application/json");
    answer(request.send(body.to_string()), url)
}

/// The same with a bearer token.
pub fn post_json_by(token: &str, url: &str, body: &Value, limit: Duration) -> Result<Answer> {
    let request = agent(limit)
        .post(url)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json");
    answer(request.send(body.to_string()), url)
}

/// POST without a body, with a bearer token, within `limit`; any status is an answer.
pub fn post_bearer(url: &str, token: &str, limit: Duration) -> Result<Answer> {
    let request = agent(limit)
        .post(url)
        .header("authorization", format!("Bearer {token}"));
    answer(request.send_empty(), url)
}

/// Whether GET answers 200 within two seconds.
pub fn answers_ok(url: &str) -> bool {
    get(url, Duration::from_secs(2)).is_ok_and(|answer| answer.status == 200)
}

fn agent(limit: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .new_agent()
}

fn answer(
    result: std::result::Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    url: &str,
) -> Result<Answer> {
    let mut response = result.with_context(|| format!("no answer from {url}"))?;
    let body = response
        .body_mut()
        .read_to_string()
        .with_context(|| format!("cut off: {url}"))?;
    Ok(Answer {
        status: response.status().as_u16(),
        body,
    })
}
