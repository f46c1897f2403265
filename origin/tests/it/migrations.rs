//! The `migrate` command.

use super::support::{Bed, TestDatabase, sql::connect};

/// Everything that migrations make, in words: two databases with the same words have the same schema.
const CATALOGUE: &str = "
SELECT 'table ' || c.relname || ' ' || c.relkind::text || ' ' || pg_get_userbyid(c.relowner)
    || ' rls ' || c.relrowsecurity || c.relforcerowsecurity
    || ' acl ' || coalesce(array_to_string(ARRAY(SELECT unnest(c.relacl)::text ORDER BY 1), ' '), '')
FROM pg_class c WHERE c.relnamespace = 'licet'::regnamespace
UNION ALL
SELECT 'column ' || c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
    || ' ' || a.attnotnull || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
    || ' acl ' || coalesce(array_to_string(a.attacl, ' '), '')
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = 'licet'::regnamespace
UNION ALL
SELECT 'constraint ' || n.conname || ' ' || n.conrelid::regclass || ' ' || pg_get_constraintdef(n.oid)
FROM pg_constraint n WHERE n.connamespace = 'licet'::regnamespace
UNION ALL
SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'licet'
UNION ALL
SELECT 'policy ' || p::text FROM pg_policies p WHERE schemaname = 'licet'
UNION ALL
SELECT 'function ' || p.oid::regprocedure || ' ' || pg_get_userbyid(p.proowner) || ' '
    || pg_get_functiondef(p.oid) || ' acl ' || coalesce(array_to_string(p.proacl, ' '), '')
FROM pg_proc p WHERE p.pronamespace = 'licet'::regnamespace
ORDER BY 1";

fn catalogue(database: &TestDatabase) -> Vec<String> {
    database
        .admin(CATALOGUE)
        .into_iter()
        .flatten()
        .flatten()
        .collect()
}

#[test]
fn up_down_up_leaves_what_up_left() {
    let database = TestDatabase::migrated();
    let first = catalogue(&database);
    assert!(first.len() > 150, "{}", first.len());

    let steps = database
        .command(&["migrate", "--status"])
        .json()
        .as_array()
        .unwrap()
        .len();
    database
        .command(&["migrate", "--down", &steps.to_string()])
        .succeed();
    let left = catalogue(&database);
    assert!(
        left.iter().all(|line| line.contains("schema_migrations")),
        "{left:?}"
    );

    database.command(&["migrate"]).succeed();
    assert_eq!(catalogue(&database), first);
}

#[test]
fn each_step_can_be_taken_back_and_again() {
    let database = TestDatabase::migrated();
    let first = catalogue(&database);
    for _ in 0..2 {
        let down = database.command(&["migrate", "--down", "1"]).succeed();
        assert!(
            down.stderr.starts_with("took back migration"),
            "{}",
            down.stderr
        );
    }
    assert!(
        database
            .command(&["migrate"])
            .succeed()
            .stderr
            .contains("applied migration")
    );
    assert_eq!(catalogue(&database), first);
    assert_eq!(
        database.command(&["migrate"]).succeed().stderr,
        "nothing to do\n"
    );
}

/// What lists say of licenses that were suspended or revoked before there was a table of them.
#[tokio::test]
async fn what_was_withdrawn_before_stays_so() {
    let bed = Bed::new();
    let withdrawals = || {
        let sql = "SELECT row_to_json(w)::text FROM licet.withdrawals w ORDER BY 1";
        bed.database.admin(sql)
    };
    for change in ["suspend", "revoke"] {
        let seeded = bed.database.seed("alpha", 5);
        for device in ["one", "two"] {
            assert!(bed.activate(&seeded.key, device).await.valid);
        }
        let id = seeded.license.to_string();
        bed.database
            .command(&["license", change, "--org", "alpha", &id])
            .succeed();
    }
    assert!(
        bed.activate(&bed.database.seed("alpha", 5).key, "one")
            .await
            .valid
    );
    let before = withdrawals();
    assert_eq!(before.len(), 2);
    let steps = bed.database.command(&["migrate", "--status"]).json();
    let back = steps.as_array().unwrap().len() - 4;
    bed.database
        .command(&["migrate", "--down", &back.to_string()])
        .succeed();
    bed.database.command(&["migrate"]).succeed();
    assert_eq!(withdrawals(), before);
}

/// Policies with the expression for the tenant in place of the function, and back: nothing else
/// of them changes, whatever the path of whoever migrates.
#[tokio::test]
async fn the_tenant_is_put_into_policies_and_nothing_else_of_them_changes() {
    const UP: &str = include_str!("../../../migrations/0012_inline_tenant.up.sql");
    const DOWN: &str = include_str!("../../../migrations/0012_inline_tenant.down.sql");
    const PRINTED: &str = "(NULLIF(current_setting('licet.org_id'::text, true), ''::text))::uuid";
    let database = TestDatabase::migrated();
    let policies = || {
        let sql = "SELECT p::text FROM pg_policies p WHERE schemaname = 'licet' ORDER BY 1";
        let rows = database.admin(sql).into_iter().flatten().flatten();
        rows.collect::<Vec<String>>()
    };
    let steps = database.command(&["migrate", "--status"]).json();
    let back = steps.as_array().unwrap().len() - 11;
    database
        .command(&["migrate", "--down", &back.to_string()])
        .succeed();
    database.admin(
        r#"CREATE POLICY "Odd ""one" ON licet.products AS RESTRICTIVE TO licet_app, licet_system
               USING (name <> 'it''s %I' AND (org_id = licet.current_org_id() OR licet.current_org_id() IS NULL))
               WITH CHECK (licet.current_org_id()::text <> '')"#,
    );
    let before = policies();
    let calls = |policies: &[String]| policies.join("\n").matches("current_org_id").count();
    assert!(calls(&before) > 80, "{before:?}");
    let expected: Vec<String> = before
        .iter()
        .map(|policy| policy.replace("licet.current_org_id()", PRINTED))
        .collect();

    let client = connect(&database.admin_url()).await;
    for path in ["licet, public", "''", "public, pg_catalog", "pg_catalog"] {
        let set = format!("SET search_path = {path}");
        client.batch_execute(&set).await.unwrap();
        client.batch_execute(UP).await.unwrap();
        assert_eq!(policies(), expected, "{path}");
        client.batch_execute(DOWN).await.unwrap();
        assert_eq!(policies(), before, "{path}");
        let now: String = client
            .query_one("SHOW search_path", &[])
            .await
            .unwrap()
            .get(0);
        assert_eq!(now.replace('"', "'"), path);
    }
}

#[test]
fn an_edited_step_and_an_unknown_one_are_refused() {
    let database = TestDatabase::migrated();
    database.admin("UPDATE licet.schema_migrations SET sha256 = '\\x00' WHERE version = 2");
    let ended = database.command(&["migrate"]).end();
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("migration 2 (catalogue) was edited"),
        "{}",
        ended.stderr
    );
    let ended = database.command(&["migrate", "--down", "1"]).end();
    assert!(ended.stderr.contains("was edited"), "{}", ended.stderr);

    let database = TestDatabase::migrated();
    database.admin("INSERT INTO licet.schema_migrations (version, name, sha256) VALUES (999, 'later', '\\x00')");
    let ended = database.command(&["migrate"]).end();
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.contains("use a newer binary"),
        "{}",
        ended.stderr
    );
}

#[test]
fn two_at_once_take_turns() {
    let database = TestDatabase::empty();
    let ended: Vec<_> = std::thread::scope(|scope| {
        let run = || database.command(&["migrate"]).succeed().stderr;
        let both: Vec<_> = (0..3).map(|_| scope.spawn(run)).collect();
        both.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(
        ended
            .iter()
            .filter(|text| *text == "nothing to do\n")
            .count(),
        2,
        "{ended:?}"
    );
}

/// Not a superuser: as on a managed Postgres.
#[test]
fn a_role_that_may_create_roles_is_enough() {
    let database = TestDatabase::in_new_cluster();
    let name = database.admin("SELECT current_database()")[0][0]
        .clone()
        .unwrap();
    database.admin("CREATE ROLE steward LOGIN CREATEROLE PASSWORD 'steward'");
    database.admin(&format!("GRANT CREATE ON DATABASE {name} TO steward"));
    let url = database.role_url("steward", "steward");
    let migrate = |args: &[&str]| {
        database
            .command(&[&["migrate"], args].concat())
            .env("LICET_ADMIN_DATABASE_URL", &url)
            .succeed()
    };
    migrate(&[]);
    let as_superuser = catalogue(&TestDatabase::migrated());
    assert_eq!(catalogue(&database), as_superuser);
    migrate(&["--down", "9"]);
    migrate(&[]);
    assert_eq!(catalogue(&database), as_superuser);
    let seeded = database.seed("alpha", 7);
    let listed = database
        .command(&["republish", "--all"])
        .env("LICET_ADMIN_DATABASE_URL", &url)
        .json();
    assert_eq!(listed[0]["org"], "alpha");

    // Nor does row-level security hide from it what a step has to carry over.
    database.admin(
        "INSERT INTO licet.activations (org_id, id, license_id, fingerprint_hash, status_list, status_index)
         SELECT org_id, id, id, repeat('x', 43), 0, 0 FROM licet.licenses",
    );
    let id = seeded.license.to_string();
    let revoke = ["license", "revoke", "--org", "alpha", &id];
    database.command(&revoke).succeed();
    let steps = database.command(&["migrate", "--status"]).json();
    let back = steps.as_array().unwrap().len() - 4;
    migrate(&["--down", &back.to_string()]);
    migrate(&[]);
    let carried = database.admin("SELECT status FROM licet.withdrawals");
    assert_eq!(carried, [[Some("REVOKED".to_owned())]]);
    let carried = database.admin("SELECT own_max_activations::text FROM licet.licenses");
    assert_eq!(carried, [[Some("true".to_owned())]]);
}

#[test]
fn passwords_are_stored_as_verifiers_and_never_sent() {
    let database = TestDatabase::migrated();
    let stored = database.admin("SELECT rolpassword FROM pg_authid WHERE rolname = 'licet_app'");
    assert!(
        stored[0][0]
            .as_deref()
            .unwrap()
            .starts_with("SCRAM-SHA-256$"),
        "{stored:?}"
    );
    let ended = database
        .command(&["migrate"])
        .env("LICET_APP_PASSWORD", "")
        .end();
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("LICET_APP_PASSWORD is empty"),
        "{}",
        ended.stderr
    );
}
