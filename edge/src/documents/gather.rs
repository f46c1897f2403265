//! All the documents behind one decision.

use std::rc::Rc;

use futures_util::future::join;
use licet_shared::{
    decision::{LicenseToken, OriginState, Source, State},
    documents::{FeatureSet, OrgKeys, StatusDocument},
};

use super::{
    Document, Found, Freshness, Held, Memory, Name, Obtained, obtain,
    renew::{Renewal, renew, renew_later, wait_for_another},
};
use crate::{clock, isolate::Scope};

/// The documents of a token's organization, and how they were come by.
#[derive(Debug)]
pub(crate) struct Documents {
    keys: Rc<OrgKeys>,
    status_list: Option<Rc<StatusDocument>>,
    features: Option<Rc<FeatureSet>>,
    source: Source,
    /// The origin should have been asked, and could not.
    pub(crate) origin_unreachable: bool,
    /// One of them is in no tier at all, and the origin can't be asked for it.
    pub(crate) incomplete: bool,
}

impl Documents {
    /// As the decision wants them.
    pub(crate) fn state(&self) -> State<'_> {
        State {
            keys: Some(&self.keys),
            status_list: self.status_list.as_deref(),
            features: self.features.as_deref(),
            source: self.source,
            origin: if self.origin_unreachable {
                OriginState::Unreachable
            } else {
                OriginState::Answering
            },
        }
    }

    /// A token seen before and its documents, when memory has all of them fresh: the way that
    /// nearly every request takes. Nothing is awaited, and nothing leaves the isolate.
    pub(crate) fn at_hand(
        scope: &Rc<Scope>,
        text: &str,
        max_staleness_s: Option<u32>,
    ) -> Option<(Rc<LicenseToken>, Self)> {
        let isolate = &scope.isolate;
        let token = isolate.tokens.borrow_mut().recall(text)?;
        let names = Names::of(&token);
        let (keys, list, features) = {
            let memory = &mut *isolate.documents.borrow_mut();
            let platform = &isolate.config.platform;
            let keys = usable::<OrgKeys>(memory, names.keys, platform, None, scope)?;
            if !token.still_vouched_for_by(&keys.document) {
                return None;
            }
            let signers = &keys.document;
            let list = usable::<StatusDocument>(
                memory,
                names.status_list,
                signers,
                max_staleness_s,
                scope,
            )?;
            let features = usable::<FeatureSet>(memory, names.features, signers, None, scope)?;
            (keys, list, features)
        };
        let ageing = Ageing::among(scope, &keys, &list, &features);
        if ageing.any() {
            ageing.renew_later(scope, names, &keys.document);
        }
        let documents = Self {
            keys: keys.document,
            status_list: Some(list.document),
            features: Some(features.document),
            source: Source::Memory,
            origin_unreachable: false,
            incomplete: false,
        };
        Some((token, documents))
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
        let (list, features) = join(
            obtain::<StatusDocument>(scope, names.status_list, signers, max_staleness_s),
            obtain::<FeatureSet>(scope, names.features, signers, None),
        )
        .await;
        let mut documents = Self {
            origin_unreachable: keys.origin_unreachable,
            keys: keys.document,
            status_list: None,
            features: None,
            source: Source::Memory,
            incomplete: false,
        };
        if let Some(found) = documents.take_in(list) {
            documents.source = found.source;
            documents.status_list = Some(found.document);
        }
        documents.features = documents.take_in(features).map(|found| found.document);
        documents
    }

    /// Asks the origin for the status list, to learn whether it can be reached at all.
    pub(crate) async fn ask_the_origin(&mut self, scope: &Rc<Scope>, token: &LicenseToken) {
        let name = Names::of(token).status_list;
        wait_for_another(scope, name).await;
        if scope.isolate.origin.answered_recently(clock::now_ms()) {
            return;
        }
        match renew::<StatusDocument>(scope, name, &self.keys, None).await {
            Renewal::Current(held) => {
                self.source = Source::Origin;
                self.status_list = Some(held.document);
            }
            Renewal::Unknown => {}
            Renewal::Failed => self.origin_unreachable = true,
        }
    }

    fn take_in<D>(&mut self, obtained: Obtained<D>) -> Option<Found<D>> {
        match obtained {
            Obtained::Found(found) => {
                self.origin_unreachable |= found.origin_unreachable;
                Some(found)
            }
            Obtained::Unknown => None,
            Obtained::Unreachable => {
                self.origin_unreachable = true;
                self.incomplete = true;
                None
            }
        }
    }
}

#[derive(Clone, Copy)]
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
}

fn usable<D: Document>(
    memory: &mut Memory,
    name: Name,
    signers: &D::Signers,
    max_age_s: Option<u32>,
    scope: &Scope,
) -> Option<Held<D>> {
    memory
        .look(name, signers, scope.now)
        .filter(|held| held.serves(max_age_s, scope.now))
}

/// Which of the documents are to be renewed after the response.
#[derive(Clone, Copy)]
struct Ageing {
    keys: bool,
    status_list: bool,
    features: bool,
}

impl Ageing {
    fn among(
        scope: &Scope,
        keys: &Held<OrgKeys>,
        list: &Held<StatusDocument>,
        features: &Held<FeatureSet>,
    ) -> Self {
        Self {
            keys: keys.freshness(scope.now) == Freshness::Ageing,
            status_list: list.freshness(scope.now) == Freshness::Ageing,
            features: features.freshness(scope.now) == Freshness::Ageing,
        }
    }

    const fn any(self) -> bool {
        self.keys || self.status_list || self.features
    }

    fn renew_later(self, scope: &Rc<Scope>, names: Names, signers: &Rc<OrgKeys>) {
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
