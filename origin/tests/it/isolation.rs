//! Row-level security, met head-on: SQL as the serving role, with the tenant unset, empty, ended
//! and wrong.

use licet_shared::id::OrgId;
use serde_json::json;
use tokio_postgres::{Client, error::SqlState};

use super::support::{
    Bed, TestDatabase,
    edge::activation,
    sql::{begin, count, refusal, tenant_tables, uuid},
};

/// A row in every table, for each of two organizations.
pub async fn populated() -> (TestDatabase, OrgId, OrgId) {
    let bed = Bed::new();
    let mut orgs = Vec::new();
    for slug in ["alpha", "beta"] {
        let owner = bed.sign_up(slug).await.caller;
        let seeded = bed.database.seed(slug, 5);
        let call = activation(&seeded.key, "device").once("some-key");
        assert!(bed.call(call).await.answer().valid);
        bed.float(&seeded, &json!({ "max": 1 }));
        let token = bed.activate(&seeded.key, "device").await.license_token;
        assert!(bed.acquire(&token.unwrap(), "somebody").await.valid);
        let key = json!({ "name": "shop", "scopes": ["licenses:read"] });
        bed.post(&owner, "/api/v1/api-keys", &key).await.json(201);
        let invitation = json!({ "email": "grace@example.com", "role": "MEMBER" });
        bed.post(&owner, "/api/v1/invitations", &invitation)
            .await
            .json(201);
        bed.database.admin(&format!(
            "INSERT INTO licet.projects (org_id, id, name) VALUES ('{}', gen_random_uuid(), 'x')",
            uuid(seeded.org)
        ));
        orgs.push(seeded.org);
    }
    bed.database.admin(
        "INSERT INTO licet.withdrawals (org_id, status_list, license_id, status)
         SELECT org_id, status_list, license_id, 'SUSPENDED' FROM licet.activations",
    );
    bed.database.admin(
        "INSERT INTO licet.trials (org_id, fingerprint_hash, product_id, license_id)
         SELECT a.org_id, a.fingerprint_hash, c.product_id, a.license_id FROM licet.activations a
         JOIN licet.license_products c ON c.org_id = a.org_id AND c.license_id = a.license_id",
    );
    bed.database.admin(
        "INSERT INTO licet.license_changes (org_id, status_list, license_id, until)
         SELECT org_id, status_list, license_id, now() FROM licet.activations",
    );
    bed.database.admin(
        "INSERT INTO licet.usage (org_id, license_id, feature, period, period_start, used, quota)
         SELECT org_id, id, 'exports', 'once', 'epoch', 1, 2 FROM licet.licenses",
    );
    (bed.database, orgs[0], orgs[1])
}

async fn assert_sees_nothing(client: &Client, when: &str) {
    for table in tenant_tables(client).await {
        assert_eq!(count(client, &table).await, 0, "{table} {when}");
    }
}

#[tokio::test]
async fn without_a_tenant_there_is_nothing_to_see() {
    let (database, alpha, beta) = populated().await;
    let client = database.app().await;
    assert_sees_nothing(&client, "with no tenant").await;

    begin(&client, alpha).await;
    for table in tenant_tables(&client).await {
        assert_ne!(
            count(&client, &table).await,
            0,
            "{table} is not in this test"
        );
        let sql = format!(
            "SELECT count(*) FROM licet.{table} WHERE org_id <> '{}'",
            uuid(alpha)
        );
        let others: i64 = client.query_one(&sql, &[]).await.unwrap().get(0);
        assert_eq!(others, 0, "{table}");
    }
    client.batch_execute("COMMIT").await.unwrap();
    assert_sees_nothing(&client, "after its transaction").await;

    for setting in ["''", "DEFAULT"] {
        client
            .batch_execute(&format!("BEGIN; SET LOCAL licet.org_id = {setting}"))
            .await
            .unwrap();
        assert_sees_nothing(&client, setting).await;
        client.batch_execute("COMMIT").await.unwrap();
    }
    begin(&client, beta).await;
    client.batch_execute("ROLLBACK").await.unwrap();
    assert_sees_nothing(&client, "after a rollback").await;
}

/// A plan made for one tenant must not answer for the next.
#[tokio::test]
async fn a_prepared_statement_follows_the_tenant() {
    let (database, alpha, beta) = populated().await;
    let client = database.app().await;
    client
        .batch_execute("SET plan_cache_mode = force_generic_plan")
        .await
        .unwrap();
    let statement = client
        .prepare("SELECT org_id FROM licet.organizations")
        .await
        .unwrap();
    for org in [alpha, beta, alpha] {
        begin(&client, org).await;
        let rows = client.query(&statement, &[]).await.unwrap();
        let seen: Vec<uuid::Uuid> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(seen, [uuid::Uuid::from_bytes(org.uuid_bytes())]);
        client.batch_execute("COMMIT").await.unwrap();
    }
    assert!(client.query(&statement, &[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn nothing_can_be_written_into_another_tenant() {
    let (database, alpha, beta) = populated().await;
    let client = database.app().await;
    for table in tenant_tables(&client).await {
        // A copy of one's own row, in the other's name.
        let columns = "SELECT string_agg(CASE attname WHEN 'org_id' THEN $2 ELSE quote_ident(attname) END, ', ' ORDER BY attnum)
            FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped";
        let other = format!("'{}'::uuid", uuid(beta));
        let columns: String = client
            .query_one(columns, &[&format!("licet.{table}"), &other])
            .await
            .unwrap()
            .get(0);
        begin(&client, alpha).await;
        let insert = format!("INSERT INTO licet.{table} SELECT {columns} FROM licet.{table}");
        assert_eq!(
            refusal(&client, &insert).await,
            SqlState::INSUFFICIENT_PRIVILEGE,
            "{table}"
        );
        client.batch_execute("ROLLBACK").await.unwrap();

        begin(&client, alpha).await;
        let update = format!("UPDATE licet.{table} SET org_id = '{}'", uuid(beta));
        assert_eq!(
            refusal(&client, &update).await,
            SqlState::INSUFFICIENT_PRIVILEGE,
            "{table}"
        );
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}

#[tokio::test]
async fn another_tenants_rows_can_be_neither_changed_nor_deleted() {
    let (database, alpha, beta) = populated().await;
    let client = database.app().await;
    for (table, set) in [
        ("organizations", "name = 'mine'"),
        ("users", "role = 'OWNER'"),
        ("sessions", "ends_at = 'infinity'"),
        ("invitations", "role = 'OWNER'"),
        ("api_keys", "revoked_at = NULL"),
        ("projects", "name = 'mine'"),
        ("audit_heads", "seq = 1"),
        ("products", "name = 'mine'"),
        ("feature_sets", "name = 'mine'"),
        ("policies", "name = 'mine'"),
        ("licenses", "status = 'REVOKED'"),
        ("activations", "name = 'mine'"),
        ("status_versions", "version = 9"),
        ("signing_keys", "state = 'WITHDRAWN'"),
        ("idempotency_keys", "code = 'VALID'"),
        ("license_changes", "until = now()"),
        ("usage", "used = 0"),
    ] {
        begin(&client, alpha).await;
        let sql = format!(
            "UPDATE licet.{table} SET {set} WHERE org_id = '{}'",
            uuid(beta)
        );
        assert_eq!(client.execute(&sql, &[]).await.unwrap(), 0, "{table}");
        client.batch_execute("COMMIT").await.unwrap();
    }
    for table in [
        "audit_personal",
        "idempotency_keys",
        "invitations",
        "license_changes",
        "license_products",
        "policy_products",
        "sessions",
    ] {
        begin(&client, alpha).await;
        let sql = format!("DELETE FROM licet.{table} WHERE org_id = '{}'", uuid(beta));
        assert_eq!(client.execute(&sql, &[]).await.unwrap(), 0, "{table}");
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}

#[tokio::test]
async fn history_can_be_neither_changed_nor_deleted() {
    let (database, alpha, _) = populated().await;
    let client = database.app().await;
    for sql in [
        "UPDATE licet.audit_events SET actor = 'nobody'",
        "DELETE FROM licet.audit_events",
        "TRUNCATE licet.audit_events",
        "UPDATE licet.feature_set_revisions SET features = '{}'",
        "DELETE FROM licet.feature_set_revisions",
        "DELETE FROM licet.activations",
        "DELETE FROM licet.licenses",
        "UPDATE licet.signing_keys SET public_key = sealed_seed",
        "DELETE FROM licet.signing_keys",
        "TRUNCATE licet.licenses CASCADE",
        "DROP TABLE licet.audit_events",
        "ALTER TABLE licet.audit_events DISABLE ROW LEVEL SECURITY",
        "SET ROLE licet_owner",
        "SELECT * FROM licet.org_directory",
        "SELECT * FROM licet.login_directory",
        "INSERT INTO licet.login_directory VALUES ('a@b.test', gen_random_uuid(), gen_random_uuid())",
        "UPDATE licet.audit_personal SET content = '{}'",
        "DELETE FROM licet.audit_heads",
        "DELETE FROM licet.users",
        "DELETE FROM licet.api_keys",
    ] {
        begin(&client, alpha).await;
        assert_eq!(
            refusal(&client, sql).await,
            SqlState::INSUFFICIENT_PRIVILEGE,
            "{sql}"
        );
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}

/// Should a grant be given by mistake, the policy still refuses.
#[tokio::test]
async fn a_grant_too_many_opens_no_history() {
    let (database, alpha, _) = populated().await;
    database.admin("GRANT UPDATE, DELETE ON licet.audit_events TO licet_app");
    let client = database.app().await;
    begin(&client, alpha).await;
    for sql in [
        "UPDATE licet.audit_events SET actor = 'nobody'",
        "DELETE FROM licet.audit_events",
    ] {
        assert_eq!(client.execute(sql, &[]).await.unwrap(), 0, "{sql}");
    }
}

#[tokio::test]
async fn a_directory_entry_is_made_for_ones_own_organization_alone() {
    let (database, alpha, _) = populated().await;
    let client = database.app().await;
    let register = "SELECT licet.register_org('ZZZZZZZZ', 'stolen')";
    // No tenant: no organization to enter.
    assert_ne!(
        refusal(&client, register).await,
        SqlState::SUCCESSFUL_COMPLETION
    );
    begin(&client, alpha).await;
    // It has its entry, and gets no second.
    let row = client.query_one(register, &[]).await.unwrap();
    assert!(!row.get::<_, bool>(0));
}

/// Nothing may be told about another tenant by a constraint either.
#[tokio::test]
async fn constraints_tell_nothing_about_other_tenants() {
    let (database, alpha, beta) = populated().await;
    let client = database.app().await;
    // The same names and key hashes may stand in both.
    begin(&client, beta).await;
    let hash: Vec<u8> = client
        .query_one("SELECT key_hash FROM licet.licenses", &[])
        .await
        .unwrap()
        .get(0);
    client.batch_execute("COMMIT").await.unwrap();
    begin(&client, alpha).await;
    let sql = "INSERT INTO licet.licenses (org_id, id, key_hash, policy_id, feature_set_id, max_activations)
        SELECT org_id, gen_random_uuid(), $1, id, feature_set_id, 1 FROM licet.policies";
    assert_eq!(client.execute(sql, &[&hash]).await.unwrap(), 1);
    client.batch_execute("COMMIT").await.unwrap();
    // And a reference to the other's row is one to nothing.
    begin(&client, beta).await;
    let product: uuid::Uuid = client
        .query_one("SELECT id FROM licet.products", &[])
        .await
        .unwrap()
        .get(0);
    client.batch_execute("COMMIT").await.unwrap();
    begin(&client, alpha).await;
    let sql = "INSERT INTO licet.policy_products (org_id, policy_id, product_id)
        SELECT org_id, id, $1 FROM licet.policies";
    let error = client.execute(sql, &[&product]).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::FOREIGN_KEY_VIOLATION));
}
