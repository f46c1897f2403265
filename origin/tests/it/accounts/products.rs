//! Products, and with them what all resources share.

use axum::http::Method;
use serde_json::json;

use crate::support::Bed;

const PATH: &str = "/api/v1/products";

fn product(code: &str) -> serde_json::Value {
    json!({ "code": code, "name": format!("The {code}") })
}

#[tokio::test]
async fn a_product_lives_is_deleted_and_comes_back() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await.caller;
    let reply = bed.post(&owner, PATH, &product("cli")).await;
    let made = reply.json(201);
    let id = made["id"].as_str().unwrap();
    assert_eq!(reply.header("location"), format!("{PATH}/{id}"));
    assert_eq!(reply.header("etag"), "\"1\"");
    assert!(
        reply.header("ratelimit").starts_with("\"plan\";r="),
        "{:?}",
        reply.headers
    );
    assert_eq!(reply.header("ratelimit-policy"), "\"plan\";q=600;w=60");

    let one = format!("{PATH}/{id}");
    assert_eq!(bed.get(&owner, &one).await.json(200), made);
    let reply = bed.patch(&owner, &one, &json!({ "name": "CLI 2" })).await;
    assert_eq!(reply.json(200)["name"], "CLI 2");
    assert_eq!(reply.header("etag"), "\"2\"");
    // Nothing to change is no change.
    assert_eq!(
        bed.patch(&owner, &one, &json!({})).await.header("etag"),
        "\"2\""
    );

    bed.delete(&owner, &one).await.empty(204);
    bed.delete(&owner, &one).await.empty(204);
    assert!(bed.get(&owner, &one).await.json(200)["deleted_at"].is_string());
    assert_eq!(
        bed.patch(&owner, &one, &json!({ "name": "x" }))
            .await
            .refused(409),
        "CONFLICT"
    );
    assert_eq!(bed.get(&owner, PATH).await.json(200)["data"], json!([]));
    assert_eq!(
        bed.get(&owner, &format!("{PATH}?deleted=true"))
            .await
            .json(200)["data"][0]["id"],
        id
    );
    // Its code stays its own.
    assert_eq!(
        bed.post(&owner, PATH, &product("cli")).await.refused(409),
        "CONFLICT"
    );
    let restored = bed
        .ask_with(&owner, Method::POST, &format!("{one}/restore"), None, &[])
        .await;
    assert!(restored.json(200)["deleted_at"].is_null());
    assert_eq!(restored.header("etag"), "\"4\"");

    let actions = bed.database.admin(
        "SELECT action, seq::text FROM licet.audit_events WHERE subject LIKE 'prd_%' ORDER BY seq",
    );
    let actions: Vec<_> = actions
        .iter()
        .map(|row| row[0].as_deref().unwrap())
        .collect();
    assert_eq!(
        actions,
        [
            "product.created",
            "product.updated",
            "product.deleted",
            "product.restored"
        ]
    );
}

#[tokio::test]
async fn two_people_do_not_undo_each_others_changes() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await.caller;
    let made = bed.post(&owner, PATH, &product("cli")).await.json(201);
    let one = format!("{PATH}/{}", made["id"].as_str().unwrap());
    let change = json!({ "name": "mine" });
    let if_match = |tag| [("if-match", tag)];
    let reply = bed
        .ask_with(
            &owner,
            Method::PATCH,
            &one,
            Some(&change),
            &if_match("\"1\""),
        )
        .await;
    assert_eq!(reply.status.as_u16(), 200);
    let reply = bed
        .ask_with(
            &owner,
            Method::PATCH,
            &one,
            Some(&change),
            &if_match("\"1\""),
        )
        .await;
    assert_eq!(reply.refused(412), "PRECONDITION_FAILED");
    let reply = bed
        .ask_with(&owner, Method::DELETE, &one, None, &if_match("\"1\""))
        .await;
    assert_eq!(reply.refused(412), "PRECONDITION_FAILED");
    let reply = bed
        .ask_with(
            &owner,
            Method::GET,
            &one,
            None,
            &[("if-none-match", "\"2\"")],
        )
        .await;
    reply.empty(304);
}

#[tokio::test]
async fn a_repeated_creation_is_one() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await.caller;
    let key = [("idempotency-key", "once-1")];
    let send = |body| {
        let (bed, owner) = (&bed, &owner);
        async move {
            bed.ask_with(owner, Method::POST, PATH, Some(&body), &key)
                .await
        }
    };
    let first = send(product("cli")).await;
    let second = send(product("cli")).await;
    assert_eq!(first.json(201), second.json(201));
    assert_eq!(
        (
            first.header("idempotency-replayed"),
            second.header("idempotency-replayed")
        ),
        ("", "true")
    );
    assert_eq!(
        send(product("ide")).await.refused(422),
        "IDEMPOTENCY_KEY_REUSED"
    );
    // Somebody else's key of the same name is another.
    let other = bed.sign_up("beta").await.caller;
    let reply = bed
        .ask_with(&other, Method::POST, PATH, Some(&product("cli")), &key)
        .await;
    assert_eq!(reply.header("idempotency-replayed"), "");
    // Eight at once make one.
    let key = [("idempotency-key", "once-2")];
    let body = product("web");
    let all = (0..8).map(|_| bed.ask_with(&owner, Method::POST, PATH, Some(&body), &key));
    let replies = futures_util::future::join_all(all).await;
    let ids: std::collections::BTreeSet<_> = replies
        .iter()
        .map(|reply| reply.json(201)["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn lists_go_page_by_page_and_filter() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await.caller;
    for number in 0..5 {
        bed.post(&owner, PATH, &product(&format!("p{number}")))
            .await
            .json(201);
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = bed
            .get(&owner, &format!("{PATH}?limit=2{cursor}"))
            .await
            .json(200);
        let data = page["data"].as_array().unwrap();
        seen.extend(
            data.iter()
                .map(|product| product["code"].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["p4", "p3", "p2", "p1", "p0"]);
    let count = |query: &'static str| {
        let (bed, owner) = (&bed, &owner);
        async move {
            let list = bed.get(owner, &format!("{PATH}?{query}")).await.json(200);
            list["data"].as_array().unwrap().len()
        }
    };
    assert_eq!(count("code=p3").await, 1);
    assert_eq!(count("text=THE%20P3").await, 1);
    assert_eq!(count("text=%25").await, 0);
    for bad in [
        "limit=0",
        "limit=101",
        "limit=x",
        "cursor=x",
        "colour=red",
        "code=a&code=b",
        "deleted=maybe",
        "text=%00",
    ] {
        assert_eq!(
            bed.get(&owner, &format!("{PATH}?{bad}")).await.refused(400),
            "BAD_REQUEST",
            "{bad}"
        );
    }
}

#[tokio::test]
async fn anothers_product_is_as_little_there_as_none() {
    let bed = Bed::new();
    let (alpha, beta) = (
        bed.sign_up("alpha").await.caller,
        bed.sign_up("beta").await.caller,
    );
    let made = bed.post(&alpha, PATH, &product("cli")).await.json(201);
    // The same code in two organizations: neither blocks the other.
    bed.post(&beta, PATH, &product("cli")).await.json(201);
    for id in [
        made["id"].as_str().unwrap(),
        "prd_01h455vb4pex5vsknk084sn02q",
        "nonsense",
    ] {
        let one = format!("{PATH}/{id}");
        let replies = [
            bed.get(&beta, &one).await,
            bed.patch(&beta, &one, &json!({ "name": "x" })).await,
            bed.delete(&beta, &one).await,
            bed.ask_with(&beta, Method::POST, &format!("{one}/restore"), None, &[])
                .await,
        ];
        for reply in replies {
            assert_eq!(reply.refused(404), "NOT_FOUND");
            assert_eq!(
                reply.problem().detail,
                "There is nothing of this name or id."
            );
        }
    }
}
