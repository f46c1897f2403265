//! Lookups, renewals and activations per second, beside `pgbench` and FastAPI.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::capture::Captured;
use super::data::Data;
use super::fastapi::Peer;
use super::load::{Burst, Item, Shown, burst};
use super::pgbench::{Role, Scripts, pgbench};
use super::service::{ANOTHER, SAME, Service, activation, answers, cpu_s, lookup, refresh};
use super::{CONNECTIONS, ROUNDS, Size};

/// Several that do the same, in turn.
pub(super) struct Race {
    pub(super) what: &'static str,
    pub(super) racers: Vec<Racer>,
}

/// One of them, the origin first.
pub(super) struct Racer {
    pub(super) name: &'static str,
    /// What the origin is meant to reach beside it.
    pub(super) goal: Option<&'static str>,
    pub(super) samples: Vec<Sample>,
}

/// One burst of one of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) rate: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// Processor time of the service per request, and of what sent the load.
    pub(super) cpu_us: f64,
    pub(super) load_cpu_us: f64,
}

/// Something to be measured for some seconds.
type Burster<'a> = Box<dyn FnMut(f64) -> Result<Sample> + 'a>;
/// Name, goal, and what is measured.
type Entry<'a> = (&'static str, Option<&'static str>, Burster<'a>);

const OF_PGBENCH: Option<&str> = Some("≥ 0.6");
const OF_FASTAPI: Option<&str> = Some("≥ 4");

pub(super) fn measure(
    data: &Data,
    dir: &Path,
    fastapi: &Path,
    service: &Service,
    captured: &Captured,
    size: Size,
    only: &str,
) -> Result<Vec<Race>> {
    let peer = Peer::start(data, dir, fastapi)?;
    let bound = Role {
        name: "licet_app",
        password: &data.app_password,
    };
    let origin = service.origin.id().context("the origin ended")?;
    let key = Some(data.keys.edge_key.as_str());
    let scripts = |name: &str, texts: &[String]| Scripts::write(dir, name, texts);
    let activations = scripts("activate", &captured.activations)?;
    let of_one = scripts("activate-one", &captured.activations_of_one)?;
    let refreshes = scripts("refresh", &captured.refreshes)?;
    let found = scripts("lookup", &captured.lookups)?;

    let lookups: Vec<Item> = captured
        .licenses
        .iter()
        .zip(&captured.api_keys)
        .map(|(license, api_key)| lookup(license, api_key))
        .collect();
    agree(
        &answers(&service.address, &lookups)?,
        &answers(&peer.address, &lookups)?,
    )?;
    let many: Vec<Item> = captured
        .licenses
        .iter()
        .map(|it| activation(it, ANOTHER))
        .collect();
    let one: Vec<Item> = captured
        .of_one
        .iter()
        .map(|it| activation(it, ANOTHER))
        .collect();
    let renewals: Vec<Item> = captured.tokens.iter().map(|token| refresh(token)).collect();
    let questions: Vec<Item> = captured
        .licenses
        .iter()
        .map(|license| {
            let body = json!({
                "license_key": license["license_key"], "product": license["product"], "fingerprint": SAME,
            });
            Item::post("/validate", &body)
        })
        .collect();

    let http = |address: &'_ str, pid: u32, items: &'_ [Item], signing, expect| {
        let address = address.to_owned();
        let items = items.to_vec();
        Box::new(move |seconds| over_http(&address, pid, &items, signing, expect, seconds))
            as Burster<'_>
    };
    let sql = |scripts| {
        Box::new(move |seconds| {
            let ran = pgbench(data, bound, scripts, CONNECTIONS, seconds, true)?;
            Ok(Sample {
                rate: ran.rate,
                p50_ms: ran.mean_ms,
                p99_ms: f64::NAN,
                cpu_us: f64::NAN,
                load_cpu_us: f64::NAN,
            })
        }) as Burster<'_>
    };
    let token = Some("\"license_token\"");
    let address = service.address.as_str();
    let (theirs, fastapi) = (peer.address.as_str(), peer.id());
    let active = Some("\"status\":\"ACTIVE\"");
    // Lookups first: they count a license's devices, of which the activations make thousands.
    let races: Vec<(_, Vec<Entry<'_>>)> = vec![
        (
            "lookups, over 40 organizations",
            vec![
                (
                    "origin",
                    None,
                    http(address, origin, &lookups, None, active),
                ),
                ("pgbench", OF_PGBENCH, sql(&found)),
                (
                    "FastAPI",
                    OF_FASTAPI,
                    http(theirs, fastapi, &lookups, None, active),
                ),
            ],
        ),
        (
            "renewals (two signatures checked, one made), over 40 organizations",
            vec![
                ("origin", None, http(address, origin, &renewals, key, token)),
                ("pgbench", None, sql(&refreshes)),
                (
                    "FastAPI",
                    None,
                    http(theirs, fastapi, &questions, None, Some("\"VALID\"")),
                ),
            ],
        ),
        (
            "activations, over 40 organizations",
            vec![
                ("origin", None, http(address, origin, &many, key, token)),
                ("pgbench", OF_PGBENCH, sql(&activations)),
            ],
        ),
        (
            "activations, 20 licenses of one organization",
            vec![
                ("origin", None, http(address, origin, &one, key, token)),
                ("pgbench", OF_PGBENCH, sql(&of_one)),
            ],
        ),
    ];
    races
        .into_iter()
        .filter(|(what, _)| what.contains(only))
        .map(|(what, entries)| run(what, entries, size.seconds))
        .collect()
}

/// Makes sure that both find the same of each license: else one of them does less. Their ids and
/// times are written in other ways.
fn agree(ours: &[Value], theirs: &[Value]) -> Result<()> {
    const FIELDS: [&str; 9] = [
        "status",
        "policy",
        "tier",
        "products",
        "features",
        "max_activations",
        "own_max_activations",
        "live_activations",
        "metadata",
    ];
    let fields = |answer: &Value| {
        let object = answer.as_object();
        object.map_or(0, serde_json::Map::len)
    };
    if ours.len() != theirs.len() {
        bail!("{} answers, and {}", ours.len(), theirs.len());
    }
    for (ours, theirs) in ours.iter().zip(theirs) {
        let same = |name: &&str| !ours[name].is_null() && ours[name] == theirs[name];
        if fields(ours) != fields(theirs) || !FIELDS.iter().all(same) {
            bail!("the origin found {ours}\nand FastAPI {theirs}");
        }
    }
    Ok(())
}

fn run(what: &'static str, mut entries: Vec<Entry<'_>>, seconds: f64) -> Result<Race> {
    let mut racers: Vec<Racer> = entries
        .iter()
        .map(|(name, goal, _)| Racer {
            name,
            goal: *goal,
            samples: Vec::new(),
        })
        .collect();
    for round in 0..=ROUNDS {
        for ((name, _, burster), racer) in entries.iter_mut().zip(&mut racers) {
            // The first round warms everything up.
            let sample = burster(if round == 0 { 1.0 } else { seconds })?;
            if round > 0 {
                println!(
                    "      {what} {round}/{ROUNDS}  {name:<8} {:>7.0}/s",
                    sample.rate
                );
                racer.samples.push(sample);
            }
        }
    }
    Ok(Race { what, racers })
}

/// As many requests as take about so long.
fn over_http(
    address: &str,
    pid: u32,
    items: &[Item],
    signing: Option<&str>,
    expect: Option<&str>,
    seconds: f64,
) -> Result<Sample> {
    let send = |requests: usize| -> Result<Shown> {
        burst(&Burst {
            address,
            connections: CONNECTIONS,
            requests,
            items,
            signing,
            expect,
            bodies: false,
        })
    };
    let trial = send(400)?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some thousand requests"
    )]
    let requests = (trial.rate * seconds).max(400.0) as usize;
    let before = cpu_s(pid);
    let shown = send(requests)?;
    #[allow(clippy::cast_precision_loss, reason = "some thousand requests")]
    let cpu_us = (cpu_s(pid) - before) * 1e6 / requests as f64;
    Ok(Sample {
        rate: shown.rate,
        p50_ms: shown.p50_ms,
        p99_ms: shown.p99_ms,
        cpu_us,
        load_cpu_us: shown.own_cpu_us,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_other_or_fewer_things_does_not_race() {
        let whole = json!({
            "id": "lic_1", "status": "ACTIVE", "policy": "Pro", "tier": "PRO", "products": ["app"],
            "features": {}, "max_activations": 3, "own_max_activations": false,
            "live_activations": 1, "metadata": {},
        });
        let with = |name: &str, value: Value| {
            let mut other = whole.clone();
            other[name] = value;
            other
        };
        let agrees = |other: Value| agree(std::slice::from_ref(&whole), &[other]).is_ok();
        assert!(agrees(whole.clone()));
        assert!(agrees(with(
            "id",
            json!("0190a1b2-0000-7000-8000-000000000001")
        )));
        assert!(!agrees(with("products", json!([]))));
        assert!(!agrees(with("live_activations", json!(2))));
        assert!(!agrees(with("more", json!(1))));
        assert!(!agrees(json!({ "detail": "not found" })));
        assert!(agree(std::slice::from_ref(&whole), &[]).is_err());
    }
}
