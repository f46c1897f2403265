//! Two organizations that do the same things under the same names: neither sees nor blocks the
//! other. And the same with the application's own filters left out, by row-level security alone.

use axum::http::Method;
use licet_shared::id::OrgId;
use serde_json::{Value, json};
use tokio_postgres::{Client, error::SqlState};

use crate::{
    isolation::populated,
    support::{
        Bed,
        account::{PASSWORD, Person},
        sql::{begin, connect, tenant_tables, uuid},
    },
    walk::world::bed,
};

/// An organization, with its people at the same host as the other's.
async fn found(bed: &Bed, slug: &str) -> Person {
    let email = format!("{slug}@vendor.test");
    let body = json!({
        "organization": { "name": "Vendor", "slug": slug },
        "email": email, "password": PASSWORD, "name": "Ada",
    });
    let made = bed.open(Method::POST, "/api/v1/auth/signup", &body).await;
    Person::of(&made.json(201), &email, slug)
}

/// POSTs under an idempotency key that the other uses as well.
async fn make(bed: &Bed, person: &Person, path: &str, body: &Value) -> Value {
    let once = [("idempotency-key", path)];
    let made = bed
        .ask_with(&person.caller, Method::POST, path, Some(body), &once)
        .await;
    assert_eq!(made.header("idempotency-replayed"), "", "{path}");
    made.json(201)
}

/// The same business in each: paths, and ids of what stands there.
async fn trade(bed: &Bed, person: &Person) -> Vec<(&'static str, String)> {
    let id = |made: &Value| made["id"].as_str().unwrap().to_owned();
    let product = json!({ "code": "local_cli", "name": "Local CLI" });
    let product = id(&make(bed, person, "/api/v1/products", &product).await);
    let features = json!({ "name": "Pro", "features": { "export.pdf": true } });
    let features = id(&make(bed, person, "/api/v1/feature-sets", &features).await);
    let policy = json!({
        "name": "Pro", "tier": "PRO", "feature_set_id": features,
        "product_ids": [product], "max_activations": 1,
    });
    let policy = id(&make(bed, person, "/api/v1/policies", &policy).await);
    let license = json!({ "policy_id": policy });
    let license = make(bed, person, "/api/v1/licenses", &license).await;
    let project = id(&make(bed, person, "/api/v1/projects", &json!({ "name": "Site" })).await);
    let key = json!({ "name": "Shop", "scopes": ["licenses:read"] });
    let key = id(&make(bed, person, "/api/v1/api-keys", &key).await);
    let invitation = json!({ "email": "grace@vendor.test", "role": "MEMBER" });
    let invitation = make(bed, person, "/api/v1/invitations", &invitation).await;
    let acceptance = json!({ "token": invitation["token"], "name": "Grace", "password": PASSWORD });
    let accept = "/api/v1/auth/accept-invitation";
    let joined = bed.open(Method::POST, accept, &acceptance).await.json(201);
    // The only seat, on the same device.
    let activated = bed
        .activate(license["key"].as_str().unwrap(), "one device")
        .await;
    vec![
        ("/api/v1/products", product),
        ("/api/v1/feature-sets", features),
        ("/api/v1/policies", policy),
        ("/api/v1/licenses", id(&license)),
        ("/api/v1/projects", project),
        ("/api/v1/api-keys", key),
        (
            "/api/v1/activations",
            activated.activation_id.unwrap().to_string(),
        ),
        ("/api/v1/users", joined["user_id"].as_str().unwrap().into()),
    ]
}

#[tokio::test]
async fn neither_of_two_neighbours_sees_or_blocks_the_other() {
    let bed = bed();
    let (alpha, beta) = (found(&bed, "alpha").await, found(&bed, "beta").await);
    let businesses = [trade(&bed, &alpha).await, trade(&bed, &beta).await];
    for (person, own) in [&alpha, &beta].into_iter().zip(&businesses) {
        for (path, id) in own {
            let listed = bed.get(&person.caller, path).await.json(200);
            let listed: Vec<_> = listed["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it["id"].as_str().unwrap())
                .collect();
            // Whoever founded it is one of its people as well.
            let expected = if path.ends_with("/users") { 2 } else { 1 };
            assert_eq!(listed.len(), expected, "{path}");
            assert!(listed.contains(&id.as_str()), "{path}");
        }
    }
    // One e-mail in both: which organization is meant is said by its name.
    for slug in ["alpha", "beta"] {
        let session = bed
            .log_in("grace@vendor.test", PASSWORD, slug)
            .await
            .json(200);
        let person = if slug == "alpha" { &alpha } else { &beta };
        assert_eq!(session["organization_id"], person.org.as_str());
    }
    // Deleting, revoking and renaming here changes nothing there.
    for (path, id) in &businesses[0] {
        let there = businesses[1].iter().find(|it| it.0 == *path).unwrap();
        let there = format!("{path}/{}", there.1);
        let before = bed.get(&beta.caller, &there).await.text();
        let here = format!("{path}/{id}");
        for (method, more) in [(Method::DELETE, ""), (Method::POST, "/revoke")] {
            let here = format!("{here}{more}");
            bed.ask_with(&alpha.caller, method, &here, None, &[]).await;
        }
        assert_eq!(
            bed.get(&beta.caller, &there).await.text(),
            before,
            "{there}"
        );
    }
}

/// A name in logins is one for all. Whoever asks for a taken one learns that it is taken.
#[tokio::test]
async fn a_taken_slug_tells_nothing_more() {
    let bed = bed();
    let alpha = found(&bed, "alpha").await;
    let body = json!({
        "organization": { "name": "Other", "slug": "alpha" },
        "email": "eve@vendor.test", "password": PASSWORD, "name": "Eve",
    });
    let refused = bed.open(Method::POST, "/api/v1/auth/signup", &body).await;
    assert_eq!(refused.refused(409), "CONFLICT");
    let text = refused.text();
    for secret in [&alpha.org, &alpha.id, &alpha.email, "Vendor", "Ada"] {
        assert!(!text.contains(secret), "{text}");
    }
    // Nor was anything left behind.
    let nobody = bed.log_in("eve@vendor.test", PASSWORD, "alpha").await;
    assert_eq!(nobody.refused(401), "INVALID_CREDENTIALS");
}

/// All rows of an organization in a table, with the versions that Postgres gives them: any write
/// at all would show.
async fn rows_of(admin: &Client, table: &str, org: OrgId) -> Vec<String> {
    let sql = format!(
        "SELECT concat_ws(' ', t.xmin, t.xmax, t.ctid, t::text) FROM licet.{table} t
         WHERE org_id = '{}' ORDER BY 1",
        uuid(org)
    );
    let rows = admin.query(&sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// What a statement did: rows, or the refusal of what the role may do to nobody's.
async fn attempt(client: &Client, sql: &str) -> Result<u64, SqlState> {
    let done = client.execute(sql, &[]).await;
    done.map_err(|error| {
        error
            .code()
            .unwrap_or_else(|| panic!("{sql}: {error}"))
            .clone()
    })
}

#[tokio::test]
async fn statements_without_filters_reach_ones_own_rows_alone() {
    let (database, alpha, beta) = populated().await;
    let (client, admin) = (database.app().await, connect(&database.admin_url()).await);
    let (mut updated, mut deleted) = (0, 0);
    for table in tenant_tables(&client).await {
        let own = rows_of(&admin, &table, alpha).await.len() as u64;
        let others = rows_of(&admin, &table, beta).await;
        assert!(own > 0 && !others.is_empty(), "{table} is empty");

        begin(&client, alpha).await;
        for sql in [
            format!("SELECT * FROM licet.{table}"),
            format!("SELECT t.* FROM licet.{table} t JOIN licet.{table} u ON t.ctid = u.ctid"),
            format!("TABLE licet.{table} UNION ALL SELECT * FROM licet.{table} WHERE false"),
        ] {
            let seen = client.query(&sql, &[]).await.unwrap();
            assert_eq!(seen.len() as u64, own, "{sql}");
            for row in seen {
                let org: uuid::Uuid = row.get("org_id");
                assert_eq!(org.to_string(), uuid(alpha), "{sql}");
            }
        }
        let counted = format!("SELECT count(*), count(DISTINCT org_id) FROM licet.{table}");
        let counted = client.query_one(&counted, &[]).await.unwrap();
        assert_eq!(
            (counted.get(0), counted.get(1)),
            (own as i64, 1_i64),
            "{table}"
        );
        client.batch_execute("COMMIT").await.unwrap();

        begin(&client, alpha).await;
        for column in columns(&admin, &table).await {
            // Some columns, tables and histories the role may not change at all.
            client.batch_execute("SAVEPOINT s").await.unwrap();
            let sql = format!("UPDATE licet.{table} SET {column} = {column}");
            match attempt(&client, &sql).await {
                Ok(count) => {
                    assert_eq!(count, own, "{sql}");
                    updated += 1;
                }
                Err(code) => {
                    assert_eq!(code, SqlState::INSUFFICIENT_PRIVILEGE, "{sql}");
                    client.batch_execute("ROLLBACK TO s").await.unwrap();
                }
            }
        }
        // Committed: what it had touched of the other's would stay.
        client.batch_execute("COMMIT").await.unwrap();
        assert_eq!(rows_of(&admin, &table, beta).await, others, "{table}");

        begin(&client, alpha).await;
        let sql = format!("DELETE FROM licet.{table}");
        match attempt(&client, &sql).await {
            Ok(count) => {
                assert_eq!(count, own, "{sql}");
                deleted += 1;
            }
            Err(SqlState::FOREIGN_KEY_VIOLATION | SqlState::INSUFFICIENT_PRIVILEGE) => {}
            Err(code) => panic!("{sql}: {code:?}"),
        }
        client.batch_execute("ROLLBACK").await.unwrap();
    }
    assert!(updated > 50 && deleted > 4, "{updated} {deleted}");
}

async fn columns(admin: &Client, table: &str) -> Vec<String> {
    let sql = "SELECT quote_ident(attname) FROM pg_attribute
        WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''";
    let rows = admin
        .query(sql, &[&format!("licet.{table}")])
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// A reference from one table to another, without `org_id`.
struct Reference {
    from: String,
    to: String,
    /// Pairs of columns.
    columns: Vec<(String, String)>,
    /// Of a `uuid`, so that there are ids of nothing.
    by_id: bool,
}

async fn references(admin: &Client) -> Vec<Reference> {
    let sql = "SELECT k.conrelid::regclass::text, k.confrelid::regclass::text,
            array_agg(a.attname::text ORDER BY n), array_agg(b.attname::text ORDER BY n),
            bool_and(a.atttypid = 'uuid'::regtype) AND count(*) = 1
        FROM pg_constraint k CROSS JOIN generate_subscripts(k.conkey, 1) AS n
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[n]
        JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = k.confkey[n]
        WHERE k.contype = 'f' AND k.connamespace = 'licet'::regnamespace AND a.attname <> 'org_id'
        GROUP BY k.oid, k.conrelid, k.confrelid";
    let rows = admin.query(sql, &[]).await.unwrap();
    rows.iter()
        .map(|row| {
            let (from, to): (Vec<String>, Vec<String>) = (row.get(2), row.get(3));
            Reference {
                from: row.get(0),
                to: row.get(1),
                columns: from.into_iter().zip(to).collect(),
                by_id: row.get(4),
            }
        })
        .collect()
}

#[tokio::test]
async fn joins_and_references_without_org_id_stay_at_home() {
    let (database, alpha, beta) = populated().await;
    let (client, admin) = (database.app().await, connect(&database.admin_url()).await);
    let references = references(&admin).await;
    let (mut joined, mut refused) = (0, 0);
    for reference in &references {
        let Reference { from, to, .. } = reference;
        let pairs = reference.columns.iter();
        let on: Vec<_> = pairs.map(|(a, b)| format!("c.{a} = p.{b}")).collect();
        let on = on.join(" AND ");
        begin(&client, alpha).await;
        let sql = format!("SELECT c.org_id, p.org_id FROM {from} c JOIN {to} p ON {on}");
        for row in client.query(&sql, &[]).await.unwrap() {
            let (child, parent): (uuid::Uuid, uuid::Uuid) = (row.get(0), row.get(1));
            assert_eq!((child, parent), (parent, child), "{sql}");
            assert_eq!(child.to_string(), uuid(alpha), "{sql}");
            joined += 1;
        }
        client.batch_execute("COMMIT").await.unwrap();
        if !reference.by_id {
            continue;
        }
        // An id of the other's is refused in the words in which one of nobody's is.
        let (column, key) = &reference.columns[0];
        let theirs = format!(
            "SELECT {key}::text FROM {to} WHERE org_id = '{}'",
            uuid(beta)
        );
        let theirs: String = admin.query(&theirs, &[]).await.unwrap()[0].get(0);
        let nobodys = "00000000-0000-7000-8000-000000000000";
        let mut answers = Vec::new();
        for id in [theirs.as_str(), nobodys] {
            begin(&client, alpha).await;
            let sql = format!("UPDATE {from} SET {column} = '{id}'");
            let done = client.batch_execute(&sql).await;
            let answer = match done {
                // A constraint may be checked at the end alone.
                Ok(()) => {
                    client
                        .batch_execute("SET CONSTRAINTS ALL IMMEDIATE; COMMIT")
                        .await
                }
                error => error,
            };
            let error = answer.err().unwrap_or_else(|| panic!("{sql} was done"));
            let error = error.as_db_error().unwrap();
            let said = format!(
                "{:?} {} {:?}",
                error.code(),
                error.message(),
                error.detail()
            );
            if *error.code() == SqlState::FOREIGN_KEY_VIOLATION {
                refused += 1;
            }
            answers.push(said.replace(id, "…"));
            client.batch_execute("ROLLBACK").await.unwrap();
        }
        assert_eq!(answers[0], answers[1], "{from}.{column}");
    }
    assert!(references.len() > 10 && joined > 5, "{joined}");
    assert!(refused > 3, "{refused}");
}
