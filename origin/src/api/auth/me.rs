//! `/api/v1/auth/me` and `/api/v1/auth/password`.

use licet_shared::{
    api::{Body, BodyError},
    id::{EventId, OrgId, UserId},
    problem::ProblemCode,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Password, check_password, person};
use crate::{
    accounts::{
        login::wrong,
        passwords,
        permissions::{Permission, Role},
    },
    api::{
        Call, Operation, Reply,
        operation::Verb::{Get, Post},
    },
    clock,
    db::{
        audit, organizations,
        sessions::{self, Why},
        users,
    },
    http::HandlerError,
    rejection::Rejection,
};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::own(Get, "/api/v1/auth/me", |call| Box::pin(me(call)))
            .named("read_me", "Who am I?")
            .gives::<Me>(),
        Operation::own(Post, "/api/v1/auth/password", |call| {
            Box::pin(change_password(call))
        })
        .named("change_password", "Change my password")
        .detail("Ends all other sessions.")
        .takes::<PasswordChange>()
        .or(ProblemCode::InvalidCredentials)
        .or(ProblemCode::PasswordRefused),
    ]
}

/// The person who asks.
#[derive(Serialize, ToSchema)]
struct Me {
    id: UserId,
    email: String,
    name: String,
    role: Role,
    /// What the role allows.
    permissions: Vec<Permission>,
    session_id: EventId,
    organization_id: OrgId,
    /// The organization's slug.
    organization: String,
}

async fn me(call: Call) -> Result<Reply, HandlerError> {
    let (id, session_id) = person(&call)?;
    let found = call.tenant().run_pipelined("read_me", |tx| {
        Box::pin(async move {
            futures_util::future::try_join(users::find(tx, id), organizations::profile(tx)).await
        })
    });
    let (user, profile) = found.await?;
    let user = user.ok_or_else(Rejection::not_found)?;
    let permissions = user.role.permissions().collect();
    Reply::ok(&Me {
        id,
        email: user.email,
        name: user.name,
        role: user.role,
        permissions,
        session_id,
        organization_id: call.tenant().org(),
        organization: profile.slug,
    })
}

/// The present password and the one to come.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordChange {
    #[schema(value_type = String, format = Password)]
    current_password: Password,
    #[schema(value_type = String, min_length = 8, max_length = 128, format = Password)]
    new_password: Password,
}

impl Body for PasswordChange {
    fn check(&self) -> Result<(), BodyError> {
        check_password("current_password", &self.current_password)?;
        check_password("new_password", &self.new_password)
    }
}

async fn change_password(call: Call) -> Result<Reply, HandlerError> {
    let (id, session) = person(&call)?;
    let body: PasswordChange = call.json()?;
    let found = call.tenant().run_pipelined("find_password", |tx| {
        Box::pin(async move {
            futures_util::future::try_join(users::find(tx, id), users::login(tx, id)).await
        })
    });
    let (Some(user), Some(login)) = found.await? else {
        return Err(wrong().into());
    };
    passwords::check(body.new_password.reveal(), &user.email)?;
    let accounts = call.accounts();
    // A stolen access token must not be a way to guess the password without limit.
    let attempt = accounts
        .logins
        .attempt(call.address(), &user.email, clock::unix_ms())?;
    let present = body.current_password.take();
    if !accounts
        .passwords
        .verify(present, Some(&login.password_hash))
        .await?
    {
        return Err(wrong().into());
    }
    attempt.succeeded();
    let password_hash = accounts.passwords.hash(body.new_password.take()).await?;
    let (login, password_hash) = (&login, &password_hash);
    call.tenant()
        .run_tx("change_password", |tx| {
            Box::pin(async {
                if !users::set_password(tx, login, password_hash, call.now).await? {
                    return Err(wrong().into());
                }
                let ended =
                    sessions::end_all(tx, id, Some(session), Why::Password, call.now).await?;
                let event = audit::Event::new(call.origin(), "user.password_changed");
                audit::write(tx, &id, &event.details(json!({ "sessions_ended": ended }))).await
            })
        })
        .await?;
    Ok(Reply::no_content())
}
