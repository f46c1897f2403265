//! The revocation feed: nothing that was committed is ever missing from it.

use std::time::Duration;

use licet_shared::{
    documents::{Change, FeatureSet, Feed, StatusDocument, StatusReference},
    id::{LicenseId, OrgTag},
};

use super::support::{
    Bed, ISSUER, Seeded,
    edge::{Call, now},
    platform_keys,
    sql::{begin, connect},
};

async fn feed(bed: &Bed, generation: u64, since: u64) -> Feed {
    let target = format!("/edge/v1/revocations/{generation}/{since}");
    let reply = bed.call(Call::get(&target)).await;
    assert_eq!(reply.header("content-type"), "application/revocations+jwt");
    Feed::verify((&reply.text()).into(), ISSUER, &platform_keys(), now()).unwrap()
}

/// What comes after another, as an edge asks.
async fn next(bed: &Bed, before: &Feed) -> Feed {
    let after = feed(bed, before.generation(), before.epoch()).await;
    assert!(after.epoch() >= before.epoch(), "{after:?}");
    assert_eq!(after.since(), before.epoch(), "nothing is left out");
    after
}

/// The feed once all that was committed by now is behind it: other databases of the cluster, whose
/// transactions count too, are at work.
async fn settled(bed: &Bed) -> Feed {
    let committed = bed.database.admin("SELECT pg_current_xact_id()::text")[0][0].clone();
    let committed: u64 = committed.unwrap().parse().unwrap();
    loop {
        let feed = feed(bed, 0, 0).await;
        if feed.epoch() >= committed {
            return feed;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn of_list(feed: &Feed, tag: OrgTag) -> Option<Change> {
    let mut changes = feed.changed().iter();
    changes
        .find(|change| change.org == tag && change.status_list == Some(0))
        .copied()
}

async fn list(bed: &Bed, seeded: &Seeded) -> StatusDocument {
    let keys = bed.keys(seeded).await;
    let target = format!("/edge/v1/orgs/{}/statuslists/0", seeded.tag);
    let text = bed
        .call(Call::get(&target).header("cache-control", "max-age=0"))
        .await
        .text();
    let uri = StatusReference::uri(ISSUER, seeded.tag, 0);
    StatusDocument::verify((&text).into(), &uri, &keys, now()).unwrap()
}

fn suspend(bed: &Bed, slug: &str, id: LicenseId) {
    bed.database
        .command(&["license", "suspend", "--org", slug, &id.to_string()])
        .succeed();
}

/// A new version of an organization's status list, as the origin would make one.
const NEW_VERSION: &str = "WITH raised AS (
        UPDATE licet.status_versions SET version = version + 1 RETURNING number, version)
    SELECT licet.note_published('STATUS_LIST', number::text, version) FROM raised";

#[tokio::test]
async fn what_changed_is_named_with_its_version_and_nothing_else_is() {
    let bed = Bed::new();
    let (one, other) = (bed.database.seed("one", 5), bed.database.seed("other", 5));
    bed.activate(&one.key, "device").await;
    bed.activate(&other.key, "device").await;
    let before = settled(&bed).await;
    assert_eq!(next(&bed, &before).await.changed(), []);

    suspend(&bed, "one", one.license);
    let after = next(&bed, &before).await;
    let [change] = after.changed() else {
        panic!("{after:?}")
    };
    let held = list(&bed, &one).await;
    let expected = Change {
        org: one.tag,
        status_list: Some(0),
        feature_set: None,
        version: held.version(),
    };
    assert_eq!(*change, expected);
    assert!(held.epoch() >= before.epoch());

    // Keys and feature sets likewise.
    let before = settled(&bed).await;
    bed.database.admin(
        "INSERT INTO licet.feature_set_revisions (org_id, feature_set_id, revision, features)
         SELECT org_id, feature_set_id, 2, features FROM licet.feature_set_revisions",
    );
    let app = bed.database.app().await;
    begin(&app, other.org).await;
    let sql = "WITH raised AS (UPDATE licet.feature_sets SET current_revision = 2 RETURNING id)
        SELECT licet.note_published('FEATURE_SET', id::text, 2) FROM raised; COMMIT";
    app.batch_execute(sql).await.unwrap();
    begin(&app, one.org).await;
    let sql = "SELECT licet.note_published('KEYS', '', 77); COMMIT";
    app.batch_execute(sql).await.unwrap();
    let after = next(&bed, &before).await;
    assert_eq!(after.changed().len(), 2, "{after:?}");
    let keys = after.changed().iter().find(|change| change.org == one.tag);
    assert_eq!(
        keys.map(|keys| (keys.status_list, keys.feature_set, keys.version)),
        Some((None, None, 77))
    );
    let set = after
        .changed()
        .iter()
        .find(|change| change.org == other.tag);
    let set = set.unwrap();
    assert_eq!(set.version, 2);
    let id = set.feature_set.unwrap();
    let keys = bed.keys(&other).await;
    let target = format!("/edge/v1/orgs/{}/feature-sets/{id}", other.tag);
    let text = bed.call(Call::get(&target)).await.text();
    let held = FeatureSet::verify((&text).into(), id, &keys, now()).unwrap();
    assert_eq!(held.revision(), 2);
    assert!(held.epoch() >= before.epoch());
}

#[tokio::test]
async fn an_older_transaction_that_commits_late_hides_nothing() {
    let bed = Bed::new();
    let (early, late) = (bed.database.seed("early", 5), bed.database.seed("late", 5));
    bed.activate(&early.key, "device").await;
    bed.activate(&late.key, "device").await;
    let start = settled(&bed).await;

    // Takes its place in the order, and then its time.
    let slow = bed.database.app().await;
    begin(&slow, early.org).await;
    slow.batch_execute(NEW_VERSION).await.unwrap();
    let place = slow
        .query_one("SELECT pg_current_xact_id()::text", &[])
        .await
        .unwrap();
    let place: u64 = place.get::<_, &str>(0).parse().unwrap();
    suspend(&bed, "late", late.license);
    let during = next(&bed, &start).await;
    assert!(of_list(&during, late.tag).is_some(), "{during:?}");
    assert!(of_list(&during, early.tag).is_none(), "{during:?}");
    // It is told again until what came before it is told.
    let again = next(&bed, &during).await;
    assert!(of_list(&again, late.tag).is_some(), "{again:?}");
    // Whoever reads now, the feed or a document, does not say to have seen what is still to come.
    // Not compared with each other: transactions in other databases, which count too, end between.
    assert!(again.epoch() < place, "{again:?} {place}");
    assert!(list(&bed, &late).await.epoch() < place);

    slow.batch_execute("COMMIT").await.unwrap();
    let after = next(&bed, &again).await;
    assert!(of_list(&after, early.tag).is_some(), "{after:?}");
    let settled = settled(&bed).await;
    assert_eq!(next(&bed, &settled).await.changed(), []);
}

#[tokio::test]
async fn of_a_hundred_concurrent_changes_none_is_missing() {
    let bed = Bed::new();
    let mut seeded = Vec::new();
    for number in 0..10 {
        let one = bed.database.seed(&format!("org-{number}"), 5);
        bed.activate(&one.key, "device").await;
        seeded.push(one);
    }
    let mut last = settled(&bed).await;
    let url = bed.database.app_url();
    let writers = seeded.iter().enumerate().map(|(number, one)| {
        let (url, org) = (url.clone(), one.org);
        tokio::spawn(async move {
            let client = connect(&url).await;
            for round in 0..10 {
                begin(&client, org).await;
                client.batch_execute(NEW_VERSION).await.unwrap();
                let pause = (number * 7 + round * 3) % 11;
                let sql = format!("SELECT pg_sleep({pause} / 1000.0); COMMIT");
                client.batch_execute(&sql).await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut newest = std::collections::HashMap::new();
    let mut watch = async |newest: &mut std::collections::HashMap<OrgTag, u64>| {
        let after = next(&bed, &last).await;
        for change in after.changed() {
            let before = newest.insert(change.org, change.version);
            assert!(before.is_none_or(|before| before <= change.version));
        }
        last = after;
    };
    while writers.iter().any(|writer| !writer.is_finished()) {
        watch(&mut newest).await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    watch(&mut newest).await;
    for one in &seeded {
        let version = list(&bed, one).await.version();
        assert_eq!(newest.get(&one.tag), Some(&version));
    }
}

#[tokio::test]
async fn who_knows_nothing_or_of_another_generation_is_told_all() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    bed.activate(&seeded.key, "device").await;
    suspend(&bed, "alpha", seeded.license);
    let all = settled(&bed).await;
    assert_eq!(all.since(), 0);
    assert!(of_list(&all, seeded.tag).is_some());
    for (generation, since) in [
        (0, all.epoch()),
        (all.generation() + 1, all.epoch()),
        (all.generation(), all.epoch() + 1_000_000),
        (all.generation(), u64::MAX),
    ] {
        let told = feed(&bed, generation, since).await;
        assert_eq!(told.since(), 0, "{generation} {since}");
        assert!(of_list(&told, seeded.tag).is_some());
    }
    bed.database
        .command(&["republish", "--org", "alpha"])
        .succeed();
    let anew = feed(&bed, all.generation(), all.epoch()).await;
    assert!(anew.generation() > all.generation());
    assert_eq!(anew.since(), 0);

    for bad in ["/edge/v1/revocations/x/0", "/edge/v1/revocations/0/-1"] {
        assert_eq!(bed.call(Call::get(bad)).await.code(), "NOT_FOUND");
    }
}
