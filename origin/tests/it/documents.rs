//! Key sets and feature sets.

use licet_shared::documents::{FeatureOverrides, FeatureSet, OrgKeys};

use super::support::{
    Bed, ISSUER,
    edge::{Call, now},
    platform_keys,
};

#[tokio::test]
async fn a_key_set_is_signed_by_the_platform_and_names_the_organizations_keys() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    let target = format!("/edge/v1/orgs/{}/keys", seeded.tag);
    let reply = bed.call(Call::get(&target)).await;
    assert_eq!(reply.header("content-type"), "application/keys+jwt");
    let keys = OrgKeys::verify(
        (&reply.text()).into(),
        ISSUER,
        seeded.tag,
        &platform_keys(),
        now(),
    )
    .unwrap();
    assert_eq!(keys.org(), seeded.org);
    assert!(keys.find(&format!("{}.1", seeded.tag)).is_some());
    assert_eq!(
        keys.times().expires_at.since(keys.times().issued_at),
        86_400
    );

    let etag = reply.header("etag");
    let held = bed
        .call(Call::get(&target).header("if-none-match", etag))
        .await;
    assert_eq!((held.status.as_u16(), held.body.len()), (304, 0));
}

#[tokio::test]
async fn a_new_key_signs_at_once_and_the_old_one_still_verifies() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    let version = bed.keys(&seeded).await.version();
    let before = bed
        .activate(&seeded.key, "one")
        .await
        .license_token
        .unwrap();
    // As a rotation would: a second key beside the first, sealed in its own place. Only this
    // crate's own code can seal, so it is a retired key here: known, but not signing.
    bed.database.admin(
        "INSERT INTO licet.signing_keys (org_id, number, public_key, sealed_seed, state)
         SELECT org_id, 2, public_key, '\\x00', 'VERIFY_ONLY' FROM licet.signing_keys",
    );
    bed.database
        .admin("UPDATE licet.organizations SET keys_version = keys_version + 1");
    let keys = bed.keys(&seeded).await;
    assert_eq!(keys.version(), version + 1);
    assert!(keys.find(&format!("{}.2", seeded.tag)).is_some());
    assert!(bed.refresh(&before).await.valid);
}

#[tokio::test]
async fn a_feature_set_is_signed_by_its_organization_and_follows_its_revision() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    let reference = bed.activate(&seeded.key, "one").await.feature_set.unwrap();
    let target = format!("/edge/v1/orgs/{}/feature-sets/{}", seeded.tag, reference.id);
    let keys = bed.keys(&seeded).await;
    let reply = bed.call(Call::get(&target)).await;
    assert_eq!(reply.header("content-type"), "application/features+jwt");
    let set = FeatureSet::verify((&reply.text()).into(), reference.id, &keys, now()).unwrap();
    assert_eq!(set.revision(), 1);
    let none = FeatureOverrides::default();
    assert!(set.grants(&none, "export.pdf") && !set.grants(&none, "export.docx"));

    let etag = reply.header("etag").to_owned();
    let held = bed
        .call(Call::get(&target).header("if-none-match", &etag))
        .await;
    assert_eq!(held.status.as_u16(), 304);

    bed.database.admin(
        "INSERT INTO licet.feature_set_revisions (org_id, feature_set_id, revision, features)
         SELECT org_id, id, 2, '{\"export.docx\": true}' FROM licet.feature_sets",
    );
    bed.database
        .admin("UPDATE licet.feature_sets SET current_revision = 2");
    let reply = bed
        .call(Call::get(&target).header("if-none-match", &etag))
        .await;
    let set = FeatureSet::verify((&reply.text()).into(), reference.id, &keys, now()).unwrap();
    assert_eq!(set.revision(), 2);
    assert!(set.grants(&none, "export.docx"));
    let answer = bed.activate(&seeded.key, "one").await;
    assert_eq!(answer.feature_set.unwrap().revision, 2);
}

#[tokio::test]
async fn a_key_sealed_under_another_master_key_is_our_fault_and_says_nothing() {
    let bed = Bed::new();
    let json = bed
        .database
        .command(&["seed", "--org", "alpha"])
        .env(
            "LICET_MASTER_KEY",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        )
        .json();
    let seeded = super::support::Seeded::from(&json);
    let reply = bed
        .call(super::support::edge::activation(&seeded.key, "one"))
        .await;
    assert_eq!(reply.code(), "INTERNAL");
    assert!(
        !reply.text().to_lowercase().contains("seal"),
        "{}",
        reply.text()
    );
    // And no seat was taken for a token that could not be made.
    assert_eq!(
        bed.database.admin("SELECT id FROM licet.activations").len(),
        0
    );
}
