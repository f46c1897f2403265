//! All the documents behind one decision, from wherever they can be had.

use std::rc::Rc;

use futures_util::future::join;
use licet_shared::{
    decision::{Code, Effective, LicenseToken, OriginState, Source, State, Verdict},
    documents::{FeatureSet, LicenseState, OrgKeys, StatusDocument},
    id::FeatureSetId,
    time::Timestamp,
};

use super::{
    Found, Name, NamedBy, Obtained, obtain,
    renew::{Renewal, renew, wait_for_another},
};
use crate::{
    clock,
    isolate::{Isolate, Scope},
};

/// The documents of a token's organization, and how they were come by.
#[derive(Debug)]
pub(crate) struct Documents {
    pub(super) keys: Rc<OrgKeys>,
    pub(super) status_list: Option<Rc<StatusDocument>>,
    /// As of when the feed says that the list is the newest version.
    pub(super) unchanged_at: Option<Timestamp>,
    /// Where the token alone won't do.
    pub(super) license: Option<Rc<LicenseState>>,
    pub(super) features: Option<Rc<FeatureSet>>,
    pub(super) source: Source,
    /// How the origin did, where it should have been asked.
    pub(crate) origin: OriginState,
    /// One of them is in no tier at all, and the origin did not send it.
    pub(crate) incomplete: bool,
    /// The activation was given back here, which the status list may not show yet.
    pub(super) given_back: bool,
}

impl Documents {
    /// The organization's keys.
    pub(crate) fn keys(&self) -> &OrgKeys {
        &self.keys
    }

    /// The license's own document, where there had to be one.
    pub(crate) const fn license(&self) -> Option<&Rc<LicenseState>> {
        self.license.as_ref()
    }

    /// The feature set.
    pub(crate) const fn features(&self) -> Option<&Rc<FeatureSet>> {
        self.features.as_ref()
    }

    /// As the decision wants them.
    pub(crate) fn state(&self) -> State<'_> {
        State {
            keys: Some(&self.keys),
            status_list: self.status_list.as_deref(),
            status_unchanged_at: self.unchanged_at,
            license: self.license.as_deref(),
            features: self.features.as_deref(),
            source: self.source,
            origin: self.origin,
            // The runtime's clock is nobody's to set back.
            newest_evidence: None,
        }
    }

    /// The terms by which the token is judged.
    pub(crate) fn terms<'a>(&'a self, token: &'a LicenseToken) -> Effective<'a> {
        token.effective(self.license.as_deref())
    }

    /// What a verdict on these documents comes to, given what else is known here: that the
    /// activation was given back. Only what stands before that in the order of codes is said
    /// instead.
    pub(crate) fn conclude<'a>(&self, verdict: Verdict<'a>) -> Verdict<'a> {
        if !self.given_back || matches!(verdict.code, Code::Revoked | Code::Suspended) {
            return verdict;
        }
        Verdict {
            license: verdict.license,
            activation_id: verdict.activation_id,
            token: verdict.token,
            lease: verdict.lease,
            freshness: verdict.freshness,
            grace_remaining_s: verdict.grace_remaining_s.map(|_| 0),
            ..Verdict::refused(Code::Deactivated)
        }
    }

    /// A token's documents, from wherever they can be had.
    pub(crate) async fn gather(
        scope: &Rc<Scope>,
        token: &LicenseToken,
        keys: Found<OrgKeys>,
        max_staleness_s: Option<u32>,
    ) -> Self {
        let names = Names::of(token);
        let signers = &keys.document;
        let list = || {
            let (name, by) = (names.status_list, NamedBy::Token);
            obtain::<StatusDocument>(scope, name, signers, max_staleness_s, by)
        };
        let features = obtain::<FeatureSet>(scope, names.features, signers, None, NamedBy::Token);
        let (mut found_list, features) = join(list(), features).await;
        scope.read_clock();
        if grew_old(&found_list, max_staleness_s, scope.now()) {
            found_list = list().await;
        }
        let mut documents = Self {
            origin: keys.origin,
            keys: keys.document,
            status_list: None,
            unchanged_at: None,
            license: None,
            features: None,
            source: Source::Memory,
            incomplete: false,
            given_back: false,
        };
        let mut asked_ms = 0;
        if let Some(found) = documents.take_in(found_list, scope) {
            asked_ms = found.asked_ms;
            documents.source = found.source;
            documents.unchanged_at = found.unchanged_at;
            documents.status_list = Some(found.document);
        }
        documents.given_back = names.given_back(&scope.isolate, token, asked_ms);
        documents.take_in_terms(scope, token, names, features).await;
        documents
    }

    /// Whether newer keys have come with one of the documents, and the token's is not among them: it
    /// was withdrawn.
    pub(crate) fn withdrew_key_of(scope: &Scope, token: &LicenseToken) -> bool {
        let isolate = &scope.isolate;
        let (name, platform) = (Name::keys(token.org()), &isolate.config.platform);
        let mut memory = isolate.documents.borrow_mut();
        let newest = memory.look::<OrgKeys>(name, platform, scope.now());
        newest.is_some_and(|held| !token.still_vouched_for_by(&held.document))
    }

    /// Takes the feature set in, and the license's own document where the token alone won't do:
    /// because the license has changed since, or to tell what is left of its quotas.
    async fn take_in_terms(
        &mut self,
        scope: &Rc<Scope>,
        token: &LicenseToken,
        names: Names,
        features: Obtained<FeatureSet>,
    ) {
        let signers = Rc::clone(&self.keys);
        let list = self.status_list.clone();
        let outdated = |license: Option<&LicenseState>| {
            list.as_ref()
                .is_some_and(|list| token.is_outdated(list, license))
        };
        if outdated(None) {
            let up_to_date = |license: &LicenseState| !outdated(Some(license));
            let found = obtain_license(scope, names.license, &signers, up_to_date).await;
            self.take_in_license(found, scope);
        }
        let set = |documents: &Self| documents.terms(token).feature_set;
        let features = if set(self) == token.claims().fs {
            features
        } else {
            obtain_features(scope, token, set(self), &signers).await
        };
        let metered = |documents: &Self| match &features {
            Obtained::Found(found) => found
                .document
                .is_metered(documents.terms(token).own_features),
            _ => false,
        };
        let features = if self.license.is_none() && metered(self) {
            let found = obtain_license(scope, names.license, &signers, |_| true).await;
            self.take_in_license(found, scope);
            // It may be newer than the list that told of no change.
            match features {
                Obtained::Found(found) if found.document.id() != set(self) => {
                    obtain_features(scope, token, set(self), &signers).await
                }
                features => features,
            }
        } else {
            features
        };
        scope.read_clock();
        let features = self.take_in(features, scope);
        self.features = features.map(|found| found.document);
    }

    /// A document that can't be had leaves the token to its own word, which the verdict then says.
    fn take_in_license(&mut self, obtained: Obtained<LicenseState>, scope: &Scope) {
        match obtained {
            Obtained::Found(found) => {
                self.origin = self.origin.max(found.origin);
                self.license = Some(found.document);
            }
            Obtained::Unknown => {}
            Obtained::Missing | Obtained::Rationed => {
                self.origin = self.origin.max(scope.isolate.origin.state());
            }
        }
    }

    /// Asks the origin for the status list, to learn whether it can be reached at all; and when the
    /// list alone can't say so, for the keys.
    pub(crate) async fn ask_the_origin(&mut self, scope: &Rc<Scope>, token: &LicenseToken) {
        let name = Names::of(token).status_list;
        wait_for_another(scope, name).await;
        if scope.isolate.origin.answered_recently(clock::now_ms()) {
            return;
        }
        let health = &scope.isolate.origin;
        if let Renewal::Current(held) = renew(scope, name, &self.keys, None).await {
            self.source = Source::Origin;
            self.given_back &= Names::of(token).given_back(&scope.isolate, token, held.asked_ms);
            self.unchanged_at = held.unchanged_at();
            self.status_list = Some(held.document);
            return;
        }
        if !health.answered_recently(clock::now_ms()) {
            let (name, platform) = (Name::keys(token.org()), &scope.isolate.config.platform);
            renew::<OrgKeys>(scope, name, platform, None).await;
        }
        self.origin = self.origin.max(health.state());
    }

    fn take_in<D>(&mut self, obtained: Obtained<D>, scope: &Scope) -> Option<Found<D>> {
        match obtained {
            Obtained::Found(found) => {
                self.origin = self.origin.max(found.origin);
                Some(found)
            }
            Obtained::Unknown => None,
            Obtained::Missing | Obtained::Rationed => {
                self.origin = self.origin.max(scope.isolate.origin.state());
                self.incomplete = true;
                None
            }
        }
    }
}

/// A license's document; from the origin where the one at hand is not what is wanted.
async fn obtain_license(
    scope: &Rc<Scope>,
    name: Name,
    signers: &Rc<OrgKeys>,
    wanted: impl Fn(&LicenseState) -> bool,
) -> Obtained<LicenseState> {
    let by = NamedBy::Token;
    let found = obtain::<LicenseState>(scope, name, signers, None, by).await;
    let Obtained::Found(at_hand) = &found else {
        return found;
    };
    let asked = at_hand.source == Source::Origin || at_hand.origin != OriginState::Answering;
    if asked || wanted(&at_hand.document) {
        return found;
    }
    // Known to be old, so that neither it nor what the cache has is taken again.
    let before_ms = clock::now_ms().saturating_sub(1);
    scope
        .isolate
        .documents
        .borrow_mut()
        .note::<LicenseState>(name, |held| held.superseded_ms = Some(before_ms));
    obtain::<LicenseState>(scope, name, signers, None, by).await
}

async fn obtain_features(
    scope: &Rc<Scope>,
    token: &LicenseToken,
    set: FeatureSetId,
    signers: &Rc<OrgKeys>,
) -> Obtained<FeatureSet> {
    let name = Name::features(token.org(), set);
    obtain::<FeatureSet>(scope, name, signers, None, NamedBy::Token).await
}

/// What a token's documents are called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    pub(super) keys: Name,
    pub(super) status_list: Name,
    pub(super) license: Name,
    /// The set that the token itself names.
    features: Name,
}

impl Names {
    pub(super) fn of(token: &LicenseToken) -> Self {
        let org = token.org();
        Self {
            keys: Name::keys(org),
            status_list: Name::status_list(org, token.status_list_number()),
            license: Name::license(org, token.claims().sub),
            features: Name::features(org, token.claims().fs),
        }
    }

    /// Whether the token's activation was given back, and the list asked for at `asked_ms` may
    /// not show it.
    pub(super) fn given_back(self, isolate: &Isolate, token: &LicenseToken, asked_ms: u64) -> bool {
        let index = token.claims().status.status_list.idx;
        let mut notes = isolate.given_back.borrow_mut();
        notes.unknown_to(self.status_list, index, asked_ms)
    }
}

/// Whether a list that was fresh when it was found is so no more, for the features have taken
/// their time.
fn grew_old(list: &Obtained<StatusDocument>, max_age_s: Option<u32>, now: Timestamp) -> bool {
    let Obtained::Found(found) = list else {
        return false;
    };
    let at_hand = found.origin == OriginState::Answering && found.source != Source::Origin;
    let made = found.document.times().issued_at;
    let age = now.since(found.unchanged_at.map_or(made, |at| at.max(made)));
    let limit = found.document.ttl().seconds();
    at_hand && age > max_age_s.map_or(limit, |max| limit.min(i64::from(max)))
}
