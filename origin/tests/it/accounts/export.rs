//! Exports: of an organization and of a person.

use std::collections::BTreeSet;

use axum::{
    body::{Body, Bytes},
    http::{Method, Request, StatusCode},
};
use http_body_util::BodyExt;
use licet_origin::export::tables::{EXCEPTIONS, TABLES};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{
    Bed, BedOptions, Seeded, TestDatabase,
    account::{Caller, PASSWORD, Person},
    edge::activation,
    sql::connect,
};

const ORGANIZATION: &str = "/api/v1/organization/export";
const ME: &str = "/api/v1/auth/me/export";

/// Lines of an export that came whole: kind and data.
async fn export(bed: &Bed, caller: &Caller, path: &str) -> Vec<(String, Value)> {
    let reply = bed.get(caller, path).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    assert_eq!(reply.header("content-type"), "application/x-ndjson");
    assert!(reply.header("content-disposition").contains(".ndjson"));
    let text = reply.text();
    assert!(text.ends_with('\n'));
    let lines: Vec<(String, Value)> = text
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
            (
                line["kind"].as_str().unwrap().to_owned(),
                line["data"].clone(),
            )
        })
        .collect();
    let (kind, end) = lines.last().unwrap();
    assert_eq!((kind.as_str(), &end["complete"]), ("end", &json!(true)));
    assert_eq!(end["lines"], json!(lines.len() - 2));
    for (kind, count) in end["counts"].as_object().unwrap() {
        assert_eq!(*count, json!(of(&lines, kind).len()), "{kind}");
    }
    assert_eq!(lines[0].0, "export");
    lines
}

fn of<'a>(lines: &'a [(String, Value)], wanted: &str) -> Vec<&'a Value> {
    let lines = lines.iter().filter(|(kind, _)| kind == wanted);
    lines.map(|(_, data)| data).collect()
}

/// An organization with something in every table.
async fn full(bed: &Bed, slug: &str) -> Person {
    let owner = bed.sign_up(slug).await;
    let seeded = bed.database.seed(slug, 5);
    let call = activation(&seeded.key, "device").once(&format!("key-{slug}"));
    assert!(bed.call(call).await.answer().valid);
    bed.float(&seeded, &json!({ "max": 1 }));
    let token = bed.activate(&seeded.key, "device").await.license_token;
    assert!(bed.acquire(&token.unwrap(), "somebody").await.valid);
    let key = json!({ "name": "shop", "scopes": ["licenses:read"] });
    bed.post(&owner.caller, "/api/v1/api-keys", &key)
        .await
        .json(201);
    bed.join(&owner, "MEMBER").await;
    let project = json!({ "name": "Ünï \"quoted\" \\ \u{1F512}", "metadata": { "big": 12345678901234567890_u64, "lines": "a\n\\x0" } });
    bed.post(&owner.caller, "/api/v1/projects", &project)
        .await
        .json(201);
    let suspended = bed.database.seed(slug, 5);
    assert!(bed.activate(&suspended.key, "two").await.valid);
    let id = suspended.license.to_string();
    bed.database
        .command(&["license", "suspend", "--org", slug, &id])
        .succeed();
    bed.database.admin(&format!(
        "INSERT INTO licet.trials (org_id, fingerprint_hash, product_id, license_id)
         SELECT a.org_id, a.fingerprint_hash, c.product_id, a.license_id FROM licet.activations a
         JOIN licet.license_products c ON c.org_id = a.org_id AND c.license_id = a.license_id
         JOIN licet.organizations o ON o.org_id = a.org_id WHERE o.slug = '{slug}'"
    ));
    metered(bed, &owner, &seeded).await;
    owner
}

/// A license that is given a quota, after its device has its token, and uses some of it.
async fn metered(bed: &Bed, owner: &Person, seeded: &Seeded) {
    let path = format!("/api/v1/licenses/{}", seeded.license);
    let quota = json!({ "features": { "exports": { "quota": 5, "period": "month" } } });
    bed.patch(&owner.caller, &path, &quota).await.json(200);
    let used = json!({ "feature": "exports", "used": 2 });
    let path = format!("{path}/usage");
    bed.post(&owner.caller, &path, &used).await.json(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organizations_export_has_everything_of_it_and_nothing_else() {
    let bed = Bed::new();
    let (alpha, beta) = (full(&bed, "alpha").await, full(&bed, "beta").await);
    let lines = export(&bed, &alpha.caller, ORGANIZATION).await;
    assert_eq!(lines[0].1["organization_id"], json!(alpha.org));
    // As many lines of each kind as there are rows.
    for table in TABLES {
        let sql = format!(
            "SELECT count(*) FROM licet.{} t JOIN licet.organizations o ON o.org_id = t.org_id WHERE o.slug = 'alpha'",
            table.name
        );
        let rows = bed.database.admin(&sql)[0][0].clone().unwrap();
        assert_ne!(rows, "0", "{} is not in this test", table.name);
        assert_eq!(
            of(&lines, table.kind).len().to_string(),
            rows,
            "{}",
            table.name
        );
    }
    let text = bed.get(&alpha.caller, ORGANIZATION).await.text();
    for theirs in [&beta.org, &beta.id, &beta.email, "beta"] {
        assert!(!text.contains(theirs), "{theirs}");
    }
    // No secret, in whatever form the database has it.
    let secrets = bed.database.admin(
        "SELECT password_hash FROM licet.users
         UNION SELECT encode(h, 'hex') FROM (SELECT token_hash AS h FROM licet.sessions UNION SELECT token_hash FROM licet.invitations
             UNION SELECT key_hash FROM licet.api_keys UNION SELECT key_hash FROM licet.licenses UNION SELECT sealed_seed FROM licet.signing_keys) s",
    );
    assert!(secrets.len() > 8);
    for secret in secrets.iter().flatten().flatten() {
        assert!(!text.contains(secret.as_str()), "{secret}");
    }
    // Ids and times are the API's.
    let license = of(&lines, "license")[0];
    let one = format!("/api/v1/licenses/{}", license["id"].as_str().unwrap());
    let shown = bed.get(&alpha.caller, &one).await.json(200);
    assert_eq!(shown["policy_id"], license["policy_id"]);
    let project = of(&lines, "project")[0];
    assert_eq!(project["name"], json!("Ünï \"quoted\" \\ \u{1F512}"));
    assert_eq!(
        project["metadata"],
        json!({ "big": 12345678901234567890_u64, "lines": "a\n\\x0" })
    );
    // It tells of itself, with its chain's end.
    let events = of(&lines, "audit_event");
    let last = events.last().unwrap();
    assert_eq!(
        (&last["action"], &last["actor"]),
        (&json!("organization.exported"), &json!(alpha.id))
    );
    assert_eq!(of(&lines, "audit_head")[0]["hash"], last["hash"]);
    let query = format!("/api/v1/audit-events/{}", last["id"].as_str().unwrap());
    assert_eq!(
        bed.get(&alpha.caller, &query).await.json(200)["hash"],
        last["hash"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_persons_export_is_about_them() {
    let bed = Bed::new();
    let owner = full(&bed, "alpha").await;
    let grace = bed.join(&owner, "GUEST").await;
    bed.log_in(&grace.email, PASSWORD, "alpha").await.json(200);
    let mine = export(&bed, &grace.caller, ME).await;
    assert_eq!(mine[0].1["user_id"], json!(grace.id));
    let kinds: BTreeSet<&str> = mine.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        [
            "audit_event",
            "audit_personal",
            "end",
            "export",
            "invitation",
            "session",
            "user"
        ]
    );
    assert_eq!(of(&mine, "user")[0]["email"], json!(grace.email));
    assert_eq!(of(&mine, "session").len(), 2);
    assert_eq!(of(&mine, "invitation")[0]["email"], json!(grace.email));
    assert_eq!(
        of(&mine, "audit_personal")[0]["content"]["email"],
        json!(grace.email)
    );
    let text = bed.get(&grace.caller, ME).await.text();
    assert!(!text.contains(&owner.email));

    // The same by an owner; by nobody below, and of nobody else's people.
    let path = format!("/api/v1/users/{}/export", grace.id);
    let theirs = export(&bed, &owner.caller, &path).await;
    assert_eq!(of(&theirs, "user"), of(&mine, "user"));
    assert_eq!(
        of(&theirs, "audit_event").last().unwrap()["actor"],
        json!(owner.id)
    );
    assert_eq!(
        bed.get(&grace.caller, &path).await.refused(403),
        "FORBIDDEN"
    );
    assert_eq!(
        bed.get(&grace.caller, ORGANIZATION).await.refused(403),
        "FORBIDDEN"
    );
    let beta = bed.sign_up("beta").await;
    assert_eq!(bed.get(&beta.caller, &path).await.refused(404), "NOT_FOUND");
    // An owner's has the keys that they made.
    let own = export(&bed, &owner.caller, ME).await;
    assert_eq!(of(&own, "api_key")[0]["name"], "shop");

    // Of somebody who was erased there is what they did, and not who they were.
    let erasure = json!({ "confirm": grace.id });
    let erase = format!("/api/v1/users/{}/erase", grace.id);
    bed.post(&owner.caller, &erase, &erasure).await.empty(204);
    let left = export(&bed, &owner.caller, &path).await;
    assert!(!format!("{left:?}").contains(&grace.email), "{left:?}");
    assert_eq!(of(&left, "invitation").len(), 0);
    assert!(!of(&left, "audit_event").is_empty());
}

/// A new table or column is exported, or stands among the exceptions with its reason.
#[tokio::test]
async fn every_table_and_column_is_exported_or_a_secret() {
    let database = TestDatabase::migrated();
    let found = database.admin(
        "SELECT c.relname || ' ' || a.attname FROM pg_class c
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'org_id'
         WHERE c.relnamespace = 'licet'::regnamespace AND c.relkind IN ('r', 'p')
             AND EXISTS (SELECT FROM pg_attribute o WHERE o.attrelid = c.oid AND o.attname = 'org_id')
             AND c.relname NOT IN ('login_directory', 'org_directory', 'published')",
    );
    let found: BTreeSet<String> = found.into_iter().flatten().flatten().collect();
    let mut known = BTreeSet::new();
    for table in TABLES {
        for (column, _) in table.columns().filter(|(name, _)| *name != "org_id") {
            assert!(
                known.insert(format!("{} {column}", table.name)),
                "{} {column} twice",
                table.name
            );
        }
    }
    for (table, column, _) in EXCEPTIONS {
        let all = found.iter().filter(|it| {
            *column == "*" && it.starts_with(&format!("{table} "))
                || **it == format!("{table} {column}")
        });
        let all: Vec<_> = all.cloned().collect();
        assert!(!all.is_empty(), "{table} {column} is not there");
        for one in all {
            assert!(
                known.insert(one),
                "{table} {column} is exported, and excepted"
            );
        }
    }
    assert_eq!(known, found);
}

/// The head of an export's answer, and its body as yet unread.
async fn begin(bed: &Bed, caller: &Caller) -> Body {
    let request = Request::builder()
        .method(Method::GET)
        .uri(ORGANIZATION)
        .header("authorization", format!("Bearer {}", caller.bearer))
        .body(Body::empty())
        .unwrap();
    let response = bed.app.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.into_body()
}

async fn frame(body: &mut Body) -> Option<Result<Bytes, axum::Error>> {
    let frame = body.frame().await?;
    Some(frame.map(|frame| frame.into_data().unwrap_or_default()))
}

const EXPORTING: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pages%' AND pid <> pg_backend_pid() AND state LIKE 'idle in%'";

/// Many licenses, each of a few kilobytes.
fn grow(bed: &Bed, slug: &str, count: u32) {
    bed.database.admin(&format!(
        "INSERT INTO licet.licenses (org_id, id, key_hash, policy_id, feature_set_id, max_activations, metadata)
         SELECT p.org_id, gen_random_uuid(), sha256(gen_random_uuid()::text::bytea), p.id, p.feature_set_id, 1,
             jsonb_build_object('x', repeat('y', 4000))
         FROM licet.policies p JOIN licet.organizations o ON o.org_id = p.org_id, generate_series(1, {count})
         WHERE o.slug = '{slug}'"
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_stops_reading_holds_up_nobody_and_gets_one_moment() {
    let bed = Bed::new();
    let (alpha, beta) = (full(&bed, "alpha").await, full(&bed, "beta").await);
    let gamma = bed.sign_up("gamma").await;
    for slug in ["alpha", "beta"] {
        grow(&bed, slug, 500);
    }
    let mut first = begin(&bed, &alpha.caller).await;
    let mut text = frame(&mut first).await.unwrap().unwrap().to_vec();
    // One of an organization's at a time, and two in all; others are told when to come again.
    let again = bed.get(&alpha.caller, ORGANIZATION).await;
    assert_eq!(again.refused(429), "RATE_LIMITED");
    assert_eq!(again.header("retry-after"), "30");
    let second = begin(&bed, &beta.caller).await;
    let third = bed.get(&gamma.caller, ORGANIZATION).await;
    assert_eq!(third.refused(503), "UNAVAILABLE");
    assert_eq!(third.header("retry-after"), "30");
    // What was refused has left nothing behind.
    let noted = bed
        .database
        .admin("SELECT count(*) FROM licet.audit_events WHERE action = 'organization.exported'");
    assert_eq!(noted[0][0].as_deref(), Some("2"));
    // Meanwhile the business goes on, and is not in the file.
    let product = json!({ "code": "later", "name": "Later" });
    bed.post(&alpha.caller, "/api/v1/products", &product)
        .await
        .json(201);
    bed.database
        .admin("UPDATE licet.licenses SET metadata = '{\"changed\": true}'");
    while let Some(frame) = frame(&mut first).await {
        text.extend(frame.unwrap());
    }
    let text = String::from_utf8(text).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["kind"], &last["data"]["counts"]["license"]),
        (&json!("end"), &json!(502))
    );
    assert!(!text.contains("\"changed\"") && !text.contains("\"later\""));

    // Whoever leaves lets go of all of it.
    drop(second);
    while bed.database.admin(EXPORTING)[0][0].as_deref() != Some("0") {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    export(&bed, &alpha.caller, ORGANIZATION).await;
    // beta's turn ends a moment after its connection.
    while bed.get(&beta.caller, ORGANIZATION).await.status != StatusCode::OK {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    export(&bed, &gamma.caller, ORGANIZATION).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_cut_off_can_be_told() {
    let bed = Bed::new();
    let alpha = full(&bed, "alpha").await;
    grow(&bed, "alpha", 500);
    let mut body = begin(&bed, &alpha.caller).await;
    let mut text = frame(&mut body).await.unwrap().unwrap().to_vec();
    while bed.database.admin(EXPORTING)[0][0].as_deref() != Some("1") {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    bed.database.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pages%' AND pid <> pg_backend_pid()");
    let mut failed = false;
    while let Some(frame) = frame(&mut body).await {
        match frame {
            Ok(bytes) => text.extend(bytes),
            Err(_) => failed = true,
        }
    }
    assert!(failed, "the body ended as if all was well");
    assert!(!String::from_utf8_lossy(&text).contains("\"kind\":\"end\""));
    // And the next one is whole.
    while bed.get(&alpha.caller, ORGANIZATION).await.status != StatusCode::OK {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    export(&bed, &alpha.caller, ORGANIZATION).await;
}

/// Not one connection of those that serve: with a pool of one, calls go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_takes_no_connection_from_those_who_serve() {
    let options = BedOptions {
        database: licet_origin::db::DatabaseSettings {
            pool_size: 1,
            pool_wait: std::time::Duration::from_secs(30),
            ..licet_origin::db::DatabaseSettings::default()
        },
        ..BedOptions::default()
    };
    let bed = Bed::with(TestDatabase::migrated(), &options);
    let alpha = full(&bed, "alpha").await;
    grow(&bed, "alpha", 500);
    let mut body = begin(&bed, &alpha.caller).await;
    frame(&mut body).await.unwrap().unwrap();
    bed.get(&alpha.caller, "/api/v1/products").await.json(200);
    let client = connect(&bed.database.app_url()).await;
    drop(client);
    drop(body);
}
