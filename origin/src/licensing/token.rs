//! Verifying license tokens and leases that come back.

use std::sync::Arc;

use licet_shared::{
    decision::{Code, OrgToken},
    documents::OrgKeys,
    time::Timestamp,
};

use crate::{
    db::{Tenant, organizations},
    fault::Fault,
    keys::{Keyring, Keyrings, ed25519},
};

/// Checks a token's form and signature, under keys that may be as old as they are remembered:
/// see [`confirm`]. The inner error is the code to answer.
pub(crate) async fn verify_token<T: OrgToken>(
    tenant: &Tenant,
    keyrings: &Keyrings,
    text: &str,
    now: Timestamp,
) -> Result<Result<(T, Arc<Keyring>), Code>, Fault> {
    let mut keyring = keyrings.get(tenant, now).await?;
    let mut verified = ed25519::verify_token(text, keyring.public(), now);
    // Another process may have changed the keys a moment ago. Whether somebody has costs one small
    // read, so that tokens made up with a `kid` cost no more than that.
    if matches!(verified, Err(Code::UnknownKey)) {
        let current = tenant
            .run_pipelined("keys_version", |tx| {
                Box::pin(organizations::keys_version(tx))
            })
            .await?;
        if let Some(current) = current.filter(|current| *current > keyring.version()) {
            keyring = keyrings.get_version(tenant, current, now).await?;
            verified = ed25519::verify_token(text, keyring.public(), now);
        }
    }
    Ok(verified.map(|token| (token, keyring)))
}

/// Checks whether keys still vouch for a verified token if the organization's have changed
/// meanwhile, and gives those that are current.
pub(super) async fn confirm(
    tenant: &Tenant,
    keyrings: &Keyrings,
    vouched: impl Fn(&OrgKeys) -> bool,
    keyring: Arc<Keyring>,
    keys_version: u64,
    now: Timestamp,
) -> Result<Result<Arc<Keyring>, Code>, Fault> {
    if keyring.version() >= keys_version {
        return Ok(Ok(keyring));
    }
    let keyring = keyrings.get_version(tenant, keys_version, now).await?;
    Ok(if vouched(keyring.public()) {
        Ok(keyring)
    } else {
        Err(Code::UnknownKey)
    })
}
