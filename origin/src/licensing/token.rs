//! Verifying license tokens and leases that come back.

use std::sync::Arc;

use licet_shared::{
    decision::{Code, OrgToken},
    documents::OrgKeys,
    time::Timestamp,
};

use crate::{
    db::Tenant,
    fault::Fault,
    keys::{Keyring, Keyrings, ed25519},
};

/// A key set younger than this is not read again for an unknown `kid`, or tokens made up with
/// one would have us read it each time.
const SETTLED_S: i64 = 5;

/// Checks a token's form and signature, under keys that may be as old as they are remembered:
/// see [`confirm`]. The inner error is the code to answer.
pub(crate) async fn verify_token<T: OrgToken>(
    tenant: &Tenant,
    keyrings: &Keyrings,
    text: &str,
    now: Timestamp,
) -> Result<Result<(T, Arc<Keyring>), Code>, Fault> {
    let keyring = keyrings.get(tenant, now).await?;
    match ed25519::verify_token(text, keyring.public(), now) {
        Ok(token) => Ok(Ok((token, keyring))),
        Err(Code::UnknownKey) if now.since(keyring.document().issued_at()) > SETTLED_S => {
            let keyring = keyrings
                .get_version(tenant, keyring.version() + 1, now)
                .await?;
            let verified = ed25519::verify_token(text, keyring.public(), now);
            Ok(verified.map(|token| (token, keyring)))
        }
        Err(code) => Ok(Err(code)),
    }
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
