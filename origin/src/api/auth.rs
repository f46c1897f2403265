//! `/api/v1/auth`: signing up, logging in, and what a person does about themselves.

mod me;
mod sessions;

use licet_shared::{
    api::{Body, BodyError},
    id::{OrgId, UserId},
    problem::ProblemCode,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{OpenCall, Operation, Reply, fields, operation::Verb::Post};
use crate::{
    accounts::{
        join::{Newcomer, sign_up},
        login::{self, Credentials, Tokens},
        passwords,
    },
    clock,
    http::HandlerError,
    rejection::Rejection,
};

pub(super) fn operations() -> Vec<Operation> {
    let mut operations = vec![
        Operation::open(Post, "/api/v1/auth/signup", |call| Box::pin(signup(call)))
            .named("sign_up", "Found an organization")
            .detail("Makes the organization with its signing key, and its first person, an OWNER, who is logged in.")
            .takes::<SignUp>()
            .begins::<Session>()
            .or(ProblemCode::Conflict)
            .or(ProblemCode::PasswordRefused),
        Operation::open(Post, "/api/v1/auth/login", |call| Box::pin(log_in(call)))
            .named("log_in", "Log in")
            .detail("Without `organization`, into the one that has known the e-mail for longest.")
            .takes::<LogIn>()
            .gives::<Session>()
            .or(ProblemCode::InvalidCredentials),
        Operation::open(Post, "/api/v1/auth/refresh", |call| Box::pin(refresh(call)))
            .named("refresh", "Get new tokens")
            .detail("Spends the refresh token. One that was spent before ends the session, for somebody has stolen it; for 10 seconds it gives the same tokens again, should the answer have been lost.")
            .takes::<Refresh>()
            .gives::<Session>()
            .or(ProblemCode::Unauthorized),
    ];
    operations.extend(me::operations());
    operations.extend(sessions::operations());
    operations
}

/// A session's tokens.
#[derive(Serialize, ToSchema)]
pub(super) struct Session {
    /// For `Authorization: Bearer`, for an hour.
    access_token: String,
    expires_at: Timestamp,
    /// Gets the next tokens, once.
    refresh_token: String,
    refresh_expires_at: Timestamp,
    organization_id: OrgId,
    user_id: UserId,
}

impl Session {
    pub(super) fn of(tokens: &Tokens) -> Self {
        Self {
            access_token: tokens.access.text.clone(),
            expires_at: tokens.access.expires_at,
            refresh_token: tokens.session.token.reveal().into(),
            refresh_expires_at: tokens.session.expires_at,
            organization_id: tokens.org,
            user_id: tokens.session.user,
        }
    }
}

/// A password on its way to its hash. Shown nowhere.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(super) struct Password(Zeroizing<String>);

impl Password {
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    pub(super) fn take(&self) -> Zeroizing<String> {
        self.0.clone()
    }
}

/// Longer ones are refused before they are hashed, in logins too.
const PASSWORD_BYTES: usize = 512;

pub(super) fn check_password(field: &str, password: &Password) -> Result<(), BodyError> {
    if password.0.is_empty() || password.0.len() > PASSWORD_BYTES {
        Err(BodyError::field(field, "must have 1 to 512 bytes"))
    } else {
        Ok(())
    }
}

/// An e-mail address as it is stored: trimmed and in lower case. Its form is checked loosely:
/// whether it is one shows when a letter arrives.
pub(super) fn check_email(field: &str, email: &str) -> Result<(), BodyError> {
    let sound = email.len() <= 254
        && !email.chars().any(|c| c.is_whitespace() || c.is_control())
        && email.split_once('@').is_some_and(|(name, host)| {
            !name.is_empty() && !host.is_empty() && !host.contains('@')
        });
    if sound {
        Ok(())
    } else {
        Err(BodyError::field(field, "is no e-mail address"))
    }
}

pub(super) fn normal(email: &str) -> String {
    email.trim().to_lowercase()
}

/// An organization and its first person.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignUp {
    #[serde(deserialize_with = "fields::object")]
    organization: NewOrganization,
    #[schema(value_type = fields::Email, example = "ada@example.com")]
    email: String,
    #[schema(value_type = String, min_length = 8, max_length = 128, format = Password)]
    password: Password,
    #[schema(value_type = fields::Name, example = "Ada Lovelace")]
    name: String,
}

/// An organization to be founded.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewOrganization {
    #[schema(value_type = fields::Name, example = "Example Ltd")]
    name: String,
    /// Its name in logins; unique among all.
    #[schema(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", example = "example")]
    slug: String,
}

fn check_slug(field: &str, slug: &str) -> Result<(), BodyError> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let sound = (1..=63).contains(&slug.len())
        && slug.bytes().all(inner)
        && !slug.starts_with('-')
        && !slug.ends_with('-');
    if sound {
        Ok(())
    } else {
        Err(BodyError::field(
            field,
            "must be 1 to 63 of a-z, 0-9 and inner hyphens",
        ))
    }
}

impl Body for SignUp {
    fn check(&self) -> Result<(), BodyError> {
        fields::check_name("organization.name", &self.organization.name)?;
        check_slug("organization.slug", &self.organization.slug)?;
        check_email("email", &normal(&self.email))?;
        check_password("password", &self.password)?;
        fields::check_name("name", &self.name)
    }
}

async fn signup(call: OpenCall) -> Result<Reply, HandlerError> {
    let body: SignUp = call.json()?;
    call.accounts()
        .logins
        .newcomer(call.address(), clock::unix_ms())?;
    let email = normal(&body.email);
    passwords::check(body.password.reveal(), &email)?;
    let password_hash = call.accounts().passwords.hash(body.password.take()).await?;
    let newcomer = Newcomer {
        email: &email,
        name: &body.name,
        password_hash: &password_hash,
    };
    let NewOrganization { name, slug } = &body.organization;
    let (database, keyrings) = (call.database(), call.keyrings());
    let tokens = sign_up(
        database,
        keyrings,
        slug,
        name,
        &newcomer,
        call.request_id(),
        call.now,
    )
    .await?;
    Reply::created(&Session::of(&tokens))
}

/// Who logs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LogIn {
    #[schema(value_type = fields::Email)]
    email: String,
    #[schema(value_type = String, min_length = 1, max_length = 128, format = Password)]
    password: Password,
    /// The organization's slug.
    #[serde(default)]
    #[schema(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    organization: Option<String>,
}

impl Body for LogIn {
    fn check(&self) -> Result<(), BodyError> {
        check_email("email", &normal(&self.email))?;
        check_password("password", &self.password)?;
        self.organization
            .iter()
            .try_for_each(|slug| check_slug("organization", slug))
    }
}

async fn log_in(call: OpenCall) -> Result<Reply, HandlerError> {
    let body: LogIn = call.json()?;
    let email = normal(&body.email);
    let accounts = call.accounts();
    let attempt = accounts
        .logins
        .attempt(call.address(), &email, clock::unix_ms())?;
    let credentials = Credentials {
        email: &email,
        password: body.password.take(),
        organization: body.organization.as_deref(),
    };
    let (database, keyrings) = (call.database(), call.keyrings());
    let tokens = login::login(
        database,
        keyrings,
        &accounts.passwords,
        credentials,
        call.request_id(),
        call.now,
    )
    .await?;
    attempt.succeeded();
    Reply::ok(&Session::of(&tokens))
}

/// The refresh token to spend.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Refresh {
    #[schema(max_length = 256)]
    refresh_token: String,
}

impl Body for Refresh {
    fn check(&self) -> Result<(), BodyError> {
        Ok(())
    }
}

async fn refresh(call: OpenCall) -> Result<Reply, HandlerError> {
    let body: Refresh = call.json()?;
    let credentials = &call.accounts().credentials;
    let visitor = credentials.visitor(call.address(), clock::unix_ms());
    let (database, keyrings) = (call.database(), call.keyrings());
    let tokens = login::renew(
        database,
        keyrings,
        visitor,
        &body.refresh_token,
        call.request_id(),
        call.now,
    )
    .await?;
    Reply::ok(&Session::of(&tokens))
}

/// Only people have what this is about.
pub(super) fn person(
    call: &super::Call,
) -> Result<(UserId, licet_shared::id::EventId), HandlerError> {
    match call.actor() {
        crate::accounts::principal::Actor::Person { user, session, .. } => Ok((*user, *session)),
        crate::accounts::principal::Actor::Machine { .. } => Err(Rejection::not_found().into()),
    }
}
