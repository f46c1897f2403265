//! Who calls: a person or a machine, known, and with their organization's part of the database.

use axum::http::HeaderMap;
use licet_shared::{
    id::{ApiKeyId, EventId, OrgId, UserId},
    time::Timestamp,
};
use sha2::{Digest, Sha256};

use super::{
    access::{self, Refused},
    credentials::Visitor,
    permissions::{Permission, Role},
    secrets::{OrgSecret, SecretKind},
};
use crate::{
    db::{Database, Error, Tenant, api_keys, organizations::Plan, sealed::Authenticated, sessions},
    keys::Keyrings,
};

/// Somebody who is known.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    pub(crate) actor: Actor,
    pub(crate) plan: Plan,
    tenant: Tenant,
}

impl Authenticated for Principal {}

/// What kind of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    /// With an access token.
    Person {
        user: UserId,
        session: EventId,
        role: Role,
    },
    /// With an API key.
    Machine {
        key: ApiKeyId,
        scopes: Vec<Permission>,
    },
}

impl Actor {
    /// Whether role or scopes allow it.
    pub(crate) fn may(&self, permission: Permission) -> bool {
        match self {
            Self::Person { role, .. } => role.may(permission),
            Self::Machine { scopes, .. } => scopes.contains(&permission),
        }
    }

    /// As the audit trail names them.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Person { user, .. } => user.to_string(),
            Self::Machine { key, .. } => key.to_string(),
        }
    }
}

impl Principal {
    pub(crate) const fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    pub(crate) const fn org(&self) -> OrgId {
        self.tenant.org()
    }
}

/// Somebody who has said who they are and is about to be checked. Gets to the tenant for the
/// check alone, and is made nowhere but in this directory.
pub(super) struct Claimant;

impl Authenticated for Claimant {}

/// Finds out who calls. None for anybody who is not known, whatever the reason.
///
/// Asks the database each time: a session that has ended, a person who was disabled or given
/// another role, and a revoked key count from the next call on.
///
/// # Errors
/// [`Error`], also when too much was refused that came from the visitor's address.
pub(crate) async fn authenticate(
    database: &Database,
    keyrings: &Keyrings,
    visitor: Visitor<'_>,
    bearer: &str,
    now: Timestamp,
) -> Result<Option<Principal>, Error> {
    if bearer.starts_with(SecretKind::ApiKey.prefix()) {
        return match OrgSecret::parse(SecretKind::ApiKey, bearer) {
            Some(key) => machine(database, &visitor, &key, now).await,
            None => Ok(visitor.made_up().map(|()| None)?),
        };
    }
    let claims = access::verify(keyrings, bearer, now);
    if claims == Err(Refused::MadeUp) {
        return Ok(visitor.made_up().map(|()| None)?);
    }
    let fingerprint = Sha256::digest(bearer.as_bytes()).into();
    visitor.check_ours(&fingerprint)?;
    let Ok(claims) = claims else {
        visitor.outworn(fingerprint);
        return Ok(None);
    };
    let tenant = database.tenant_to_be(&Claimant, claims.org);
    let found = person(tenant, claims.sub, claims.sid, now).await?;
    if found.is_none() {
        visitor.outworn(fingerprint);
    }
    Ok(found)
}

async fn person(
    tenant: Tenant,
    user: UserId,
    session: EventId,
    now: Timestamp,
) -> Result<Option<Principal>, Error> {
    let live = tenant
        .run_pipelined("authenticate_person", |tx| {
            Box::pin(sessions::live(tx, session, user, now))
        })
        .await?;
    let Some((role, plan)) = live else {
        return Ok(None);
    };
    Ok(Some(Principal {
        actor: Actor::Person {
            user,
            session,
            role,
        },
        plan,
        tenant,
    }))
}

async fn machine(
    database: &Database,
    visitor: &Visitor<'_>,
    key: &OrgSecret,
    now: Timestamp,
) -> Result<Option<Principal>, Error> {
    let look_up = visitor.look_up(key.hash())?;
    let found = find_machine(database, key, now).await;
    match &found {
        Ok(Some(_)) => look_up.found(),
        Ok(None) => look_up.refused(),
        Err(_) => look_up.give_back(),
    }
    found
}

async fn find_machine(
    database: &Database,
    key: &OrgSecret,
    now: Timestamp,
) -> Result<Option<Principal>, Error> {
    let Some(tenant) = database.tenant_by_tag(&Claimant, key.tag()).await? else {
        return Ok(None);
    };
    let hash = key.hash();
    let live = tenant
        .run_pipelined("authenticate_machine", |tx| {
            Box::pin(api_keys::live(tx, hash, now))
        })
        .await?;
    let Some(live) = live else {
        return Ok(None);
    };
    let api_keys::LiveKey {
        id: key,
        scopes,
        plan,
        use_is_news,
    } = live;
    if use_is_news {
        tenant
            .run_pipelined("note_key_use", |tx| {
                Box::pin(api_keys::note_use(tx, key, now))
            })
            .await?;
    }
    Ok(Some(Principal {
        actor: Actor::Machine { key, scopes },
        plan,
        tenant,
    }))
}

/// The bearer token of a request; none where there is none, or more than one.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(axum::http::header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then_some(token)
}
