//! The statements that the origin sends, taken from the server's log: so `pgbench` runs the very
//! same ones, whatever becomes of them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::data::Data;
use super::load::{Burst, Item, burst};
use super::reads;
use super::service::{ANOTHER, Service, activation, lookup, refresh, tokens};

/// Organizations whose licenses are activated and looked up, each with one script of its own.
pub(super) const ORGS: usize = 40;
/// Licenses of the one organization that is measured by itself.
const OF_ONE: usize = 20;
/// The organization that they are of: not the biggest, whose status list would be full too soon.
const ONE: u32 = 9;

/// A statement with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    sql: String,
    arguments: Vec<Option<String>>,
}

/// What stands between BEGIN and COMMIT.
pub(super) type Transaction = Vec<Statement>;

/// What was taken, with the requests that it came from.
pub(super) struct Captured {
    /// One license of each of many organizations, with a token each.
    pub(super) licenses: Vec<Value>,
    pub(super) tokens: Vec<String>,
    /// An API key of each of their organizations.
    pub(super) api_keys: Vec<String>,
    /// Some licenses of one organization.
    pub(super) of_one: Vec<Value>,
    pub(super) activations: Vec<String>,
    pub(super) activations_of_one: Vec<String>,
    pub(super) refreshes: Vec<String>,
    pub(super) lookups: Vec<String>,
    /// What an owner reads, by its path.
    pub(super) reads: Vec<(String, String)>,
}

/// Has an origin do each thing once and reads what it said to the database.
pub(super) fn capture(data: &Data, dir: &Path) -> Result<Captured> {
    data.admin("ALTER ROLE licet_app IN DATABASE run SET log_statement = 'all'")?;
    let service = Service::start_with(data, dir, &[("LICET_POOL_SIZE", "1")])?;
    let licenses = data.licenses(ORGS, None)?;
    let of_one = data.licenses(OF_ONE, Some(ONE))?;
    let tokens = tokens(data, &service, &licenses)?;
    let api_keys = licenses
        .iter()
        .map(|license| service.api_key(license))
        .collect::<Result<Vec<_>>>()?;
    let mut tap = Tap {
        data,
        service: &service,
        log: Log::new(data)?,
    };
    let activations = tap.activations(&licenses)?;
    let activations_of_one = tap.activations(&of_one)?;
    let refreshes = tokens
        .iter()
        .map(|token| script(&[tap.last(refresh(token))?], None))
        .collect::<Result<_>>()?;
    let lookups = licenses
        .iter()
        .zip(&api_keys)
        .map(|(license, api_key)| {
            // The first notes that the key is used, which is done but once a minute.
            tap.all(lookup(license, api_key))?;
            script(&tap.all(lookup(license, api_key))?, None)
        })
        .collect::<Result<_>>()?;
    let owner = licenses.first().context("no license")?;
    let bearer = service.log_in(owner)?;
    let mut reads = Vec::new();
    for path in reads::paths(&service, &bearer, owner)? {
        // The last: before it the caller is looked up.
        let transaction = tap.last(Item::get(&path, &bearer));
        let transaction = transaction.with_context(|| path.clone())?;
        reads.push((path, script(&[transaction], None)?));
    }
    drop(service);
    data.admin("ALTER ROLE licet_app IN DATABASE run RESET log_statement")?;
    Ok(Captured {
        licenses,
        tokens,
        api_keys,
        of_one,
        activations,
        activations_of_one,
        refreshes,
        lookups,
        reads,
    })
}

/// An origin whose statements are read as it sends them.
struct Tap<'a> {
    data: &'a Data,
    service: &'a Service,
    log: Log,
}

impl Tap<'_> {
    /// The transactions of one request.
    fn all(&mut self, item: Item) -> Result<Vec<Transaction>> {
        self.log.take()?;
        burst(&Burst {
            address: &self.service.address,
            connections: 1,
            requests: 1,
            items: &[item],
            signing: Some(&self.data.keys.edge_key),
            expect: None,
            bodies: false,
        })?;
        let transactions = self.log.take()?;
        if transactions.is_empty() {
            bail!("the origin sent no transaction");
        }
        Ok(transactions)
    }

    /// The last of them.
    fn last(&mut self, item: Item) -> Result<Transaction> {
        self.all(item)?.pop().context("no transaction")
    }

    fn activations(&mut self, licenses: &[Value]) -> Result<Vec<String>> {
        let scripts = licenses.iter().map(|license| {
            // What differs between two is what has to differ each time.
            let first = self.last(activation(license, ANOTHER))?;
            let second = self.last(activation(license, ANOTHER))?;
            script(&[first], Some(&[second]))
        });
        scripts.collect()
    }
}

/// The server's log from some point on.
struct Log {
    file: PathBuf,
    read: usize,
}

impl Log {
    fn new(data: &Data) -> Result<Self> {
        let mut log = Self {
            file: data.cluster.dir().join("postgres.log"),
            read: 0,
        };
        log.take()?;
        Ok(log)
    }

    /// Transactions since the last time.
    fn take(&mut self) -> Result<Vec<Transaction>> {
        let text = fs::read(&self.file).context("the server has no log")?;
        let new = String::from_utf8_lossy(text.get(self.read..).unwrap_or_default()).into_owned();
        self.read = text.len();
        transactions(&new)
    }
}

/// Reads log lines as `log_statement` writes them.
fn transactions(log: &str) -> Result<Vec<Transaction>> {
    let mut done = Vec::new();
    let mut open: Option<Transaction> = None;
    for entry in entries(log) {
        let Some((_, said)) = entry.split_once("licet_app@run ") else {
            continue;
        };
        if let Some(sql) = said.strip_prefix("LOG:  statement: ") {
            let sql = sql.trim();
            if sql == "COMMIT" {
                done.extend(open.take());
            } else if sql.starts_with("BEGIN") {
                open = Some(vec![Statement {
                    sql: sql.to_owned(),
                    arguments: Vec::new(),
                }]);
            } else {
                open = None;
            }
        } else if let Some(open) = &mut open {
            // `<unnamed>`, or the name of a statement that is kept.
            let executed = said.strip_prefix("LOG:  execute ");
            if let Some((_, sql)) = executed.and_then(|said| said.split_once(": ")) {
                open.push(Statement {
                    sql: sql.trim().to_owned(),
                    arguments: Vec::new(),
                });
            } else if let Some(text) = said.strip_prefix("DETAIL:  parameters: ")
                && let Some(last) = open.last_mut()
            {
                last.arguments = arguments(text.trim())?;
            }
        }
    }
    Ok(done)
}

/// Lines that begin with a tab continue the entry before them.
fn entries(log: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for line in log.lines() {
        match (line.strip_prefix('\t'), entries.last_mut()) {
            (Some(more), Some(entry)) => {
                entry.push('\n');
                entry.push_str(more);
            }
            _ => entries.push(line.to_owned()),
        }
    }
    entries
}

/// Reads `$1 = 'it''s', $2 = NULL`.
fn arguments(text: &str) -> Result<Vec<Option<String>>> {
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (_, value) = rest.split_once(" = ").context("no value")?;
        if let Some(after) = value.strip_prefix("NULL") {
            found.push(None);
            rest = after.trim_start_matches(", ");
            continue;
        }
        let mut value = value.strip_prefix('\'').context("no quote")?;
        let mut argument = String::new();
        loop {
            let (part, after) = value.split_once('\'').context("no closing quote")?;
            argument.push_str(part);
            match after.strip_prefix('\'') {
                Some(after) => {
                    argument.push('\'');
                    value = after;
                }
                None => {
                    rest = after.strip_prefix(", ").unwrap_or(after);
                    break;
                }
            }
        }
        found.push(Some(argument));
    }
    Ok(found)
}

/// A script for `pgbench` that does the same with one round trip for each transaction, which is the
/// best it can do. Arguments that differ in `others` are made up anew each time where they have to
/// be unique.
fn script(transactions: &[Transaction], others: Option<&[Transaction]>) -> Result<String> {
    let shape = |all: &[Transaction]| all.iter().map(Vec::len).collect::<Vec<_>>();
    if others.is_some_and(|others| shape(others) != shape(transactions)) {
        bail!("the same request sent other statements the second time");
    }
    let mut script = String::from("\\set u random(1, 9000000000000000000)\n");
    for (number, transaction) in transactions.iter().enumerate() {
        let other = others.and_then(|others| others.get(number));
        script.push_str(&pipeline(transaction, other)?);
    }
    Ok(script)
}

fn pipeline(transaction: &Transaction, other: Option<&Transaction>) -> Result<String> {
    let mut script = String::from("\\startpipeline\n");
    for (number, statement) in transaction.iter().enumerate() {
        let other = other.and_then(|other| other.get(number));
        let arguments: Vec<String> = statement
            .arguments
            .iter()
            .enumerate()
            .map(|(at, argument)| {
                let twin = other.and_then(|other| other.arguments.get(at));
                literal(
                    argument.as_deref(),
                    twin.is_some_and(|twin| twin != argument),
                )
            })
            .collect();
        script.push_str(&filled(&statement.sql, &arguments)?);
        script.push_str(";\n");
    }
    script.push_str("COMMIT;\n\\endpipeline\n");
    Ok(script)
}

/// A statement with literals for its `$1`, `$2`, ….
fn filled(sql: &str, arguments: &[String]) -> Result<String> {
    let mut text = String::new();
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let number: usize = after[..digits].parse().context("a $ without a number")?;
        let argument = number.checked_sub(1).and_then(|at| arguments.get(at));
        text.push_str(argument.context("an argument is missing")?);
        rest = &after[digits..];
    }
    text.push_str(rest);
    Ok(text)
}

/// A literal, without a colon: `pgbench` would take it for a variable.
fn literal(argument: Option<&str>, unique: bool) -> String {
    const KEY_LENGTH: usize = 43;
    let Some(argument) = argument else {
        return "NULL".into();
    };
    let is_uuid = argument.len() == 36 && argument.split('-').count() == 5;
    if unique && is_uuid {
        return "lpad(to_hex(:u::bigint), 32, '0')::uuid".into();
    }
    // A fingerprint's hash, or an idempotency key.
    if unique && argument.len() == KEY_LENGTH {
        return format!("lpad((:u::bigint)::text, {KEY_LENGTH}, '0')");
    }
    let escaped = argument
        .replace('\\', "\\\\")
        .replace('\'', "''")
        .replace(':', "\\x3a");
    format!("E'{escaped}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
2026-11-21 12:00:00.000 UTC [7] licet_app@run LOG:  statement: BEGIN; SET LOCAL licet.org_id = 'o'
2026-11-21 12:00:00.000 UTC [7] licet_app@run LOG:  execute <unnamed>: SELECT $1,
\t  $2 FROM t
2026-11-21 12:00:00.000 UTC [7] licet_app@run DETAIL:  parameters: $1 = 'it''s 1:2', $2 = NULL
2026-11-21 12:00:00.000 UTC [8] postgres@run LOG:  statement: COMMIT
2026-11-21 12:00:00.000 UTC [7] licet_app@run LOG:  statement: COMMIT
";

    #[test]
    fn a_transaction_reads_back_as_a_script() {
        let found = transactions(LOG).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0][1].sql, "SELECT $1,\n  $2 FROM t");
        let text = script(&found, None).unwrap();
        assert!(
            text.contains("SELECT E'it''s 1\\x3a2',\n  NULL FROM t;\nCOMMIT;"),
            "{text}"
        );
    }

    #[test]
    fn each_transaction_of_a_request_is_a_pipeline() {
        // A statement in between, outside of any, is nobody's.
        let between =
            "2026-11-21 12:00:00.000 UTC [7] licet_app@run LOG:  execute <unnamed>: SELECT 7\n";
        let second = LOG.replace("FROM t", "FROM u").replace("<unnamed>", "s1");
        let found = transactions(&format!("{LOG}{between}{second}")).unwrap();
        assert_eq!(found.len(), 2);
        let text = script(&found, None).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with('\\')).collect();
        let (from, to) = ("\\startpipeline", "\\endpipeline");
        assert_eq!(lines[1..], [from, to, from, to]);
        assert!(lines[0].starts_with("\\set u "));
        let pipelines: Vec<_> = text.split(to).collect();
        for (pipeline, table) in pipelines.iter().zip(["FROM t;", "FROM u;"]) {
            assert!(pipeline.contains("BEGIN; SET LOCAL"), "{pipeline}");
            assert!(pipeline.contains(table), "{pipeline}");
            assert_eq!(pipeline.matches("COMMIT;").count(), 1, "{pipeline}");
        }
        assert!(!text.contains("SELECT 7"));
    }

    #[test]
    fn a_request_is_not_paired_with_one_that_did_other_things() {
        let found = transactions(LOG).unwrap();
        let twice = transactions(&LOG.repeat(2)).unwrap();
        assert!(script(&found, Some(&found)).is_ok());
        assert!(script(&found, Some(&twice)).is_err());
        let mut longer = found.clone();
        longer[0].extend(found[0].clone());
        assert!(script(&found, Some(&longer)).is_err());
    }

    #[test]
    fn what_differs_and_must_be_unique_is_made_up() {
        let uuid = "0190a1b2-0000-7000-8000-000000000001";
        assert!(literal(Some(uuid), true).contains(":u"));
        assert!(!literal(Some(uuid), false).contains(":u"));
        assert_eq!(literal(Some("act_1"), true), "E'act_1'");
        assert_eq!(literal(Some("\\x01"), false), "E'\\\\x01'");
        assert!(filled("SELECT $3", &[String::new()]).is_err());
    }
}
