//! Projects.

use axum::http::Method;
use serde_json::{Value, json};

use crate::support::Bed;

const PATH: &str = "/api/v1/projects";

fn project(name: &str) -> Value {
    json!({ "name": name, "metadata": { "team": ["a"] } })
}

#[tokio::test]
async fn a_project_goes_through_all_that_it_can_be() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await.caller;
    let reply = bed.post(&owner, PATH, &project("Website")).await;
    let made = reply.json(201);
    let one = reply.header("location").to_owned();
    assert_eq!(made["status"], "ACTIVE");
    assert_eq!(bed.get(&owner, &one).await.json(200), made);
    let change = json!({ "description": "New", "metadata": {} });
    let changed = bed.patch(&owner, &one, &change).await.json(200);
    assert_eq!(
        (&changed["description"], &changed["metadata"]),
        (&json!("New"), &json!({}))
    );
    let taken = bed.post(&owner, PATH, &project("Website")).await;
    assert_eq!(taken.refused(409), "CONFLICT");

    let act = |verb: &'static str| {
        let (bed, owner, one) = (&bed, &owner, &one);
        async move {
            let path = format!("{one}/{verb}");
            bed.ask_with(owner, Method::POST, &path, None, &[]).await
        }
    };
    assert_eq!(act("archive").await.json(200)["status"], "ARCHIVED");
    assert_eq!(act("archive").await.header("etag"), "\"3\"");
    // Restoring is for what is deleted.
    assert_eq!(act("restore").await.json(200)["status"], "ARCHIVED");
    let reply = bed.patch(&owner, &one, &json!({ "name": "x" })).await;
    assert_eq!(reply.refused(409), "CONFLICT");
    assert_eq!(act("unarchive").await.json(200)["status"], "ACTIVE");
    bed.delete(&owner, &one).await.empty(204);
    bed.delete(&owner, &one).await.empty(204);
    for verb in ["archive", "unarchive"] {
        assert_eq!(act(verb).await.refused(409), "CONFLICT");
    }
    assert_eq!(bed.get(&owner, &one).await.json(200)["status"], "DELETED");
    assert_eq!(act("restore").await.json(200)["status"], "ACTIVE");

    let actions = bed
        .database
        .admin("SELECT action FROM licet.audit_events WHERE action LIKE 'project.%' ORDER BY seq");
    let actions: Vec<_> = actions
        .iter()
        .map(|row| row[0].as_deref().unwrap())
        .collect();
    assert_eq!(
        actions,
        [
            "project.created",
            "project.updated",
            "project.archived",
            "project.unarchived",
            "project.deleted",
            "project.restored"
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plan_allows_so_many_and_no_more() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await.caller;
    bed.database
        .admin("UPDATE licet.organizations SET max_projects = 3");
    let bodies: Vec<_> = (0..8)
        .map(|number| project(&format!("P{number}")))
        .collect();
    let all = bodies.iter().map(|body| bed.post(&owner, PATH, body));
    let replies = futures_util::future::join_all(all).await;
    let (made, refused): (Vec<_>, Vec<_>) = replies
        .iter()
        .partition(|reply| reply.status.as_u16() == 201);
    assert_eq!((made.len(), refused.len()), (3, 5));
    for reply in refused {
        assert_eq!(reply.refused(403), "QUOTA_EXCEEDED");
    }
    // An archived one counts, a deleted one does not, until it is restored.
    let one = made[0].header("location");
    let restore = format!("{one}/restore");
    let archive = format!("{one}/archive");
    bed.ask_with(&owner, Method::POST, &archive, None, &[])
        .await
        .json(200);
    let more = project("More");
    assert_eq!(
        bed.post(&owner, PATH, &more).await.refused(403),
        "QUOTA_EXCEEDED"
    );
    bed.delete(&owner, one).await.empty(204);
    bed.post(&owner, PATH, &more).await.json(201);
    let reply = bed
        .ask_with(&owner, Method::POST, &restore, None, &[])
        .await;
    assert_eq!(reply.refused(403), "QUOTA_EXCEEDED");
}

#[tokio::test]
async fn projects_are_made_once_listed_filtered_and_changed_by_version() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await.caller;
    let key = [("idempotency-key", "once")];
    let body = project("P0");
    let mut places = Vec::new();
    for _ in 0..2 {
        let reply = bed
            .ask_with(&owner, Method::POST, PATH, Some(&body), &key)
            .await;
        reply.json(201);
        places.push(reply.header("location").to_owned());
    }
    assert_eq!(places[0], places[1]);
    for number in 1..5 {
        let reply = bed
            .post(&owner, PATH, &project(&format!("P{number}")))
            .await;
        places.push(reply.header("location").to_owned());
    }
    let archive = format!("{}/archive", places[2]);
    bed.ask_with(&owner, Method::POST, &archive, None, &[])
        .await
        .json(200);
    bed.delete(&owner, &places[3]).await.empty(204);
    for (query, expected) in [
        ("limit=2", json!(["P4", "P3", "P1", "P0"])),
        ("limit=1&status=ACTIVE", json!(["P4", "P3", "P0"])),
        ("status=ARCHIVED", json!(["P1"])),
        ("status=DELETED", json!(["P2"])),
        ("text=p4", json!(["P4"])),
    ] {
        let seen = bed.pages(&owner, PATH, query, "name").await;
        assert_eq!(json!(seen), expected, "{query}");
    }
    for bad in ["limit=0", "cursor=x", "colour=red", "status=active"] {
        let reply = bed.get(&owner, &format!("{PATH}?{bad}")).await;
        assert_eq!(reply.refused(400), "BAD_REQUEST", "{bad}");
    }
    let expanding: serde_json::Map<_, _> =
        (0..200).map(|n| (n.to_string(), json!(1e300))).collect();
    for bad in [
        json!({ "name": "" }),
        json!({ "name": "x", "metadata": expanding }),
        json!({ "name": "x", "status": "ACTIVE" }),
    ] {
        assert_eq!(
            bed.post(&owner, PATH, &bad).await.refused(400),
            "BAD_REQUEST"
        );
    }

    let change = json!({ "description": "x" });
    let tag = [("if-match", "\"1\"")];
    bed.ask_with(&owner, Method::PATCH, &places[0], Some(&change), &tag)
        .await
        .json(200);
    for (method, below, body) in [
        (Method::PATCH, "", Some(&change)),
        (Method::DELETE, "", None),
        (Method::POST, "/archive", None),
    ] {
        let path = format!("{}{below}", places[0]);
        let reply = bed.ask_with(&owner, method, &path, body, &tag).await;
        assert_eq!(reply.refused(412), "PRECONDITION_FAILED");
    }
}

#[tokio::test]
async fn anothers_project_is_not_there() {
    let bed = Bed::new();
    let (alpha, beta) = (
        bed.sign_up("alpha").await.caller,
        bed.sign_up("beta").await.caller,
    );
    let reply = bed.post(&alpha, PATH, &project("Website")).await;
    bed.post(&beta, PATH, &project("Website")).await.json(201);
    for one in [reply.header("location"), "/api/v1/projects/nonsense"] {
        for (method, below, body) in [
            (Method::GET, "", None),
            (Method::PATCH, "", Some(&json!({ "name": "x" }))),
            (Method::DELETE, "", None),
            (Method::POST, "/archive", None),
            (Method::POST, "/unarchive", None),
            (Method::POST, "/restore", None),
        ] {
            let path = format!("{one}{below}");
            let reply = bed.ask_with(&beta, method, &path, body, &[]).await;
            assert_eq!(reply.refused(404), "NOT_FOUND", "{path}");
        }
    }
}

#[tokio::test]
async fn guests_read_and_members_write_projects() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await.caller;
    let reply = bed.post(&owner, PATH, &project("Website")).await;
    bed.roles(&owner, reply.header("location"), &[], PATH).await;
}
