//! The kinds of tokens: what each says, and the verified documents made from those that
//! edges keep.

mod claims;
mod features;
mod feed;
mod keys;
mod license;
mod overrides;
mod quota;
mod status;

pub use claims::{
    AccessClaims, AtExpiry, BoundComponents, Change, EdgeClaims, FeaturesClaims, FeedClaims, Jwk,
    KeysClaims, LeaseClaims, LicenseClaims, LicenseStateClaims, Revision, Status, StatusListClaims,
    StatusReference, TOKEN_VERSION, Tier, Ttl, Used,
};
pub use features::FeatureSet;
pub use feed::Feed;
pub use keys::{OrgKeys, PlatformKeys};
pub use license::LicenseState;
pub use overrides::{FeatureOverrides, MAX_OVERRIDES, MAX_OVERRIDES_BYTES};
pub use quota::{Period, Quota, QuotaState};
pub use status::StatusDocument;

use std::fmt;

use crate::{
    jws::{ParseError, Times},
    time::{CLOCK_SKEW_S, Timestamp},
};

/// Why a document from a cache or from the origin is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DocumentError {
    /// Not a token of the expected kind.
    Parse(ParseError),
    /// Signed by a key that is not known here, or belongs to somebody else.
    UnknownKey,
    /// The signature does not fit.
    Signature,
    /// It is another organization's, or about something else than was asked for.
    Subject,
    /// It claims to have been made in the future.
    FromTheFuture,
    /// What it carries can't be read: a broken list, a weak key.
    Content,
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parse(error) => write!(f, "not a document: {error}"),
            Self::UnknownKey => f.write_str("signed by an unknown key"),
            Self::Signature => f.write_str("the signature does not fit"),
            Self::Subject => f.write_str("it is about something else"),
            Self::FromTheFuture => f.write_str("it was made in the future"),
            Self::Content => f.write_str("its content can't be read"),
        }
    }
}

impl std::error::Error for DocumentError {}

/// Refuses a document that an honest clock can't have made yet: it would shut out all that come
/// before it (the fast-forward attack of TUF §1.5.2).
fn not_from_the_future(times: Times, now: Timestamp) -> Result<(), DocumentError> {
    if times.issued_at > now.plus(CLOCK_SKEW_S) {
        Err(DocumentError::FromTheFuture)
    } else {
        Ok(())
    }
}
