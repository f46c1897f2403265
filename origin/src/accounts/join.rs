//! How people come in: by founding an organization, or by accepting an invitation.

use licet_shared::{
    id::{OrgId, OrgTag, UserId},
    time::Timestamp,
};
use serde_json::json;

use super::{
    login::Tokens,
    passwords,
    permissions::{Permission, Role},
    principal::Claimant,
    secrets::OrgSecret,
    sessions::{self, Session},
};
use crate::{
    db::{
        Database, Error, Tx, api_keys, audit,
        invitations::{self, Invitation},
        organizations,
        users::{self, NewUser},
    },
    http::HandlerError,
    keys::Keyrings,
    licensing::{
        Origin,
        found::{Founding, found},
    },
    random::{self, RowId},
    rejection::Rejection,
};

/// Who joins. The password is hashed already.
pub(crate) struct Newcomer<'a> {
    pub(crate) email: &'a str,
    pub(crate) name: &'a str,
    pub(crate) password_hash: &'a str,
}

/// Has a person join the transaction's organization, and begins their first session.
pub(crate) async fn join(
    tx: &Tx<'_>,
    keyrings: &Keyrings,
    tag: OrgTag,
    newcomer: &Newcomer<'_>,
    role: Role,
    request_id: &str,
    now: Timestamp,
) -> Result<Session, Error> {
    let id = UserId::generate()?;
    let Newcomer {
        email,
        name,
        password_hash,
    } = *newcomer;
    if !users::insert(
        tx,
        &NewUser {
            id,
            email,
            name,
            role,
            password_hash,
        },
    )
    .await?
    {
        return Err(Rejection::conflict(
            "The organization knows this e-mail already. Log in instead.",
        )
        .into());
    }
    let session = sessions::begin(tx, keyrings.master(), tag, id, now).await?;
    let actor = id.to_string();
    let event = audit::Event::new(
        Origin {
            actor: &actor,
            request_id: Some(request_id),
        },
        "user.joined",
    )
    .after(&json!({ "id": id, "role": role }))
    .personal(id, json!({ "email": email, "name": name }));
    audit::write(tx, &id, &event).await?;
    Ok(session)
}

/// Founds an organization with its first key and status list, and its OWNER: all or nothing.
pub(crate) async fn sign_up(
    database: &Database,
    keyrings: &Keyrings,
    slug: &str,
    organization: &str,
    newcomer: &Newcomer<'_>,
    request_id: &str,
    now: Timestamp,
) -> Result<Tokens, HandlerError> {
    let tenant = database.tenant_to_be(&Claimant, OrgId::generate()?);
    let session = tenant.run_tx("sign_up", |tx| {
        Box::pin(async move {
            // Anew in each attempt: it may be the tag that was taken.
            let tag = OrgTag::new(random::bytes()?);
            let actor = tx.org_id().to_string();
            let origin = Origin {
                actor: &actor,
                request_id: Some(request_id),
            };
            let founding = Founding {
                slug,
                name: organization,
                tag,
            };
            if !found(tx, keyrings.vault(), &founding, origin).await? {
                return Err(Rejection::conflict(
                    "Another organization has this slug. Choose another.",
                )
                .into());
            }
            join(tx, keyrings, tag, newcomer, Role::Owner, request_id, now).await
        })
    });
    Ok(Tokens::of(keyrings, tenant.org(), session.await?, now)?)
}

/// Has the person join whom an invitation was made for, in its role.
pub(crate) async fn accept_invitation(
    database: &Database,
    keyrings: &Keyrings,
    token: &OrgSecret,
    password: &str,
    newcomer: Newcomer<'_>,
    request_id: &str,
    now: Timestamp,
) -> Result<Tokens, HandlerError> {
    let tenant = database.tenant_by_tag(&Claimant, token.tag()).await?;
    let tenant = tenant.ok_or_else(Rejection::not_found)?;
    let hash = token.hash();
    let Newcomer {
        name,
        password_hash,
        ..
    } = newcomer;
    let session = tenant.run_tx("accept_invitation", |tx| {
        Box::pin(async move {
            let profile = organizations::lock_profile(tx).await?;
            if profile.closed_at.is_some() {
                return Err(Rejection::not_found().into());
            }
            let invitation = invitations::lock_by_token(tx, &hash).await?;
            let invitation = invitation.filter(|invitation| invitation.is_open(now));
            let invitation = invitation.ok_or_else(Rejection::not_found)?;
            if !may_still_invite(tx, &invitation).await? {
                return Err(Rejection::not_found().into());
            }
            passwords::check(password, &invitation.email)?;
            users::check_quota(tx, &profile).await?;
            let newcomer = Newcomer {
                email: &invitation.email,
                name,
                password_hash,
            };
            invitations::accept(tx, invitation.id, now).await?;
            join(
                tx,
                keyrings,
                profile.tag,
                &newcomer,
                invitation.role,
                request_id,
                now,
            )
            .await
        })
    });
    Ok(Tokens::of(keyrings, tenant.org(), session.await?, now)?)
}

/// Whether whoever made an invitation could still make it: what a person prepared who has been
/// removed or demoted since, or somebody with a key that was revoked, must not bring them back.
async fn may_still_invite(tx: &Tx<'_>, invitation: &Invitation) -> Result<bool, Error> {
    if let Ok(id) = invitation.invited_by.parse() {
        let person = users::find(tx, id).await?;
        return Ok(person.is_some_and(|person| {
            person.disabled_at.is_none()
                && person.role >= invitation.role
                && person.role.may(Permission::UsersWrite)
        }));
    }
    let Ok(id) = invitation.invited_by.parse() else {
        return Ok(false);
    };
    let key = api_keys::find(tx, id).await?;
    Ok(key.is_some_and(|key| {
        key.revoked_at.is_none()
            && key.scopes.contains(&Permission::UsersWrite)
            && invitation
                .role
                .permissions()
                .all(|it| key.scopes.contains(&it))
    }))
}
