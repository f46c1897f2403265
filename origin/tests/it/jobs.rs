//! Background work, as licet_system.

use std::{sync::Arc, time::Duration};

use licet_origin::{
    db::SystemDatabase,
    jobs::{
        Jobs,
        retention::{KEPT, RULES},
    },
    metrics::Metrics,
};
use serde_json::{Value, json};
use tokio_postgres::error::SqlState;

use super::support::{
    Bed, TestDatabase,
    account::Person,
    edge::activation,
    sql::{begin, connect, refusal, tenant_tables},
};

fn jobs(database: &TestDatabase) -> Jobs {
    let metrics = Arc::new(Metrics::new());
    let url = database.system_url().parse().unwrap();
    Jobs::new(
        SystemDatabase::new(&url, Arc::clone(&metrics)).unwrap(),
        metrics,
    )
}

fn number(database: &TestDatabase, sql: &str) -> i64 {
    database.admin(sql)[0][0]
        .as_deref()
        .unwrap()
        .parse()
        .unwrap()
}

/// An organization with a policy.
async fn shop(bed: &Bed, slug: &str) -> (Person, String) {
    let owner = bed.sign_up(slug).await;
    bed.database.seed(slug, 5);
    let policies = bed.get(&owner.caller, "/api/v1/policies").await.json(200);
    let policy = policies["data"][0]["id"].as_str().unwrap().to_owned();
    (owner, policy)
}

/// Licenses that end far from now; their ids.
async fn licenses(bed: &Bed, shop: &(Person, String), count: usize) -> Vec<String> {
    let body = json!({ "policy_id": shop.1, "count": count, "expires_at": "2099-01-01T00:00:00Z" });
    let made = bed
        .post(&shop.0.caller, "/api/v1/licenses/batch", &body)
        .await
        .json(201);
    let ids = made["data"].as_array().unwrap().iter();
    ids.map(|it| it["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn licenses_whose_end_has_come_say_so() {
    let bed = Bed::new();
    let (alpha, beta) = (shop(&bed, "alpha").await, shop(&bed, "beta").await);
    let (ours, theirs) = (
        licenses(&bed, &alpha, 250).await,
        licenses(&bed, &beta, 3).await,
    );
    let suspended = format!("/api/v1/licenses/{}/suspend", ours[0]);
    bed.post(&alpha.0.caller, &suspended, &json!({}))
        .await
        .json(200);
    assert_eq!(
        jobs(&bed.database).run().await.unwrap().rows["license_expiry"],
        0
    );

    bed.database.admin("UPDATE licet.licenses SET expires_at = date_trunc('second', now()) - interval '1 hour' WHERE expires_at IS NOT NULL");
    let one = format!("/api/v1/licenses/{}", ours[7]);
    let before = bed.get(&alpha.0.caller, &one).await;
    assert_eq!(before.json(200)["status"], "EXPIRED");
    let report = jobs(&bed.database).run().await.unwrap();
    // Not the one that is suspended, nor those of both shops without an end.
    assert_eq!(report.rows["license_expiry"], 249 + 3);
    assert_eq!(
        number(
            &bed.database,
            "SELECT count(*) FROM licet.licenses WHERE status = 'EXPIRED' AND status_since = expires_at"
        ),
        252
    );
    assert_eq!(
        number(
            &bed.database,
            "SELECT count(*) FROM licet.licenses WHERE status = 'ACTIVE'"
        ),
        2
    );
    // To a caller nothing has changed, not even the version.
    let after = bed.get(&alpha.0.caller, &one).await;
    assert_eq!(after.json(200), before.json(200));
    assert_eq!(after.header("etag"), before.header("etag"));
    // Written down, in the chain.
    let query = format!(
        "/api/v1/audit-events?action=license.expired&subject={}",
        theirs[0]
    );
    let event = bed.get(&beta.0.caller, &query).await.json(200)["data"][0].clone();
    assert_eq!(event["actor"], "system");
    assert!(event["details"]["expires_at"].is_string(), "{event}");
    for org in ["alpha", "beta"] {
        let verified = bed
            .database
            .command(&["audit", "verify", "--org", org])
            .json();
        assert_eq!(verified["whole"], true);
    }
    // And once.
    assert_eq!(
        jobs(&bed.database).run().await.unwrap().rows["license_expiry"],
        0
    );

    // A renewal puts it in force again; what it is not in force for can't be done to it.
    let suspend = bed
        .post(&alpha.0.caller, &format!("{one}/suspend"), &json!({}))
        .await;
    assert_eq!(suspend.refused(409), "CONFLICT");
    let renewal = json!({ "expires_at": "2100-01-01T00:00:00Z" });
    let renewed = bed
        .post(&alpha.0.caller, &format!("{one}/renew"), &renewal)
        .await;
    assert_eq!(renewed.json(200)["status"], "ACTIVE");
    assert_eq!(
        jobs(&bed.database).run().await.unwrap().rows["license_expiry"],
        0
    );
    assert_eq!(
        bed.get(&alpha.0.caller, &one).await.json(200)["status"],
        "ACTIVE"
    );
}

#[tokio::test]
async fn a_license_is_treated_alike_before_and_after_the_job() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    let token = bed
        .activate(&seeded.key, "one")
        .await
        .license_token
        .unwrap();
    bed.database
        .admin("UPDATE licet.licenses SET expires_at = now() - interval '1 second'");
    let id = seeded.license.to_string();
    let mut answers = Vec::new();
    for _ in 0..2 {
        answers.push((
            bed.activate(&seeded.key, "two").await.code,
            bed.refresh(&token).await.code,
        ));
        jobs(&bed.database).run().await.unwrap();
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(
        number(
            &bed.database,
            "SELECT count(*) FROM licet.licenses WHERE status = 'EXPIRED'"
        ),
        1
    );
    // Revoking is possible, and lists say so.
    bed.database
        .command(&["license", "revoke", "--org", "alpha", &id])
        .succeed();
    assert_eq!(
        number(&bed.database, "SELECT count(*) FROM licet.withdrawals"),
        1
    );
}

/// Renewals against the job: none is lost, and none leaves a license that has ended although its
/// end is to come.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_renewal_is_lost() {
    let bed = Bed::new();
    bed.sign_up("gamma").await;
    let shop = shop(&bed, "alpha").await;
    bed.database
        .admin("UPDATE licet.organizations SET plan = 'ENTERPRISE'");
    let ids = licenses(&bed, &shop, 120).await;
    let mut expired = 0;
    for round in 0..3 {
        bed.database.admin("UPDATE licet.licenses SET expires_at = now() - interval '1 minute' WHERE expires_at IS NOT NULL");
        let renewal = json!({ "expires_at": format!("21{round}0-01-01T00:00:00Z") });
        let renewals = ids.iter().map(|id| {
            let path = format!("/api/v1/licenses/{id}/renew");
            let (bed, shop, renewal) = (&bed, &shop, &renewal);
            async move { bed.post(&shop.0.caller, &path, renewal).await.json(200) }
        });
        // Two at once: one of them finds the other at work, or nothing left to do.
        let (one, two) = (jobs(&bed.database), jobs(&bed.database));
        let work = async |jobs: Jobs| {
            let mut rows = 0;
            for _ in 0..20 {
                rows += jobs
                    .run()
                    .await
                    .unwrap()
                    .rows
                    .get("license_expiry")
                    .copied()
                    .unwrap_or(0);
            }
            rows
        };
        let (answers, by_one, by_two) = tokio::join!(
            futures_util::future::join_all(renewals),
            work(one),
            work(two)
        );
        assert!(
            answers.iter().all(|it| it["status"] == "ACTIVE"),
            "{answers:?}"
        );
        expired += by_one + by_two;
        assert_eq!(
            number(
                &bed.database,
                &format!(
                    "SELECT count(*) FROM licet.licenses WHERE status = 'ACTIVE' AND expires_at = '21{round}0-01-01T00:00:00Z'"
                )
            ),
            120
        );
        assert_eq!(
            number(
                &bed.database,
                "SELECT count(*) FROM licet.licenses WHERE status = 'EXPIRED'"
            ),
            0
        );
    }
    assert_eq!(
        number(
            &bed.database,
            "SELECT count(*) FROM licet.audit_events WHERE action = 'license.expired'"
        ),
        i64::try_from(expired).unwrap()
    );
    assert!(expired > 0, "the job was never in time");
    let verified = bed
        .database
        .command(&["audit", "verify", "--org", "alpha"])
        .json();
    assert_eq!(verified["whole"], true);
}

/// What somebody holds is left alone, not waited for, and what they did counts.
#[tokio::test]
async fn a_renewal_under_way_is_left_alone() {
    let bed = Bed::new();
    bed.database.seed("alpha", 5);
    bed.database
        .admin("UPDATE licet.licenses SET expires_at = now() - interval '1 minute'");
    let holder = connect(&bed.database.admin_url()).await;
    holder
        .batch_execute("BEGIN; UPDATE licet.licenses SET expires_at = now() + interval '1 day'")
        .await
        .unwrap();
    assert_eq!(
        jobs(&bed.database).run().await.unwrap().rows["license_expiry"],
        0
    );
    holder.batch_execute("COMMIT").await.unwrap();
    assert_eq!(
        jobs(&bed.database).run().await.unwrap().rows["license_expiry"],
        0
    );
    assert_eq!(
        number(
            &bed.database,
            "SELECT count(*) FROM licet.licenses WHERE status = 'ACTIVE'"
        ),
        1
    );
}

#[tokio::test]
async fn one_process_works_at_a_time() {
    let database = TestDatabase::migrated();
    database.seed("alpha", 5);
    let other = connect(&database.system_url()).await;
    other
        .batch_execute("BEGIN; SELECT pg_advisory_xact_lock(x'11ce7001'::int8)")
        .await
        .unwrap();
    let report = database.command(&["jobs", "run"]).json();
    assert_eq!(report, json!({ "busy": true, "rows": {} }));
    other.batch_execute("COMMIT").await.unwrap();
    let report = database.command(&["jobs", "run"]).json();
    assert_eq!(
        (&report["busy"], &report["rows"]["license_expiry"]),
        (&json!(false), &json!(0))
    );
}

/// The turn lasts for as long as the work does: were it to hold a snapshot, nothing that is updated
/// meanwhile could be cleared away, and each update would take longer than the one before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn having_the_turn_holds_nothing_back() {
    let bed = Bed::new();
    bed.database.seed("alpha", 5);
    bed.database
        .admin("UPDATE licet.licenses SET expires_at = now() - interval '1 minute'");
    let holder = connect(&bed.database.admin_url()).await;
    let hold = "BEGIN; SELECT FROM licet.audit_heads FOR UPDATE";
    holder.batch_execute(hold).await.unwrap();
    let jobs = jobs(&bed.database);
    let work = tokio::spawn(async move { jobs.run().await });
    let turn = "SELECT backend_xmin::text FROM pg_stat_activity WHERE datname = current_database()
         AND query LIKE '%pg_try_advisory%' AND state = 'idle in transaction' AND pid <> pg_backend_pid()
         AND EXISTS (SELECT FROM pg_stat_activity a WHERE a.datname = current_database() AND a.wait_event_type = 'Lock')";
    let seen = loop {
        let rows = bed.database.admin(turn);
        if !rows.is_empty() {
            break rows;
        }
        assert!(!work.is_finished(), "the work did not wait");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(seen, [[None]]);
    holder.batch_execute("COMMIT").await.unwrap();
    // It may have given up waiting by then: that is no matter here.
    drop(work.await.unwrap());
}

/// Rows just within and just beyond their periods.
#[tokio::test]
async fn what_is_outworn_goes_and_nothing_else() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let other = bed.sign_up("beta").await;
    let seeded = bed.database.seed("alpha", 5);
    for (device, name) in [
        ("one", "Grace's laptop"),
        ("two", "Ada's laptop"),
        ("three", "Live"),
    ] {
        let call = super::support::edge::Call::post(
            super::support::edge::ACTIVATE,
            &json!({ "license_key": seeded.key, "product": "local_cli", "fingerprint": device, "name": name, "metadata": { "a": 1 } }),
        )
        .once(&format!("key-{device}"));
        assert!(bed.call(call).await.answer().valid);
    }
    let mut gone = Vec::new();
    for _ in 0..2 {
        gone.push(bed.join(&owner, "GUEST").await);
    }
    for person in &gone {
        bed.delete(&owner.caller, &format!("/api/v1/users/{}", person.id))
            .await
            .empty(204);
    }
    let admin = |sql: &str| bed.database.admin(sql);
    let ids: Vec<String> = gone.iter().map(|it| it.email.clone()).collect();
    admin(&format!(
        "UPDATE licet.users SET deleted_at = now() - interval '29 days 23 hours' WHERE email = '{}';
         UPDATE licet.users SET deleted_at = now() - interval '30 days 1 hour' WHERE email = '{}'",
        ids[0], ids[1]
    ));
    admin("UPDATE licet.activations SET deactivated_at = now() - interval '29 days 23 hours' WHERE name LIKE 'Grace%';
         UPDATE licet.activations SET deactivated_at = now() - interval '30 days 1 hour' WHERE name LIKE 'Ada%'");
    // Two of each, in its order: one that stays, one that goes.
    admin("WITH n AS (SELECT org_id, key, row_number() OVER (ORDER BY key) AS n FROM licet.idempotency_keys)
         UPDATE licet.idempotency_keys k SET created_at = now() - CASE n.n WHEN 1 THEN interval '23 hours' WHEN 2 THEN interval '25 hours' ELSE interval '0' END
         FROM n WHERE n.org_id = k.org_id AND n.key = k.key");
    admin("DELETE FROM licet.invitations");
    for (ending, days) in [
        ("accepted_at", 29),
        ("accepted_at", 31),
        ("revoked_at", 31),
        ("revoked_at", 29),
    ] {
        admin(&format!(
            "INSERT INTO licet.invitations (org_id, id, email, role, token_hash, invited_by, expires_at, {ending})
             SELECT org_id, gen_random_uuid(), '{days}@x.test', 'GUEST', sha256(gen_random_uuid()::text::bytea), 'x', now() + interval '1 day', now() - interval '{days} days'
             FROM licet.organizations WHERE slug = 'alpha'"
        ));
    }
    for days in [-1, 29, 31] {
        admin(&format!(
            "INSERT INTO licet.invitations (org_id, id, email, role, token_hash, invited_by, expires_at)
             SELECT org_id, gen_random_uuid(), 'open{days}@x.test', 'GUEST', sha256(gen_random_uuid()::text::bytea), 'x', now() - interval '{days} days'
             FROM licet.organizations WHERE slug = 'alpha'"
        ));
    }
    let sessions = number(&bed.database, "SELECT count(*) FROM licet.sessions");
    admin(&format!(
        "UPDATE licet.sessions SET ended_at = now() - interval '31 days', ended_why = 'LOGOUT'
             WHERE user_id = (SELECT id FROM licet.users WHERE email = '{}');
         UPDATE licet.sessions SET ended_at = NULL, ended_why = NULL, expires_at = now() - interval '31 days'
             WHERE user_id = (SELECT id FROM licet.users WHERE email = '{}')",
        ids[0], ids[1]
    ));
    let keys = number(&bed.database, "SELECT count(*) FROM licet.idempotency_keys");

    let report = bed.database.command(&["jobs", "run"]).json();
    assert_eq!(
        report["rows"],
        json!({
            "activations_emptied": 1, "idempotency_keys_deleted": 1, "invitations_deleted": 3,
            "leases_deleted": 0, "license_expiry": 0, "people_erased": 1, "sessions_deleted": 2,
        })
    );
    assert_eq!(
        number(&bed.database, "SELECT count(*) FROM licet.sessions"),
        sessions - 2
    );
    assert_eq!(
        number(&bed.database, "SELECT count(*) FROM licet.idempotency_keys"),
        keys - 1
    );
    let names = admin("SELECT name FROM licet.activations ORDER BY created_at, id");
    assert_eq!(names.len(), 3);
    assert!(names.contains(&vec![None]) && names.contains(&vec![Some("Grace's laptop".into())]));
    let people = admin(&format!(
        "SELECT count(*) FROM licet.users WHERE email = '{}'",
        ids[1]
    ));
    assert_eq!(people[0][0].as_deref(), Some("0"));
    // Also from the trail, where it is written down.
    let left = admin("SELECT content::text FROM licet.audit_personal");
    let left = format!("{left:?}");
    assert!(!left.contains(&ids[1]) && left.contains(&ids[0]) && left.contains(&other.email));
    let events = bed
        .get(&owner.caller, "/api/v1/audit-events?action=user.erased")
        .await
        .json(200);
    let events = events["data"].as_array().unwrap().clone();
    assert_eq!(
        (events.len(), &events[0]["actor"], &events[0]["subject"]),
        (1, &json!("system"), &json!(gone[1].id))
    );
    // The others are as they were.
    bed.get(&owner.caller, "/api/v1/auth/me").await.json(200);
    bed.get(&other.caller, "/api/v1/auth/me").await.json(200);
    let again = bed.database.command(&["jobs", "run"]).json();
    let total: i64 = again["rows"]
        .as_object()
        .unwrap()
        .values()
        .map(|it| it.as_i64().unwrap())
        .sum();
    assert_eq!(total, 0, "{again}");
}

#[tokio::test]
async fn more_than_one_batch_is_cleared() {
    let bed = Bed::new();
    bed.sign_up("alpha").await;
    bed.database.admin(
        "INSERT INTO licet.idempotency_keys (org_id, key, request_hash, created_at)
         SELECT org_id, 'k' || n, sha256('x'), now() - interval '2 days'
         FROM licet.organizations, generate_series(1, 1200) n",
    );
    let report = jobs(&bed.database).run().await.unwrap();
    assert_eq!(report.rows["idempotency_keys_deleted"], 1200);
}

/// The table in code, the policies of licet_system and the tables that there are.
#[tokio::test]
async fn every_table_has_its_period_or_a_reason_to_have_none() {
    let database = TestDatabase::migrated();
    let client = connect(&database.admin_url()).await;
    let mut named: Vec<&str> = KEPT.iter().map(|(table, _)| *table).collect();
    named.extend(RULES.iter().map(|rule| rule.table));
    named.sort_unstable();
    assert_eq!(named, tenant_tables(&client).await);
    for rule in RULES {
        let policies = database.admin(&format!(
            "SELECT pg_get_expr(polqual, polrelid) FROM pg_policy
             WHERE polrelid = 'licet.{}'::regclass AND polroles = ARRAY['licet_system'::regrole::oid]",
            rule.table
        ));
        let period = match rule.days {
            1 => "'1 day'::interval".to_owned(),
            days => format!("'{days} days'::interval"),
        };
        assert_eq!(policies.len(), 2, "{}", rule.table);
        for policy in policies.into_iter().flatten().flatten() {
            assert!(policy.contains(&period), "{}: {policy}", rule.table);
        }
    }
    let documentation = include_str!("../../../docs/ACCOUNTS.md");
    for rule in RULES {
        let days = match rule.days {
            1 => "1 day".to_owned(),
            days => format!("{days} days"),
        };
        let row = format!(
            "| `{}` | {days} after {} | {} |",
            rule.table, rule.after, rule.then
        );
        assert!(
            documentation.contains(&row),
            "docs/ACCOUNTS.md lacks: {row}"
        );
    }
    for (table, why) in KEPT {
        let row = format!("| `{table}` | – | stays: {why} |");
        assert!(
            documentation.contains(&row),
            "docs/ACCOUNTS.md lacks: {row}"
        );
    }
}

/// SQL as the role, as a job with a mistake in it would send it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_role_reaches_what_is_due_and_nothing_else() {
    let bed = Bed::new();
    let (alpha, beta) = (bed.sign_up("alpha").await, bed.sign_up("beta").await);
    for slug in ["alpha", "beta"] {
        let seeded = bed.database.seed(slug, 5);
        let call = activation(&seeded.key, "one").once("k");
        assert!(bed.call(call).await.answer().valid);
    }
    let client = connect(&bed.database.system_url()).await;
    let rows = async |sql: &str| client.execute(sql, &[]).await.unwrap();
    // Nothing is due yet.
    begin(&client, alpha.org.parse().unwrap()).await;
    for sql in [
        "UPDATE licet.licenses SET status = 'EXPIRED'",
        "DELETE FROM licet.idempotency_keys",
        "DELETE FROM licet.sessions",
        "DELETE FROM licet.invitations",
        "UPDATE licet.activations SET name = NULL, metadata = NULL",
        "UPDATE licet.users SET email = '', name = '', password_hash = '', license_id = NULL, erased_at = now()",
    ] {
        assert_eq!(rows(sql).await, 0, "{sql}");
    }
    client.batch_execute("COMMIT").await.unwrap();
    bed.database.admin(
        "UPDATE licet.licenses SET expires_at = now() - interval '1 second';
        UPDATE licet.idempotency_keys SET created_at = now() - interval '2 days';
        UPDATE licet.sessions SET ended_at = now() - interval '40 days', ended_why = 'LOGOUT'",
    );
    // Without a tenant it is seen, not touched; with one, that one's is.
    assert_eq!(
        client
            .query("SELECT id FROM licet.licenses", &[])
            .await
            .unwrap()
            .len(),
        2
    );
    for sql in [
        "UPDATE licet.licenses SET status = 'EXPIRED'",
        "DELETE FROM licet.idempotency_keys",
        "DELETE FROM licet.sessions",
        "DELETE FROM licet.audit_personal",
    ] {
        assert_eq!(rows(sql).await, 0, "{sql}");
    }
    begin(&client, beta.org.parse().unwrap()).await;
    for sql in [
        "UPDATE licet.licenses SET status = 'EXPIRED'",
        "DELETE FROM licet.idempotency_keys",
        "DELETE FROM licet.sessions",
    ] {
        assert_eq!(rows(sql).await, 1, "{sql}");
    }
    client.batch_execute("ROLLBACK").await.unwrap();

    for sql in [
        // A license ends in no other way, and in nobody's name.
        "UPDATE licet.licenses SET status = 'REVOKED'",
        "UPDATE licet.licenses SET status = 'ACTIVE'",
        "UPDATE licet.licenses SET expires_at = now()",
        "UPDATE licet.licenses SET max_activations = 9",
        "INSERT INTO licet.audit_events (org_id, id, actor, action, subject) VALUES (licet.current_org_id(), gen_random_uuid(), 'operator', 'x', 'y')",
        "SELECT actor FROM licet.audit_events",
        "DELETE FROM licet.audit_events",
        "UPDATE licet.audit_events SET actor = 'nobody'",
        "SELECT content FROM licet.audit_personal",
        "SELECT email FROM licet.users",
        "SELECT password_hash FROM licet.users",
        "UPDATE licet.users SET role = 'OWNER'",
        "DELETE FROM licet.users",
        "SELECT token_hash FROM licet.sessions",
        "SELECT key_hash FROM licet.licenses",
        "SELECT key_hash FROM licet.api_keys",
        "SELECT email FROM licet.invitations",
        "SELECT sealed_seed FROM licet.signing_keys",
        "SELECT slug FROM licet.organizations",
        "SELECT features FROM licet.feature_set_revisions",
        "DELETE FROM licet.licenses",
        "DELETE FROM licet.activations",
        "SELECT * FROM licet.login_directory",
        "SELECT licet.find_login('a@b.test', NULL)",
        "SET ROLE licet_owner",
        "SET ROLE licet_app",
    ] {
        begin(&client, alpha.org.parse().unwrap()).await;
        assert_eq!(
            refusal(&client, sql).await,
            SqlState::INSUFFICIENT_PRIVILEGE,
            "{sql}"
        );
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}

#[test]
fn a_role_that_could_do_more_is_refused() {
    let database = TestDatabase::migrated();
    let refused = |url: &str| {
        let ended = database
            .command(&["jobs", "run"])
            .env("LICET_SYSTEM_DATABASE_URL", url)
            .end();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let serving = database
            .command(&["serve"])
            .env("LICET_SYSTEM_DATABASE_URL", url)
            .end();
        assert_eq!((serving.code, &serving.stderr), (Some(1), &ended.stderr));
        ended.stderr
    };
    assert!(refused(&database.admin_url()).contains("is a superuser"));
    assert!(refused(&database.app_url()).contains("is not licet_system's alone"));
    let name = database.admin("SELECT current_database()")[0][0]
        .clone()
        .unwrap();
    let both = format!("both_{name}");
    database.admin(&format!(
        "CREATE ROLE {both} LOGIN PASSWORD 'p' IN ROLE licet_app, licet_system"
    ));
    assert!(refused(&database.role_url(&both, "p")).contains("is not licet_system's alone"));
    // Nor does anybody serve with a role whose policies reach across organizations.
    for url in [database.role_url(&both, "p"), database.system_url()] {
        let ended = database
            .command(&["serve"])
            .env("LICET_DATABASE_URL", &url)
            .end();
        assert!(
            ended.code == Some(1) && ended.stderr.contains("reach across organizations"),
            "{ended:?}"
        );
    }
    let ended = database
        .command(&["jobs", "run"])
        .without("LICET_SYSTEM_DATABASE_URL")
        .end();
    assert!(
        ended.code == Some(2)
            && ended
                .stderr
                .contains("LICET_SYSTEM_DATABASE_URL is not set"),
        "{ended:?}"
    );
}

/// In the serving process: what is due is done without anybody's asking.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_serving_origin_works_in_the_background() {
    let bed = Bed::new();
    bed.database.seed("alpha", 5);
    bed.database
        .admin("UPDATE licet.licenses SET expires_at = now() - interval '1 minute'");
    let work = tokio::spawn(jobs(&bed.database).repeat(Duration::from_millis(50)));
    let expired = "SELECT count(*) FROM licet.licenses WHERE status = 'EXPIRED'";
    while number(&bed.database, expired) < 1 {
        assert!(!work.is_finished());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bed.database
        .admin("UPDATE licet.licenses SET status = 'ACTIVE'");
    while number(&bed.database, expired) < 1 {
        assert!(!work.is_finished());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    work.abort();
    let _: Value = bed
        .database
        .command(&["audit", "verify", "--org", "alpha"])
        .json();
}
