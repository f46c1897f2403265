//! The origin over a database, with instances of the edge that know some tokens.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::watch::{Cpu, Load, Watched, generate};
use crate::bench::origin::data::Data;
use crate::bench::origin::service::{SAME, Service, cpu_s, tokens};
use crate::bench::stack::{Host, edge_worker};
use crate::paths;
use crate::step::{long_step, step};

/// Some licenses more than so many seconds can revoke.
const SPARE: usize = 100;

/// Active licenses `l` with a device: of others, a revocation changes no status list.
const REVOCABLE: &str = "l.status = 'ACTIVE' AND EXISTS (
    SELECT FROM licet.activations a
    WHERE a.org_id = l.org_id AND a.license_id = l.id AND a.deactivated_at IS NULL)";

/// What is measured.
pub(super) struct Stage<'a> {
    // Dropped in this order.
    hosts: Vec<Host>,
    service: Service,
    data: &'a Data,
    /// As the generator takes them.
    tokens: Vec<Value>,
    /// Tags of their organizations.
    tags: Vec<String>,
    /// API keys by tag.
    api_keys: HashMap<String, String>,
    /// Licenses that are taken, so that none is revoked twice.
    taken: HashSet<String>,
}

impl<'a> Stage<'a> {
    /// Starts everything, with `count` tokens of as many organizations known to each instance.
    pub(super) fn start(
        data: &'a Data,
        dir: &Path,
        instances: usize,
        count: usize,
    ) -> Result<Self> {
        let service = step("the origin", || Service::start(data, dir))?;
        let usable = data.usable(data.size.orgs as usize, None)?;
        // The API keys of the data are for reading.
        data.admin("UPDATE licet.api_keys SET scopes = scopes || '{licenses:write}'")?;
        let api_keys = usable
            .iter()
            .filter_map(|license| Some((text(license, "tag")?, text(license, "api_key")?)))
            .collect();
        let chosen = spread(&usable, count);
        let tags = chosen.iter().filter_map(|it| text(it, "tag")).collect();
        let what = format!("activate {} devices", chosen.len());
        let given = long_step(&what, "some seconds", || tokens(data, &service, &chosen))?;
        let taken = chosen.iter().filter_map(|it| text(it, "license")).collect();
        let tokens = chosen
            .iter()
            .zip(&given)
            .map(|(license, token)| {
                json!({
                    "body": {
                        "token": token, "product": license["product"], "org": license["tag"],
                        "fingerprint": SAME,
                    },
                    "license": { "id": license["license"], "api_key": license["api_key"] },
                })
            })
            .collect();
        let what = format!("{instances} instances of the edge, each a workerd");
        let hosts = long_step(&what, "some seconds", || {
            (0..instances)
                .map(|number| {
                    let dir = paths::make_dir(dir.join(format!("edge-{number}")))?;
                    Host::start(&dir, &[edge_worker(&service.origin.url(), &data.keys)])
                })
                .collect::<Result<Vec<_>>>()
        })?;
        let stage = Self {
            hosts,
            service,
            data,
            tokens,
            tags,
            api_keys,
            taken,
        };
        long_step("each asked about each token", "half a minute", || {
            generate(&stage.input(&Load::warm_up(instances), &[])?).map(drop)
        })?;
        Ok(stage)
    }

    /// Goes on with the last `count` tokens, which have not been revoked.
    pub(super) fn keep(&mut self, count: usize) -> Result<()> {
        let first = self.tokens.len().saturating_sub(count);
        self.tokens.drain(..first);
        self.tags.drain(..first);
        generate(&self.input(&Load::warm_up(self.hosts.len()), &[])?)
            .map(drop)
            .context("tokens that should still be valid")
    }

    /// Licenses in the database.
    pub(super) fn licenses(&self) -> u32 {
        self.data.size.licenses
    }

    /// Puts a load on and tells what was seen.
    pub(super) fn watch(&mut self, load: &Load) -> Result<Watched> {
        let count = load.all_revocations();
        let others = if load.few {
            self.even(count)?
        } else {
            self.any(count)?
        };
        let input = self.input(load, &others)?;
        let before = self.cpu()?;
        let shown = generate(&input)?;
        let cpu = self.cpu()?.since(&before);
        Watched::read(&shown, cpu)
    }

    fn input(&self, load: &Load, others: &[Value]) -> Result<Value> {
        let edges: Vec<String> = self
            .hosts
            .iter()
            .take(load.instances)
            .map(|host| Ok(host.url("edge")?.trim_start_matches("http://").to_owned()))
            .collect::<Result<_>>()?;
        Ok(json!({
            "edges": edges, "origin": self.service.address, "tokens": self.tokens, "others": others,
            "verdicts": load.verdicts, "revocations": load.revocations,
            "watched_of": load.watched_of, "demanded_of": load.demanded_of,
            "every_ms": load.every_ms, "lead_s": load.lead_s, "seconds": load.seconds,
            "settle_s": load.settle_s, "warm_up": load.warm_up,
        }))
    }

    /// Revocable licenses, all as likely as each other: big organizations revoke more.
    fn any(&mut self, count: usize) -> Result<Vec<Value>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let wanted = count + SPARE;
        // Two in five are.
        let percent = (500.0 * wanted as f64 / f64::from(self.licenses())).min(100.0);
        let rows = self.data.admin(&format!(
            "SELECT l.id::text, o.tag FROM licet.licenses l TABLESAMPLE BERNOULLI ({percent})
             JOIN licet.organizations o ON o.org_id = l.org_id
             WHERE {REVOCABLE} ORDER BY random() LIMIT {wanted}"
        ))?;
        Ok(self.take(rows, count))
    }

    /// Revocable licenses of the organizations that are asked about, one of each in turn.
    fn even(&mut self, count: usize) -> Result<Vec<Value>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let wanted = count + SPARE + self.tags.len();
        let rows = self.data.admin(&format!(
            "SELECT l.id::text, l.tag FROM (
                 SELECT l.id, o.tag, row_number() OVER (PARTITION BY o.org_id ORDER BY random()) AS turn
                 FROM licet.organizations o JOIN licet.licenses l ON l.org_id = o.org_id
                 WHERE o.tag = ANY ('{{{}}}') AND {REVOCABLE}) l
             ORDER BY l.turn, random() LIMIT {wanted}",
            self.tags.join(",")
        ))?;
        Ok(self.take(rows, count))
    }

    fn take(&mut self, rows: Vec<crate::postgres::Row>, count: usize) -> Vec<Value> {
        let mut taken = Vec::with_capacity(count);
        for row in rows {
            let [Some(id), Some(tag)] = row.as_slice() else {
                continue;
            };
            let (Some(id), Some(api_key)) = (license_id(id), self.api_keys.get(tag)) else {
                continue;
            };
            if taken.len() < count && self.taken.insert(id.clone()) {
                taken.push(json!({ "id": id, "api_key": api_key }));
            }
        }
        taken
    }

    fn cpu(&self) -> Result<Cpu> {
        let file = self.data.cluster.dir().join("data/postmaster.pid");
        let file = fs::read_to_string(file).context("Postgres is gone")?;
        let postgres = file.lines().next().unwrap_or_default().trim().parse()?;
        let workerds = self.hosts.iter().map(Host::workerd);
        let workerds = workerds.collect::<Result<Vec<_>>>()?;
        Ok(Cpu {
            origin_s: cpu_s(self.service.origin.id().context("the origin ended")?),
            postgres_s: cpu_s(postgres),
            edges_s: workerds.into_iter().map(cpu_s).sum(),
            load_s: 0.0,
        })
    }
}

fn text(license: &Value, field: &str) -> Option<String> {
    license[field].as_str().map(str::to_owned)
}

/// So many of all, big and small organizations mixed. They come sorted by size.
fn spread(all: &[Value], count: usize) -> Vec<Value> {
    let count = count.min(all.len());
    let step = all.len() as f64 / count as f64;
    let picked = (0..count).filter_map(|number| all.get((number as f64 * step) as usize));
    let picked: Vec<&Value> = picked.collect();
    // A prime: each once, far from the one before.
    const STRIDE: usize = 7_919;
    (0..count)
        .filter_map(|number| {
            picked
                .get((number * STRIDE) % count)
                .map(|it| (*it).clone())
        })
        .collect()
}

/// A license's id as the API takes it (TypeID), of a UUID as Postgres writes it.
fn license_id(uuid: &str) -> Option<String> {
    const SYMBOLS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let number = u128::from_str_radix(&uuid.replace('-', ""), 16).ok()?;
    let symbol = |place: u32| SYMBOLS.get((number >> (5 * place)) as usize & 31);
    let symbols: Option<String> = (0..26)
        .rev()
        .map(|p| symbol(p).copied().map(char::from))
        .collect();
    Some(format!("lic_{}", symbols?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_as_the_api_takes_it() {
        // From the TypeID specification's examples.
        let id = license_id("01890a5d-ac96-774b-bcce-b302099a8057");
        assert_eq!(id.as_deref(), Some("lic_01h455vb4pex5vsknk084sn02q"));
        assert_eq!(license_id("nothing"), None);
    }

    #[test]
    fn each_is_picked_once() {
        let all: Vec<Value> = (0..10_000).map(Value::from).collect();
        let picked = spread(&all, 2_000);
        let distinct: HashSet<_> = picked.iter().filter_map(Value::as_u64).collect();
        assert_eq!((picked.len(), distinct.len()), (2_000, 2_000));
        assert!(distinct.contains(&0) && distinct.contains(&9_995));
        assert_eq!(spread(&all[..3], 2_000).len(), 3);
    }
}
