//! Releasing: a seat is given back by its holder, or taken back by its vendor. Doing so twice is the
//! same as doing so once.

use std::sync::Arc;

use licet_shared::{
    api::LeaseAnswer,
    decision::{Code, LeaseToken},
    id::LeaseId,
    time::Timestamp,
};
use serde_json::json;

use crate::{
    db::{
        Error, Tenant, Tx, audit,
        leases::{self, EndedWhy, LeaseRecord},
        organizations,
    },
    keys::{Keyring, Keyrings},
    licensing::{Origin, token::confirm},
};

enum Decided {
    GivenBack(Box<LeaseRecord>),
    NotFound,
    /// The organization's keys have changed: is the token still theirs?
    OtherKeys(u64),
}

/// Gives back the lease of a verified token.
///
/// A license that is suspended, revoked or ended is no obstacle: a seat can always be given back.
pub(crate) async fn release(
    tenant: &Tenant,
    keyrings: &Keyrings,
    token: &LeaseToken,
    mut keyring: Arc<Keyring>,
    origin: Origin<'_>,
    now: Timestamp,
) -> Result<LeaseAnswer, Error> {
    loop {
        let version = keyring.version();
        let decided = tenant
            .run_tx("release", |tx| {
                Box::pin(give_back(tx, token, version, origin))
            })
            .await?;
        return Ok(match decided {
            Decided::GivenBack(lease) => LeaseAnswer {
                detail: "The seat has been given back.".into(),
                license_id: Some(lease.license),
                activation_id: Some(lease.activation),
                ..LeaseAnswer::plain(Code::Valid)
            },
            Decided::NotFound => LeaseAnswer::plain(Code::LeaseNotFound),
            Decided::OtherKeys(version) => {
                let vouched = |keys: &_| token.still_vouched_for_by(keys);
                match confirm(tenant, keyrings, vouched, keyring, version, now).await? {
                    Ok(current) => {
                        keyring = current;
                        continue;
                    }
                    Err(_) => LeaseAnswer::plain(Code::LeaseInvalid),
                }
            }
        });
    }
}

async fn give_back(
    tx: &Tx<'_>,
    token: &LeaseToken,
    keys_version: u64,
    origin: Origin<'_>,
) -> Result<Decided, Error> {
    let claims = token.claims();
    let version = organizations::keys_version(tx);
    let found = leases::find_own(tx, claims.lea, claims.act);
    let (version, found) = futures_util::future::try_join(version, found).await?;
    let Some(found) = found else {
        return Ok(Decided::NotFound);
    };
    let version = version.ok_or(Error::Row("organizations"))?;
    if version > keys_version {
        return Ok(Decided::OtherKeys(version));
    }
    end(tx, found.id, EndedWhy::Released, origin).await?;
    Ok(Decided::GivenBack(Box::new(found)))
}

/// Has a lease take no seat any more. Does nothing where it takes none.
///
/// What its vendor takes back is written down, and what was borrowed: those are few, and somebody
/// may want to know why. All other leases come and go with each run of a program.
pub(crate) async fn end(
    tx: &Tx<'_>,
    id: LeaseId,
    why: EndedWhy,
    origin: Origin<'_>,
) -> Result<(), Error> {
    let Some(lease) = leases::end(tx, id, why).await? else {
        return Ok(());
    };
    let action = match why {
        EndedWhy::TakenBack => "lease.taken_back",
        _ if lease.borrowed => "lease.returned",
        _ => return Ok(()),
    };
    let event = audit::Event::new(origin, action).details(json!({
        "license": lease.license, "activation": lease.activation, "expires_at": lease.expires_at,
    }));
    audit::write(tx, &id, &event).await
}
