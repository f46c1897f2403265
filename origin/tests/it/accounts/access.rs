//! Every operation with every kind of credentials, from the description itself: an operation
//! that is forgotten here fails.

use axum::http::Method;
use licet_origin::accounts::permissions::{Permission, Role};
use licet_shared::id::OrgTag;
use serde_json::{Value, json};

use crate::support::{
    Bed,
    account::{Caller, Person},
    edge::Reply,
};

/// An operation as the description has it.
struct Operation {
    id: String,
    method: Method,
    path: String,
    access: String,
    has_body: bool,
}

fn operations() -> Vec<Operation> {
    let description = serde_json::to_value(licet_origin::api::description()).unwrap();
    let mut operations = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations.push(Operation {
                id: operation["operationId"].as_str().unwrap().into(),
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                access: operation["x-licet-access"].as_str().unwrap().into(),
                has_body: operation.get("requestBody").is_some(),
            });
        }
    }
    operations
}

impl Bed {
    /// Calls an operation with ids of nothing and a body that can't be taken: whoever is let
    /// through is told 400 or 404, and nothing happens.
    async fn try_out(&self, operation: &Operation, authorization: &[&str]) -> Reply {
        let path = operation
            .path
            .split('/')
            .map(|part| if part.starts_with('{') { "none" } else { part })
            .collect::<Vec<_>>()
            .join("/");
        let body = operation.has_body.then(|| json!({ "no such field": 1 }));
        let mut builder =
            crate::support::account::request(operation.method.clone(), &path, body.as_ref());
        for value in authorization {
            builder = builder.header("authorization", *value);
        }
        self.send(crate::support::account::with_body(builder, body.as_ref()))
            .await
    }

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

fn bearer(caller: &Caller) -> String {
    format!("Bearer {}", caller.bearer)
}

/// Neither 401 nor 403: it came past the checks.
fn let_through(reply: &Reply) -> bool {
    !matches!(reply.status.as_u16(), 401 | 403)
}

#[tokio::test]
async fn without_good_credentials_there_is_nothing() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    // Many calls are made here.
    bed.database
        .admin("UPDATE licet.organizations SET plan = 'ENTERPRISE'");
    let ended = bed.sign_up("beta").await;
    bed.ask_with(
        &ended.caller,
        Method::POST,
        "/api/v1/auth/logout",
        None,
        &[],
    )
    .await
    .empty(204);
    let revoked = bed.machine(&owner, &[Permission::ProductsRead]).await;
    let expired = bed.machine(&owner, &[Permission::ProductsWrite]).await;
    bed.database.admin(
        "UPDATE licet.api_keys SET revoked_at = now() WHERE scopes = ARRAY['products:read']",
    );
    bed.database.admin(
        "UPDATE licet.api_keys SET expires_at = now() - interval '1 second' WHERE scopes = ARRAY['products:write']",
    );
    let good = bearer(&owner.caller);
    let (head, signature) = good.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    let tag = OrgTag::new([7; 5]);
    let bad: Vec<Vec<String>> = vec![
        vec![],
        vec![String::new()],
        vec!["Bearer".into()],
        vec!["Bearer nonsense".into()],
        vec![format!("Basic {}", owner.caller.bearer)],
        vec![good.clone(), good.clone()],
        vec![forged],
        vec![format!("Bearer {}", owner.refresh)],
        vec![format!("Bearer licet_sk_{tag}{}", "x".repeat(38))],
        vec![bearer(&ended.caller)],
        vec![bearer(&revoked)],
        vec![bearer(&expired)],
    ];
    let mut tried = 0;
    for operation in operations().iter().filter(|it| it.access != "open") {
        for authorization in &bad {
            let authorization: Vec<&str> = authorization.iter().map(String::as_str).collect();
            let reply = bed.try_out(operation, &authorization).await;
            assert_eq!(
                reply.refused(401),
                "UNAUTHORIZED",
                "{} {authorization:?}",
                operation.id
            );
            assert_eq!(reply.header("www-authenticate"), "Bearer");
            tried += 1;
        }
        // Which would end the good ones.
        if operation.id != "log_out" {
            let reply = bed.try_out(operation, &[&good]).await;
            assert!(let_through(&reply), "{}", operation.id);
        }
    }
    assert!(tried > 200, "{tried}");
}

#[tokio::test]
async fn each_role_may_what_the_table_says() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    // Many calls are made here.
    bed.database
        .admin("UPDATE licet.organizations SET plan = 'ENTERPRISE'");
    let mut people = vec![(Role::Owner, owner.clone())];
    for role in [Role::Admin, Role::Member, Role::Guest] {
        people.push((role, bed.join(&owner, role.as_str()).await));
    }
    for operation in operations() {
        for (role, person) in &people {
            let reply = bed.try_out(&operation, &[&bearer(&person.caller)]).await;
            let may = match operation.access.as_str() {
                "open" | "person" => true,
                permission => role.may(permission.parse().unwrap()),
            };
            if operation.id != "log_out" || *role == Role::Owner {
                let was = let_through(&reply) || (operation.access == "open");
                assert_eq!(was, may, "{} {role:?}: {}", operation.id, reply.text());
            }
        }
        if operation.id == "log_out" {
            // They have just logged out.
            for (_, person) in &mut people {
                let session = bed
                    .log_in(&person.email, crate::support::account::PASSWORD, "alpha")
                    .await;
                *person = Person::of(&session.json(200), &person.email.clone(), "alpha");
            }
        }
    }
}

#[tokio::test]
async fn a_key_may_what_its_scopes_say_and_no_more() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    // Many calls are made here.
    bed.database
        .admin("UPDATE licet.organizations SET plan = 'ENTERPRISE'");
    for permission in Permission::ALL {
        let machine = bearer(&bed.machine(&owner, &[*permission]).await);
        for operation in operations().iter().filter(|it| it.access != "open") {
            let reply = bed.try_out(operation, &[&machine]).await;
            let may = operation.access == permission.as_str();
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
