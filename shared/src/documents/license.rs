//! Licenses as documents: what a license is now, for tokens that were made before it changed.

use super::{DocumentError, LicenseStateClaims, OrgKeys, Quota, QuotaState, Ttl};
use crate::{
    id::LicenseId,
    jws::{SignedText, Times},
    time::Timestamp,
};

/// A verified `license-state+jwt`.
#[derive(Clone, Debug)]
pub struct LicenseState {
    claims: LicenseStateClaims,
    times: Times,
}

impl LicenseState {
    /// Verifies a `license-state+jwt` as that of the license `id` of the organization whose keys
    /// are given.
    ///
    /// # Errors
    /// [`DocumentError`] when any of it does not hold.
    pub fn verify(
        text: SignedText<'_>,
        id: LicenseId,
        keys: &OrgKeys,
        now: Timestamp,
    ) -> Result<Self, DocumentError> {
        let document = keys.verify_document::<LicenseStateClaims>(text, now)?;
        let times = document.times();
        let claims = document.into_claims();
        if claims.org != keys.org() || claims.iss != keys.issuer() || claims.sub != id {
            return Err(DocumentError::Subject);
        }
        Ok(Self { claims, times })
    }

    /// Which license.
    #[must_use]
    pub const fn id(&self) -> LicenseId {
        self.claims.sub
    }

    /// Counted up with each change of what tokens say.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.claims.ver
    }

    /// How long what was used counts as fresh.
    #[must_use]
    pub const fn ttl(&self) -> Ttl {
        self.claims.ttl
    }

    /// When the document was made, and until when it holds.
    #[must_use]
    pub const fn times(&self) -> Times {
        self.times
    }

    /// Whether it was made after the last change that status list `number` of version `changed`
    /// and above tells of.
    #[must_use]
    pub fn covers(&self, number: u32, changed: u64) -> bool {
        let lists = &self.claims.lists;
        lists
            .iter()
            .any(|(list, version)| *list == number && *version >= changed)
    }

    /// What it says.
    #[must_use]
    pub const fn claims(&self) -> &LicenseStateClaims {
        &self.claims
    }

    /// How a quota stands in the period that `now` is in, as far as this document knows.
    #[must_use]
    pub fn quota(&self, feature: &str, quota: Quota, now: Timestamp) -> QuotaState {
        let start = quota.period.start(now).unix();
        let periods = self.claims.usage.get(feature).into_iter().flatten();
        let used = periods
            .filter(|used| used.period == quota.period && used.start == start)
            .map(|used| used.used)
            .max()
            .unwrap_or(0);
        QuotaState::new(quota, used, now, self.times.issued_at)
    }
}
