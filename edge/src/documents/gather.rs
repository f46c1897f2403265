//! All the documents behind one decision.

use std::rc::Rc;

use futures_util::future::join;
use licet_shared::{
    decision::{Code, LicenseToken, OriginState, Source, State, Verdict},
    documents::{FeatureSet, OrgKeys, StatusDocument},
    time::Timestamp,
};

use super::{
    Document, Found, Freshness, Held, Memory, Name, NamedBy, Obtained, obtain,
    renew::{Renewal, may_renew, renew, renew_later, wait_for_another},
};
use crate::{
    clock,
    isolate::{Isolate, Scope},
};

/// The documents of a token's organization, and how they were come by.
#[derive(Debug)]
pub(crate) struct Documents {
    keys: Rc<OrgKeys>,
    status_list: Option<Rc<StatusDocument>>,
    features: Option<Rc<FeatureSet>>,
    source: Source,
    /// How the origin did, where it should have been asked.
    pub(crate) origin: OriginState,
    /// One of them is in no tier at all, and the origin did not send it.
    pub(crate) incomplete: bool,
    /// The activation was given back here, which the status list may not show yet.
    given_back: bool,
}

impl Documents {
    /// The organization's keys.
    pub(crate) fn keys(&self) -> &OrgKeys {
        &self.keys
    }

    /// As the decision wants them.
    pub(crate) fn state(&self) -> State<'_> {
        State {
            keys: Some(&self.keys),
            status_list: self.status_list.as_deref(),
            features: self.features.as_deref(),
            source: self.source,
            origin: self.origin,
            // The runtime's clock is nobody's to set back.
            newest_evidence: None,
        }
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

    /// A token seen before and its documents, when memory has all of them fresh: the way that
    /// nearly every request takes. Nothing is awaited, and nothing leaves the isolate. What is to
    /// be renewed after the answer is handed out beside them.
    pub(crate) fn at_hand(
        isolate: &Isolate,
        text: &str,
        max_staleness_s: Option<u32>,
        now: Timestamp,
    ) -> Option<(Rc<LicenseToken>, Self, Ageing)> {
        let token = isolate.tokens.borrow_mut().recall(text)?;
        let names = Names::of(&token);
        let (keys, list, features) = {
            let memory = &mut *isolate.documents.borrow_mut();
            let platform = &isolate.config.platform;
            let keys = usable::<OrgKeys>(memory, names.keys, platform, None, now)?;
            if !token.still_vouched_for_by(&keys.document) {
                return None;
            }
            let signers = &keys.document;
            let list = names.status_list;
            let list = usable::<StatusDocument>(memory, list, signers, max_staleness_s, now)?;
            let features = usable::<FeatureSet>(memory, names.features, signers, None, now)?;
            (keys, list, features)
        };
        if names.given_back(isolate, &token, list.asked_ms) {
            return None;
        }
        let ageing = Ageing {
            names,
            keys: keys.freshness(now) == Freshness::Ageing,
            status_list: list.freshness(now) == Freshness::Ageing,
            features: features.freshness(now) == Freshness::Ageing,
        };
        let documents = Self {
            keys: keys.document,
            status_list: Some(list.document),
            features: Some(features.document),
            source: Source::Memory,
            origin: OriginState::Answering,
            incomplete: false,
            given_back: false,
        };
        Some((token, documents, ageing))
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
            features: None,
            source: Source::Memory,
            incomplete: false,
            given_back: false,
        };
        let mut asked_ms = 0;
        if let Some(found) = documents.take_in(found_list, scope) {
            asked_ms = found.asked_ms;
            documents.source = found.source;
            documents.status_list = Some(found.document);
        }
        documents.given_back = names.given_back(&scope.isolate, token, asked_ms);
        let features = documents.take_in(features, scope);
        documents.features = features.map(|found| found.document);
        documents
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

#[derive(Clone, Copy, Debug)]
struct Names {
    keys: Name,
    status_list: Name,
    features: Name,
}

impl Names {
    fn of(token: &LicenseToken) -> Self {
        let org = token.org();
        Self {
            keys: Name::keys(org),
            status_list: Name::status_list(org, token.status_list_number()),
            features: Name::features(org, token.claims().fs),
        }
    }

    /// Whether the token's activation was given back, and the list asked for at `asked_ms` may
    /// not show it.
    fn given_back(self, isolate: &Isolate, token: &LicenseToken, asked_ms: u64) -> bool {
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
    let age = now.since(found.document.times().issued_at);
    let limit = found.document.ttl().seconds();
    at_hand && age > max_age_s.map_or(limit, |max| limit.min(i64::from(max)))
}

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
    keys: bool,
    status_list: bool,
    features: bool,
}

impl Ageing {
    /// Whether a renewal would be begun now.
    pub(crate) fn is_due(&self, isolate: &Isolate) -> bool {
        let due = |ageing: bool, name| ageing && may_renew(isolate, name, clock::now_ms());
        due(self.keys, self.names.keys)
            || due(self.status_list, self.names.status_list)
            || due(self.features, self.names.features)
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
        if self.features {
            renew_later::<FeatureSet>(scope, names.features, signers);
        }
    }
}
