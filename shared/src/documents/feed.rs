//! The revocation feed: what tells an edge which of the documents that it holds have changed, and so
//! that all others have not.

use super::{
    Change, DocumentError, FeedClaims, PlatformKeys, keys::signed_by, not_from_the_future,
};
use crate::{
    jws::{SignedText, Times},
    time::Timestamp,
};

/// A verified `revocations+jwt`.
#[derive(Clone, Debug)]
pub struct Feed {
    claims: FeedClaims,
    times: Times,
}

impl Feed {
    /// Verifies a `revocations+jwt` as that of the installation `issuer`.
    ///
    /// # Errors
    /// [`DocumentError`] when any of it does not hold.
    pub fn verify(
        text: SignedText<'_>,
        issuer: &str,
        platform: &PlatformKeys,
        now: Timestamp,
    ) -> Result<Self, DocumentError> {
        let document = signed_by::<FeedClaims>(text, platform, now)?;
        let times = document.times();
        not_from_the_future(times, now)?;
        let claims = document.into_claims();
        if claims.iss != issuer {
            return Err(DocumentError::Subject);
        }
        if claims.since > claims.ep {
            return Err(DocumentError::Content);
        }
        Ok(Self { claims, times })
    }

    /// Higher where the database was put back to an earlier state: epochs begin anew.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.claims.r#gen
    }

    /// All changes after this epoch are named.
    #[must_use]
    pub const fn since(&self) -> u64 {
        self.claims.since
    }

    /// How far it has come: what to ask for next.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.claims.ep
    }

    /// The documents that have changed.
    #[must_use]
    pub fn changed(&self) -> &[Change] {
        &self.claims.changed
    }

    /// The time as of which it speaks: when it was made.
    #[must_use]
    pub const fn as_of(&self) -> Timestamp {
        self.times.issued_at
    }
}
