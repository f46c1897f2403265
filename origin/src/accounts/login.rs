//! Logging in, and renewing and ending what a login began.

use licet_shared::{
    id::{EventId, OrgId, UserId},
    problem::ProblemCode,
    time::Timestamp,
};
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    access::{self, AccessToken},
    credentials::Visitor,
    passwords::PasswordPool,
    principal::Claimant,
    sessions::{self, RefreshToken, Renewal, Session},
};
use crate::{
    db::{Database, Error, Tenant, Tx, audit, organizations, sessions::Why, users},
    fault::Fault,
    http::HandlerError,
    keys::Keyrings,
    licensing::Origin,
    random::RowId,
    rejection::Rejection,
};

/// A session with its tokens, to be shown to whom it belongs.
pub(crate) struct Tokens {
    pub(crate) access: AccessToken,
    pub(crate) session: Session,
    pub(crate) org: OrgId,
}

impl Tokens {
    /// The tokens of a session that was begun or renewed just now.
    pub(crate) fn of(
        keyrings: &Keyrings,
        org: OrgId,
        session: Session,
        now: Timestamp,
    ) -> Result<Self, Fault> {
        let access = access::mint(
            keyrings,
            org,
            session.user,
            session.id,
            session.ends_at,
            now,
        )?;
        Ok(Self {
            access,
            session,
            org,
        })
    }
}

/// What a person logs in with. E-mail lower-cased and trimmed.
pub(crate) struct Credentials<'a> {
    pub(crate) email: &'a str,
    pub(crate) password: Zeroizing<String>,
    pub(crate) organization: Option<&'a str>,
}

pub(crate) fn wrong() -> Rejection {
    Rejection::new(
        ProblemCode::InvalidCredentials,
        "E-mail or password is wrong, or the organization does not know this e-mail.",
    )
}

/// Logs a person in. Whether the e-mail is unknown or the password wrong makes no difference: not
/// to the answer, and not to the work that is done for it.
pub(crate) async fn login(
    database: &Database,
    keyrings: &Keyrings,
    passwords: &PasswordPool,
    credentials: Credentials<'_>,
    request_id: &str,
    now: Timestamp,
) -> Result<Tokens, HandlerError> {
    let found = database
        .find_login(credentials.email, credentials.organization)
        .await?;
    let (org, user) = match found {
        Some(found) => found,
        // Nobody's: what follows finds nothing there.
        None => (OrgId::generate()?, UserId::generate()?),
    };
    let tenant = database.tenant_to_be(&Claimant, org);
    let login = tenant
        .run_pipelined("find_login", |tx| Box::pin(users::login(tx, user)))
        .await?;
    let stored = login.as_ref().map(|login| login.password_hash.as_str());
    let right = passwords.verify(credentials.password, stored).await?;
    let Some(login) = login.filter(|_| right) else {
        return Err(wrong().into());
    };

    let actor = user.to_string();
    let origin = Origin {
        actor: &actor,
        request_id: Some(request_id),
    };
    let master = keyrings.master();
    let session = tenant.run_tx("login", |tx| {
        let login = &login;
        Box::pin(async move {
            if !users::logged_in(tx, login, now).await? {
                return Err(wrong().into());
            }
            let tag = organizations::profile(tx).await?.tag;
            let session = sessions::begin(tx, master, tag, login.user, now).await?;
            let event = audit::Event::new(origin, "session.begun");
            audit::write(
                tx,
                &login.user,
                &event.details(json!({ "session": session.id })),
            )
            .await?;
            Ok(session)
        })
    });
    Ok(Tokens::of(keyrings, org, session.await?, now)?)
}

fn ended() -> Rejection {
    Rejection::new(
        ProblemCode::Unauthorized,
        "This refresh token is no longer good. Log in again.",
    )
}

/// The organization that a refresh token says it is of.
async fn tenant_of(
    database: &Database,
    visitor: &Visitor<'_>,
    token: &RefreshToken,
) -> Result<Option<Tenant>, Error> {
    // Without a look into the database the tag can't have been made up.
    if database.remembers(token.tag()) {
        return database.tenant_by_tag(&Claimant, token.tag()).await;
    }
    let look_up = visitor.look_up(token.fingerprint())?;
    let tenant = database.tenant_by_tag(&Claimant, token.tag()).await;
    match &tenant {
        Ok(None) => look_up.refused(),
        Ok(Some(_)) | Err(_) => look_up.give_back(),
    }
    tenant
}

/// Spends a refresh token for new tokens. One that was spent before ends its session.
pub(crate) async fn renew(
    database: &Database,
    keyrings: &Keyrings,
    visitor: Visitor<'_>,
    token: &str,
    request_id: &str,
    now: Timestamp,
) -> Result<Tokens, HandlerError> {
    let made_up = || match visitor.made_up() {
        Ok(()) => ended(),
        Err(too_many) => too_many,
    };
    let token = RefreshToken::parse(token).ok_or_else(made_up)?;
    let tenant = tenant_of(database, &visitor, &token).await?;
    let tenant = tenant.ok_or_else(ended)?;
    let master = keyrings.master();
    // Before the session's row is locked: what is made up is not worth that.
    if !token.is_ours(master, tenant.org()) {
        return Err(made_up().into());
    }
    let fingerprint = token.fingerprint();
    visitor.check_ours(&fingerprint)?;
    let renewal = tenant.run_tx("renew_session", |tx| {
        let token = &token;
        Box::pin(async move {
            let renewal = sessions::renew(tx, master, token, now).await?;
            if let Renewal::Reused { session, user } = &renewal {
                let actor = user.to_string();
                let origin = Origin {
                    actor: &actor,
                    request_id: Some(request_id),
                };
                let event = audit::Event::new(origin, "session.reused");
                audit::write(tx, user, &event.details(json!({ "session": session }))).await?;
            }
            Ok(renewal)
        })
    });
    match renewal.await? {
        Renewal::Renewed(session) => Ok(Tokens::of(keyrings, tenant.org(), session, now)?),
        Renewal::Refused | Renewal::Reused { .. } => {
            visitor.outworn(fingerprint);
            Err(ended().into())
        }
    }
}

/// Ends a session of the person's own, and writes it down; false when it was over.
pub(crate) async fn end_session(
    tx: &Tx<'_>,
    session: EventId,
    user: UserId,
    why: Why,
    origin: Origin<'_>,
    now: Timestamp,
) -> Result<bool, Error> {
    let ended = crate::db::sessions::end(tx, session, why, now).await?;
    if ended {
        let event = audit::Event::new(origin, "session.ended");
        audit::write(tx, &user, &event.details(json!({ "session": session }))).await?;
    }
    Ok(ended)
}
