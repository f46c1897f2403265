//! `serve` refuses what it could not serve safely, in one sentence.

use super::support::TestDatabase;

fn refused(database: &TestDatabase, url: &str) -> String {
    let ended = database
        .command(&["serve"])
        .env("LICET_DATABASE_URL", url)
        .end();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(
        ended.stderr.trim_end().lines().count(),
        1,
        "{}",
        ended.stderr
    );
    ended.stderr
}

#[test]
fn a_role_that_could_go_around_row_level_security_is_refused() {
    let database = TestDatabase::migrated();
    assert!(refused(&database, &database.admin_url()).contains("is a superuser"));

    let name = database.admin("SELECT current_database()")[0][0]
        .clone()
        .unwrap();
    for (suffix, setup, sentence) in [
        ("bypass", "BYPASSRLS", "has BYPASSRLS"),
        ("owner", "IN ROLE licet_owner", "owns licet."),
        (
            "truncate",
            "IN ROLE licet_app",
            "may TRUNCATE licet.licenses",
        ),
    ] {
        let role = format!("{suffix}_{name}");
        database.admin(&format!("CREATE ROLE {role} LOGIN PASSWORD 'p' {setup}"));
        database.admin(&format!("GRANT USAGE ON SCHEMA licet TO {role}"));
        if suffix == "truncate" {
            database.admin(&format!("GRANT TRUNCATE ON licet.licenses TO {role}"));
        }
        let stderr = refused(&database, &database.role_url(&role, "p"));
        assert!(stderr.contains(sentence), "{suffix}: {stderr}");
    }
}

#[test]
fn another_schema_is_refused() {
    let empty = TestDatabase::empty();
    // Its roles are made by another database's migration.
    let database = TestDatabase::migrated();
    assert!(refused(&empty, &empty.app_url()).contains("run licet-origin migrate"));

    database.command(&["migrate", "--down", "1"]).succeed();
    let stderr = refused(&database, &database.app_url());
    let all = licet_origin::migrations::MIGRATIONS.len();
    let sentence = format!("has {} of the {all} migrations", all - 1);
    assert!(stderr.contains(&sentence), "{stderr}");
    database.command(&["migrate"]).succeed();

    database.admin(
        "INSERT INTO licet.schema_migrations (version, name, sha256) VALUES (99, 'later', '\\x00')",
    );
    let stderr = refused(&database, &database.app_url());
    assert!(
        stderr.contains("is not one that this binary knows"),
        "{stderr}"
    );
}

#[test]
fn a_database_that_is_not_there_is_said_to_be_so() {
    let database = TestDatabase::migrated();
    let stderr = refused(&database, "postgres://licet_app:hush@127.0.0.1:9/licet");
    assert!(
        stderr.contains("LICET_DATABASE_URL can't be used"),
        "{stderr}"
    );
    assert!(!stderr.contains("hush"), "{stderr}");
    let wrong = database.role_url("licet_app", "wrong-hush");
    let stderr = refused(&database, &wrong);
    assert!(
        stderr.contains("password authentication failed"),
        "{stderr}"
    );
    assert!(!stderr.contains("hush"), "{stderr}");
}

#[test]
fn wrong_configuration_names_the_variable_and_no_secret() {
    let database = TestDatabase::migrated();
    for (variable, value) in [
        ("LICET_DATABASE_URL", "hush://"),
        ("LICET_MASTER_KEY", "hush"),
        ("LICET_PLATFORM_KEY", "platform.1:hush"),
        ("LICET_EDGE_KEYS", "edge.1:hush"),
        ("LICET_ISSUER", "ftp://edge"),
        ("LICET_LISTEN", "everywhere"),
        ("LICET_POOL_SIZE", "0"),
        ("LICET_STATUS_TTL_S", "soon"),
        ("LICET_LOG", "loud=very"),
    ] {
        let ended = database.command(&["serve"]).env(variable, value).end();
        assert_eq!(ended.code, Some(2), "{variable}: {ended:?}");
        assert!(
            ended.stderr.contains(variable),
            "{variable}: {}",
            ended.stderr
        );
        assert!(
            !ended.stderr.contains("hush"),
            "{variable}: {}",
            ended.stderr
        );
        let required = [
            "LICET_DATABASE_URL",
            "LICET_MASTER_KEY",
            "LICET_PLATFORM_KEY",
            "LICET_EDGE_KEYS",
            "LICET_ISSUER",
        ];
        if required.contains(&variable) {
            let ended = database.command(&["serve"]).without(variable).end();
            assert_eq!(ended.code, Some(2), "{variable}: {ended:?}");
            assert!(
                ended.stderr.contains(&format!("{variable} is not set")),
                "{}",
                ended.stderr
            );
        }
    }
}

#[test]
fn a_taken_port_is_named() {
    let database = TestDatabase::migrated();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = database
        .command(&["serve"])
        .env("LICET_LISTEN", &address)
        .end();
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains(&address) && ended.stderr.contains("LICET_LISTEN"),
        "{}",
        ended.stderr
    );
}
