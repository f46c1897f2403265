//! What licenses are issued under, and what becomes of them when it is deleted.

use axum::http::Method;
use licet_shared::decision::Code;
use serde_json::{Value, json};

use crate::{
    licenses::{Shop, one},
    support::{
        TestDatabase,
        edge::{Call, Reply},
        sql,
    },
};

const LICENSES: &str = "/api/v1/licenses";
const POLICIES: &str = "/api/v1/policies";

impl Shop {
    async fn delete(&self, path: &str) -> Reply {
        self.bed.delete(&self.owner, path).await
    }

    async fn read(&self, path: &str) -> Value {
        self.bed.get(&self.owner, path).await.json(200)
    }

    async fn restore(&self, path: &str) -> Reply {
        self.act(&format!("{path}/restore")).await
    }

    fn policy_path(&self) -> String {
        format!("{POLICIES}/{}", self.policy)
    }

    /// Paths of the demo's product and feature set.
    async fn sold(&self) -> (String, String) {
        let policy = self.read(&self.policy_path()).await;
        let id = |value: &Value| value.as_str().unwrap().to_owned();
        (
            format!("/api/v1/products/{}", id(&policy["product_ids"][0])),
            format!("/api/v1/feature-sets/{}", id(&policy["feature_set_id"])),
        )
    }

    /// How many statements wait for a lock.
    fn waiting(&self) -> usize {
        let sql = "SELECT FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        self.bed.database.admin(sql).len()
    }

    /// Gives up in the end: who ought to wait did not.
    pub async fn until_waiting(&self, count: usize) {
        for _ in 0..3000 {
            if self.waiting() >= count {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("fewer than {count} statements wait for a lock");
    }
}

const ISSUE: [&str; 6] = ["license", "issue", "--org", "alpha", "--policy", "pro"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_policy_issues_nothing_and_its_licenses_go_on() {
    let shop = Shop::open().await;
    let (bed, owner) = (&shop.bed, &shop.owner);
    let made = shop
        .issue(&[("expires_at", json!("2090-01-01T00:00:00Z"))])
        .await;
    let key = made["key"].as_str().unwrap();
    let first = bed.activate(key, "first").await;
    shop.delete(&shop.policy_path()).await.empty(204);

    let batch = json!({ "policy_id": shop.policy, "count": 2 });
    for (path, body) in [
        (LICENSES.to_owned(), json!({ "policy_id": shop.policy })),
        (format!("{LICENSES}/batch"), batch),
        (
            format!("{LICENSES}/{}/transfer", shop.seeded.license),
            json!({ "policy_id": shop.policy }),
        ),
    ] {
        let reply = bed.post(owner, &path, &body).await;
        assert_eq!(reply.refused(409), "CONFLICT");
        assert!(reply.text().contains("deleted"), "{}", reply.text());
    }
    let ended = bed.database.command(&ISSUE).end();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert_eq!(
        ended.stderr,
        "licet-origin: The policy is deleted. Restore it first.\n"
    );
    assert_eq!(shop.count(LICENSES).await, 2);

    // What was sold under it is as good as before.
    assert!(bed.activate(key, "second").await.valid);
    assert!(bed.refresh(&first.license_token.unwrap()).await.valid);
    let renewal = json!({ "expires_at": "2091-01-01T00:00:00Z" });
    let renewed = bed
        .post(owner, &format!("{}/renew", one(&made)), &renewal)
        .await;
    assert_eq!(renewed.json(200)["policy_id"], json!(shop.policy));

    shop.restore(&shop.policy_path()).await.json(200);
    bed.database.command(&ISSUE).succeed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_can_not_change_under_a_license_that_is_being_issued() {
    let shop = Shop::open().await;
    let (bed, owner) = (&shop.bed, &shop.owner);
    let issue = || {
        let body = json!({ "policy_id": shop.policy });
        async move { bed.post(owner, LICENSES, &body).await }
    };
    let client = bed.database.app().await;
    // Somebody is about to delete it.
    sql::begin(&client, shop.seeded.org).await;
    let delete = "UPDATE licet.policies SET deleted_at = now()";
    client.batch_execute(delete).await.unwrap();
    let commit = async {
        shop.until_waiting(1).await;
        client.batch_execute("COMMIT").await.unwrap();
    };
    let (refused, ()) = tokio::join!(issue(), commit);
    assert_eq!(refused.refused(409), "CONFLICT");
    shop.restore(&shop.policy_path()).await.json(200);

    // Somebody is about to change it: the license is of the new terms, products included.
    sql::begin(&client, shop.seeded.org).await;
    let change = "UPDATE licet.policies SET max_activations = 77;
        INSERT INTO licet.products (org_id, id, code, name)
            SELECT org_id, gen_random_uuid(), 'cloud_ide', 'n' FROM licet.organizations;
        INSERT INTO licet.policy_products (org_id, policy_id, product_id)
            SELECT d.org_id, p.id, d.id FROM licet.policies p JOIN licet.products d USING (org_id)
            ON CONFLICT DO NOTHING";
    client.batch_execute(change).await.unwrap();
    let commit = async {
        shop.until_waiting(1).await;
        client.batch_execute("COMMIT").await.unwrap();
    };
    let (issued, ()) = tokio::join!(issue(), commit);
    let issued = issued.json(201);
    assert_eq!(
        (&issued["max_activations"], &issued["products"]),
        (&json!(77), &json!(["cloud_ide", "local_cli"]))
    );

    // The other way about: the license is issued up to its last step, which is its event.
    sql::begin(&client, shop.seeded.org).await;
    let hold = "SELECT FROM licet.audit_heads FOR UPDATE";
    client.batch_execute(hold).await.unwrap();
    let delete = async {
        shop.until_waiting(1).await;
        shop.delete(&shop.policy_path()).await
    };
    let commit = async {
        shop.until_waiting(2).await;
        client.batch_execute("COMMIT").await.unwrap();
    };
    let (issued, deleted, ()) = tokio::join!(issue(), delete, commit);
    issued.json(201);
    deleted.empty(204);
    let events = bed.database.admin(
        "SELECT action FROM licet.audit_events WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 2",
    );
    assert_eq!(
        events.concat(),
        [Some("policy.deleted".into()), Some("license.issued".into())]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_product_is_deleted_when_no_policy_sells_it_and_its_licenses_go_on() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let key = &shop.seeded.key;
    let token = bed.activate(key, "first").await.license_token.unwrap();
    let (product, _) = shop.sold().await;
    let refused = shop.delete(&product).await;
    assert_eq!(refused.refused(409), "CONFLICT");
    assert!(refused.text().contains("policy"), "{}", refused.text());
    // Which, is to be found out.
    assert_eq!(
        shop.count(&format!("{POLICIES}?product=local_cli")).await,
        1
    );
    assert_eq!(shop.count(&format!("{POLICIES}?product=other")).await, 0);

    shop.delete(&shop.policy_path()).await.empty(204);
    shop.delete(&product).await.empty(204);
    shop.delete(&product).await.empty(204);
    assert!(bed.activate(key, "second").await.valid);
    let refreshed = bed.refresh(&token).await;
    assert_eq!(refreshed.license.unwrap().products, ["local_cli"]);
    assert_eq!(
        shop.count(&format!("{LICENSES}?product=local_cli")).await,
        1
    );

    // It comes back with what it sells, not without.
    let refused = shop.restore(&shop.policy_path()).await;
    assert_eq!(refused.refused(409), "CONFLICT");
    assert!(refused.text().contains("products"), "{}", refused.text());
    shop.restore(&product).await.json(200);
    shop.restore(&shop.policy_path()).await.json(200);

    // From before there was that rule.
    bed.database
        .admin("UPDATE licet.products SET deleted_at = now()");
    let body = json!({ "policy_id": shop.policy });
    let reply = bed.post(&shop.owner, LICENSES, &body).await;
    assert_eq!(reply.refused(409), "CONFLICT");
    assert!(reply.text().contains("local_cli"), "{}", reply.text());
    let ended = bed.database.command(&ISSUE).end();
    assert!(ended.stderr.contains("covers the product"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_product_that_is_being_deleted_gets_into_no_policy() {
    let shop = Shop::open().await;
    let (bed, owner) = (&shop.bed, &shop.owner);
    let new = json!({ "code": "cloud_ide", "name": "IDE" });
    let made = bed.post(owner, "/api/v1/products", &new).await.json(201);
    let client = bed.database.app().await;
    sql::begin(&client, shop.seeded.org).await;
    // Held as a policy holds it that is about to cover it.
    let cover = "SELECT FROM licet.products WHERE code = 'cloud_ide' FOR SHARE;
        INSERT INTO licet.policy_products (org_id, policy_id, product_id)
        SELECT p.org_id, p.id, d.id FROM licet.policies p, licet.products d
        WHERE d.code = 'cloud_ide'";
    client.batch_execute(cover).await.unwrap();
    let path = format!("/api/v1/products/{}", made["id"].as_str().unwrap());
    let commit = async {
        shop.until_waiting(1).await;
        client.batch_execute("COMMIT").await.unwrap();
    };
    let (refused, ()) = tokio::join!(shop.delete(&path), commit);
    assert_eq!(refused.refused(409), "CONFLICT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feature_set_is_deleted_with_its_last_license_and_still_published() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let token = bed.activate(&shop.seeded.key, "first").await;
    let (_, set) = shop.sold().await;
    let id = set.rsplit_once('/').unwrap().1;
    for path in [LICENSES, POLICIES] {
        assert_eq!(shop.count(&format!("{path}?feature_set={id}")).await, 1);
    }
    assert_eq!(shop.delete(&set).await.refused(409), "CONFLICT");
    shop.delete(&shop.policy_path()).await.empty(204);
    // A license that has ended can be renewed, so it keeps its set.
    bed.database
        .admin("UPDATE licet.licenses SET status = 'EXPIRED', expires_at = now()");
    assert_eq!(shop.delete(&set).await.refused(409), "CONFLICT");
    shop.act(&format!("{LICENSES}/{}/revoke", shop.seeded.license))
        .await
        .json(200);
    shop.delete(&set).await.empty(204);
    // Edges that meet one of its tokens need it to say REVOKED rather than that they can't tell.
    let target = format!("/edge/v1/orgs/{}/feature-sets/{id}", shop.seeded.tag);
    let reply = bed.call(Call::get(&target)).await;
    assert_eq!(reply.status.as_u16(), 200, "{}", reply.text());
    let refreshed = bed.refresh(&token.license_token.unwrap()).await;
    assert_eq!(refreshed.code, Code::Revoked);
}

/// What is deleted, renamed or taken off comes back; seeding makes a license that works.
#[test]
fn seeding_puts_the_demo_right_again() {
    let database = TestDatabase::migrated();
    database.seed("alpha", 5);
    let events = || {
        let sql = "SELECT action FROM licet.audit_events
            WHERE action NOT IN ('license.issued', 'organization.created') ORDER BY seq";
        let rows = database.admin(sql).concat();
        rows.into_iter().flatten().collect::<Vec<_>>()
    };
    assert_eq!(events(), Vec::<String>::new());
    for (breakage, repair) in [
        (
            "UPDATE licet.policies SET deleted_at = now()",
            vec!["policy.restored"],
        ),
        (
            "UPDATE licet.policies SET deleted_at = now();
             UPDATE licet.feature_sets SET deleted_at = now();
             UPDATE licet.products SET deleted_at = now()",
            vec![
                "feature_set.restored",
                "product.restored",
                "policy.restored",
            ],
        ),
        ("DELETE FROM licet.policy_products", vec!["policy.updated"]),
        (
            "UPDATE licet.feature_sets SET deleted_at = now(), name = 'old pro';
             UPDATE licet.policies SET deleted_at = now(), name = 'old pro'",
            vec![],
        ),
        (
            "UPDATE licet.policies SET name = 'older pro', deleted_at = now() WHERE name = 'pro';
             UPDATE licet.feature_sets SET deleted_at = now() WHERE name = 'pro'",
            vec!["feature_set.restored"],
        ),
    ] {
        let before = events().len();
        for statement in breakage.split(';') {
            database.admin(statement);
        }
        let seeded = database.seed("alpha", 5);
        assert_eq!(events()[before..], repair, "{breakage}");
        let id = seeded.license.to_string();
        let shown = database
            .command(&["license", "show", "--org", "alpha", &id])
            .json();
        assert_eq!(shown["policy"], "pro", "{breakage}");
        assert_eq!(shown["products"], json!(["local_cli"]), "{breakage}");
    }
    let deleted = database.admin(
        "SELECT FROM licet.policies p JOIN licet.feature_sets s ON s.id = p.feature_set_id
         WHERE p.name = 'pro' AND (p.deleted_at IS NOT NULL OR s.deleted_at IS NOT NULL)",
    );
    assert!(deleted.is_empty());
    let verify = ["audit", "verify", "--org", "alpha"];
    database.command(&verify).succeed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_covers_no_more_products_than_a_token_can_name() {
    let shop = Shop::open().await;
    let (bed, owner) = (&shop.bed, &shop.owner);
    bed.database.admin(
        "INSERT INTO licet.products (org_id, id, code, name)
         SELECT org_id, gen_random_uuid(), 'p' || n, 'n' FROM licet.organizations, generate_series(1, 64) n",
    );
    let ids: Vec<_> = bed
        .pages(owner, "/api/v1/products", "limit=100", "id")
        .await;
    assert_eq!(ids.len(), 65);
    let path = shop.policy_path();
    let send = |ids: &[Value]| {
        let body = json!({ "product_ids": ids });
        let path = &path;
        async move {
            bed.ask_with(owner, Method::PATCH, path, Some(&body), &[])
                .await
        }
    };
    assert_eq!(send(&ids).await.refused(400), "BAD_REQUEST");
    send(&ids[1..]).await.json(200);
    let issued = shop.issue(&[]).await;
    assert_eq!(issued["products"].as_array().unwrap().len(), 64);
}
