//! How people come in: by founding an organization, or by accepting an invitation.

use licet_shared::{
    id::{OrgId, OrgTag, UserId},
    time::Timestamp,
};
use serde_json::json;

use super::{
    login::Tokens,
    permissions::Role,
    principal::Claimant,
    secrets::OrgSecret,
    sessions::{self, Session},
};
use crate::{
    db::{
        Database, Error, Tx, audit, invitations, organizations,
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
            if !found(tx, keyrings.master(), &founding, origin).await? {
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
