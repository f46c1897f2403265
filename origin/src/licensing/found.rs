//! Founding an organization.

use licet_shared::id::OrgTag;

use super::Origin;
use crate::{
    db::{
        Error, Tx, audit, organizations,
        signing_keys::{self, KeyState, NewKey},
        status_lists,
    },
    keys::{Kid, Vault},
};

/// What an organization begins with.
pub(crate) struct Founding<'a> {
    pub(crate) slug: &'a str,
    pub(crate) name: &'a str,
    pub(crate) tag: OrgTag,
}

/// Makes the transaction's organization with its first signing key and status list; false when
/// slug or tag are taken.
pub(crate) async fn found(
    tx: &Tx<'_>,
    vault: &Vault,
    founding: &Founding<'_>,
    origin: Origin<'_>,
) -> Result<bool, Error> {
    let Founding { slug, name, tag } = *founding;
    if !organizations::insert(tx, slug, tag, name).await? {
        return Ok(false);
    }
    let kid = Kid { tag, number: 1 };
    let made = vault.make(tx.org_id(), kid)?;
    let key = NewKey {
        number: kid.number,
        public: &made.public,
        private: &made.private,
    };
    signing_keys::insert(tx, &key, KeyState::Active).await?;
    status_lists::begin(tx, 0).await?;
    audit::write(
        tx,
        &tx.org_id(),
        &audit::Event::new(origin, "organization.created"),
    )
    .await?;
    Ok(true)
}
