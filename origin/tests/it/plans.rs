//! How Postgres finds what is asked for: every statement behind every read of the API, with each
//! of its filters, as the origin sends it. The plans come from the server itself (`auto_explain`),
//! so no statement can be forgotten; the reads come from the OpenAPI document, so no operation and
//! no filter can be either.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use licet_origin::db::DatabaseSettings;
use serde_json::{Value, json};

use super::support::{
    Bed, BedOptions, TestDatabase,
    account::Caller,
    edge::{Call, REFRESH, activation},
};

const DESCRIPTION: &str = include_str!("../../openapi.json");
/// So much that the planner prefers an index to reading a whole table.
const ORGS: &str = "2000";
const LICENSES: &str = "20000";
/// Rows that one statement may look at to find a page of two. The biggest organization has ten
/// times as many licenses.
const MOST_VISITED: u64 = 250;

/// A plan that the server has logged.
struct Plan {
    statement: String,
    root: Value,
}

/// Reads the plans of one database from the server's log.
struct PlanLog {
    file: PathBuf,
    mark: String,
    read: usize,
}

impl PlanLog {
    fn of(database: &TestDatabase) -> Self {
        let (name, file) = database.log();
        let mut log = Self {
            file,
            mark: format!("@{name} LOG:  duration: "),
            read: 0,
        };
        log.take();
        log
    }

    /// Those that came since the last time.
    fn take(&mut self) -> Vec<Plan> {
        let text = std::fs::read(&self.file).unwrap();
        let new = String::from_utf8_lossy(&text[self.read..]).into_owned();
        self.read = text.len();
        let mut plans = Vec::new();
        let mut entry = String::new();
        // A line that continues an entry begins with a tab.
        for line in new.lines().chain(["end"]) {
            if line.starts_with('\t') {
                entry.push_str(line);
                continue;
            }
            if let Some((head, json)) = entry.split_once("plan:")
                && head.contains(&self.mark)
            {
                let plan: Value = serde_json::from_str(json).unwrap();
                plans.push(Plan {
                    statement: plan["Query Text"].as_str().unwrap().to_owned(),
                    root: plan["Plan"].clone(),
                });
            }
            line.clone_into(&mut entry);
        }
        plans
    }
}

/// What is known of the schema.
struct Schema {
    tenant_tables: BTreeSet<String>,
    /// Each index with its first column.
    first_columns: BTreeMap<String, String>,
}

impl Schema {
    fn of(database: &TestDatabase) -> Self {
        let tables = database.admin(
            "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'org_id'
             WHERE c.relnamespace = 'licet'::regnamespace AND c.relkind = 'r'
                 AND c.relname NOT IN ('org_directory', 'login_directory', 'published')",
        );
        let indexes = database.admin(
            "SELECT i.relname, a.attname FROM pg_class t JOIN pg_index x ON x.indrelid = t.oid
             JOIN pg_class i ON i.oid = x.indexrelid
             JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = x.indkey[0]
             WHERE t.relnamespace = 'licet'::regnamespace",
        );
        let text = |value: &Option<String>| value.clone().unwrap();
        Self {
            tenant_tables: tables.iter().map(|row| text(&row[0])).collect(),
            first_columns: indexes
                .iter()
                .map(|row| (text(&row[0]), text(&row[1])))
                .collect(),
        }
    }

    /// What is wrong with a plan, if anything.
    fn objections(&self, plan: &Plan, most_visited: u64) -> Vec<String> {
        let mut found = Vec::new();
        let visited = self.walk(&plan.root, &mut found);
        if visited > most_visited {
            found.push(format!("{visited} rows were looked at"));
        }
        found
    }

    /// Adds what is wrong, and tells how many rows the scans of tenants' tables looked at.
    fn walk(&self, node: &Value, found: &mut Vec<String>) -> u64 {
        let text = |name: &str| node[name].as_str().unwrap_or_default();
        let number = |name: &str| node[name].as_f64().unwrap_or(0.0);
        let below = node["Plans"].as_array().into_iter().flatten();
        let mut visited: u64 = below.map(|node| self.walk(node, found)).sum();
        let (kind, table) = (text("Node Type"), text("Relation Name"));
        if self.tenant_tables.contains(table) {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let rows = ((number("Actual Rows") + number("Rows Removed by Filter"))
                * number("Actual Loops").max(1.0)) as u64;
            visited += rows;
            if ![
                "Index Scan",
                "Index Only Scan",
                "Bitmap Heap Scan",
                "ModifyTable",
            ]
            .contains(&kind)
            {
                found.push(format!("{kind} on {table}"));
            }
        }
        let index = text("Index Name");
        if !index.is_empty() {
            let known = self.first_columns.get(index).map(String::as_str);
            let tenants = known.is_some_and(|first| first == "org_id");
            let elsewhere = ["org_directory_", "login_directory_"];
            let no_tenants = elsewhere.iter().any(|prefix| index.starts_with(prefix));
            if tenants && !text("Index Cond").contains("org_id =") {
                found.push(format!("{index} is not entered by org_id"));
            } else if !tenants && !no_tenants {
                found.push(format!("{index} does not begin with org_id"));
            }
        }
        visited
    }
}

/// A database with enough in it, whose every plan is logged.
fn full_database() -> TestDatabase {
    let database = TestDatabase::migrated();
    database
        .command(&["seed", "--orgs", ORGS, "--licenses", LICENSES])
        .succeed();
    // What people and devices leave behind while they use it.
    for statement in [
        "INSERT INTO licet.sessions (org_id, id, user_id, token_hash, renewed_at, expires_at, ends_at, created_at)
         SELECT u.org_id, gen_random_uuid(), u.id, sha256(n::text::bytea), now(), now() + '1 day', now() + '1 day', now()
         FROM licet.users u CROSS JOIN generate_series(1, 3) AS n",
        "INSERT INTO licet.idempotency_keys (org_id, key, request_hash, created_at)
         SELECT l.org_id, l.id::text, l.key_hash, now() - '2 days'::interval FROM licet.licenses l",
        "INSERT INTO licet.invitations (org_id, id, email, role, token_hash, invited_by, expires_at)
         SELECT o.org_id, gen_random_uuid(), 'somebody@else.example', 'GUEST', sha256(o.slug::bytea), 'usr', now() + '7 days'::interval
         FROM licet.organizations o",
        "INSERT INTO licet.audit_personal (org_id, event_id, user_id, salt, content)
         SELECT e.org_id, e.id, gen_random_uuid(), e.hash, '{}' FROM licet.audit_events e WHERE e.seq < 4",
        "INSERT INTO licet.leases (org_id, id, license_id, activation_id, holder, machine_hash, borrowed, acquired_at,
             renewed_at, expires_at, ended_at, ended_why, request_key, request_hash)
         SELECT a.org_id, gen_random_uuid(), a.license_id, a.id, 'somebody', a.fingerprint_hash, false, now(), now(),
             now() + '1 day', CASE WHEN n > 2 THEN now() END, CASE WHEN n > 2 THEN 'RELEASED' END,
             sha256((a.id::text || n)::bytea), sha256('')
         FROM licet.activations a CROSS JOIN generate_series(1, 4) AS n WHERE a.deactivated_at IS NULL",
        "UPDATE licet.licenses SET terms = '{\"seats\": {\"max\": 100, \"borrow_max_s\": 3600}}'",
        "INSERT INTO licet.trials (org_id, fingerprint_hash, product_id, license_id)
         SELECT a.org_id, a.fingerprint_hash, c.product_id, a.license_id FROM licet.activations a
         JOIN licet.license_products c ON c.org_id = a.org_id AND c.license_id = a.license_id
         ON CONFLICT DO NOTHING",
        "INSERT INTO licet.usage (org_id, license_id, feature, period, period_start, used, quota)
         SELECT l.org_id, l.id, 'exports', 'month', date_trunc('month', now()), 1, 10 FROM licet.licenses l",
        "INSERT INTO licet.license_changes (org_id, status_list, license_id, until)
         SELECT DISTINCT a.org_id, a.status_list, a.license_id, now() + '1 day'::interval
         FROM licet.activations a WHERE a.status_index % 64 = 0",
        "VACUUM (ANALYZE)",
    ] {
        database.admin(statement);
    }
    let (name, _) = database.log();
    for (setting, value) in [
        ("session_preload_libraries", "auto_explain"),
        ("auto_explain.log_min_duration", "0"),
        ("auto_explain.log_format", "json"),
        ("auto_explain.log_analyze", "on"),
        ("auto_explain.log_timing", "off"),
        ("auto_explain.log_nested_statements", "on"),
    ] {
        database.admin(&format!(
            "ALTER ROLE licet_app IN DATABASE {name} SET {setting} = '{value}'"
        ));
    }
    database
}

fn bed(database: TestDatabase) -> Bed {
    let patient = std::time::Duration::from_secs(60);
    let options = BedOptions {
        database: DatabaseSettings {
            // A cold pool would hide which plans belong to which request.
            pool_size: 1,
            pool_wait: patient,
            statement_timeout: patient,
            lock_timeout: patient,
            ..DatabaseSettings::default()
        },
        ..BedOptions::default()
    };
    Bed::with(database, &options)
}

/// Values for a filter: some that find something, some that don't.
fn values(name: &str, schema: &Value, known: &BTreeMap<String, String>) -> Vec<String> {
    if let Some(words) = schema["enum"].as_array() {
        return words
            .iter()
            .map(|word| word.as_str().unwrap().to_owned())
            .collect();
    }
    if schema["type"] == "boolean" {
        return vec!["true".into(), "false".into()];
    }
    match name {
        "expiring_before" | "since" | "until" | "at" => {
            vec!["2020-01-01T00:00:00Z".into(), "2030-01-01T00:00:00Z".into()]
        }
        "action" => vec![
            "license.issued".into(),
            "license.".into(),
            "nothing.".into(),
        ],
        "fingerprint_hash" => vec!["nothing".into()],
        "code" | "product" => vec!["app-00".into(), "app-03".into(), "nothing".into()],
        _ => known.get(name).map_or_else(
            || vec!["Enterprise%200".into(), "nowhere".into()],
            |known| vec![known.clone()],
        ),
    }
}

/// Every read of the API with each filter by itself.
struct Reads {
    bed: Bed,
    caller: Caller,
    /// First id of each list, by the name that a filter for it would have.
    known: BTreeMap<String, String>,
    paths: Vec<String>,
}

impl Reads {
    /// The path with ids in its segments: of the first thing that the list before them shows.
    async fn fill(&mut self, template: &str) -> String {
        let mut path = String::new();
        for segment in template.split('/').filter(|segment| !segment.is_empty()) {
            let value = match segment {
                "{revision}" => "1".to_owned(),
                name if name.starts_with('{') => self.first_of(&path).await,
                literal => literal.to_owned(),
            };
            path = format!("{path}/{value}");
        }
        path
    }

    async fn first_of(&mut self, list: &str) -> String {
        if let Some(id) = self.known.get(list) {
            return id.clone();
        }
        let reply = self.bed.get(&self.caller, list).await.json(200);
        let id = reply["data"][0]["id"]
            .as_str()
            .unwrap_or_else(|| panic!("{list} is empty: fill it in full_database()"))
            .to_owned();
        self.known.insert(list.to_owned(), id.clone());
        let thing = list.rsplit('/').next().unwrap();
        let singular = thing.strip_suffix("ies").map_or_else(
            || thing.trim_end_matches('s').replace('-', "_"),
            |stem| format!("{stem}y"),
        );
        self.known.insert(singular, id.clone());
        id
    }

    async fn collect(&mut self, description: &Value) {
        let paths = description["paths"].as_object().unwrap();
        for path in paths.keys() {
            // So that filters find their values.
            if path.contains("/{id}") && path.starts_with("/api/v1/") {
                self.fill(path).await;
            }
        }
        for (template, operations) in paths {
            let Some(operation) = operations.get("get") else {
                continue;
            };
            if !template.starts_with("/api/v1/") {
                continue;
            }
            let path = self.fill(template).await;
            self.paths.push(path.clone());
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let is_list = parameters
                .clone()
                .any(|parameter| parameter["name"] == "limit");
            let start = if is_list { "limit=2&" } else { "" };
            for parameter in parameters.filter(|parameter| parameter["in"] == "query") {
                let name = parameter["name"].as_str().unwrap();
                match name {
                    "limit" => self.paths.push(format!("{path}?limit=2")),
                    "cursor" => {
                        let first = format!("{path}?limit=1");
                        let reply = self.bed.get(&self.caller, &first).await.json(200);
                        if let Some(cursor) = reply["next_cursor"].as_str() {
                            self.paths.push(format!("{path}?limit=2&cursor={cursor}"));
                        }
                    }
                    _ => {
                        let values = values(name, &parameter["schema"], &self.known);
                        let query = values
                            .iter()
                            .map(|value| format!("{path}?{start}{name}={value}"));
                        self.paths.extend(query);
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_read_finds_its_rows_by_an_index_of_its_organization() {
    let database = full_database();
    let schema = Schema::of(&database);
    let keys = database.command(&[
        "seed",
        "--orgs",
        ORGS,
        "--licenses",
        LICENSES,
        "--print-keys",
        "1",
    ]);
    let usable = keys.json();
    let text = |name: &str| usable[name].as_str().unwrap().to_owned();
    let mut log = PlanLog::of(&database);
    let bed = bed(database);

    let login = bed
        .log_in(&text("owner"), &text("password"), &text("slug"))
        .await
        .json(200);
    let caller = Caller {
        bearer: login["access_token"].as_str().unwrap().to_owned(),
    };
    let mut reads = Reads {
        bed,
        caller,
        known: BTreeMap::new(),
        paths: Vec::new(),
    };
    let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
    reads.collect(&description).await;
    assert!(reads.paths.len() > 60, "{:#?}", reads.paths);
    let Reads {
        bed, caller, paths, ..
    } = reads;

    let mut faults = Vec::new();
    let mut statements = BTreeSet::new();
    let mut check = |what: &str, plans: Vec<Plan>, most: u64| {
        assert!(!plans.is_empty(), "{what}: no plan was logged");
        for plan in plans {
            let objections = schema.objections(&plan, most);
            if !objections.is_empty() {
                faults.push(format!("{what}: {objections:?}\n{}", plan.statement));
            }
            statements.insert(plan.statement);
        }
    };
    log.take();
    for path in &paths {
        let reply = bed.get(&caller, path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        check(path, log.take(), MOST_VISITED.max(pages(path)));
    }

    // The lookups that are no reads of the account API.
    let machine = Caller {
        bearer: text("api_key"),
    };
    bed.get(&machine, "/api/v1/licenses?limit=2")
        .await
        .json(200);
    check("an API key", log.take(), MOST_VISITED);
    let body = json!({ "license_key": text("license_key") });
    let found = bed.post(&caller, "/api/v1/licenses/lookup", &body).await;
    found.json(200);
    check("a license by its key", log.take(), MOST_VISITED);
    let session = login["refresh_token"].as_str().unwrap();
    bed.renew(session).await.json(200);
    check("a session's renewal", log.take(), MOST_VISITED);
    let mut body = json!({ "license_key": text("license_key"), "product": text("product") });
    body["fingerprint"] = "a device".into();
    let call = Call::post("/edge/v1/activations", &body).once("only-once");
    let token = bed.call(call).await.answer().license_token.unwrap();
    check("activation", log.take(), MOST_VISITED);
    bed.refresh(&token).await.license_token.unwrap();
    check(REFRESH, log.take(), MOST_VISITED);
    for document in ["keys", "statuslists/0"] {
        let path = format!("/edge/v1/orgs/{}/{document}", text("tag"));
        assert_eq!(bed.call(Call::get(&path)).await.status, 200);
        // A status list is made from all that is withdrawn, which many tokens then share.
        check(&path, log.take(), 20 * MOST_VISITED);
    }
    let lease = bed.acquire(&token, "somebody").await.lease_token.unwrap();
    check("a lease", log.take(), MOST_VISITED);
    bed.heartbeat(&lease).await.lease_token.unwrap();
    check("a heartbeat", log.take(), MOST_VISITED);
    bed.release(&lease).await;
    check("a release", log.take(), MOST_VISITED);
    bed.acquire(&token, "somebody").await.lease_token.unwrap();
    log.take();
    bed.deactivate(&token).await;
    check("deactivation", log.take(), MOST_VISITED);
    bed.call(activation(
        "ZZZZZZZZ-00000-00000-00000-00000-00000-0000",
        "x",
    ))
    .await;
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    assert!(statements.len() > 40, "{}", statements.len());
}

/// Rows that a page without a limit may look at: fifty, with what belongs to each.
fn pages(path: &str) -> u64 {
    if path.contains("text=") {
        // Looked through, not looked up: see `license_records::LOOKED_THROUGH`.
        return 10_000;
    }
    if path.ends_with("/export") {
        // All of it, at the reader's pace.
        return u64::MAX;
    }
    if path.contains("limit=") { 0 } else { 1000 }
}

/// The check itself has to notice what it is for.
#[tokio::test]
async fn a_sequential_scan_and_a_long_walk_are_noticed() {
    let database = full_database();
    let schema = Schema::of(&database);
    let mut log = PlanLog::of(&database);
    let client = database.app().await;
    let usable = database
        .command(&[
            "seed",
            "--orgs",
            ORGS,
            "--licenses",
            LICENSES,
            "--print-keys",
            "1",
        ])
        .json();
    let org: licet_shared::id::OrgId = usable["org"].as_str().unwrap().parse().unwrap();
    let org = super::support::sql::uuid(org);
    let mut objections = async |sql: &str| {
        client
            .batch_execute(&format!(
                "BEGIN; SET LOCAL licet.org_id = '{org}'; {sql}; COMMIT"
            ))
            .await
            .unwrap();
        let plans = log.take();
        assert!(!plans.is_empty(), "{sql}");
        let all = plans
            .iter()
            .flat_map(|plan| schema.objections(plan, MOST_VISITED));
        all.collect::<Vec<_>>().join(", ")
    };
    let lookup = "SELECT id FROM licet.licenses ORDER BY id LIMIT 2";
    assert_eq!(objections(lookup).await, "");
    let walk =
        "SELECT id FROM licet.licenses WHERE metadata->>'order' = 'none' ORDER BY id LIMIT 2";
    assert!(objections(walk).await.contains("rows were looked at"));
    let whole = "SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off;
        SET LOCAL enable_indexonlyscan = off; SELECT count(*) FROM licet.products";
    assert!(objections(whole).await.starts_with("Seq Scan on products"));
}
