//! `GET /api/v1/orgs/{tag}/…`: an organization's public keys and status lists, for whoever wants
//! to verify its tokens without asking.

use std::rc::Rc;

use licet_shared::{
    decision::OriginState,
    documents::{Jwk, OrgKeys, StatusDocument},
    id::OrgTag,
    time::Timestamp,
};
use serde::Serialize;

use super::features::names;
use crate::{
    documents::{Found, Name, NamedBy, Obtained, keys::obtain_keys, newly_signed, obtain},
    http::{Answer, Fault, Incoming, answer},
    isolate::Scope,
};

/// Seconds for which others may keep a key set: as long as this edge itself does.
const JWKS_CACHE: &str = "public, max-age=60";

/// Numbers above this are not looked for: hundreds of millions of activations fit below it.
const HIGHEST_LIST: u32 = 4096;

/// A JWK Set (RFC 7517 §5).
#[derive(Serialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

/// `jwks.json`: the organization's public keys.
///
/// # Errors
/// 404 for an organization that the origin does not know, 503 when it can't be asked, 429 when too
/// many are being asked for that do not exist.
pub(crate) async fn jwks(
    scope: &Rc<Scope>,
    request: &Incoming,
    org: OrgTag,
) -> Result<Answer, Fault> {
    let keys = keys_of(scope, org).await?;
    holds(keys.times().expires_at, scope.now())?;
    let tag = format!("\"{}\"", keys.version());
    if request
        .header("if-none-match")
        .is_some_and(|known| names(&known, &tag))
    {
        return Ok(Answer::empty(304)
            .cache_control(JWKS_CACHE)
            .header("etag", tag));
    }
    let set = JwkSet {
        keys: keys.jwks().collect(),
    };
    Ok(Answer::of_json(200, answer::JWK_SET, &set)
        .cache_control(JWKS_CACHE)
        .header("etag", tag))
}

/// `statuslists/{n}`: the signed list as the origin made it.
///
/// # Errors
/// As [`jwks`], for a list.
pub(crate) async fn status_list(
    scope: &Rc<Scope>,
    request: &Incoming,
    org: OrgTag,
    number: u32,
) -> Result<Answer, Fault> {
    if number > HIGHEST_LIST {
        return Err(no_such_list());
    }
    let keys = keys_of(scope, org).await?;
    let name = Name::status_list(org, number);
    let list = match obtain::<StatusDocument>(scope, name, &keys, None, NamedBy::Stranger).await {
        Obtained::Found(found) => found,
        Obtained::Unknown => return Err(no_such_list()),
        Obtained::Missing => return Err(out_of_reach()),
        Obtained::Rationed => return Err(Fault::rationed()),
    };
    let left_s = |list: &Found<StatusDocument>| {
        let fresh_until = list
            .document
            .times()
            .issued_at
            .plus(list.document.ttl().seconds());
        fresh_until.since(scope.now())
    };
    let list = if left_s(&list) <= 0 && list.origin == OriginState::Answering {
        newly_signed(scope, name, &keys).await.unwrap_or(list)
    } else {
        list
    };
    let times = list.document.times();
    holds(times.expires_at, scope.now())?;
    let fresh_s = left_s(&list).max(0);
    let cache = format!("public, max-age={fresh_s}");
    let tag = format!("\"{}.{}\"", list.document.version(), times.issued_at.unix());
    if request
        .header("if-none-match")
        .is_some_and(|known| names(&known, &tag))
    {
        return Ok(Answer::empty(304).cache_control(cache).header("etag", tag));
    }
    let body = list.text.as_bytes().to_vec();
    Ok(Answer::new(200, answer::STATUS_LIST, body)
        .cache_control(cache)
        .header("etag", tag))
}

async fn keys_of(scope: &Rc<Scope>, org: OrgTag) -> Result<Rc<OrgKeys>, Fault> {
    match obtain_keys(scope, org).await {
        Obtained::Found(found) => Ok(found.document),
        Obtained::Unknown => Err(Fault::not_found("No organization has this tag.")),
        Obtained::Missing => Err(out_of_reach()),
        Obtained::Rationed => Err(Fault::rationed()),
    }
}

fn no_such_list() -> Fault {
    Fault::not_found("The organization has no status list of this number.")
}

fn out_of_reach() -> Fault {
    Fault::origin_unreachable("The document is not known here, and the origin did not answer.")
}

/// Others can't know of an outage: what has ended is not shown to them, grace or not.
fn holds(end: Timestamp, now: Timestamp) -> Result<(), Fault> {
    if now < end {
        Ok(())
    } else {
        Err(out_of_reach())
    }
}
