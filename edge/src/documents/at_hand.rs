//! The documents behind a decision from the isolate's memory alone.

use std::rc::Rc;

use licet_shared::{
    decision::{LicenseToken, OriginState, Source},
    documents::{FeatureSet, LicenseState, OrgKeys, StatusDocument},
    id::{FeatureSetId, OrgTag},
    time::Timestamp,
};

use super::{
    Document, Documents, Freshness, Held, Memory, Name,
    gather::Names,
    renew::{may_renew, renew_later},
};
use crate::{
    clock,
    isolate::{Isolate, Scope},
};

impl Documents {
    /// An organization's keys, when memory has them fresh.
    pub(crate) fn keys_at_hand(
        isolate: &Isolate,
        org: OrgTag,
        now: Timestamp,
    ) -> Option<Rc<OrgKeys>> {
        let memory = &mut *isolate.documents.borrow_mut();
        let platform = &isolate.config.platform;
        let held = usable::<OrgKeys>(memory, Name::keys(org), platform, None, now)?;
        Some(held.document)
    }

    /// A token's documents, when memory has all of them fresh: the way that nearly every request
    /// takes. Nothing is awaited, and nothing leaves the isolate. What is to be renewed after the
    /// answer is handed out beside them.
    pub(crate) fn at_hand(
        isolate: &Isolate,
        token: &LicenseToken,
        max_staleness_s: Option<u32>,
        now: Timestamp,
    ) -> Option<(Self, Ageing)> {
        let names = Names::of(token);
        let memory = &mut *isolate.documents.borrow_mut();
        let keys = usable::<OrgKeys>(memory, names.keys, &isolate.config.platform, None, now)?;
        if !token.still_vouched_for_by(&keys.document) {
            return None;
        }
        let (signers, uri) = (&keys.document, names.status_list);
        let list = usable::<StatusDocument>(memory, uri, signers, max_staleness_s, now)?;
        if names.given_back(isolate, token, list.asked_ms) {
            return None;
        }
        let (license, features) = terms(memory, token, names, signers, &list.document, now)?;
        let ageing = Ageing {
            names,
            set: features.document.id(),
            keys: keys.freshness(now) == Freshness::Ageing,
            status_list: list.freshness(now) == Freshness::Ageing,
            license: (license.as_ref())
                .is_some_and(|held| held.freshness(now) == Freshness::Ageing),
            features: features.freshness(now) == Freshness::Ageing,
        };
        let documents = Self {
            keys: keys.document,
            unchanged_at: list.unchanged_at(),
            status_list: Some(list.document),
            license: license.map(|held| held.document),
            features: Some(features.document),
            source: Source::Memory,
            origin: OriginState::Answering,
            incomplete: false,
            given_back: false,
        };
        Some((documents, ageing))
    }
}

/// The feature set, and the license's own document where the token alone won't do: because the
/// license has changed since, or to tell what is left of its quotas.
fn terms(
    memory: &mut Memory,
    token: &LicenseToken,
    names: Names,
    signers: &OrgKeys,
    list: &StatusDocument,
    now: Timestamp,
) -> Option<(Option<Held<LicenseState>>, Held<FeatureSet>)> {
    let mut license = None;
    if token.is_outdated(list, None) {
        let held = usable::<LicenseState>(memory, names.license, signers, None, now)?;
        if token.is_outdated(list, Some(&held.document)) {
            return None;
        }
        license = Some(held);
    }
    let newest = license.as_ref().map(|held| &*held.document);
    let effective = token.effective(newest);
    let name = Name::features(token.org(), effective.feature_set);
    let features = usable::<FeatureSet>(memory, name, signers, None, now)?;
    if license.is_none() && features.document.is_metered(effective.own_features) {
        let held = usable::<LicenseState>(memory, names.license, signers, None, now)?;
        // It may be newer than the list that told of no change.
        let set = token.effective(Some(&held.document)).feature_set;
        if set != features.document.id() {
            return None;
        }
        license = Some(held);
    }
    Some((license, features))
}

/// A document, if memory has it and it may be used as it is.
fn usable<D: Document>(
    memory: &mut Memory,
    name: Name,
    signers: &D::Signers,
    max_age_s: Option<u32>,
    now: Timestamp,
) -> Option<Held<D>> {
    memory
        .look(name, signers, now)
        .filter(|held| held.serves(max_age_s, now))
}

/// Which of the documents at hand are to be renewed after the response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ageing {
    names: Names,
    /// The feature set that counts.
    set: FeatureSetId,
    keys: bool,
    status_list: bool,
    license: bool,
    features: bool,
}

impl Ageing {
    /// Whether a renewal would be begun now.
    pub(crate) fn is_due(&self, isolate: &Isolate) -> bool {
        let due = |ageing: bool, name| ageing && may_renew(isolate, name, clock::now_ms());
        due(self.keys, self.names.keys)
            || due(self.status_list, self.names.status_list)
            || due(self.license, self.names.license)
            || due(self.features, self.features_name())
    }

    /// Begins the renewals.
    pub(crate) fn renew_later(&self, scope: &Rc<Scope>, documents: &Documents) {
        let (names, signers) = (self.names, &documents.keys);
        if self.keys {
            renew_later::<OrgKeys>(scope, names.keys, &scope.isolate.config.platform);
        }
        if self.status_list {
            renew_later::<StatusDocument>(scope, names.status_list, signers);
        }
        if self.license {
            renew_later::<LicenseState>(scope, names.license, signers);
        }
        if self.features {
            renew_later::<FeatureSet>(scope, self.features_name(), signers);
        }
    }

    fn features_name(&self) -> Name {
        Name::features(self.names.keys.org, self.set)
    }
}
