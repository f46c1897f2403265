//! The handle through which everything of one organization is reached.

use std::fmt;

use licet_shared::id::{OrgId, OrgTag};

use super::{Database, Error};

pub(crate) mod sealed {
    /// Keeps [`super::Caller`] to those who have shown who they are.
    pub trait Authenticated {}
}

/// Someone who has shown who they are. Only they get a [`Tenant`], so a handler that forgets to
/// authenticate has no database either.
pub trait Caller: sealed::Authenticated {}

impl<T: sealed::Authenticated> Caller for T {}

/// One organization's part of the database. See [`Tenant::run_tx`].
///
/// There is none without an authenticated caller:
///
/// ```compile_fail,E0277
/// # async fn handler(database: licet_origin::db::Database, tag: licet_shared::id::OrgTag) {
/// struct Somebody;
/// let tenant = database.tenant_by_tag(&Somebody, tag).await;
/// # }
/// ```
///
/// and nobody outside of this crate is one:
///
/// ```compile_fail
/// struct Somebody;
/// impl licet_origin::db::Caller for Somebody {}
/// ```
#[derive(Clone)]
pub struct Tenant {
    pub(super) database: Database,
    org: OrgId,
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tenant({})", self.org)
    }
}

impl Tenant {
    /// Whose part it is.
    #[must_use]
    pub const fn org(&self) -> OrgId {
        self.org
    }
}

impl Database {
    /// The organization that a tag names.
    ///
    /// # Errors
    /// [`Error`] when the database can't say.
    pub async fn tenant_by_tag(
        &self,
        _caller: &impl Caller,
        tag: OrgTag,
    ) -> Result<Option<Tenant>, Error> {
        let org = self.org_by_tag(tag).await?;
        Ok(org.map(|org| Tenant {
            database: self.clone(),
            org,
        }))
    }

    /// The organization that a slug names.
    ///
    /// # Errors
    /// [`Error`] when the database can't say.
    pub async fn tenant_by_slug(
        &self,
        _caller: &impl Caller,
        slug: &str,
    ) -> Result<Option<Tenant>, Error> {
        let org = self.org_by_slug(slug).await?;
        Ok(org.map(|org| Tenant {
            database: self.clone(),
            org,
        }))
    }

    /// An organization that is about to be made.
    pub fn tenant_to_be(&self, _caller: &impl Caller, org: OrgId) -> Tenant {
        Tenant {
            database: self.clone(),
            org,
        }
    }
}
