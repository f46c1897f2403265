//! Founding an organization.

use licet_shared::id::OrgTag;

use super::Origin;
use crate::{
    db::{Error, Tx, audit, organizations, signing_keys, status_lists},
    keys::{MasterKey, new_org_key},
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
    master: &MasterKey,
    founding: &Founding<'_>,
    origin: Origin<'_>,
) -> Result<bool, Error> {
    let Founding { slug, name, tag } = *founding;
    if !organizations::insert(tx, slug, tag, name).await? {
        return Ok(false);
    }
    let (public, sealed) = new_org_key(master, tx.org_id(), tag)?;
    signing_keys::insert_first(tx, &public, &sealed).await?;
    status_lists::begin(tx, 0).await?;
    audit::write(
        tx,
        &tx.org_id(),
        &audit::Event::new(origin, "organization.created"),
    )
    .await?;
    Ok(true)
}
