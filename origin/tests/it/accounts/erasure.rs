//! Erasing a person.

use axum::http::Method;
use serde_json::json;

use crate::support::{
    Bed,
    account::{PASSWORD, Person},
};

const USERS: &str = "/api/v1/users";

async fn erase(bed: &Bed, by: &Person, id: &str) -> crate::support::edge::Reply {
    let body = json!({ "confirm": id });
    bed.post(&by.caller, &format!("{USERS}/{id}/erase"), &body)
        .await
}

/// Every value in every table that has this in it.
fn found_anywhere(bed: &Bed, text: &str) -> Vec<String> {
    let tables = bed
        .database
        .admin("SELECT table_name FROM information_schema.tables WHERE table_schema = 'licet'");
    assert!(tables.len() > 20);
    let mut found = Vec::new();
    for table in tables.into_iter().flatten().flatten() {
        let sql = format!(
            "SELECT row_to_json(t)::text FROM licet.{table} t WHERE strpos(row_to_json(t)::text, '{text}') > 0"
        );
        let rows = bed.database.admin(&sql).into_iter().flatten().flatten();
        found.extend(rows.map(|row| format!("{table}: {row}")));
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_is_erased_everywhere_and_the_chain_holds() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let grace = bed.join(&owner, "MEMBER").await;
    let one = format!("{USERS}/{}", grace.id);
    // Named again, in the trail and in another invitation after a removal.
    let renamed = json!({ "name": "Grace Hopper" });
    bed.patch(&owner.caller, &one, &renamed).await.json(200);
    let product = json!({ "code": "cli", "name": "CLI" });
    bed.post(&grace.caller, "/api/v1/products", &product)
        .await
        .json(201);
    assert!(!found_anywhere(&bed, &grace.email).is_empty());
    assert!(!found_anywhere(&bed, "Grace Hopper").is_empty());

    let reply = erase(&bed, &owner, &grace.id).await;
    reply.empty(204);
    assert_eq!(found_anywhere(&bed, &grace.email), Vec::<String>::new());
    assert_eq!(found_anywhere(&bed, "Grace Hopper"), Vec::<String>::new());
    let hashes = bed.database.admin(
        "SELECT password_hash, email, name, erased_at IS NOT NULL FROM licet.users WHERE deleted_at IS NOT NULL",
    );
    let empty = || Some(String::new());
    assert_eq!(hashes, [[empty(), empty(), empty(), Some("t".into())]]);

    // They are out, and can't come back.
    let own = bed.get(&grace.caller, "/api/v1/auth/me").await;
    assert_eq!(own.refused(401), "UNAUTHORIZED");
    assert_eq!(bed.renew(&grace.refresh).await.refused(401), "UNAUTHORIZED");
    let login = bed.log_in(&grace.email, PASSWORD, "alpha").await;
    assert_eq!(login.refused(401), "INVALID_CREDENTIALS");
    assert_eq!(bed.get(&owner.caller, &one).await.refused(404), "NOT_FOUND");

    // What they did stays, by their id, and the chain is whole.
    let theirs = format!("/api/v1/audit-events?actor={}&action=product.", grace.id);
    let theirs = bed.get(&owner.caller, &theirs).await.json(200);
    assert_eq!(theirs["data"].as_array().unwrap().len(), 1);
    let verified = bed
        .database
        .command(&["audit", "verify", "--org", "alpha"])
        .json();
    assert_eq!(
        (&verified["whole"], &verified["erased"]),
        (&json!(true), &json!(2))
    );
    let last = bed.get(&owner.caller, "/api/v1/audit-events?limit=1").await;
    let last = last.json(200)["data"][0].clone();
    assert_eq!(
        (&last["action"], &last["subject"], &last["details"]),
        (
            &json!("user.erased"),
            &json!(grace.id),
            &json!({ "invitations": 1, "events": 2 })
        )
    );

    // Again: nothing happens.
    erase(&bed, &owner, &grace.id).await.empty(204);
    let head = bed.get(&owner.caller, "/api/v1/audit-events/head").await;
    assert_eq!(head.json(200)["seq"], last["seq"]);

    // The address is free, and whoever joins with it is somebody else.
    let invitation = json!({ "email": grace.email, "role": "GUEST" });
    bed.post(&owner.caller, "/api/v1/invitations", &invitation)
        .await
        .json(201);
}

#[tokio::test]
async fn a_person_who_was_removed_before_can_be_erased_too() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let guest = bed.join(&owner, "GUEST").await;
    bed.delete(&owner.caller, &format!("{USERS}/{}", guest.id))
        .await
        .empty(204);
    assert!(!found_anywhere(&bed, &guest.email).is_empty());
    erase(&bed, &owner, &guest.id).await.empty(204);
    assert_eq!(found_anywhere(&bed, &guest.email), Vec::<String>::new());
}

#[tokio::test]
async fn erasure_is_for_owners_and_means_whom_it_says() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let admin = bed.join(&owner, "ADMIN").await;
    let guest = bed.join(&owner, "GUEST").await;
    let beta = bed.sign_up("beta").await;
    assert_eq!(
        erase(&bed, &admin, &guest.id).await.refused(403),
        "FORBIDDEN"
    );
    // Another's person is not there.
    assert_eq!(
        erase(&bed, &beta, &guest.id).await.refused(404),
        "NOT_FOUND"
    );
    let path = format!("{USERS}/{}/erase", guest.id);
    for body in [json!({}), json!({ "confirm": true })] {
        let reply = bed.post(&owner.caller, &path, &body).await;
        assert_eq!(reply.refused(400), "BAD_REQUEST", "{body}");
    }
    let somebody_else = json!({ "confirm": admin.id });
    let reply = bed.post(&owner.caller, &path, &somebody_else).await;
    assert_eq!(reply.refused(409), "CONFLICT");
    let bare = bed
        .ask_with(&owner.caller, Method::POST, &path, None, &[])
        .await;
    assert_eq!(bare.refused(415), "UNSUPPORTED_MEDIA_TYPE");
    assert_eq!(
        erase(&bed, &owner, &owner.id).await.refused(409),
        "CONFLICT"
    );
    bed.get(&guest.caller, "/api/v1/auth/me").await.json(200);

    // With two owners one may go, and then the other may not.
    let role = json!({ "role": "OWNER" });
    let promoted = format!("{USERS}/{}", admin.id);
    bed.patch(&owner.caller, &promoted, &role).await.json(200);
    let (one, other) = tokio::join!(
        erase(&bed, &owner, &admin.id),
        erase(&bed, &admin, &owner.id)
    );
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    // The second finds itself erased, at one point or another.
    assert!(
        statuses[0] == 204 && [401, 403].contains(&statuses[1]),
        "{statuses:?}"
    );
    let owners = bed
        .database
        .admin("SELECT count(*) FROM licet.users u JOIN licet.organizations o USING (org_id) WHERE o.slug = 'alpha' AND u.role = 'OWNER' AND u.deleted_at IS NULL");
    assert_eq!(owners[0][0].as_deref(), Some("1"));
}

/// Should code forget a part, the table does not.
#[tokio::test]
async fn a_row_is_erased_entirely_or_not_at_all() {
    let bed = Bed::new();
    bed.sign_up("alpha").await;
    let client = crate::support::sql::connect(&bed.database.admin_url()).await;
    let sql = "UPDATE licet.users SET deleted_at = now(), erased_at = now(), name = '', password_hash = ''";
    let error = client.batch_execute(sql).await.unwrap_err();
    assert_eq!(
        error.as_db_error().unwrap().constraint(),
        Some("users_erased_entirely")
    );
}

/// What an organization keeps as it likes may name anybody, and the trail forgets nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_freely_is_not_in_the_trail() {
    let bed = Bed::new();
    let (owner, policy) = (bed.sign_up("alpha").await, bed.database.seed("alpha", 5));
    let free = |email: &str| json!({ "contact": email });
    let path = "/api/v1/organization";
    for email in ["ada@x.test", "alan@x.test"] {
        let settings = json!({ "settings": free(email) });
        bed.patch(&owner.caller, path, &settings).await.json(200);
    }
    let project = json!({ "name": "One", "metadata": free("ada@x.test") });
    let made = bed.post(&owner.caller, "/api/v1/projects", &project).await;
    let project = format!(
        "/api/v1/projects/{}",
        made.json(201)["id"].as_str().unwrap()
    );
    let license = format!("/api/v1/licenses/{}", policy.license);
    for one in [&project, &license] {
        let metadata = json!({ "metadata": free("alan@x.test") });
        bed.patch(&owner.caller, one, &metadata).await.json(200);
    }
    for email in ["ada@x.test", "alan@x.test"] {
        let found = found_anywhere(&bed, email);
        assert!(
            found.iter().all(|row| !row.starts_with("audit_")),
            "{found:?}"
        );
    }
    // That they were changed is.
    let events = bed
        .get(&owner.caller, "/api/v1/audit-events?limit=100")
        .await;
    let events = events.json(200);
    let changed = events["data"].as_array().unwrap().iter();
    let changed: Vec<_> = changed
        .filter(|it| it["details"]["changed_too"].is_array())
        .map(|it| {
            (
                it["action"].as_str().unwrap(),
                &it["details"]["changed_too"][0],
            )
        })
        .collect();
    assert_eq!(
        changed,
        [
            ("license.updated", &json!("metadata")),
            ("project.updated", &json!("metadata")),
            ("organization.updated", &json!("settings")),
            ("organization.updated", &json!("settings")),
        ]
    );
    let verified = bed
        .database
        .command(&["audit", "verify", "--org", "alpha"])
        .json();
    assert_eq!(verified["whole"], true);
}
