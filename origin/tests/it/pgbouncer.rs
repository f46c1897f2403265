//! PgBouncer in transaction mode: few server connections, many clients of many tenants, and
//! whatever can go wrong in between.

use std::{
    collections::BTreeSet,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::http::Method;
use licet_origin::{
    db::{Database, DatabaseSettings},
    metrics::Metrics,
};
use serde_json::{Value, json};
use xtask::postgres::{PgBouncer, PgBouncerBinary};

use super::support::{
    Bed, BedOptions, Seeded, TestDatabase,
    account::Person,
    edge::{ACTIVATE, Call},
    sql::{self, connect},
};

const SERVERS: usize = 4;
const TENANTS: usize = 8;
const CLIENTS: usize = 32;
const ROUNDS: usize = 12;

/// The installed one. Without it nothing is tested, which must not go unnoticed: where
/// `LICET_REQUIRE_PGBOUNCER` is set it is a failure.
fn installed() -> Option<PgBouncerBinary> {
    match PgBouncerBinary::find() {
        Ok(binary) => Some(binary),
        Err(error) => {
            let required = std::env::var_os("LICET_REQUIRE_PGBOUNCER").is_some();
            assert!(!required, "{error:#}");
            // Past the capture of a test that passes.
            let line = format!("\nSKIPPED: nothing is tested through PgBouncer: {error:#}\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            None
        }
    }
}

fn in_front_of(
    database: &TestDatabase,
    binary: &PgBouncerBinary,
    settings: &[(&str, &str)],
) -> PgBouncer {
    let cluster = database.cluster();
    let servers = u32::try_from(SERVERS).unwrap();
    PgBouncer::start(binary, cluster, servers, &["licet_app"], settings).unwrap()
}

/// One organization with its owner and a license.
struct Tenant {
    owner: Person,
    seeded: Seeded,
}

/// What all clients share.
struct Scene {
    bed: Bed,
    tenants: Vec<Tenant>,
    /// Requests that were taken back halfway.
    dropped: AtomicUsize,
    refused: AtomicUsize,
    done: AtomicBool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_share_connections_and_nothing_else() {
    let Some(binary) = installed() else { return };
    crowd(&binary, &[]).await;
}

/// Named prepared statements tracked by PgBouncer, as it does by itself from 1.24 on, or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_the_same_whether_statements_are_tracked() {
    let Some(binary) = installed() else { return };
    if !binary.tracks_statements() {
        let line = format!(
            "\nSKIPPED: max_prepared_statements is not tested: PgBouncer {}.{} does not know it\n",
            binary.version.0, binary.version.1
        );
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    }
    for most in ["0", "100"] {
        crowd(&binary, &[("max_prepared_statements", most)]).await;
    }
}

async fn crowd(binary: &PgBouncerBinary, settings: &[(&str, &str)]) {
    let database = TestDatabase::in_new_cluster();
    database.command(&["migrate"]).succeed();
    let bouncer = in_front_of(&database, binary, settings);
    let url = bouncer.url(database.cluster(), &database.app_url());
    let scene = Arc::new(prepare(database, &url).await);
    let nuisance = tokio::spawn(kill_now_and_then(Arc::clone(&scene)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| tokio::spawn(client(Arc::clone(&scene), number)))
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    scene.done.store(true, Ordering::Relaxed);
    nuisance.await.unwrap();
    nothing_is_lost_and_nothing_leaked(&scene).await;
    no_connection_keeps_a_tenant(&scene, &url).await;
    let log = bouncer.log();
    println!(
        "{} requests taken back, {} refused for the moment; PgBouncer {}.{}",
        scene.dropped.load(Ordering::Relaxed),
        scene.refused.load(Ordering::Relaxed),
        binary.version.0,
        binary.version.1
    );
    assert!(!log.contains("prepared statement"), "{log}");
}

async fn prepare(database: TestDatabase, url: &str) -> Scene {
    let patient = Duration::from_secs(60);
    let mut options = BedOptions {
        database: DatabaseSettings {
            pool_size: CLIENTS,
            pool_wait: patient,
            statement_timeout: patient,
            lock_timeout: patient,
            ..DatabaseSettings::default()
        },
        url: Some(url.to_owned()),
        ..BedOptions::default()
    };
    options.state.request_timeout = patient;
    let bed = Bed::with(database, &options);
    let mut tenants = Vec::new();
    for number in 0..TENANTS {
        let slug = format!("tenant{number}");
        let owner = bed.sign_up(&slug).await;
        let seeded = bed.database.seed(&slug, 10_000);
        tenants.push(Tenant { owner, seeded });
    }
    Scene {
        bed,
        tenants,
        dropped: AtomicUsize::new(0),
        refused: AtomicUsize::new(0),
        done: AtomicBool::new(false),
    }
}

/// Takes server connections away, as a failover would.
async fn kill_now_and_then(scene: Arc<Scene>) {
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE usename = 'licet_app' ORDER BY random() LIMIT 1";
    // Not for ever: on a busy machine nobody would come to an end.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        if scene.done.load(Ordering::Relaxed) {
            break;
        }
        scene.bed.database.admin(sql);
    }
}

async fn client(scene: Arc<Scene>, number: usize) {
    for round in 0..ROUNDS {
        let tenant = &scene.tenants[(number + round) % TENANTS];
        let name = format!("{}-{number}-{round}", tenant.seeded.slug);
        activate(&scene, tenant, &name, (number + round).is_multiple_of(3)).await;
        let mine = list(&scene, tenant, "/api/v1/activations?limit=100").await;
        own_rows_alone(tenant, &mine);
        if round % 4 == number % 4 {
            error_halfway(&scene, tenant).await;
        }
    }
}

/// Activates a device, if need be several times under one key: after an answer that never came
/// as after a refusal for the moment.
async fn activate(scene: &Scene, tenant: &Tenant, name: &str, cancel: bool) {
    let call = || {
        let body = json!({
            "license_key": tenant.seeded.key, "product": "local_cli",
            "fingerprint": name, "name": name,
        });
        Call::post(ACTIVATE, &body).once(name)
    };
    if cancel {
        // Somewhere in the middle, elsewhere each time.
        let bytes: [u8; 1] = licet_origin::random::bytes().unwrap();
        let soon = Duration::from_micros(u64::from(bytes[0]) * 150);
        if tokio::time::timeout(soon, scene.bed.call(call()))
            .await
            .is_err()
        {
            scene.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
    loop {
        let reply = scene.bed.call(call()).await;
        match reply.status.as_u16() {
            200 => {
                assert!(reply.answer().valid, "{}", reply.text());
                return;
            }
            // The connection was taken away, or the first request is still at work.
            409 | 503 => {
                scene.refused.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            other => panic!("{other}: {}", reply.text()),
        }
    }
}

async fn list(scene: &Scene, tenant: &Tenant, path: &str) -> Vec<Value> {
    loop {
        let reply = scene.bed.get(&tenant.owner.caller, path).await;
        if reply.status.as_u16() == 503 {
            scene.refused.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        return reply.json(200)["data"].as_array().unwrap().clone();
    }
}

fn own_rows_alone(tenant: &Tenant, rows: &[Value]) {
    let own = format!("{}-", tenant.seeded.slug);
    assert!(!rows.is_empty());
    for row in rows {
        let name = row["name"].as_str().unwrap();
        assert!(name.starts_with(&own), "{name} in a list of {own}");
    }
}

/// A statement that fails within its transaction: this code is taken.
async fn error_halfway(scene: &Scene, tenant: &Tenant) {
    let body = json!({ "code": "local_cli", "name": "again" });
    let caller = &tenant.owner.caller;
    let sent = scene
        .bed
        .ask_with(caller, Method::POST, "/api/v1/products", Some(&body), &[]);
    let reply = sent.await;
    assert!(
        [409, 503].contains(&reply.status.as_u16()),
        "{}",
        reply.text()
    );
}

async fn nothing_is_lost_and_nothing_leaked(scene: &Scene) {
    let mut expected = vec![BTreeSet::new(); TENANTS];
    for number in 0..CLIENTS {
        for round in 0..ROUNDS {
            let tenant = (number + round) % TENANTS;
            expected[tenant].insert(format!("tenant{tenant}-{number}-{round}"));
        }
    }
    for (tenant, expected) in scene.tenants.iter().zip(expected) {
        let org = sql::uuid(tenant.seeded.org);
        let rows = scene.bed.database.admin(&format!(
            "SELECT name FROM licet.activations WHERE org_id = '{org}'"
        ));
        let found: Vec<String> = rows.iter().map(|row| row[0].clone().unwrap()).collect();
        // Each once, also those that were asked for twice.
        assert_eq!(found.len(), expected.len());
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    }
}

/// Holds every server connection at once and asks each.
async fn no_connection_keeps_a_tenant(scene: &Scene, url: &str) {
    let mut pids = BTreeSet::new();
    let mut held = Vec::new();
    for _ in 0..SERVERS {
        let client = connect(url).await;
        client.batch_execute("BEGIN").await.unwrap();
        let ask = "SELECT pg_backend_pid(), coalesce(current_setting('licet.org_id', true), ''),
            (SELECT count(*) FROM licet.licenses)";
        let row = client.query_typed_one(ask, &[]).await.unwrap();
        pids.insert(row.get::<_, i32>(0));
        assert_eq!(row.get::<_, String>(1), "");
        assert_eq!(row.get::<_, i64>(2), 0);
        held.push(client);
    }
    assert_eq!(pids.len(), SERVERS);
    let sessions = "SELECT FROM pg_stat_activity WHERE usename = 'licet_app'";
    assert_eq!(scene.bed.database.admin(sessions).len(), SERVERS);
}

#[test]
fn commands_and_the_checks_at_the_start_work_through_it() {
    let Some(binary) = installed() else { return };
    let database = TestDatabase::in_new_cluster();
    database.command(&["migrate"]).succeed();
    let bouncer = in_front_of(&database, &binary, &[]);
    let through = |url: &str| bouncer.url(database.cluster(), url);
    database
        .command(&["seed", "--org", "alpha"])
        .env("LICET_DATABASE_URL", &through(&database.app_url()))
        .succeed();
    let ended = database
        .command(&["serve"])
        .env("LICET_DATABASE_URL", &through(&database.admin_url()))
        .end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("is a superuser"), "{}", ended.stderr);
}

/// PgBouncer is told to ignore `options`, and timeouts are among them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_did_not_arrive_are_noticed() {
    let Some(binary) = installed() else { return };
    let database = TestDatabase::in_new_cluster();
    database.command(&["migrate"]).succeed();
    let lost = async |url: String| {
        let server = url.parse().unwrap();
        let metrics = Arc::new(Metrics::new());
        let pool = Database::new(&server, &DatabaseSettings::default(), metrics);
        pool.unwrap().lost_settings().await.unwrap()
    };
    let none: [String; 0] = [];
    assert_eq!(lost(database.app_url()).await, none);
    let bouncer = in_front_of(&database, &binary, &[]);
    let statements = lost(bouncer.url(database.cluster(), &database.app_url())).await;
    let timeout = r#"ALTER ROLE "licet_app" SET statement_timeout = '5000'"#;
    assert_eq!(statements.len(), 6, "{statements:?}");
    assert_eq!(statements[0], timeout);
    drop(bouncer);
    for statement in statements {
        database.admin(&statement);
    }
    let bouncer = in_front_of(&database, &binary, &[]);
    let url = bouncer.url(database.cluster(), &database.app_url());
    assert_eq!(lost(url).await, none);
}
