//! A database that was set back, and edges that hold what it has lost.

use licet_shared::documents::{FeatureOverrides, FeatureSet, StatusDocument, StatusReference};
use serde_json::Value;

use super::support::{
    Bed, ISSUER, Seeded,
    edge::{Call, now},
};

/// Versions of all that an edge may hold of an organization: keys, status list, feature set.
async fn versions(bed: &Bed, seeded: &Seeded) -> [u64; 3] {
    let keys = bed.keys(seeded).await;
    let list = format!("/edge/v1/orgs/{}/statuslists/0", seeded.tag);
    let list = bed.call(Call::get(&list)).await.text();
    let uri = StatusReference::uri(ISSUER, seeded.tag, 0);
    let list = StatusDocument::verify((&list).into(), &uri, &keys, now()).unwrap();
    let answer = bed.activate(&seeded.key, "one").await;
    let set = answer.feature_set.unwrap().id;
    let target = format!("/edge/v1/orgs/{}/feature-sets/{set}", seeded.tag);
    let text = bed.call(Call::get(&target)).await.text();
    let set = FeatureSet::verify((&text).into(), set, &keys, now()).unwrap();
    assert!(set.grants(&FeatureOverrides::default(), "export.pdf"));
    [keys.version(), list.version(), set.revision().into()]
}

/// Everything as it was before the last changes, which edges have seen.
fn set_back(bed: &Bed) {
    for sql in [
        "UPDATE licet.status_versions SET version = 3",
        "UPDATE licet.organizations SET keys_version = 1",
        "UPDATE licet.feature_sets SET current_revision = 1",
        "DELETE FROM licet.feature_set_revisions WHERE revision > 1",
    ] {
        bed.database.admin(sql);
    }
}

fn publish_features(bed: &Bed) {
    bed.database.admin(
        "INSERT INTO licet.feature_set_revisions (org_id, feature_set_id, revision, features)
         SELECT org_id, feature_set_id, revision + 1, features FROM licet.feature_set_revisions",
    );
    bed.database
        .admin("UPDATE licet.feature_sets SET current_revision = 2");
}

#[tokio::test]
async fn the_next_change_after_a_restore_counts_above_what_edges_hold() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    let token = bed.activate(&seeded.key, "one").await.license_token;
    bed.database
        .admin("UPDATE licet.status_versions SET version = 3");
    let change = |command: &str| {
        let id = seeded.license.to_string();
        bed.database
            .command(&["license", command, "--org", "alpha", &id])
            .succeed();
    };
    // Lost: a suspension and its end, and a seat given back.
    change("suspend");
    change("reinstate");
    let [_, held, _] = versions(&bed, &seeded).await;
    bed.database
        .admin("UPDATE licet.status_versions SET version = 3");
    bed.deactivate(&token.unwrap()).await;
    let [_, list, _] = versions(&bed, &seeded).await;
    assert!(list > held, "{list} {held}");
    // The same for a change of the license, and for a list that is begun anew.
    bed.database
        .admin("UPDATE licet.status_versions SET version = 3");
    change("suspend");
    change("reinstate");
    let [_, now, _] = versions(&bed, &seeded).await;
    assert!(now > list, "{now} {list}");
    bed.database
        .admin("UPDATE licet.status_versions SET next_index = 131072");
    assert!(bed.activate(&seeded.key, "two").await.valid);
    let begun = bed
        .database
        .admin("SELECT version > 1000000000000 FROM licet.status_versions WHERE number = 1");
    assert_eq!(begun[0][0].as_deref(), Some("t"));
}

#[tokio::test]
async fn republishing_raises_every_version_and_says_so() {
    let bed = Bed::new();
    let (alpha, beta) = (bed.database.seed("alpha", 5), bed.database.seed("beta", 5));
    publish_features(&bed);
    let held = [versions(&bed, &alpha).await, versions(&bed, &beta).await];
    set_back(&bed);

    let done = bed
        .database
        .command(&["republish", "--org", "alpha"])
        .json();
    assert_eq!(done.as_array().unwrap().len(), 1);
    assert_eq!(done[0]["org"], "alpha");
    assert_eq!(done[0]["republished"]["status_lists"], 1);
    let raised = versions(&bed, &alpha).await;
    for (raised, held) in raised.iter().zip(held[0]) {
        assert!(*raised > held, "{raised} {held}");
    }
    let other = bed
        .database
        .admin("SELECT keys_version FROM licet.organizations WHERE slug = 'beta'");
    assert_eq!(other[0][0].as_deref(), Some("1"));

    let done = bed.database.command(&["republish", "--all"]).json();
    let orgs: Vec<&Value> = done
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["org"])
        .collect();
    assert_eq!(orgs, ["alpha", "beta"]);
    for ((seeded, held), twice) in [&alpha, &beta].into_iter().zip(held).zip([true, false]) {
        let now = versions(&bed, seeded).await;
        for (version, held) in now.iter().zip(if twice { raised } else { held }) {
            assert!(*version > held, "{version} {held}");
        }
    }
    let audited = bed.database.admin(
        "SELECT actor, count(*) FROM licet.audit_events WHERE action = 'organization.republished' GROUP BY 1",
    );
    assert_eq!(audited, [[Some("operator".into()), Some("3".into())]]);
}

#[test]
fn republish_says_what_it_lacks() {
    let database = super::support::TestDatabase::migrated();
    for (args, code, sentence) in [
        (vec!["republish"], 2, "--org"),
        (vec!["republish", "--org", "a", "--all"], 2, "--all"),
        (
            vec!["republish", "--org", "none"],
            1,
            "there is no organization",
        ),
    ] {
        let ended = database.command(&args).end();
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.stderr.contains(sentence), "{}", ended.stderr);
    }
    let command = database.command(&["republish", "--all"]);
    let ended = command.without("LICET_ADMIN_DATABASE_URL").end();
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("LICET_ADMIN_DATABASE_URL"),
        "{ended:?}"
    );
    let done = database.command(&["republish", "--all"]).json();
    assert_eq!(done.as_array().map(Vec::len), Some(0));
}
