//! Leases of floating seats: shown beside a license token, and believed for their activation alone.

use super::{Code, LeaseSummary, LicenseToken, OrgToken, Presented, State, TokenRefused};
use crate::{
    documents::{LeaseClaims, OrgKeys, TOKEN_VERSION},
    id::OrgTag,
    jws::{Verified, VerifyingKey},
    time::Timestamp,
};

/// A lease whose signature has been checked, and the organization it belongs to.
#[derive(Clone, Debug)]
pub struct LeaseToken {
    token: Verified<LeaseClaims>,
    key: VerifyingKey,
    org: OrgTag,
}

/// A text that has the form of a lease. Nothing in it is to be believed yet.
pub type PresentedLease<'a> = Presented<'a, LeaseToken>;

impl OrgToken for LeaseToken {
    type Claims = LeaseClaims;

    fn of(
        token: Verified<LeaseClaims>,
        key: &VerifyingKey,
        keys: &OrgKeys,
    ) -> Result<Self, TokenRefused> {
        let claims = token.claims();
        if claims.ver != TOKEN_VERSION {
            return Err(Code::Malformed);
        }
        if claims.org != keys.org() || claims.iss != keys.issuer() {
            return Err(Code::UnknownKey);
        }
        Ok(Self {
            token,
            key: key.clone(),
            org: keys.tag(),
        })
    }
}

impl LeaseToken {
    /// Parses `text` and checks its signature against an organization's keys.
    ///
    /// # Errors
    /// [`Code::Malformed`], [`Code::UnknownKey`] or [`Code::SignatureInvalid`], in this order.
    pub fn verify(
        text: &str,
        keys: Option<&OrgKeys>,
        now: Timestamp,
    ) -> Result<Self, TokenRefused> {
        PresentedLease::parse(text, now)?.verify(keys.ok_or(Code::UnknownKey)?)
    }

    /// Whether `keys` still vouch for this lease, whose signature was checked at an earlier time.
    #[must_use]
    pub fn still_vouched_for_by(&self, keys: &OrgKeys) -> bool {
        keys.tag() == self.org
            && keys.org() == self.claims().org
            && keys.issuer() == self.claims().iss
            && keys.find(self.key.kid()) == Some(&self.key)
    }

    /// What the lease says.
    #[must_use]
    pub const fn claims(&self) -> &LeaseClaims {
        self.token.claims()
    }

    /// The organization's tag.
    #[must_use]
    pub const fn org(&self) -> OrgTag {
        self.org
    }

    /// When it was made, and until when it holds.
    #[must_use]
    pub const fn times(&self) -> crate::jws::Times {
        self.token.times()
    }

    /// What is said of it in answers.
    #[must_use]
    pub fn summary(&self) -> LeaseSummary {
        let times = self.times();
        LeaseSummary::of(
            self.claims().lea,
            times.issued_at,
            times.expires_at,
            self.claims().bor,
        )
    }

    fn is_of(&self, token: &LicenseToken) -> bool {
        let (lease, license) = (self.claims(), token.claims());
        (lease.org, lease.sub, lease.act) == (license.org, license.sub, license.act)
    }
}

/// The lease that a caller shows beside a license token.
#[derive(Clone, Copy, Debug, Default)]
pub enum ShownLease<'a> {
    /// None.
    #[default]
    None,
    /// As text, to be checked with the keys at hand.
    Text(&'a str),
    /// One whose signature has been checked.
    Verified(&'a LeaseToken),
    /// One that was found to be none.
    Refused,
}

/// What a shown lease comes to.
pub(super) enum Lease<'a> {
    /// The license has no floating seats: whatever is shown is not looked at.
    NotAsked,
    /// It can't be checked without keys, without which there is no yes anyway.
    Unchecked,
    Missing,
    Invalid,
    Verified(&'a LeaseToken),
    Read(Box<LeaseToken>),
}

impl<'a> Lease<'a> {
    pub(super) fn of(
        token: &LicenseToken,
        shown: ShownLease<'a>,
        state: &State<'_>,
        now: Timestamp,
    ) -> Self {
        if !token.effective(state.license).lease_required {
            return Self::NotAsked;
        }
        let keys = state.keys;
        let lease = match (shown, keys) {
            (ShownLease::None, _) => return Self::Missing,
            (ShownLease::Refused, _) => return Self::Invalid,
            (ShownLease::Verified(lease), _) => Self::Verified(lease),
            (ShownLease::Text(_), None) => return Self::Unchecked,
            (ShownLease::Text(text), Some(_)) => match LeaseToken::verify(text, keys, now) {
                Ok(lease) => Self::Read(Box::new(lease)),
                Err(_) => return Self::Invalid,
            },
        };
        match lease.token() {
            Some(found) if !found.is_of(token) => Self::Invalid,
            _ => lease,
        }
    }

    fn token(&self) -> Option<&LeaseToken> {
        match self {
            Self::Verified(lease) => Some(lease),
            Self::Read(lease) => Some(lease),
            Self::NotAsked | Self::Unchecked | Self::Missing | Self::Invalid => None,
        }
    }

    pub(super) const fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }

    /// No grace, whoever can be reached or not: once the lease has ended, its seat is another's.
    pub(super) fn objection(&self, now: Timestamp) -> Option<Code> {
        if matches!(self, Self::Invalid) {
            return Some(Code::LeaseInvalid);
        }
        let ended = now >= self.token()?.times().expires_at;
        ended.then_some(Code::LeaseExpired)
    }

    pub(super) fn summary(&self) -> Option<LeaseSummary> {
        self.token().map(LeaseToken::summary)
    }
}
