//! What a license is by the newest signed word on it: its own document's where that is newer
//! than the token, the token's otherwise.

use super::{LicenseToken, State};
use crate::{
    documents::{AtExpiry, FeatureOverrides, LicenseClaims, LicenseState, StatusDocument, Tier},
    id::FeatureSetId,
    jws::Times,
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
    /// What that end means.
    pub at_expiry: AtExpiry,
    /// Seconds after a token was made from which a client does well to refresh it; none for half
    /// of its life.
    pub refresh_after_s: Option<u32>,
    /// Seconds after a token was made within which a client must refresh it; none where its own
    /// end is all there is.
    pub heartbeat_s: Option<u32>,
    /// Whether a lease of a floating seat is needed beside a token.
    pub lease_required: bool,
    /// Seconds past `exp` for which the token counts while the origin can't be reached.
    pub grace_s: u32,
    /// The feature set.
    pub feature_set: FeatureSetId,
    /// The license's own feature values.
    pub own_features: &'a FeatureOverrides,
}

impl Effective<'_> {
    /// The second from which on a token of these times has to be refreshed: its own end, or its
    /// heartbeat's if that is earlier.
    #[must_use]
    pub fn refresh_by(&self, token: Times) -> Timestamp {
        let heartbeat = self.heartbeat_s.map(|s| token.issued_at.plus(s.into()));
        heartbeat.map_or(token.expires_at, |end| end.min(token.expires_at))
    }

    /// The end of what grace gives a token of these times at the most.
    #[must_use]
    pub fn grace_end(&self, token: Times) -> Timestamp {
        self.refresh_by(token).plus(self.grace_s.into())
    }

    /// The time from which a client does well to refresh a token of these times.
    #[must_use]
    pub fn refresh_after(&self, token: Times) -> Timestamp {
        let span = self.refresh_by(token).since(token.issued_at);
        let after = self
            .refresh_after_s
            .map_or(span / 2, |s| i64::from(s).min(span));
        token.issued_at.plus(after)
    }
}

impl<'a> From<&'a LicenseClaims> for Effective<'a> {
    /// What a token says by itself.
    fn from(claims: &'a LicenseClaims) -> Self {
        Self {
            revision: claims.rev.map(|revision| revision.license),
            tier: claims.tier,
            products: &claims.aud,
            expires_at: claims.lexp.map(Timestamp::from_unix),
            at_expiry: claims.xb,
            refresh_after_s: claims.ra,
            heartbeat_s: claims.hb,
            lease_required: claims.lr,
            grace_s: claims.grace,
            feature_set: claims.fs,
            own_features: &claims.fo,
        }
    }
}

impl<'a> From<&'a LicenseState> for Effective<'a> {
    /// What a license's document says.
    fn from(document: &'a LicenseState) -> Self {
        let claims = document.claims();
        Self {
            revision: Some(claims.ver),
            tier: claims.tier,
            products: &claims.products,
            expires_at: claims.lexp.map(Timestamp::from_unix),
            at_expiry: claims.xb,
            refresh_after_s: claims.ra,
            heartbeat_s: claims.hb,
            lease_required: claims.lr,
            grace_s: claims.grace,
            feature_set: claims.fs,
            own_features: &claims.fo,
        }
    }
}

impl LicenseToken {
    /// The terms that count, given the license's document if there is one.
    #[must_use]
    pub fn effective<'a>(&'a self, document: Option<&'a LicenseState>) -> Effective<'a> {
        let claims = self.claims();
        let newer = document.filter(|document| {
            document.id() == claims.sub && document.version() > self.license_version()
        });
        newer.map_or_else(|| claims.into(), Effective::from)
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
