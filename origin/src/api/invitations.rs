//! `/api/v1/invitations`, and how one is accepted.

use licet_shared::{
    api::{Body, BodyError},
    id::InvitationId,
    problem::ProblemCode,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{
    Call, OpenCall, Operation, Reply,
    auth::{Password, Session, check_email, check_password, normal},
    fields,
    once::Creation,
    operation::Verb::{Delete, Get, Post},
    users::check_grant,
};
use crate::{
    accounts::{
        join::{Newcomer, accept_invitation},
        passwords,
        permissions::{
            Permission::{UsersRead, UsersWrite},
            Role,
        },
        principal::Actor,
        secrets::{OrgSecret, SecretKind},
    },
    clock,
    db::{
        Tx, Work, audit,
        invitations::{self, Invitation},
        organizations, users,
    },
    http::HandlerError,
    random::RowId,
    rejection::Rejection,
};

const PATH: &str = "/api/v1/invitations";
const LIFE_S: i64 = 7 * 86_400;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(Get, PATH, UsersRead, |call| Box::pin(list(call)))
            .named("list_invitations", "List invitations")
            .lists::<InvitationView>()
            .param::<bool>("closed", "Also those that were accepted, revoked or have ended."),
        Operation::new(Post, PATH, UsersWrite, |call| Box::pin(create(call)))
            .named("create_invitation", "Invite a person")
            .detail("The token is shown this once: hand it to the person. It is good for seven days, for as long as whoever made it may give the role, and takes the place of an earlier invitation to the same e-mail.")
            .takes::<NewInvitation>()
            .creates::<InvitationWithToken>()
            .or(ProblemCode::QuotaExceeded),
        Operation::new(Delete, "/api/v1/invitations/{id}", UsersWrite, |call| Box::pin(revoke(call)))
            .named("revoke_invitation", "Revoke an invitation")
            .about::<InvitationId>(),
        Operation::open(Post, "/api/v1/auth/accept-invitation", |call| Box::pin(accept(call)))
            .named("accept_invitation", "Accept an invitation")
            .detail("Makes the person, who is logged in.")
            .takes::<Acceptance>()
            .begins::<Session>()
            .or(ProblemCode::NotFound)
            .or(ProblemCode::Conflict)
            .or(ProblemCode::QuotaExceeded)
            .or(ProblemCode::PasswordRefused),
    ]
}

/// An invitation to join the organization.
#[derive(Serialize, ToSchema)]
#[schema(as = Invitation)]
struct InvitationView {
    id: InvitationId,
    email: String,
    role: Role,
    invited_by: String,
    created_at: Timestamp,
    expires_at: Timestamp,
    accepted_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

impl From<Invitation> for InvitationView {
    fn from(invitation: Invitation) -> Self {
        Self {
            id: invitation.id,
            email: invitation.email,
            role: invitation.role,
            invited_by: invitation.invited_by,
            created_at: invitation.created_at,
            expires_at: invitation.expires_at,
            accepted_at: invitation.accepted_at,
            revoked_at: invitation.revoked_at,
        }
    }
}

/// An invitation that was just made.
#[derive(Serialize, ToSchema)]
struct InvitationWithToken {
    #[serde(flatten)]
    #[schema(inline)]
    invitation: InvitationView,
    /// What the person accepts with; null when the request was sent again.
    token: Option<String>,
}

/// Whom to invite.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewInvitation {
    #[schema(value_type = fields::Email, example = "grace@example.com")]
    email: String,
    role: Role,
}

impl Body for NewInvitation {
    fn check(&self) -> Result<(), BodyError> {
        check_email("email", &normal(&self.email))
    }
}

async fn list(call: Call) -> Result<Reply, HandlerError> {
    let page = call.page()?;
    let closed = call.flag("closed")?.unwrap_or(false);
    let open_at = (!closed).then_some(call.now);
    let rows = call.tenant().run_pipelined("list_invitations", |tx| {
        Box::pin(invitations::list(tx, open_at, page.before, page.fetch()))
    });
    page.reply(
        rows.await?,
        |invitation| invitation.id,
        InvitationView::from,
    )
}

struct Create<'a> {
    call: &'a Call,
    email: String,
    role: Role,
}

impl Creation for Create<'_> {
    type Made = InvitationId;
    type Answer = InvitationWithToken;
    const NAME: &'static str = "create_invitation";

    fn make<'a>(&'a self, tx: &'a Tx<'_>) -> Work<'a, (InvitationId, InvitationWithToken)> {
        Box::pin(async move {
            // Its lock also has two invitations to one e-mail take turns.
            let profile = organizations::lock_profile(tx).await?;
            if users::is_member(tx, &self.email).await? {
                return Err(Rejection::conflict(
                    "A person with this e-mail belongs to the organization.",
                )
                .into());
            }
            users::check_quota(tx, &profile).await?;
            let token = OrgSecret::generate(SecretKind::Invitation, profile.tag)?;
            let invitation = Invitation {
                id: InvitationId::generate()?,
                email: self.email.clone(),
                role: self.role,
                invited_by: self.call.actor_name().into(),
                created_at: self.call.now,
                expires_at: self.call.now.plus(LIFE_S),
                accepted_at: None,
                revoked_at: None,
            };
            let id = invitation.id;
            invitations::insert(tx, &invitation, &token.hash()).await?;
            // Not whom: the e-mail stands in the invitation, from where it can be erased.
            let event = audit::Event::new(self.call.origin(), "invitation.created").after(
                &json!({ "id": id, "role": self.role, "expires_at": invitation.expires_at }),
            );
            audit::write(tx, &id, &event).await?;
            let token = Some(token.reveal().to_owned());
            Ok((
                id,
                InvitationWithToken {
                    invitation: invitation.into(),
                    token,
                },
            ))
        })
    }

    fn again<'a>(
        &'a self,
        tx: &'a Tx<'_>,
        id: InvitationId,
    ) -> Work<'a, Option<InvitationWithToken>> {
        Box::pin(async move {
            let found = invitations::find(tx, id).await?;
            Ok(found.map(|it| InvitationWithToken {
                invitation: it.into(),
                token: None,
            }))
        })
    }
}

async fn create(call: Call) -> Result<Reply, HandlerError> {
    let body: NewInvitation = call.json()?;
    let rank = match call.actor() {
        Actor::Person { role, .. } => *role,
        Actor::Machine { .. } => UsersWrite.least_role(),
    };
    check_grant(call.actor(), rank, body.role)?;
    let creation = Create {
        call: &call,
        email: normal(&body.email),
        role: body.role,
    };
    call.create(&creation, |made| Reply::created(&made)).await
}

async fn revoke(call: Call) -> Result<Reply, HandlerError> {
    let id: InvitationId = call.id()?;
    let call = &call;
    call.tenant()
        .run_tx("revoke_invitation", |tx| {
            Box::pin(async move {
                invitations::find(tx, id)
                    .await?
                    .ok_or_else(Rejection::not_found)?;
                if invitations::revoke(tx, id, call.now).await? {
                    let event = audit::Event::new(call.origin(), "invitation.revoked");
                    audit::write(tx, &id, &event).await?;
                }
                Ok(())
            })
        })
        .await?;
    Ok(Reply::no_content())
}

/// Who accepts.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Acceptance {
    #[schema(max_length = 256)]
    token: String,
    #[schema(value_type = fields::Name)]
    name: String,
    #[schema(value_type = String, min_length = 8, max_length = 128, format = Password)]
    password: Password,
}

impl Body for Acceptance {
    fn check(&self) -> Result<(), BodyError> {
        fields::check_name("name", &self.name)?;
        check_password("password", &self.password)
    }
}

async fn accept(call: OpenCall) -> Result<Reply, HandlerError> {
    let body: Acceptance = call.json()?;
    call.accounts()
        .logins
        .newcomer(call.address(), clock::unix_ms())?;
    let token = OrgSecret::parse(SecretKind::Invitation, &body.token);
    let token = token.ok_or_else(Rejection::not_found)?;
    passwords::check(body.password.reveal(), "")?;
    let password_hash = call.accounts().passwords.hash(body.password.take()).await?;
    // The e-mail is the invitation's.
    let newcomer = Newcomer {
        email: "",
        name: &body.name,
        password_hash: &password_hash,
    };
    let (database, keyrings) = (call.database(), call.keyrings());
    let tokens = accept_invitation(
        database,
        keyrings,
        &token,
        body.password.reveal(),
        newcomer,
        call.request_id(),
        call.now,
    )
    .await?;
    Reply::created(&Session::of(&tokens))
}
