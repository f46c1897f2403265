//! Status lists as documents.

use super::{DocumentError, OrgKeys, StatusListClaims, Ttl};
use crate::{
    jws::{SignedText, Times},
    status_list::{Bits, StatusList},
    time::Timestamp,
};

/// A verified status list of one organization.
#[derive(Clone, Debug)]
pub struct StatusDocument {
    uri: String,
    version: u64,
    ttl: Ttl,
    changed: u64,
    epoch: u64,
    list: StatusList,
    times: Times,
}

impl StatusDocument {
    /// Verifies a `statuslist+jwt` as the list at `uri` of the organization whose keys are given.
    ///
    /// # Errors
    /// [`DocumentError`] when any of it does not hold.
    pub fn verify(
        text: SignedText<'_>,
        uri: &str,
        keys: &OrgKeys,
        now: Timestamp,
    ) -> Result<Self, DocumentError> {
        let document = keys.verify_document::<StatusListClaims>(text, now)?;
        let times = document.times();
        let claims = document.into_claims();
        if claims.org != keys.org() || claims.iss != keys.issuer() || claims.sub != uri {
            return Err(DocumentError::Subject);
        }
        let list = claims
            .status_list
            .decode()
            .map_err(|_| DocumentError::Content)?;
        Ok(Self {
            uri: claims.sub,
            version: claims.ver,
            ttl: claims.ttl,
            changed: claims.chg,
            epoch: claims.ep,
            list,
            times,
        })
    }

    /// What a license file says in the place of a list: that the status was good when it was made.
    /// The list is as old as the file and lacks its entry, so the file vouches for itself.
    pub(crate) fn of_file(uri: String, times: Times) -> Result<Self, DocumentError> {
        let list = StatusList::new(Bits::Four, 0).map_err(|_| DocumentError::Content)?;
        let life = times.expires_at.since(times.issued_at);
        Ok(Self {
            uri,
            version: 0,
            ttl: Ttl(u32::try_from(life).unwrap_or(u32::MAX)),
            changed: 0,
            epoch: 0,
            list,
            times,
        })
    }

    /// The list's name.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Counted up with each change.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// How long it counts as fresh.
    #[must_use]
    pub const fn ttl(&self) -> Ttl {
        self.ttl
    }

    /// The version in which an entry was last marked as changed; 0 where none ever was.
    #[must_use]
    pub const fn changed(&self) -> u64 {
        self.changed
    }

    /// How far the feed had come when it was read; 0 where that is not told.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// When the document was made, and until when it holds.
    #[must_use]
    pub const fn times(&self) -> Times {
        self.times
    }

    /// The entries.
    #[must_use]
    pub const fn list(&self) -> &StatusList {
        &self.list
    }
}
