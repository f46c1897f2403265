//! What row-level security costs: the same statements by the role that it binds and by one that
//! it does not, in turn.

use std::path::Path;

use anyhow::Result;

use super::ROUNDS;
use super::capture::Captured;
use super::data::Data;
use super::pgbench::{Role, Scripts, pgbench};
use crate::net;

const ROLE: &str = "licet_bench_bypass";
/// Organizations of it: few, so that statements are run much more often than prepared.
const ORGS: usize = 4;

/// Rates of some statements, round by round.
pub(super) struct Cost {
    pub(super) what: &'static str,
    pub(super) bound: Vec<f64>,
    pub(super) unbound: Vec<f64>,
}

pub(super) fn measure(
    data: &Data,
    dir: &Path,
    captured: &Captured,
    seconds: f64,
) -> Result<Vec<Cost>> {
    let password = net::random_password()?;
    data.admin(&format!(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') THEN
             CREATE ROLE {ROLE} LOGIN BYPASSRLS IN ROLE licet_app; END IF; END $$"
    ))?;
    data.admin(&format!("ALTER ROLE {ROLE} PASSWORD '{password}'"))?;
    let result = compare(data, dir, captured, &password, seconds);
    data.admin(&format!("DROP ROLE {ROLE}"))?;
    result
}

fn compare(
    data: &Data,
    dir: &Path,
    captured: &Captured,
    password: &str,
    seconds: f64,
) -> Result<Vec<Cost>> {
    let bound = Role {
        name: "licet_app",
        password: &data.app_password,
    };
    let unbound = Role {
        name: ROLE,
        password,
    };
    // A text is looked for in thousands of rows, which would hide all else.
    let reads: Vec<String> = captured
        .reads
        .iter()
        .filter(|(path, _)| !path.contains("text="))
        .map(|(_, script)| script.clone())
        .collect();
    let few = |scripts: &[String]| scripts.iter().take(ORGS).cloned().collect::<Vec<_>>();
    let (lookups, refreshes) = (few(&captured.lookups), few(&captured.refreshes));
    let activations = few(&captured.activations);
    let mut costs = Vec::new();
    for (what, texts, kept) in [
        ("every read of the account API", &reads, false),
        ("lookup by an API key", &lookups, true),
        ("renewal of a token", &refreshes, true),
        ("activation", &activations, true),
    ] {
        let scripts = Scripts::write(dir, "rls", texts)?;
        let mut cost = Cost {
            what,
            bound: Vec::new(),
            unbound: Vec::new(),
        };
        for round in 0..=ROUNDS {
            let first = pgbench(data, bound, &scripts, 1, seconds, kept)?.rate;
            let second = pgbench(data, unbound, &scripts, 1, seconds, kept)?.rate;
            // The first round warms the caches.
            if round > 0 {
                cost.bound.push(first);
                cost.unbound.push(second);
            }
        }
        costs.push(cost);
    }
    Ok(costs)
}
