//! `/api/v1/auth/sessions` and `/api/v1/auth/logout`: where a person is logged in.

use licet_shared::{id::EventId, time::Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::person;
use crate::{
    accounts::login::end_session,
    api::{
        Call, Operation, Reply,
        operation::Verb::{Delete, Get, Post},
    },
    db::sessions::{self, SessionView, Why},
    http::HandlerError,
    rejection::Rejection,
};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::own(Post, "/api/v1/auth/logout", |call| Box::pin(logout(call)))
            .named("log_out", "End this session"),
        Operation::own(Get, "/api/v1/auth/sessions", |call| Box::pin(list(call)))
            .named("list_sessions", "List where I am logged in")
            .lists::<OwnSession>(),
        Operation::own(Delete, "/api/v1/auth/sessions/{id}", |call| {
            Box::pin(end(call))
        })
        .named("end_session", "End one of my sessions")
        .about::<EventId>(),
    ]
}

/// A session of one's own.
#[derive(Serialize, ToSchema)]
struct OwnSession {
    id: EventId,
    /// Whether it is the one that asks.
    current: bool,
    created_at: Timestamp,
    /// When it last got new tokens.
    renewed_at: Timestamp,
    /// Its end, unless it gets new ones before.
    expires_at: Timestamp,
}

async fn list(call: Call) -> Result<Reply, HandlerError> {
    let (user, current) = person(&call)?;
    let page = call.page()?;
    let rows = call.tenant().run_pipelined("list_sessions", |tx| {
        Box::pin(sessions::of_user(
            tx,
            user,
            call.now,
            page.before,
            page.fetch(),
        ))
    });
    let show = |row: SessionView| OwnSession {
        id: row.id,
        current: row.id == current,
        created_at: row.created_at,
        renewed_at: row.renewed_at,
        expires_at: row.expires_at,
    };
    page.reply(rows.await?, |row| row.id, show)
}

async fn logout(call: Call) -> Result<Reply, HandlerError> {
    let (user, session) = person(&call)?;
    call.tenant()
        .run_tx("log_out", |tx| {
            Box::pin(end_session(
                tx,
                session,
                user,
                Why::Logout,
                call.origin(),
                call.now,
            ))
        })
        .await?;
    Ok(Reply::no_content())
}

async fn end(call: Call) -> Result<Reply, HandlerError> {
    let (user, _) = person(&call)?;
    let session: EventId = call.id()?;
    call.tenant()
        .run_tx("end_session", |tx| {
            Box::pin(async {
                // Another person's is as little there as none.
                if sessions::owner(tx, session).await? != Some(user) {
                    return Err(Rejection::not_found().into());
                }
                end_session(tx, session, user, Why::Ended, call.origin(), call.now).await
            })
        })
        .await?;
    Ok(Reply::no_content())
}
