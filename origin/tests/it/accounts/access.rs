//! API keys. What people and keys may is also in `walk`, operation by operation.

use axum::http::Method;
use licet_origin::accounts::permissions::Permission;
use serde_json::{Value, json};

use crate::{
    support::{
        Bed,
        account::{Caller, Person},
        edge::Reply,
    },
    walk::{
        Access, operations,
        world::{Aim, bearer},
    },
};

impl Bed {
    async fn machine(&self, owner: &Person, scopes: &[Permission]) -> Caller {
        let body = json!({ "name": "m", "scopes": scopes });
        let made = self
            .post(&owner.caller, "/api/v1/api-keys", &body)
            .await
            .json(201);
        Caller {
            bearer: made["secret"].as_str().unwrap().into(),
        }
    }
}

/// Neither 401 nor 403: it came past the checks.
fn let_through(reply: &Reply) -> bool {
    !matches!(reply.status.as_u16(), 401 | 403)
}

#[tokio::test]
async fn a_key_may_what_its_scopes_say_and_no_more() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    // Many calls are made here.
    bed.database
        .admin("UPDATE licet.organizations SET plan = 'ENTERPRISE'");
    for permission in Permission::ALL {
        let shown = [bearer(&bed.machine(&owner, &[*permission]).await)];
        for operation in operations() {
            // About nothing, and with a body that can't be taken: who is let through does no harm.
            let aim = Aim {
                method: operation.method.clone(),
                path: operation.path_of("none"),
                body: operation.has_body.then(|| json!({ "no such field": 1 })),
            };
            if operation.access == Access::Open {
                continue;
            }
            let reply = bed.aimed(&aim, &shown).await;
            let may = operation.access == Access::Needs(*permission);
            assert_eq!(
                let_through(&reply),
                may,
                "{permission} {}: {}",
                operation.id,
                reply.text()
            );
        }
    }
    // Nobody gives what they don't have.
    let admin = bed.join(&owner, "ADMIN").await;
    let body = json!({ "name": "x", "scopes": ["org:export"] });
    assert_eq!(
        bed.post(&admin.caller, "/api/v1/api-keys", &body)
            .await
            .refused(403),
        "FORBIDDEN"
    );
    let machine = bed.machine(&owner, &[Permission::ApiKeysWrite]).await;
    let body = json!({ "name": "x", "scopes": ["products:read"] });
    assert_eq!(
        bed.post(&machine, "/api/v1/api-keys", &body)
            .await
            .refused(403),
        "FORBIDDEN"
    );
}

#[tokio::test]
async fn a_key_gives_no_longer_life_than_it_has() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let soon = licet_origin::clock::now().plus(3600);
    let body =
        json!({ "name": "m", "scopes": ["api_keys:write", "api_keys:read"], "expires_at": soon });
    let made = bed
        .post(&owner.caller, "/api/v1/api-keys", &body)
        .await
        .json(201);
    let machine = Caller {
        bearer: made["secret"].as_str().unwrap().into(),
    };
    let own = format!("/api/v1/api-keys/{}", made["id"].as_str().unwrap());
    for end in [Value::Null, json!(soon.plus(1))] {
        let child = json!({ "name": "x", "scopes": ["api_keys:read"], "expires_at": end });
        let reply = bed.post(&machine, "/api/v1/api-keys", &child).await;
        assert_eq!(reply.refused(403), "FORBIDDEN", "{end}");
        let reply = bed
            .patch(&machine, &own, &json!({ "expires_at": end }))
            .await;
        assert_eq!(reply.refused(403), "FORBIDDEN", "{end}");
    }
    let child = json!({ "name": "x", "scopes": ["api_keys:read"], "expires_at": soon });
    bed.post(&machine, "/api/v1/api-keys", &child)
        .await
        .json(201);
    // What has nothing to do with its end it may change, and a person may all of it.
    bed.patch(&machine, &own, &json!({ "name": "renamed" }))
        .await
        .json(200);
    bed.patch(&owner.caller, &own, &json!({ "expires_at": null }))
        .await
        .json(200);
    let endless = json!({ "name": "y", "scopes": ["api_keys:read"] });
    bed.post(&machine, "/api/v1/api-keys", &endless)
        .await
        .json(201);
}

#[tokio::test]
async fn a_key_is_shown_once() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    // Many calls are made here.
    bed.database
        .admin("UPDATE licet.organizations SET plan = 'ENTERPRISE'");
    let body = json!({ "name": "shop", "scopes": ["products:read", "products:read"] });
    let send = || {
        let once = [("idempotency-key", "k")];
        let (bed, owner, body) = (&bed, &owner, &body);
        async move {
            bed.ask_with(
                &owner.caller,
                Method::POST,
                "/api/v1/api-keys",
                Some(body),
                &once,
            )
            .await
        }
    };
    let made = send().await.json(201);
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("licet_sk_") && secret.ends_with(made["hint"].as_str().unwrap()));
    assert_eq!(made["scopes"], json!(["products:read"]));
    let again = send().await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(
        (&again.json(201)["secret"], &again.json(201)["id"]),
        (&Value::Null, &made["id"])
    );
    let one = format!("/api/v1/api-keys/{}", made["id"].as_str().unwrap());
    let seen = [
        bed.get(&owner.caller, &one).await.text(),
        bed.get(&owner.caller, "/api/v1/api-keys").await.text(),
    ];
    let stored = bed.database.admin(
        "SELECT k::text FROM licet.api_keys k UNION ALL SELECT e::text FROM licet.audit_events e",
    );
    assert!(!format!("{seen:?}{stored:?}").contains(&secret[20..]));

    let machine = Caller {
        bearer: secret.into(),
    };
    bed.get(&machine, "/api/v1/products").await.json(200);
    assert!(bed.get(&owner.caller, &one).await.json(200)["last_used_at"].is_string());
    bed.delete(&owner.caller, &one).await.empty(204);
    bed.get(&machine, "/api/v1/products").await.refused(401);
}

#[tokio::test]
async fn a_key_is_changed_within_what_the_caller_may() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let admin = bed.join(&owner, "ADMIN").await;
    let keys = "/api/v1/api-keys";
    let body = json!({ "name": "shop", "scopes": ["products:read"] });
    let made = bed.post(&owner.caller, keys, &body).await;
    assert_eq!(made.header("etag"), "\"1\"");
    let made = made.json(201);
    let one = format!("{keys}/{}", made["id"].as_str().unwrap());
    let machine = Caller {
        bearer: made["secret"].as_str().unwrap().into(),
    };
    bed.get(&machine, "/api/v1/projects").await.refused(403);

    let change = json!({ "name": "till", "scopes": ["projects:read"], "expires_at": "2999-01-01T00:00:00Z" });
    let changed = bed.patch(&admin.caller, &one, &change).await;
    assert_eq!(changed.header("etag"), "\"2\"");
    let changed = changed.json(200);
    assert_eq!(
        (&changed["name"], &changed["scopes"], &changed["expires_at"]),
        (
            &json!("till"),
            &json!(["projects:read"]),
            &json!("2999-01-01T00:00:00Z")
        )
    );
    bed.get(&machine, "/api/v1/projects").await.json(200);
    bed.get(&machine, "/api/v1/products").await.refused(403);
    let endless = bed
        .patch(&owner.caller, &one, &json!({ "expires_at": null }))
        .await;
    assert_eq!(endless.json(200)["expires_at"], Value::Null);

    let old = [("if-match", "\"2\"")];
    let stale = bed
        .ask_with(&owner.caller, Method::PATCH, &one, Some(&change), &old)
        .await;
    stale.refused(412);
    bed.ask_with(&owner.caller, Method::DELETE, &one, None, &old)
        .await
        .refused(412);
    for bad in [
        json!({ "scopes": [] }),
        json!({ "name": " " }),
        json!({ "expires_at": "2001-01-01T00:00:00Z" }),
        json!({ "secret": "x" }),
    ] {
        bed.patch(&owner.caller, &one, &bad).await.refused(400);
    }
    // What it may do beyond the caller, the caller neither gives nor prolongs.
    let more = json!({ "scopes": ["org:export"] });
    bed.patch(&admin.caller, &one, &more).await.refused(403);
    bed.patch(&owner.caller, &one, &more).await.json(200);
    bed.patch(&admin.caller, &one, &json!({ "name": "mine" }))
        .await
        .refused(403);
    bed.delete(&admin.caller, &one).await.empty(204);
    bed.patch(&owner.caller, &one, &json!({ "name": "back" }))
        .await
        .refused(409);
}
