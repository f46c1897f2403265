//! How long each read of the account API takes, with each of its filters, as an owner asks.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use super::data::Data;
use super::load::{Burst, Item, burst};
use super::service::Service;
use crate::paths;

/// Organizations that are measured: the biggest, and smaller ones.
const ORGS: [u32; 3] = [0, 10, 1000];
const REQUESTS: usize = 60;

/// One read of one organization.
pub(super) struct Read {
    /// Number of the organization, and how many licenses it has.
    pub(super) org: u32,
    pub(super) licenses: u64,
    /// As the description has it, and with its filter.
    pub(super) operation: String,
    pub(super) filter: String,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// Asks for everything, on one connection.
pub(super) fn measure(data: &Data, service: &Service) -> Result<Vec<Read>> {
    let mut reads = Vec::new();
    for org in ORGS.into_iter().filter(|org| *org < data.size.orgs) {
        let license = data.licenses(1, Some(org))?;
        let owner = license.first().context("no license")?;
        let bearer = service.log_in(owner)?;
        let slug = owner["slug"].as_str().unwrap_or_default();
        let sql = format!(
            "SELECT count(*) FROM licet.licenses l JOIN licet.organizations o ON o.org_id = l.org_id
             WHERE o.slug = '{slug}'"
        );
        let rows = data.admin(&sql)?;
        let count = rows
            .first()
            .and_then(|row| row.first()?.as_ref()?.parse().ok());
        for (operation, path) in filled(service, &bearer, owner)? {
            let shown = burst(&Burst {
                address: &service.address,
                connections: 1,
                requests: REQUESTS,
                items: &[Item::get(&path, &bearer)],
                signing: None,
                expect: None,
                bodies: false,
            })?;
            reads.push(Read {
                org,
                licenses: count.unwrap_or(0),
                operation,
                filter: path
                    .split_once('?')
                    .map_or("", |(_, query)| query)
                    .to_owned(),
                p50_ms: shown.p50_ms,
                p99_ms: shown.p99_ms,
            });
        }
    }
    Ok(reads)
}

/// Everything that can be read, as paths.
pub(super) fn paths(service: &Service, bearer: &str, owner: &Value) -> Result<Vec<String>> {
    let filled = filled(service, bearer, owner)?;
    Ok(filled.into_iter().map(|(_, path)| path).collect())
}

/// Each read of the description with each of its filters by itself: the operation's path, and the
/// path to ask.
fn filled(service: &Service, bearer: &str, owner: &Value) -> Result<Vec<(String, String)>> {
    let text = fs::read_to_string(paths::workspace().join("origin/openapi.json"))?;
    let description: Value = serde_json::from_str(&text)?;
    let templates = description["paths"].as_object().context("no paths")?;
    let mut asked = Asked {
        service,
        bearer,
        first: BTreeMap::new(),
    };
    let mut found = Vec::new();
    for (template, operations) in templates {
        let Some(operation) = operations.get("get") else {
            continue;
        };
        if !template.starts_with("/api/v1/") {
            continue;
        }
        let Some(path) = asked.fill(template)? else {
            continue;
        };
        found.push((template.clone(), path.clone()));
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap_or_default();
            if parameter["in"] != "query" || name == "limit" {
                continue;
            }
            for value in asked.values(name, &parameter["schema"], &path, owner)? {
                found.push((template.clone(), format!("{path}?{name}={value}")));
            }
        }
    }
    Ok(found)
}

/// Somebody who asks, and the first id of each list.
struct Asked<'a> {
    service: &'a Service,
    bearer: &'a str,
    first: BTreeMap<String, Option<String>>,
}

impl Asked<'_> {
    /// A path with ids in it; none where the list that they come from is empty.
    fn fill(&mut self, template: &str) -> Result<Option<String>> {
        let mut path = String::new();
        for segment in template.split('/').filter(|segment| !segment.is_empty()) {
            let value = match segment {
                "{revision}" => Some("1".to_owned()),
                name if name.starts_with('{') => self.first_of(&path)?,
                literal => Some(literal.to_owned()),
            };
            let Some(value) = value else { return Ok(None) };
            path = format!("{path}/{value}");
        }
        Ok(Some(path))
    }

    fn first_of(&mut self, list: &str) -> Result<Option<String>> {
        if let Some(known) = self.first.get(list) {
            return Ok(known.clone());
        }
        let answer = self.service.read(self.bearer, list)?;
        let id = answer["data"][0]["id"].as_str().map(str::to_owned);
        self.first.insert(list.to_owned(), id.clone());
        Ok(id)
    }

    /// What a filter is set to: each of its words, or something that finds and something that
    /// does not.
    fn values(
        &mut self,
        name: &str,
        schema: &Value,
        path: &str,
        owner: &Value,
    ) -> Result<Vec<String>> {
        if let Some(words) = schema["enum"].as_array() {
            return Ok(words
                .iter()
                .filter_map(|word| word.as_str().map(str::to_owned))
                .collect());
        }
        let list = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        Ok(match name {
            _ if schema["type"] == "boolean" => list(&["true", "false"]),
            "cursor" => {
                let answer = self
                    .service
                    .read(self.bearer, &format!("{path}?limit=50"))?;
                let cursor = answer["next_cursor"].as_str();
                cursor.map(str::to_owned).into_iter().collect()
            }
            "expiring_before" => list(&["2020-01-01T00:00:00Z", "2027-01-01T00:00:00Z"]),
            "code" | "product" => list(&["app-00", "app-05", "nothing"]),
            "policy" | "license" => {
                vec![owner[name].as_str().unwrap_or_default().to_owned()]
            }
            "text" => list(&["a-000001", "nowhere"]),
            _ => list(&["nothing"]),
        })
    }
}
