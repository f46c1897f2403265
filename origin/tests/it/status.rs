//! Status lists: what they say, when they change, how old they may be.

use licet_shared::{
    decision::LicenseToken,
    documents::{StatusDocument, StatusReference},
    status_list::status,
};

use super::support::{
    Bed, ISSUER, Seeded,
    edge::{Call, Reply, now},
};

impl Bed {
    async fn list(&self, seeded: &Seeded, call: impl Fn(Call) -> Call) -> Reply {
        self.call(call(Call::get(&format!(
            "/edge/v1/orgs/{}/statuslists/0",
            seeded.tag
        ))))
        .await
    }

    pub async fn status(&self, seeded: &Seeded) -> StatusDocument {
        let reply = self
            .list(seeded, |call| call.header("cache-control", "max-age=0"))
            .await;
        self.verified(seeded, &reply).await
    }

    async fn verified(&self, seeded: &Seeded, reply: &Reply) -> StatusDocument {
        assert_eq!(reply.header("content-type"), "application/statuslist+jwt");
        let uri = StatusReference::uri(ISSUER, seeded.tag, 0);
        StatusDocument::verify(
            (&reply.text()).into(),
            &uri,
            &self.keys(seeded).await,
            now(),
        )
        .unwrap()
    }

    fn change(&self, command: &str, seeded: &Seeded) {
        let id = seeded.license.to_string();
        self.database
            .command(&["license", command, "--org", &seeded.slug, &id])
            .succeed();
    }
}

#[tokio::test]
async fn every_change_shows_with_a_higher_version() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    let other = bed.database.seed("alpha", 5);
    let empty = bed.status(&seeded).await;
    assert_eq!(empty.list().len(), 2048);
    assert_eq!(empty.ttl().seconds(), 30);

    let one = bed.activate(&seeded.key, "one").await;
    bed.activate(&seeded.key, "two").await;
    bed.activate(&other.key, "three").await;
    let list = bed.status(&seeded).await;
    assert_eq!(
        list.version(),
        empty.version(),
        "a new entry is valid, as the padding said"
    );
    let entries = |list: &StatusDocument| {
        (0..4)
            .filter_map(|i| list.list().get(i))
            .collect::<Vec<_>>()
    };
    assert_eq!(entries(&list), [status::VALID; 4]);

    let mut version = list.version();
    let mut risen = |list: &StatusDocument| {
        let before = std::mem::replace(&mut version, list.version());
        list.version() > before
    };

    bed.change("suspend", &seeded);
    let list = bed.status(&seeded).await;
    assert_eq!((risen(&list), entries(&list)), (true, vec![2, 2, 0, 0]));
    bed.change("suspend", &seeded);
    assert!(!risen(&bed.status(&seeded).await), "nothing has changed");
    bed.change("reinstate", &seeded);
    let list = bed.status(&seeded).await;
    assert_eq!((risen(&list), entries(&list)), (true, vec![0, 0, 0, 0]));

    bed.deactivate(&one.license_token.unwrap()).await;
    let list = bed.status(&seeded).await;
    assert_eq!((risen(&list), entries(&list)), (true, vec![3, 0, 0, 0]));
    bed.change("suspend", &seeded);
    assert_eq!(entries(&bed.status(&seeded).await), [2, 2, 0, 0]);
    bed.change("revoke", &seeded);
    let list = bed.status(&seeded).await;
    assert_eq!((risen(&list), entries(&list)), (true, vec![1, 1, 0, 0]));
    assert!(!risen(&bed.status(&other).await), "it is the same list");
}

#[tokio::test]
async fn lists_grow_with_the_organization() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    let held = bed.status(&seeded).await;
    assert_eq!(held.list().len(), 2048);
    for (taken, length) in [
        (1024, 2048),
        (1025, 4096),
        (6555, 16_384),
        (131_072, 131_072),
    ] {
        bed.database.admin(&format!(
            "UPDATE licet.status_versions SET next_index = {taken}"
        ));
        let list = bed.status(&seeded).await;
        assert_eq!(list.list().len(), length, "{taken} taken");
        assert_eq!(list.version(), held.version());
    }
}

/// A token may be stamped before a list that was read before the token's entry was taken.
#[tokio::test]
async fn a_list_speaks_of_entries_that_are_taken_after_it_was_read() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5000);
    bed.database
        .admin("UPDATE licet.status_versions SET next_index = 2046");
    let held = bed.status(&seeded).await;
    for device in ["one", "two", "three"] {
        let token = bed.activate(&seeded.key, device).await.license_token;
        let keys = bed.keys(&seeded).await;
        let token = LicenseToken::verify(&token.unwrap(), Some(&keys), now()).unwrap();
        let index = token.claims().status.status_list.idx as usize;
        assert_eq!(held.list().get(index), Some(status::VALID), "{index}");
    }
}

#[tokio::test]
async fn a_signed_copy_is_served_for_seconds_unless_a_younger_one_is_demanded() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    let first = bed.list(&seeded, |call| call).await;
    let etag = first.header("etag").to_owned();
    assert_eq!(first.header("cache-control"), "private, no-store");
    assert_eq!(bed.list(&seeded, |call| call).await.body, first.body);

    let held = bed
        .list(&seeded, |call| call.header("if-none-match", &etag))
        .await;
    assert_eq!((held.status.as_u16(), held.body.len()), (304, 0));
    assert_eq!(held.header("etag"), etag);

    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    // A second is within what may be served, but not within what is demanded now.
    assert_eq!(bed.list(&seeded, |call| call).await.body, first.body);
    let younger = |call: Call| {
        call.header("cache-control", "max-age=0")
            .header("if-none-match", &etag)
    };
    let fresh = bed.list(&seeded, younger).await;
    assert_eq!(fresh.status.as_u16(), 200);
    assert_ne!(fresh.header("etag"), etag);
    let (before, after) = (
        bed.verified(&seeded, &first).await,
        bed.verified(&seeded, &fresh).await,
    );
    assert!(after.times().issued_at > before.times().issued_at);
    assert_eq!(after.version(), before.version());
    assert_eq!(bed.list(&seeded, |call| call).await.body, fresh.body);
}

/// The version is read from the database each time, so no copy outlives a change.
#[tokio::test]
async fn a_change_shows_at_once_even_where_an_old_copy_would_do() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    bed.activate(&seeded.key, "one").await;
    let before = bed.list(&seeded, |call| call).await;
    let etag = before.header("etag").to_owned();
    bed.change("revoke", &seeded);
    let after = bed
        .list(&seeded, |call| call.header("if-none-match", &etag))
        .await;
    assert_eq!(
        bed.verified(&seeded, &after).await.list().get(0),
        Some(status::REVOKED)
    );
}

#[tokio::test]
async fn the_last_entry_of_a_full_list_is_told_too() {
    let bed = Bed::new();
    let seeded = bed.database.seed("alpha", 5);
    bed.database
        .admin("UPDATE licet.status_versions SET next_index = 131071");
    bed.activate(&seeded.key, "one").await;
    bed.change("revoke", &seeded);
    let list = bed.status(&seeded).await;
    assert_eq!(list.list().get(131_071), Some(status::REVOKED));
    assert_eq!(list.list().get(131_070), Some(status::VALID));
}
