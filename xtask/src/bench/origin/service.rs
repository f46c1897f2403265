//! The origin that is measured, and its callers.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::data::Data;
use super::load::{Burst, Item, burst};
use crate::net;
use crate::origin::{Origin, OriginConfig};

const ISSUER: &str = "https://bench.licet.example";
const LIMIT: Duration = Duration::from_secs(20);

/// A running origin.
pub(in crate::bench) struct Service {
    pub(in crate::bench) origin: Origin,
    pub(in crate::bench) address: String,
}

impl Service {
    /// As it is deployed, but that no organization is throttled, and background work is off:
    /// it would fall into one peer's turn and not another's.
    pub(in crate::bench) fn start(data: &Data, dir: &Path) -> Result<Self> {
        Self::start_with(data, dir, &[])
    }

    pub(in crate::bench) fn start_with(
        data: &Data,
        dir: &Path,
        more: &[(&str, &str)],
    ) -> Result<Self> {
        let unlimited = "FREE=60000,PRO=60000,ENTERPRISE=60000";
        let settings = [
            ("LICET_RATE_LIMITS", unlimited),
            ("LICET_JOBS_INTERVAL_S", "0"),
            ("LICET_LOG", "warn"),
        ];
        let origin = Origin::start(OriginConfig {
            port: None,
            database_url: data.app_url(),
            keys: data.keys.clone(),
            issuer: ISSUER.into(),
            log: dir.join("origin.log"),
            env: settings
                .iter()
                .chain(more)
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        })?;
        let address = format!("127.0.0.1:{}", origin.port());
        Ok(Self { origin, address })
    }

    /// The access token of a license's owner.
    pub(super) fn log_in(&self, license: &Value) -> Result<String> {
        let body = json!({
            "email": license["owner"], "password": license["password"], "organization": license["slug"],
        });
        let url = format!("{}/api/v1/auth/login", self.origin.url());
        let answer = net::post_json(&url, &body, LIMIT)?.json()?;
        let token = answer["access_token"].as_str();
        Ok(token
            .with_context(|| format!("no login: {answer}"))?
            .to_owned())
    }

    /// What an owner reads at a path.
    pub(super) fn read(&self, bearer: &str, path: &str) -> Result<Value> {
        let answer = answers(&self.address, &[Item::get(path, bearer)]);
        let answer = answer.with_context(|| path.to_owned())?.pop();
        answer.context("no answer")
    }

    /// An API key that a license's owner makes for a machine that looks up licenses.
    pub(super) fn api_key(&self, license: &Value) -> Result<String> {
        let bearer = self.log_in(license)?;
        let body = json!({ "name": "Bench", "scopes": ["licenses:read"] });
        let item = Item::post_by(&bearer, "/api/v1/api-keys", &body);
        let answer = answers(&self.address, &[item])?.pop();
        let answer = answer.context("no answer")?;
        let secret = answer["secret"].as_str();
        Ok(secret.context("an API key without a secret")?.to_owned())
    }
}

/// What each of these requests, sent one after another, is answered.
pub(super) fn answers(address: &str, items: &[Item]) -> Result<Vec<Value>> {
    let shown = burst(&Burst {
        address,
        connections: 1,
        requests: items.len(),
        items,
        signing: None,
        expect: None,
        bodies: true,
    })?;
    let read = |body: &String| serde_json::from_str(body).context("an answer that is not JSON");
    shown.bodies.iter().map(read).collect()
}

/// A device that is another one each time.
pub(super) const ANOTHER: &str = "device-{n}";
/// A device that stays the same.
pub(in crate::bench) const SAME: &str = "the bench's device";

/// A call that activates a license for a device.
pub(super) fn activation(license: &Value, fingerprint: &str) -> Item {
    let body = json!({
        "license_key": license["license_key"], "product": license["product"],
        "fingerprint": fingerprint, "name": "Bench",
    });
    Item::edge("/edge/v1/activations", &body, true)
}

/// A call that renews a token.
pub(super) fn refresh(token: &str) -> Item {
    let body = json!({ "token": token });
    Item::edge("/edge/v1/activations/refresh", &body, false)
}

/// A call that finds a license by its key, by a machine. The peer is asked the same way.
pub(super) fn lookup(license: &Value, api_key: &str) -> Item {
    let body = json!({ "license_key": license["license_key"] });
    Item::post_by(api_key, "/api/v1/licenses/lookup", &body)
}

/// Activates each license for the same device and hands back the tokens in order.
pub(in crate::bench) fn tokens(
    data: &Data,
    service: &Service,
    licenses: &[Value],
) -> Result<Vec<String>> {
    let items: Vec<Item> = licenses
        .iter()
        .map(|license| activation(license, SAME))
        .collect();
    // One at a time, so that the answers are in the order of the licenses.
    let shown = burst(&Burst {
        address: &service.address,
        connections: 1,
        requests: items.len(),
        items: &items,
        signing: Some(&data.keys.edge_key),
        expect: Some("\"license_token\""),
        bodies: true,
    })?;
    let token = |body: &String| {
        let answer: Value = serde_json::from_str(body)?;
        let token = answer["license_token"].as_str();
        Ok(token.context("no token")?.to_owned())
    };
    shown.bodies.iter().map(token).collect()
}

/// Resident memory in KiB.
pub(super) struct Memory {
    pub(super) idle: u64,
    pub(super) most: u64,
}

/// Memory of an origin that has just started, and the most that it takes while 256 connections
/// send all they can.
pub(super) fn memory(data: &Data, dir: &Path) -> Result<Memory> {
    const CLIENTS: usize = 256;
    const REQUESTS: usize = 12_000;
    let licenses = data.licenses(200, None)?;
    let service = Service::start(data, dir)?;
    let id = service.origin.id().context("the origin ended")?;
    let idle = status(id, "VmRSS:")?;
    let tokens = tokens(data, &service, &licenses)?;
    let mut items = Vec::new();
    for (license, token) in licenses.iter().zip(&tokens) {
        let tag = license["tag"].as_str().unwrap_or_default();
        items.push(activation(license, ANOTHER));
        items.push(refresh(token));
        items.push(Item::edge_get(&format!(
            "/edge/v1/orgs/{tag}/statuslists/0"
        )));
    }
    burst(&Burst {
        address: &service.address,
        connections: CLIENTS,
        requests: REQUESTS,
        items: &items,
        signing: Some(&data.keys.edge_key),
        expect: None,
        bodies: false,
    })?;
    Ok(Memory {
        idle,
        most: status(id, "VmHWM:")?,
    })
}

/// A line of `/proc/<pid>/status` in KiB.
fn status(pid: u32, name: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).context("the origin is gone")?;
    let number = text.lines().find_map(|line| {
        line.strip_prefix(name)?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    });
    match number {
        Some(number) => Ok(number),
        None => bail!("/proc/{pid}/status has no {name}"),
    }
}

/// Processor time a process and its children have used so far, in seconds.
pub(in crate::bench) fn cpu_s(pid: u32) -> f64 {
    const TICKS_PER_S: f64 = 100.0;
    let ticks = |pid: u32| -> f64 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let fields = rest.split(' ').skip(11).take(2);
        fields.filter_map(|text| text.parse::<f64>().ok()).sum()
    };
    let children = crate::process::children(pid);
    (ticks(pid) + children.into_iter().map(ticks).sum::<f64>()) / TICKS_PER_S
}
