//! What a license is by the newest signed word on it: its own document's where that is newer
//! than the token, the token's otherwise.

use super::{LicenseToken, State};
use crate::{
    documents::{FeatureOverrides, LicenseState, StatusDocument, Tier},
    id::FeatureSetId,
    status_list::status,
    time::Timestamp,
};

/// The terms by which a token is judged. Newer ones count however old their document is by now:
/// what was narrowed never opens again because the origin is out of reach.
#[derive(Clone, Copy, Debug)]
pub struct Effective<'a> {
    /// The license's version; none for tokens from before there was such a thing.
    pub revision: Option<u64>,
    /// What was bought.
    pub tier: Tier,
    /// Codes of the products that may be used.
    pub products: &'a [String],
    /// The license's end.
    pub expires_at: Option<Timestamp>,
    /// Seconds past `exp` for which the token counts while the origin can't be reached.
    pub grace_s: u32,
    /// The feature set.
    pub feature_set: FeatureSetId,
    /// The license's own feature values.
    pub own_features: &'a FeatureOverrides,
}

impl LicenseToken {
    /// The terms that count, given the license's document if there is one.
    #[must_use]
    pub fn effective<'a>(&'a self, document: Option<&'a LicenseState>) -> Effective<'a> {
        let claims = self.claims();
        let newer = document.filter(|document| {
            document.id() == claims.sub && document.version() > self.license_version()
        });
        if let Some(newer) = newer {
            return Effective {
                revision: Some(newer.version()),
                tier: newer.tier(),
                products: newer.products(),
                expires_at: newer.expires_at(),
                grace_s: newer.grace_s(),
                feature_set: newer.feature_set(),
                own_features: newer.own_features(),
            };
        }
        Effective {
            revision: claims.rev.map(|revision| revision.license),
            tier: claims.tier,
            products: &claims.aud,
            expires_at: claims.lexp.map(Timestamp::from_unix),
            grace_s: claims.grace,
            feature_set: claims.fs,
            own_features: &claims.fo,
        }
    }

    fn license_version(&self) -> u64 {
        self.claims().rev.map_or(0, |revision| revision.license)
    }

    /// Whether the license may have changed since the token and, if one is given, its document
    /// were made: then a newer document is wanted.
    ///
    /// An entry that says 12 does so for all tokens of its activation, old and new. Which of them
    /// are new is told by counting: the list has the version in which it was last marked, token
    /// and document that in which they saw it.
    #[must_use]
    pub fn is_outdated(&self, list: &StatusDocument, document: Option<&LicenseState>) -> bool {
        let index = self.claims().status.status_list.idx as usize;
        if list.list().get(index) != Some(status::CHANGED) {
            return false;
        }
        let saw = self.claims().rev.map_or(0, |revision| revision.list);
        let covered = |document: &LicenseState| {
            document.id() == self.claims().sub
                && document.covers(self.status_list_number(), list.changed())
        };
        saw < list.changed() && !document.is_some_and(covered)
    }

    /// The time at which the origin last vouched for the terms that count.
    pub(super) fn vouched_at(&self, document: Option<&LicenseState>) -> Timestamp {
        let made = self.times().issued_at;
        match document {
            Some(newer) if newer.version() > self.license_version() => newer.times().issued_at,
            Some(same) if same.version() == self.license_version() => {
                made.max(same.times().issued_at)
            }
            _ => made,
        }
    }
}

impl State<'_> {
    /// Without what is not about this token and its terms.
    pub(super) fn about(self, token: &LicenseToken) -> Self {
        let license = self
            .license
            .filter(|license| license.id() == token.claims().sub);
        let set = token.effective(license).feature_set;
        Self {
            license,
            features: self.features.filter(|features| features.id() == set),
            ..self
        }
    }
}
