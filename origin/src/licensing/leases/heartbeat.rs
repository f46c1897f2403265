//! Heartbeat: a lease goes on. By far the most frequent write, so it is one conditional statement,
//! sent along with what its token is made of: one round trip in all.

use std::sync::Arc;

use licet_shared::{
    api::LeaseAnswer,
    decision::{Code, LeaseToken},
    time::Timestamp,
};

use super::{granted, over, refused};
use crate::{
    db::{Error, Tenant, grants, leases},
    keys::{Keyring, Keyrings},
    licensing::{objection, token::confirm},
};

/// Makes a new token for the lease of a verified one, or says why not.
pub(crate) async fn heartbeat(
    tenant: &Tenant,
    keyrings: &Keyrings,
    token: &LeaseToken,
    mut keyring: Arc<Keyring>,
    now: Timestamp,
) -> Result<LeaseAnswer, Error> {
    let claims = token.claims();
    let (lease, license, activation) = (claims.lea, claims.sub, claims.act);
    loop {
        let version = keyring.version();
        let found = tenant.run_pipelined("heartbeat", |tx| {
            Box::pin(async move {
                let granted = grants::of_activation(tx, activation, license);
                let before = leases::find_own(tx, lease, activation);
                let renewed = leases::renew(tx, lease, license, activation, version);
                futures_util::future::try_join3(granted, before, renewed).await
            })
        });
        let (found, before, renewed) = found.await?;
        let (Some((grant, activation)), Some(before)) = (found, before) else {
            return Ok(LeaseAnswer::plain(Code::LeaseNotFound));
        };
        if grant.keys_version > version {
            let vouched = |keys: &_| token.still_vouched_for_by(keys);
            match confirm(tenant, keyrings, vouched, keyring, grant.keys_version, now).await? {
                Ok(current) => {
                    keyring = current;
                    continue;
                }
                Err(_) => return Ok(LeaseAnswer::plain(Code::LeaseInvalid)),
            }
        }
        // In the order of the decision's codes: the license first.
        let objection = objection(&grant, !activation.live, now).or_else(|| over(&before));
        return Ok(match (objection, renewed) {
            (Some(code), _) => refused(code, &grant, &activation),
            (None, Some(lease)) => granted(&lease, &activation, &keyring, now)?,
            // Something came between the statements, and is there to be seen by now.
            (None, None) => continue,
        });
    }
}
