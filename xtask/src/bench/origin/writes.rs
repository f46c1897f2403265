//! Activations and lookups per second, beside `pgbench` and FastAPI.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use super::capture::Captured;
use super::data::Data;
use super::fastapi::Peer;
use super::load::{Burst, Item, Shown, burst};
use super::pgbench::{Role, Scripts, pgbench};
use super::service::{ANOTHER, SAME, Service, activation, cpu_s, refresh};
use super::{CONNECTIONS, ROUNDS, Size};

/// Several that do the same, in turn.
pub(super) struct Race {
    pub(super) what: &'static str,
    pub(super) peers: Vec<(&'static str, Vec<Sample>)>,
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

pub(super) fn measure(
    data: &Data,
    dir: &Path,
    fastapi: &Path,
    service: &Service,
    captured: &Captured,
    size: Size,
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
    let races = vec![
        (
            "activations, over 40 organizations",
            vec![
                ("origin", http(address, origin, &many, key, token)),
                ("pgbench", sql(&activations)),
            ],
        ),
        (
            "activations, 20 licenses of one organization",
            vec![
                ("origin", http(address, origin, &one, key, token)),
                ("pgbench", sql(&of_one)),
            ],
        ),
        (
            "lookups, over 40 organizations",
            vec![
                ("origin", http(address, origin, &renewals, key, token)),
                ("pgbench", sql(&refreshes)),
                (
                    "FastAPI",
                    http(
                        &peer.address,
                        peer.id(),
                        &questions,
                        None,
                        Some("\"VALID\""),
                    ),
                ),
            ],
        ),
    ];
    races
        .into_iter()
        .map(|(what, peers)| run(what, peers, size.seconds))
        .collect()
}

fn run(what: &'static str, peers: Vec<(&'static str, Burster<'_>)>, seconds: f64) -> Result<Race> {
    let (names, mut bursters): (Vec<_>, Vec<_>) = peers.into_iter().unzip();
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); names.len()];
    for round in 0..=ROUNDS {
        for ((name, burster), samples) in names.iter().zip(&mut bursters).zip(&mut samples) {
            // The first round warms everything up.
            let sample = burster(if round == 0 { 1.0 } else { seconds })?;
            if round > 0 {
                println!(
                    "      {what} {round}/{ROUNDS}  {name:<8} {:>7.0}/s",
                    sample.rate
                );
                samples.push(sample);
            }
        }
    }
    Ok(Race {
        what,
        peers: names.into_iter().zip(samples).collect(),
    })
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
