//! The audit chain, and the command that checks it.

use serde_json::{Value, json};

use crate::support::{Bed, TestDatabase, edge::activation};

const VERIFY: [&str; 4] = ["audit", "verify", "--org", "alpha"];

fn verify(database: &TestDatabase) -> (Option<i32>, Value) {
    let ended = database.command(&VERIFY).end();
    (
        ended.code,
        serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}")),
    )
}

/// An organization with a few events of all kinds.
async fn eventful() -> Bed {
    let bed = Bed::new();
    let owner = bed.sign_up("alpha").await;
    let product = json!({ "code": "cli", "name": "Ünï \"quoted\" \\ \u{1F512}" });
    let made = bed
        .post(&owner.caller, "/api/v1/products", &product)
        .await
        .json(201);
    let one = format!("/api/v1/products/{}", made["id"].as_str().unwrap());
    bed.patch(&owner.caller, &one, &json!({ "name": "Other" }))
        .await
        .json(200);
    let settings = json!({ "settings": { "z": 1, "a": [1.5, -0.0, 1e300, 12345678901234567890_u64, null], "deep": { "b": {}, "a": "" } } });
    bed.patch(&owner.caller, "/api/v1/organization", &settings)
        .await
        .json(200);
    bed.delete(&owner.caller, &one).await.empty(204);
    bed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_chain_is_whole_and_each_tampering_shows() {
    let bed = eventful().await;
    let (code, report) = verify(&bed.database);
    assert_eq!(
        (code, &report["whole"]),
        (Some(0), &json!(true)),
        "{report}"
    );
    let events = report["events"].as_i64().unwrap();
    assert_eq!(events, 6);
    let head = report["head"].as_str().unwrap().to_owned();
    let anchored = [&VERIFY[..], &["--anchor", &head]].concat();
    bed.database.command(&anchored).succeed();

    // Only a superuser can do any of this.
    for (tampering, why) in [
        (
            "UPDATE licet.audit_events SET action = 'product.read' WHERE seq = 3",
            "was altered",
        ),
        (
            "UPDATE licet.audit_events SET actor = 'nobody' WHERE seq = 1",
            "was altered",
        ),
        (
            "UPDATE licet.audit_events SET at = at + interval '1 second' WHERE seq = 2",
            "was altered",
        ),
        (
            "UPDATE licet.audit_events SET subject = subject || ' ' WHERE seq = 4",
            "was altered",
        ),
        (
            "UPDATE licet.audit_events SET request_id = NULL WHERE seq = 4",
            "was altered",
        ),
        (
            "UPDATE licet.audit_events SET details = '{\"x\": 1}' WHERE seq = 4",
            "was altered",
        ),
        (
            "UPDATE licet.audit_events SET after = '{\"name\": \"x\"}' WHERE seq = 3",
            "was altered",
        ),
        (
            "UPDATE licet.audit_events SET before = NULL WHERE seq = 4",
            "was altered",
        ),
        (
            "UPDATE licet.audit_events SET personal_hash = NULL WHERE seq = 2",
            "was altered",
        ),
        (
            "UPDATE licet.audit_personal SET content = '{\"name\": \"x\"}'",
            "of a person",
        ),
        (
            "UPDATE licet.audit_events SET hash = prev_hash WHERE seq = 3",
            "was altered",
        ),
        (
            "DELETE FROM licet.audit_personal; DELETE FROM licet.audit_events WHERE seq = 2",
            "is missing",
        ),
        ("DELETE FROM licet.audit_events WHERE seq = 6", "is missing"),
        (
            "UPDATE licet.audit_events SET seq = 100 WHERE seq = 3",
            "is missing",
        ),
        (
            "UPDATE licet.audit_heads SET hash = prev_hash",
            "recorded end",
        ),
    ] {
        bed.database.admin("CREATE TABLE licet.e AS TABLE licet.audit_events; CREATE TABLE licet.h AS TABLE licet.audit_heads; CREATE TABLE licet.p AS TABLE licet.audit_personal");
        bed.database.admin(tampering);
        let (code, report) = verify(&bed.database);
        let said = report["broken"]["why"].as_str().unwrap_or_default();
        assert!(
            code == Some(1) && said.contains(why),
            "{tampering}: {report}"
        );
        bed.database.admin("DELETE FROM licet.audit_personal; DELETE FROM licet.audit_events; DELETE FROM licet.audit_heads;
            INSERT INTO licet.audit_events TABLE licet.e; INSERT INTO licet.audit_heads TABLE licet.h; INSERT INTO licet.audit_personal TABLE licet.p;
            DROP TABLE licet.e, licet.h, licet.p");
        assert_eq!(verify(&bed.database).0, Some(0), "{tampering}: put back");
    }

    // An end that was cut off together with its record shows by the anchor alone.
    bed.database.admin("DELETE FROM licet.audit_events WHERE seq = 6;
        UPDATE licet.audit_heads h SET seq = e.seq, prev_hash = e.prev_hash, hash = e.hash FROM licet.audit_events e WHERE e.seq = 5");
    assert_eq!(verify(&bed.database).0, Some(0));
    let ended = bed.database.command(&anchored).end();
    assert!(
        ended.code == Some(1) && ended.stderr.contains("anchor"),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_can_be_erased_and_the_chain_holds() {
    let bed = eventful().await;
    bed.database.admin("DELETE FROM licet.audit_personal");
    let (code, report) = verify(&bed.database);
    assert_eq!((code, &report["erased"]), (Some(0), &json!(1)), "{report}");
    let left = bed
        .database
        .admin("SELECT e::text FROM licet.audit_events e");
    assert!(
        left.iter()
            .flatten()
            .flatten()
            .all(|row| !row.contains("An Owner") && !row.contains('@')),
        "{left:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chain_has_no_gaps_when_many_write_at_once() {
    let bed = eventful().await;
    let seeded = bed.database.seed("alpha", 40);
    let calls: Vec<_> = (0..24)
        .map(|n| activation(&seeded.key, &format!("device {n}")))
        .collect();
    let answers =
        futures_util::future::join_all(calls.into_iter().map(|call| bed.call(call))).await;
    assert!(answers.iter().all(|reply| reply.answer().valid));
    let (code, report) = verify(&bed.database);
    assert_eq!(
        (code, report["events"].as_i64()),
        (Some(0), Some(6 + 1 + 24)),
        "{report}"
    );
}
