//! TLS to Postgres: every `sslmode` against every kind of server.

use std::{sync::Arc, time::Duration};

use licet_origin::{
    db::{Database, DatabaseSettings},
    metrics::Metrics,
    postgres::Server,
};
use xtask::postgres::Cluster;

use super::support::{
    Bed, BedOptions, TestDatabase,
    edge::activation,
    tls::{Authority, NAME, TlsCluster, at, named, self_signed},
};

/// A server, by what it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shows {
    TheRightOne,
    OneOfAnotherCa,
    OneForAnotherName,
    AnExpiredOne,
    OneOfItsOwn,
    NoTls,
}

/// Whether the connection is encrypted, or what it is refused with.
type Outcome = Result<bool, &'static str>;

const NO_CA: Outcome = Err("is signed by no CA that is trusted here");
const EXPIRED: Outcome = Err("has expired");
const NO_TLS: Outcome = Err("the server speaks no TLS");
const OTHER_NAME: Outcome = Err("is not for db.licet.test, the URL's host: it is for");
const CAS_OWN: Outcome = Err("is that of a CA");

fn expected(mode: &str, server: Shows) -> Outcome {
    use Shows as S;
    match (mode, server) {
        ("disable", _) => Ok(false),
        ("prefer", server) => Ok(server != S::NoTls),
        (_, S::NoTls) => NO_TLS,
        ("require", _) => Ok(true),
        ("verify-full&sslrootcert=system", S::TheRightOne) => NO_CA,
        (_, S::OneOfAnotherCa) => NO_CA,
        (_, S::AnExpiredOne) => EXPIRED,
        (_, S::OneOfItsOwn) => CAS_OWN,
        ("verify-full&sslrootcert=CA", S::OneForAnotherName) => OTHER_NAME,
        ("verify-full&sslrootcert=system", S::OneForAnotherName) => NO_CA,
        _ => Ok(true),
    }
}

const MODES: [&str; 7] = [
    "disable",
    "prefer",
    "require",
    "require&sslrootcert=CA",
    "verify-ca&sslrootcert=CA",
    "verify-full&sslrootcert=CA",
    "verify-full&sslrootcert=system",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mode_trusts_exactly_what_it_says() {
    let mut tls = TlsCluster::new();
    let url = {
        let database = tls.database();
        database.app_url()
    };
    let other = Authority::new("another CA");
    for (server, identity) in [
        (
            Shows::TheRightOne,
            Some(tls.ca.server(&[NAME, "127.0.0.1"])),
        ),
        (Shows::OneOfAnotherCa, Some(other.server(&[NAME]))),
        (
            Shows::OneForAnotherName,
            Some(tls.ca.server(&["other.licet.test"])),
        ),
        (Shows::AnExpiredOne, Some(tls.ca.expired(&[NAME]))),
        (Shows::OneOfItsOwn, Some(self_signed(NAME))),
        (Shows::NoTls, None),
    ] {
        tls.become_another(identity.as_ref());
        let ca = match (server, &identity) {
            // What somebody would try who found that file on the server.
            (Shows::OneOfItsOwn, Some(own)) => tls.files.open("own.pem", &own.certificate),
            _ => tls.ca_file(),
        };
        for mode in MODES {
            let query = format!("sslmode={mode}").replace("=CA", &format!("={ca}"));
            let found = encrypted(&tls.cluster, &named(&url, &query)).await;
            let as_expected = match (&found, expected(mode, server)) {
                (Ok(found), Ok(expected)) => *found == expected,
                (Err(found), Err(sentence)) => found.contains(sentence),
                _ => false,
            };
            assert!(as_expected, "{mode}, {server:?}: {found:?}");
        }
    }
}

fn pool_of_one(url: &str) -> Database {
    let server: Server = url.parse().unwrap();
    let settings = DatabaseSettings {
        pool_size: 1,
        ..DatabaseSettings::default()
    };
    Database::new(&server, &settings, Arc::new(Metrics::new())).unwrap()
}

/// Connects as the origin does, and asks the server whether that was by TLS.
async fn encrypted(cluster: &Cluster, url: &str) -> Result<bool, String> {
    let database = pool_of_one(url);
    database
        .check()
        .await
        .map_err(|error| error.to_string())?
        .unwrap();
    let found = sessions(cluster);
    drop(database);
    while !sessions(cluster).is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(found.len(), 1, "{found:?}");
    Ok(found[0])
}

/// For each connection of the serving role, whether it is by TLS.
fn sessions(cluster: &Cluster) -> Vec<bool> {
    let sql = "SELECT s.ssl FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)
        WHERE a.usename = 'licet_app'";
    let rows = cluster.query("postgres", sql).unwrap();
    rows.iter()
        .map(|row| row[0].as_deref() == Some("t"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_counts_when_the_certificate_names_it() {
    let tls = TlsCluster::new();
    let url = tls.database().app_url();
    let query = format!("sslmode=verify-full&sslrootcert={}", tls.ca_file());
    let by_address = at(&url, "127.0.0.1", &query);
    assert_eq!(encrypted(&tls.cluster, &by_address).await, Ok(true));
    let by_other_name = at(&url, "localhost", &query);
    let why = encrypted(&tls.cluster, &by_other_name).await.unwrap_err();
    assert!(why.contains("is not for localhost"), "{why}");
    // The oldest version that is spoken can be raised, and the password be bound to the connection.
    for more in [
        "ssl_min_protocol_version=TLSv1.3",
        "channel_binding=require",
    ] {
        let url = named(&url, &format!("{query}&{more}"));
        assert_eq!(encrypted(&tls.cluster, &url).await, Ok(true), "{more}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_bound_to_the_connection_or_not_given() {
    let mut tls = TlsCluster::new();
    let url = tls.database().app_url();
    tls.become_another(None);
    let url = named(&url, "sslmode=prefer&channel_binding=require");
    let why = encrypted(&tls.cluster, &url).await.unwrap_err();
    assert!(why.contains("channel_binding=require"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_may_ask_for_our_certificate() {
    let tls = TlsCluster::new();
    drop(tls.database());
    tls.cluster.create_database("certified").unwrap();
    let url = tls
        .cluster
        .url("certified", "licet_app", super::support::APP_PASSWORD);
    let url = |more: &str| {
        let ca = tls.ca_file();
        named(&url, &format!("sslmode=verify-full&sslrootcert={ca}{more}"))
    };
    let (ours, others) = (tls.ca.client("licet_app"), tls.ca.client("somebody"));
    let strangers = Authority::new("a stranger's CA").client("licet_app");
    let shown = |name: &str, identity: &super::support::tls::Identity| {
        let certificate = tls
            .files
            .open(&format!("{name}.pem"), &identity.certificate);
        let key = tls.files.secret(&format!("{name}.key"), &identity.key);
        url(&format!("&sslcert={certificate}&sslkey={key}"))
    };
    // Let in: this database is not migrated, which only who was let in can see.
    let let_in = pool_of_one(&shown("ours", &ours)).check().await.unwrap();
    assert!(let_in.unwrap_err().to_string().contains("migrations"));
    for (url, sentence) in [
        (url(""), "requires a valid client certificate"),
        (shown("others", &others), "authentication failed"),
        (
            shown("strangers", &strangers),
            "does not take our certificate",
        ),
    ] {
        let why = pool_of_one(&url).check().await.unwrap_err().to_string();
        assert!(why.contains(sentence), "{why}");
    }
    // A key that others may read is not used.
    let url = shown("ours", &ours);
    tls.files.open("ours.key", &ours.key);
    let why = url.parse::<Server>().unwrap_err().to_string();
    assert!(why.contains("ours.key, which others may read"), "{why}");
    // Nor one that belongs to another certificate.
    tls.files.secret("ours.key", &others.key);
    let why = url.parse::<Server>().unwrap_err().to_string();
    assert!(why.contains("don't go together"), "{why}");
}

#[test]
fn commands_say_what_is_wrong_and_end_as_for_other_configuration() {
    let tls = TlsCluster::new();
    let database = tls.database();
    let ca = tls.ca_file();
    let good = format!("sslmode=verify-full&sslrootcert={ca}");
    let (app, admin) = (database.app_url(), database.admin_url());
    let by_tls = |args: &[&str]| {
        database
            .command(args)
            .env("LICET_DATABASE_URL", &named(&app, &good))
            .env("LICET_ADMIN_DATABASE_URL", &named(&admin, &good))
    };
    by_tls(&["migrate"]).succeed();
    by_tls(&["seed", "--org", "alpha"]).succeed();
    by_tls(&["republish", "--all"]).succeed();
    by_tls(&["audit", "verify", "--org", "alpha"]).succeed();
    // libpq's variables count where the URL says nothing.
    let plain = named(&app, "");
    database
        .command(&["audit", "verify", "--org", "alpha"])
        .env("LICET_DATABASE_URL", plain.trim_end_matches('&'))
        .env("PGSSLMODE", "verify-full")
        .env("PGSSLROOTCERT", &ca)
        .succeed();

    // The CAs of the machine, which are whatever it is told that they are.
    database
        .command(&["audit", "verify", "--org", "alpha"])
        .env("LICET_DATABASE_URL", &named(&app, "sslmode=verify-full"))
        .env("SSL_CERT_FILE", &ca)
        .succeed();

    let stranger = tls.files.open("stranger.pem", &Authority::new("x").pem);
    let bad = format!("sslmode=verify-full&sslrootcert={stranger}");
    for (args, variable, url) in [
        (vec!["serve"], "LICET_DATABASE_URL", &app),
        (vec!["seed"], "LICET_DATABASE_URL", &app),
        (vec!["migrate"], "LICET_ADMIN_DATABASE_URL", &admin),
        (
            vec!["republish", "--all"],
            "LICET_ADMIN_DATABASE_URL",
            &admin,
        ),
        (
            vec!["seed", "--orgs", "1", "--licenses", "1"],
            "LICET_ADMIN_DATABASE_URL",
            &admin,
        ),
    ] {
        let ended = by_tls(&args).env(variable, &named(url, &bad)).end();
        let sentence = format!(
            "licet-origin: {variable} can't be used as its sslmode asks: the server's certificate is signed by no CA that is trusted here"
        );
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert!(ended.stderr.starts_with(&sentence), "{}", ended.stderr);
        assert_eq!(
            ended.stderr.trim_end().lines().count(),
            1,
            "{}",
            ended.stderr
        );
    }
    // Away from this machine nothing goes in the clear unless that is asked for, and then it is said.
    let ended = by_tls(&["migrate", "--status"])
        .env(
            "LICET_ADMIN_DATABASE_URL",
            "postgres://a@192.0.2.1:9/x?sslmode=prefer&connect_timeout=1&sslrootcert=/x",
        )
        .end();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.stderr.contains("checks no certificate"),
        "{}",
        ended.stderr
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timeouts_and_cancelled_requests_end_as_they_do_in_the_clear() {
    let tls = TlsCluster::new();
    let database = tls.database();
    let seeded = database.seed("alpha", 5);
    let query = format!("sslmode=verify-full&sslrootcert={}", tls.ca_file());
    let patient = Duration::from_secs(60);
    let mut options = BedOptions {
        database: DatabaseSettings {
            pool_size: 2,
            pool_wait: patient,
            statement_timeout: Duration::from_millis(200),
            lock_timeout: patient,
            ..DatabaseSettings::default()
        },
        url: Some(named(&database.app_url(), &query)),
        ..BedOptions::default()
    };
    options.state.request_timeout = patient;
    let admin = super::support::sql::connect(&database.admin_url()).await;
    let lock = "BEGIN; LOCK TABLE licet.licenses IN ACCESS EXCLUSIVE MODE";
    let bed = Bed::with(database, &options);
    // The server ends the statement, and says so over the same connection.
    admin.batch_execute(lock).await.unwrap();
    let reply = bed.call(activation(&seeded.key, "one")).await;
    assert_eq!(reply.status.as_u16(), 503, "{}", reply.text());
    admin.batch_execute("ROLLBACK").await.unwrap();

    options.database.statement_timeout = patient;
    let bed = Arc::new(Bed::with(bed.into_database(), &options));
    bed.activate(&seeded.key, "two").await;
    admin.batch_execute(lock).await.unwrap();
    let (caller, key) = (Arc::clone(&bed), seeded.key.clone());
    let gone = tokio::spawn(async move { caller.call(activation(&key, "three")).await });
    let waiting =
        "SELECT FROM pg_stat_activity WHERE usename = 'licet_app' AND wait_event_type = 'Lock'";
    while bed.database.admin(waiting).is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let before = sessions(&tls.cluster).len();
    // A caller who goes away takes the connection along.
    gone.abort();
    assert!(gone.await.is_err());
    admin.batch_execute("ROLLBACK").await.unwrap();
    while sessions(&tls.cluster).len() >= before {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bed.activate(&seeded.key, "four").await;
    assert!(sessions(&tls.cluster).iter().all(|ssl| *ssl));
    let active = bed.database.admin("SELECT count(*) FROM licet.activations");
    assert_eq!(active[0][0].as_deref(), Some("2"));
}

/// The one whose round trips are counted.
pub fn by_tls(tls: &TlsCluster, database: &TestDatabase, port: u16) -> String {
    let url = database
        .app_url()
        .replace(&format!(":{}/", database.port()), &format!(":{port}/"));
    named(
        &url,
        &format!("sslmode=verify-full&sslrootcert={}", tls.ca_file()),
    )
}
