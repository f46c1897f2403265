//! Licenses that change while tokens of them are out, and features that are used up.

use axum::http::Method;
use futures_util::future::join_all;
use licet_shared::{
    api::ConsumeAnswer,
    decision::{Code, LicenseToken, Verdict, decide_standing},
    documents::{FeatureSet, LicenseState, OrgKeys, StatusDocument},
    status_list::status,
};
use serde_json::{Value, json};

use crate::{
    licenses::{Shop, one},
    support::edge::{Call, Reply, now},
};

const USAGE: &str = "/edge/v1/usage";

/// All that an edge would have of a license, fetched this moment.
struct Seen {
    keys: OrgKeys,
    list: StatusDocument,
    license: LicenseState,
}

impl Shop {
    async fn document(&self, path: &str) -> String {
        let path = format!("/edge/v1/orgs/{}/{path}", self.seeded.tag);
        let reply = self.bed.call(Call::get(&path)).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.text()
    }

    async fn see(&self, license: &Value) -> Seen {
        let keys = self.bed.keys(&self.seeded).await;
        let uri = licet_shared::documents::StatusReference::uri(keys.issuer(), keys.tag(), 0);
        let list = self.document("statuslists/0").await;
        let id = license["id"].as_str().unwrap();
        let document = self.document(&format!("licenses/{id}")).await;
        Seen {
            list: StatusDocument::verify((&list).into(), &uri, &keys, now()).unwrap(),
            license: LicenseState::verify((&document).into(), id.parse().unwrap(), &keys, now())
                .unwrap(),
            keys,
        }
    }

    /// What an edge would say of a token, as JSON.
    async fn verdict(&self, license: &Value, token: &str) -> Value {
        let seen = self.see(license).await;
        let token = LicenseToken::verify(token, Some(&seen.keys), now()).unwrap();
        let set = token.effective(Some(&seen.license)).feature_set;
        let features = self.document(&format!("feature-sets/{set}")).await;
        let features = FeatureSet::verify((&features).into(), set, &seen.keys, now()).unwrap();
        let state = licet_shared::decision::State {
            keys: Some(&seen.keys),
            status_list: Some(&seen.list),
            status_unchanged_at: None,
            license: Some(&seen.license),
            features: Some(&features),
            source: licet_shared::decision::Source::Origin,
            origin: licet_shared::decision::OriginState::Answering,
            newest_evidence: None,
        };
        let verdict: Verdict<'_> = decide_standing(&token, &state, now());
        serde_json::to_value(verdict).unwrap()
    }

    async fn token(&self, license: &Value) -> String {
        let key = license["key"].as_str().unwrap();
        self.bed
            .activate(key, "device")
            .await
            .license_token
            .unwrap()
    }

    async fn entry(&self, license: &Value, token: &str) -> Option<u8> {
        let seen = self.see(license).await;
        let token = LicenseToken::verify(token, Some(&seen.keys), now()).unwrap();
        let index = token.claims().status.status_list.idx;
        seen.list.list().get(index as usize)
    }

    async fn outdated(&self, license: &Value, token: &str) -> (bool, bool) {
        let seen = self.see(license).await;
        let token = LicenseToken::verify(token, Some(&seen.keys), now()).unwrap();
        (
            token.is_outdated(&seen.list, None),
            token.is_outdated(&seen.list, Some(&seen.license)),
        )
    }

    async fn metered(&self, quota: u64, period: &str) -> Value {
        let features = json!({ "exports": { "quota": quota, "period": period }, "scans": { "quota": 5, "period": "once" } });
        self.issue(&[("features", features)]).await
    }

    async fn usage(&self, license: &Value, query: &str) -> Value {
        let path = format!("{}/usage{query}", one(license));
        self.bed.get(&self.owner, &path).await.json(200)["data"].take()
    }
}

fn uses(token: &str, uses: &Value) -> Call {
    Call::post(USAGE, &json!({ "token": token, "uses": uses }))
}

fn consumed(reply: &Reply) -> ConsumeAnswer {
    assert_eq!(reply.status, 200, "{}", reply.text());
    serde_json::from_slice(&reply.body).unwrap()
}

fn exports(amount: u64) -> Value {
    json!([{ "feature": "exports", "amount": amount }])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_in_the_list_and_in_the_document_at_once() {
    let shop = Shop::open().await;
    let license = shop.issue(&[]).await;
    let other = shop.issue(&[]).await;
    let old = shop.token(&license).await;
    assert_eq!(shop.entry(&license, &old).await, Some(status::VALID));
    assert_eq!(shop.outdated(&license, &old).await, (false, false));

    let changes = [
        ("PATCH", "", json!({ "features": { "beta": true } })),
        ("PATCH", "", json!({ "expires_at": "2090-01-01T00:00:00Z" })),
        (
            "POST",
            "/renew",
            json!({ "expires_at": "2095-01-01T00:00:00Z" }),
        ),
        ("POST", "/transfer", json!({ "policy_id": shop.policy })),
    ];
    let mut version = 0;
    for (method, action, body) in changes {
        let before = shop.token(&license).await;
        let path = format!("{}{action}", one(&license));
        let reply = shop
            .bed
            .ask_with(
                &shop.owner,
                method.parse::<Method>().unwrap(),
                &path,
                Some(&body),
                &[],
            )
            .await;
        reply.json(200);
        let seen = shop.see(&license).await;
        assert!(seen.license.version() > version, "{method} {action}");
        version = seen.license.version();
        for token in [&old, &before] {
            assert_eq!(shop.entry(&license, token).await, Some(status::CHANGED));
            assert_eq!(shop.outdated(&license, token).await, (true, false));
        }
        let verdict = shop.verdict(&license, &old).await;
        assert_eq!(verdict["code"], "VALID");
        assert_eq!(verdict["license"]["revision"], version);
        assert_eq!(verdict["features"]["beta"], true);
        // A token made since shares the entry and needs no document.
        let new = shop.bed.refresh(&old).await.license_token.unwrap();
        assert_eq!(shop.entry(&license, &new).await, Some(status::CHANGED));
        assert_eq!(shop.outdated(&license, &new).await, (false, false));
        let again = shop.token(&license).await;
        assert_eq!(shop.outdated(&license, &again).await, (false, false));
    }
    // Nobody else's entry says anything, and what tokens don't say is no change to them.
    let theirs = shop.token(&other).await;
    assert_eq!(shop.entry(&other, &theirs).await, Some(status::VALID));
    let body = json!({ "max_activations": 9, "metadata": { "a": 1 } });
    shop.bed
        .patch(&shop.owner, &one(&license), &body)
        .await
        .json(200);
    assert_eq!(shop.see(&license).await.license.version(), version);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_graver_is_said_instead_and_the_change_again_afterwards() {
    let shop = Shop::open().await;
    let license = shop.issue(&[]).await;
    let token = shop.token(&license).await;
    let body = json!({ "features": { "beta": true } });
    shop.bed
        .patch(&shop.owner, &one(&license), &body)
        .await
        .json(200);
    for (action, value) in [
        ("suspend", status::SUSPENDED),
        ("reinstate", status::CHANGED),
    ] {
        let path = format!("{}/{action}", one(&license));
        shop.bed
            .post(&shop.owner, &path, &json!({}))
            .await
            .json(200);
        assert_eq!(shop.entry(&license, &token).await, Some(value), "{action}");
    }
    shop.bed.deactivate(&token).await;
    assert_eq!(
        shop.entry(&license, &token).await,
        Some(status::DEACTIVATED)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_told_for_as_long_as_older_tokens_count() {
    let shop = Shop::open().await;
    let license = shop.issue(&[]).await;
    let token = shop.token(&license).await;
    let policy = format!("/api/v1/policies/{}", shop.policy);
    // Tokens of the longer life may still be out when it has been shortened.
    for seconds in [10_000_000, 60] {
        let body = json!({ "token_lifetime_s": seconds, "grace_s": 0 });
        shop.bed.patch(&shop.owner, &policy, &body).await.json(200);
    }
    let body = json!({ "features": { "beta": true } });
    shop.bed
        .patch(&shop.owner, &one(&license), &body)
        .await
        .json(200);
    let left = "SELECT extract(epoch FROM until - now())::bigint / 1000 FROM licet.license_changes";
    let rows = shop.bed.database.admin(left);
    assert_eq!(rows.len(), 1);
    assert_eq!(
        rows[0][0].as_deref(),
        Some("10003"),
        "and the margin of an hour"
    );
    assert_eq!(shop.entry(&license, &token).await, Some(status::CHANGED));
    shop.bed
        .database
        .admin("UPDATE licet.license_changes SET until = now() - interval '1 second'");
    tokio::time::sleep(std::time::Duration::from_millis(6_500)).await;
    assert_eq!(shop.entry(&license, &token).await, Some(status::VALID));
    // Another license's change clears it away.
    let other = shop.issue(&[]).await;
    shop.token(&other).await;
    shop.bed
        .patch(&shop.owner, &one(&other), &body)
        .await
        .json(200);
    let rows = shop
        .bed
        .database
        .admin("SELECT license_id FROM licet.license_changes WHERE until < now()");
    assert!(rows.is_empty(), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uses_are_recorded_all_or_none_and_once() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let license = shop.metered(10, "month").await;
    let token = shop.token(&license).await;
    let both = json!([
        { "feature": "exports", "amount": 3 }, { "feature": "scans", "amount": 2 },
        { "feature": "exports", "amount": 1 },
    ]);
    let answer = consumed(&bed.call(uses(&token, &both)).await);
    assert_eq!(
        (answer.valid, answer.code),
        (true, Code::Valid),
        "{answer:?}"
    );
    let left = |answer: &ConsumeAnswer, feature: &str| answer.quotas[feature].remaining;
    assert_eq!((left(&answer, "exports"), left(&answer, "scans")), (6, 3));

    // One of them is too much: neither counts, and the answer says what is left.
    let much = json!([{ "feature": "exports", "amount": 1 }, { "feature": "scans", "amount": 4 }]);
    let answer = consumed(&bed.call(uses(&token, &much).once("much")).await);
    assert_eq!((answer.valid, answer.code), (false, Code::QuotaExceeded));
    assert_eq!(answer.feature.as_deref(), Some("scans"));
    assert_eq!((left(&answer, "exports"), left(&answer, "scans")), (6, 3));
    assert!(
        answer.detail.contains("3 of 5 are left"),
        "{}",
        answer.detail
    );
    // More at once than there ever is.
    let answer = consumed(&bed.call(uses(&token, &exports(11))).await);
    assert_eq!(answer.code, Code::QuotaExceeded);
    let other = shop.metered(10, "day").await;
    let fresh = shop.token(&other).await;
    let answer = consumed(&bed.call(uses(&fresh, &exports(11))).await);
    assert_eq!(
        (answer.code, left(&answer, "exports")),
        (Code::QuotaExceeded, 10)
    );

    // The same request again, and the same use in another.
    let first = consumed(&bed.call(uses(&token, &exports(1)).once("k")).await);
    let again = consumed(&bed.call(uses(&token, &exports(1)).once("k")).await);
    assert_eq!((left(&first, "exports"), first.quotas), (5, again.quotas));
    let reused = bed.call(uses(&token, &exports(2)).once("k")).await;
    assert_eq!(reused.refused(422), "IDEMPOTENCY_KEY_REUSED");
    let named = |id: &str, amount: u64| json!({ "feature": "exports", "amount": amount, "id": id });
    let answer = consumed(
        &bed.call(uses(&token, &json!([named("a", 1), named("a", 1)])))
            .await,
    );
    assert_eq!((left(&answer, "exports"), answer.repeated.len()), (4, 0));
    let answer = consumed(
        &bed.call(uses(&token, &json!([named("a", 1), named("b", 1)])))
            .await,
    );
    assert_eq!(
        (left(&answer, "exports"), answer.repeated),
        (3, vec!["a".to_owned()])
    );
    let reused = bed.call(uses(&token, &json!([named("b", 2)]))).await;
    assert_eq!(reused.refused(422), "IDEMPOTENCY_KEY_REUSED");
    // A refused use's id is free, and another license's ids are its own.
    let refused = consumed(&bed.call(uses(&token, &json!([named("c", 9)]))).await);
    assert_eq!(refused.code, Code::QuotaExceeded);
    let answer = consumed(&bed.call(uses(&token, &json!([named("c", 1)]))).await);
    assert_eq!((answer.valid, left(&answer, "exports")), (true, 2));
    let answer = consumed(&bed.call(uses(&fresh, &json!([named("a", 1)]))).await);
    assert_eq!(left(&answer, "exports"), 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_may_use_it_uses_it_up() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let license = shop.metered(10, "year").await;
    let token = shop.token(&license).await;
    for (feature, code) in [
        ("export.pdf", Code::FeatureMissing),
        ("none", Code::FeatureMissing),
    ] {
        let body = json!([{ "feature": feature, "amount": 1 }]);
        let answer = consumed(&bed.call(uses(&token, &body)).await);
        assert_eq!(
            (answer.code, answer.feature.as_deref()),
            (code, Some(feature))
        );
    }
    for bad in [
        json!([]),
        json!([{ "feature": "exports", "amount": 0 }]),
        json!([{ "feature": "exports", "amount": -1 }]),
        json!([{ "feature": "", "amount": 1 }]),
        json!([{ "feature": "exports", "amount": 1, "id": "" }]),
        json!([{ "feature": "exports", "amount": 9_007_199_254_740_992_u64 }]),
        json!(vec![json!({ "feature": "exports", "amount": 1 }); 101]),
    ] {
        let reply = bed.call(uses(&token, &bad)).await;
        assert_eq!(reply.refused(400), "BAD_REQUEST", "{bad}");
    }
    let hundred = json!(vec![json!({ "feature": "exports", "amount": 1 }); 100]);
    let answer = consumed(&bed.call(uses(&token, &hundred)).await);
    assert_eq!(answer.code, Code::QuotaExceeded);
    // The middle of the signature: the last character has bits that don't count.
    let (signed, signature) = token.split_at(token.len() - 40);
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{signed}{first}{}", &signature[1..]);
    let answer = consumed(&bed.call(uses(&forged, &exports(1))).await);
    assert!(!answer.valid && answer.quotas.is_empty());
    let path = format!("{}/suspend", one(&license));
    bed.post(&shop.owner, &path, &json!({})).await.json(200);
    let answer = consumed(&bed.call(uses(&token, &exports(1))).await);
    assert_eq!(answer.code, Code::Suspended);
    assert_eq!(shop.usage(&license, "").await[0]["used"], 0);
    let unsigned = Call::post(USAGE, &json!({})).request();
    let (mut parts, body) = unsigned.into_parts();
    parts.headers.remove("authorization");
    let reply = bed.send(axum::http::Request::from_parts(parts, body)).await;
    assert_eq!(reply.refused(401), "UNAUTHORIZED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_at_once_never_take_more_than_there_is() {
    const CLIENTS: usize = 32;
    const EACH: usize = 8;
    let shop = Shop::open().await;
    let license = shop.metered(100, "month").await;
    let token = shop.token(&license).await;
    // Each request takes two features, named in either order.
    let client = |number: usize| {
        let (shop, token) = (&shop, &token);
        async move {
            let mut taken = (0, 0);
            for turn in 0..EACH {
                let mut body = vec![json!({ "feature": "exports", "amount": 1 + turn % 2 })];
                if turn == 0 {
                    body.push(json!({ "feature": "scans", "amount": 1 }));
                }
                if number % 2 == 1 {
                    body.reverse();
                }
                let call = uses(token, &json!(body)).once(&format!("{number}.{turn}"));
                let answer = consumed(&shop.bed.call(call).await);
                match answer.code {
                    Code::Valid => {
                        taken.0 += 1 + turn % 2;
                        taken.1 += usize::from(turn == 0);
                    }
                    Code::QuotaExceeded => {}
                    code => panic!("{code}"),
                }
            }
            taken
        }
    };
    let taken = join_all((0..CLIENTS).map(client)).await;
    let sum = taken
        .iter()
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert_eq!(sum.1, 5, "all of the scans, and no more");
    // The last two may not fit where one is left.
    assert!((99..=100).contains(&sum.0), "{sum:?}");
    let usage = shop.usage(&license, "").await;
    let used = |feature: &str| {
        let all = usage.as_array().unwrap();
        let found = all.iter().find(|one| one["feature"] == feature);
        found.unwrap()["used"].as_u64().unwrap()
    };
    assert_eq!((used("exports"), used("scans")), (sum.0 as u64, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_is_in_the_verdict_and_can_be_put_right() {
    let shop = Shop::open().await;
    let bed = &shop.bed;
    let license = shop.metered(10, "month").await;
    let token = shop.token(&license).await;
    consumed(&bed.call(uses(&token, &exports(4))).await);
    let verdict = shop.verdict(&license, &token).await;
    let quota = &verdict["quotas"]["exports"];
    assert_eq!(
        (&quota["limit"], &quota["used"], &quota["remaining"]),
        (&json!(10), &json!(4), &json!(6))
    );
    assert!(
        quota["period_ends_at"]
            .as_str()
            .unwrap()
            .ends_with("-01T00:00:00Z")
    );
    assert_eq!(verdict["quotas"]["scans"]["period_ends_at"], Value::Null);

    let usage = shop.usage(&license, "").await;
    assert_eq!(usage[0]["feature"], "exports");
    assert_eq!(
        (&usage[0]["period"], &usage[0]["remaining"]),
        (&json!("month"), &json!(6))
    );
    let then = shop.usage(&license, "?at=2020-02-29T12:00:00Z").await;
    assert_eq!(
        (&then[0]["used"], &then[0]["period_starts_at"]),
        (&json!(0), &json!("2020-02-01T00:00:00Z"))
    );

    let path = format!("{}/usage", one(&license));
    let correct = async |body: Value, key: &str| {
        let headers = [("idempotency-key", key)];
        bed.ask_with(&shop.owner, Method::POST, &path, Some(&body), &headers)
            .await
    };
    let given_back = json!({ "feature": "exports", "by": -3 });
    assert_eq!(correct(given_back.clone(), "k").await.json(200)["used"], 1);
    let again = correct(given_back, "k").await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.json(200)["used"], 1);
    assert_eq!(
        correct(json!({ "feature": "exports", "by": -9 }), "l")
            .await
            .json(200)["used"],
        0
    );
    let much = json!({ "feature": "exports", "used": 12 });
    let corrected = correct(much, "m").await.json(200);
    assert_eq!(
        (&corrected["used"], &corrected["remaining"]),
        (&json!(12), &json!(0))
    );
    let answer = consumed(&bed.call(uses(&token, &exports(1))).await);
    assert_eq!(answer.code, Code::QuotaExceeded);
    let past = json!({ "feature": "exports", "used": 7, "at": "2020-02-29T12:00:00Z" });
    correct(past, "n").await.json(200);
    assert_eq!(
        shop.usage(&license, "?at=2020-02-01T00:00:00Z").await[0]["used"],
        7
    );
    assert_eq!(shop.usage(&license, "").await[0]["used"], 12);
    // Neither changes nothing; both are added.
    let same = json!({ "feature": "exports" });
    assert_eq!(correct(same, "o").await.json(200)["used"], 12);
    let both = json!({ "feature": "exports", "used": 9_007_199_254_740_991_u64, "by": 1, "at": "2019-01-01T00:00:00Z" });
    let both = correct(both, "p").await.json(200);
    assert_eq!(both["used"], 9_007_199_254_740_991_u64);
    let both = json!({ "feature": "exports", "used": 5, "by": -5, "at": "2019-01-01T00:00:00Z" });
    assert_eq!(correct(both, "q").await.json(200)["used"], 0);
    for (bad, status) in [
        (json!({ "feature": "exports", "used": -1 }), 400),
        (json!({ "feature": "export.pdf", "used": 1 }), 409),
    ] {
        let reply = bed.post(&shop.owner, &path, &bad).await;
        assert_eq!(reply.status, status, "{bad}: {}", reply.text());
    }
    let rows = bed.database.admin(
        "SELECT before ->> 'used', after ->> 'used', details ->> 'feature' FROM licet.audit_events
         WHERE action = 'license.usage_corrected' ORDER BY seq",
    );
    let trail: Vec<_> = rows
        .iter()
        .map(|row| {
            row.iter()
                .map(|text| text.clone().unwrap())
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(
        trail,
        [
            ["4", "1", "exports"],
            ["1", "0", "exports"],
            ["0", "12", "exports"],
            ["0", "7", "exports"],
            ["0", "9007199254740991", "exports"],
            ["9007199254740991", "0", "exports"]
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_meant_as_a_quota_must_be_one() {
    let shop = Shop::open().await;
    for bad in [
        json!({ "quota": -1, "period": "day" }),
        json!({ "quota": 1 }),
        json!({ "quota": 1, "period": "week" }),
    ] {
        let body = json!({ "policy_id": shop.policy, "features": { "exports": bad } });
        let reply = shop.bed.post(&shop.owner, "/api/v1/licenses", &body).await;
        assert_eq!(reply.refused(400), "BAD_REQUEST", "{bad}");
        assert!(
            reply.problem().detail.contains("features.exports"),
            "{}",
            reply.text()
        );
        let body = json!({ "name": "metered", "features": { "exports": bad } });
        let reply = shop
            .bed
            .post(&shop.owner, "/api/v1/feature-sets", &body)
            .await;
        assert_eq!(reply.refused(400), "BAD_REQUEST", "{bad}");
    }
}
