//! What edges say: by `shared` alone, from the documents that the origin gives them.

use licet_shared::{
    decision::{
        Code, Context, LicenseToken, OriginState, ShownLease, Source, State, decide_verified,
        fingerprint_hash,
    },
    documents::{FeatureSet, LicenseState, OrgKeys, StatusDocument, StatusReference},
    time::{CLOCK_SKEW_S, Timestamp},
};

use super::{Bed, Call, ISSUER, Seeded, now};

/// What an edge has at hand for a token, as the origin has just given it out.
pub struct Documents {
    keys: OrgKeys,
    list: StatusDocument,
    /// Fetched where the list says that the license has changed since the token was made.
    license: Option<LicenseState>,
    features: FeatureSet,
    token: LicenseToken,
    /// Tokens of these tests are bound to devices; which, only its hash tells.
    device: Option<String>,
}

impl Bed {
    pub async fn documents(&self, seeded: &Seeded, token: &str) -> Documents {
        let keys = self.keys(seeded).await;
        let token = LicenseToken::verify(token, Some(&keys), now()).unwrap();
        let tag = seeded.tag;
        let number = token.status_list_number();
        let list = Call::get(&format!("/edge/v1/orgs/{tag}/statuslists/{number}"));
        let uri = StatusReference::uri(ISSUER, tag, number);
        let list = self.call(list).await.text();
        let list = StatusDocument::verify((&list).into(), &uri, &keys, now()).unwrap();
        let license = if token.is_outdated(&list, None) {
            let id = token.claims().sub;
            let license = Call::get(&format!("/edge/v1/orgs/{tag}/licenses/{id}"));
            let license = self.call(license).await.text();
            Some(LicenseState::verify((&license).into(), id, &keys, now()).unwrap())
        } else {
            None
        };
        let set = token.effective(license.as_ref()).feature_set;
        let features = Call::get(&format!("/edge/v1/orgs/{tag}/feature-sets/{set}"));
        let features = self.call(features).await.text();
        let features = FeatureSet::verify((&features).into(), set, &keys, now()).unwrap();
        let hash = token.claims().fp.clone();
        let mut devices = (0..64).map(|n| format!("device {n}"));
        Documents {
            keys,
            list,
            license,
            features,
            token,
            device: devices.find(|device| hash == Some(fingerprint_hash(device))),
        }
    }

    /// What an edge says to a token and a lease now.
    pub async fn verdict(&self, seeded: &Seeded, token: &str, lease: Option<&str>) -> Code {
        let documents = self.documents(seeded, token).await;
        documents.decide(lease, OriginState::Answering, now())
    }
}

impl Documents {
    /// What is said at a time by who has heard no more than this.
    pub fn decide(&self, lease: Option<&str>, origin: OriginState, at: Timestamp) -> Code {
        let state = State {
            keys: Some(&self.keys),
            status_unchanged_at: None,
            status_list: Some(&self.list),
            license: self.license.as_ref(),
            features: Some(&self.features),
            source: Source::Origin,
            origin,
            newest_evidence: None,
        };
        let context = Context {
            product: &self.token.claims().aud[0],
            fingerprint: self.device.as_deref(),
            lease: lease.map_or(ShownLease::None, ShownLease::Text),
            ..Context::default()
        };
        decide_verified(&self.token, &context, &state, at).code
    }

    /// The end of their own lives.
    pub fn end(&self) -> Timestamp {
        let ends = [self.keys.times(), self.list.times(), self.features.times()];
        ends.map(|times| times.expires_at)
            .into_iter()
            .min()
            .unwrap()
    }

    /// From when on an edge that can ask the origin says nothing by these any more.
    pub fn stale_from(&self) -> Timestamp {
        let fresh_for = self.list.ttl().seconds() + CLOCK_SKEW_S;
        self.list.times().issued_at.plus(fresh_for + 1)
    }
}
