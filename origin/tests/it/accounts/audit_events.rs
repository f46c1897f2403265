//! The audit trail by API.

use serde_json::{Value, json};

use crate::support::{Bed, account::Caller};

const PATH: &str = "/api/v1/audit-events";

async fn list(bed: &Bed, caller: &Caller, query: &str) -> Vec<Value> {
    let page = bed.get(caller, &format!("{PATH}?{query}")).await.json(200);
    page["data"].as_array().unwrap().clone()
}

fn texts(events: &[Value], field: &str) -> Vec<String> {
    let text = |event: &Value| event[field].as_str().unwrap_or_default().to_owned();
    events.iter().map(text).collect()
}

async fn key(bed: &Bed, owner: &Caller, scopes: &[&str]) -> Caller {
    let body = json!({ "name": "m", "scopes": scopes });
    let made = bed.post(owner, "/api/v1/api-keys", &body).await.json(201);
    Caller {
        bearer: made["secret"].as_str().unwrap().into(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_is_read_newest_first_and_as_the_command_checks_it() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let product = json!({ "code": "cli", "name": "CLI" });
    let path = "/api/v1/products";
    let made = bed.post(&owner.caller, path, &product).await;
    let request_id = made.header("x-request-id").to_owned();
    let made = made.json(201);
    let id = made["id"].as_str().unwrap();
    let one = format!("{path}/{id}");
    bed.patch(&owner.caller, &one, &json!({ "name": "Other" }))
        .await
        .json(200);
    bed.delete(&owner.caller, &one).await.empty(204);

    let all = list(&bed, &owner.caller, "").await;
    assert_eq!(
        texts(&all, "action"),
        [
            "product.deleted",
            "product.updated",
            "product.created",
            "user.joined",
            "organization.created"
        ]
    );
    // Without gaps, and each builds on the one before.
    let seqs: Vec<i64> = all.iter().map(|it| it["seq"].as_i64().unwrap()).collect();
    let count = i64::try_from(all.len()).unwrap();
    assert_eq!(seqs, (1..=count).rev().collect::<Vec<_>>());
    for pair in all.windows(2) {
        assert_eq!(pair[0]["prev_hash"], pair[1]["hash"]);
    }
    assert_eq!(all.last().unwrap()["prev_hash"], json!("0".repeat(64)));
    let created = &all[2];
    assert_eq!(
        (
            &created["actor"],
            &created["subject"],
            &created["request_id"]
        ),
        (&json!(owner.id), &json!(id), &json!(request_id))
    );
    assert_eq!(created["before"], Value::Null);
    assert_eq!(all[1]["before"]["name"], "CLI");
    assert_eq!(all[1]["after"]["name"], "Other");

    // The end of the chain is the newest event, and what the command prints and takes.
    let head = bed.get(&owner.caller, &format!("{PATH}/head")).await;
    let head = head.json(200);
    assert_eq!(
        (&head["seq"], &head["hash"]),
        (&all[0]["seq"], &all[0]["hash"])
    );
    let anchor = head["anchor"].as_str().unwrap();
    let verify = ["audit", "verify", "--org", "alpha", "--anchor", anchor];
    assert_eq!(bed.database.command(&verify).json()["head"], head["anchor"]);

    // Page by page, while more comes.
    let first = bed.get(&owner.caller, &format!("{PATH}?limit=2")).await;
    let first = first.json(200);
    bed.database.seed("alpha", 5);
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = list(&bed, &owner.caller, &format!("limit=100&cursor={cursor}")).await;
    assert_eq!(rest, all[2..]);
    // One by itself.
    let one = format!("{PATH}/{}", created["id"].as_str().unwrap());
    assert_eq!(bed.get(&owner.caller, &one).await.json(200), *created);
}

#[tokio::test]
async fn the_trail_is_filtered() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let product = json!({ "code": "cli", "name": "CLI" });
    let made = bed.post(&owner.caller, "/api/v1/products", &product).await;
    let id = made.json(201)["id"].as_str().unwrap().to_owned();
    bed.database.seed("alpha", 5);
    let caller = &owner.caller;
    let actions = async |query: String| texts(&list(&bed, caller, &query).await, "action");
    assert_eq!(
        actions("action=product.created&limit=1".into()).await.len(),
        1
    );
    let of_products = actions("action=product.".into()).await;
    assert!(
        of_products.iter().all(|it| it == "product.created") && !of_products.is_empty(),
        "{of_products:?}"
    );
    assert_eq!(actions("action=product".into()).await.len(), 0);
    assert_eq!(actions(format!("subject={id}")).await, ["product.created"]);
    let by_owner = list(&bed, caller, &format!("actor={}", owner.id)).await;
    assert!(by_owner.iter().all(|it| it["actor"] == json!(owner.id)) && by_owner.len() >= 2);
    let by_operator = list(&bed, caller, "actor=operator&action=license.issued").await;
    assert_eq!(by_operator.len(), 1);

    let all = list(&bed, caller, "").await.len();
    // By a clock that the test sets: one event is moved to another day, id and all.
    let at = "2020-02-03T04:05:06Z";
    bed.database.admin(&format!(
        "UPDATE licet.audit_events SET at = '{at}', id = '01700939-2950-7abc-8000-000000000001' WHERE subject = '{id}'"
    ));
    let count = async |query: &str| list(&bed, caller, query).await.len();
    assert_eq!(count(&format!("until={at}")).await, 0);
    assert_eq!(count("until=2020-02-03T04:05:07Z").await, 1);
    assert_eq!(count(&format!("since={at}")).await, all);
    assert_eq!(count("since=2020-02-03T04:05:07Z").await, all - 1);
    assert_eq!(
        count(&format!("since={at}&until=2020-02-03T04:05:07Z")).await,
        1
    );
    // No event's, but of the form: beyond them all.
    assert_eq!(count("limit=100&cursor=AQ000000000000000000000").await, all);
    for bad in ["since=soon", "until=1", "cursor=AQ", "actors=x"] {
        let reply = bed.get(caller, &format!("{PATH}?{bad}")).await;
        assert_eq!(reply.refused(400), "BAD_REQUEST", "{bad}");
    }
}

#[tokio::test]
async fn what_names_a_person_is_for_those_who_may_read_people() {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let query = "action=user.joined";
    let seen = list(&bed, &owner.caller, query).await;
    assert_eq!(seen[0]["personal"]["content"]["email"], json!(owner.email));
    assert_eq!(seen[0]["personal"]["user_id"], json!(owner.id));
    let auditor = key(&bed, &owner.caller, &["audit:read"]).await;
    let reply = bed.get(&auditor, &format!("{PATH}?{query}")).await;
    assert!(!reply.text().contains(&owner.email), "{}", reply.text());
    let seen = reply.json(200)["data"][0].clone();
    assert_eq!(seen["personal"], Value::Null);
    assert!(seen["personal_hash"].is_string());
    let one = format!("{PATH}/{}", seen["id"].as_str().unwrap());
    assert_eq!(
        bed.get(&auditor, &one).await.json(200)["personal"],
        Value::Null
    );
    let both = key(&bed, &owner.caller, &["audit:read", "users:read"]).await;
    let seen = bed.get(&both, &one).await.json(200);
    assert_eq!(seen["personal"]["content"]["email"], json!(owner.email));
}

#[tokio::test]
async fn another_organizations_trail_is_not_there() {
    let bed = Bed::new();
    let (alpha, beta) = (bed.sign_up("alpha").await, bed.sign_up("beta").await);
    let theirs = list(&bed, &beta.caller, "").await;
    let one = format!("{PATH}/{}", theirs[0]["id"].as_str().unwrap());
    bed.get(&beta.caller, &one).await.json(200);
    assert_eq!(bed.get(&alpha.caller, &one).await.refused(404), "NOT_FOUND");
    let ours = list(&bed, &alpha.caller, "").await;
    assert!(ours.iter().all(|event| !theirs.contains(event)));
    let by_them = list(&bed, &alpha.caller, &format!("actor={}", beta.id)).await;
    assert_eq!(by_them, Vec::<Value>::new());
}
