//! An organization's plan, and the end of its account.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::{
    Bed,
    account::{Caller, PASSWORD},
};

const CLOSE: &str = "/api/v1/organization/close";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_account_lets_nobody_in_and_its_licenses_go_on() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let admin = bed.join(&owner, "ADMIN").await;
    let other = bed.sign_up("beta").await;
    let seeded = bed.database.seed("alpha", 5);
    let first = bed.activate(&seeded.key, "first").await;
    let key = json!({ "name": "shop", "scopes": ["products:read"] });
    let made = bed.post(&owner.caller, "/api/v1/api-keys", &key).await;
    let machine = Caller {
        bearer: made.json(201)["secret"].as_str().unwrap().into(),
    };
    let invitation = json!({ "email": "new@x.test", "role": "GUEST" });
    let invited = bed.post(&owner.caller, "/api/v1/invitations", &invitation);
    let invited = invited.await.json(201);

    let wrong = json!({ "slug": "beta" });
    bed.post(&owner.caller, CLOSE, &wrong).await.refused(400);
    let right = json!({ "slug": "alpha" });
    bed.post(&admin.caller, CLOSE, &right).await.refused(403);
    bed.post(&owner.caller, CLOSE, &right).await.empty(204);

    for caller in [&owner.caller, &admin.caller, &machine] {
        bed.get(caller, "/api/v1/products").await.refused(401);
    }
    bed.log_in(&owner.email, PASSWORD, "alpha")
        .await
        .refused(401);
    bed.renew(&owner.refresh).await.refused(401);
    let acceptance = json!({ "token": invited["token"], "name": "New", "password": PASSWORD });
    let accept = "/api/v1/auth/accept-invitation";
    bed.open(Method::POST, accept, &acceptance)
        .await
        .refused(404);
    bed.get(&other.caller, "/api/v1/products").await.json(200);
    // Whoever bought a license keeps it.
    assert!(bed.activate(&seeded.key, "second").await.valid);
    assert!(bed.refresh(&first.license_token.unwrap()).await.valid);

    let operate = |command: &str| {
        let args = ["organization", command, "--org", "alpha"];
        bed.database.command(&args).json()
    };
    assert!(operate("show")["closed_at"].is_string());
    assert_eq!(operate("reopen")["closed_at"], Value::Null);
    bed.get(&owner.caller, "/api/v1/products").await.json(200);
    bed.get(&machine, "/api/v1/products").await.json(200);
    let actions = bed.database.admin(
        "SELECT string_agg(action, ' ' ORDER BY seq) FROM licet.audit_events
         WHERE action IN ('organization.closed', 'organization.reopened')",
    );
    assert_eq!(
        actions[0][0].as_deref(),
        Some("organization.closed organization.reopened")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_brings_its_quotas_and_an_operator_may_grant_others() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let quotas = async || {
        let shown = bed.get(&owner.caller, "/api/v1/organization").await;
        let shown = shown.json(200);
        (shown["plan"].clone(), shown["quotas"].clone())
    };
    let at_first = quotas().await;
    let plan = |args: &[&str]| {
        let all = [&["organization", "plan", "--org", "alpha"], args].concat();
        bed.database.command(&all)
    };
    plan(&["PRO", "--max-licenses", "7"]).json();
    assert_eq!(
        quotas().await,
        (
            json!("PRO"),
            json!({ "max_users": 50, "max_projects": 100, "max_licenses": 7 })
        )
    );
    plan(&["FREE"]).json();
    // The tables' defaults are the plan's.
    assert_eq!(quotas().await, at_first);
    for bad in [&["GOLD"][..], &["PRO", "--max-users", "0"]] {
        assert_eq!(plan(bad).end().code, Some(2), "{bad:?}");
    }
}
