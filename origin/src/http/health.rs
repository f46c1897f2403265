//! `/health/live` and `/health/ready`.

use std::time::{Duration, Instant};

use axum::{Json, extract::State};
use licet_shared::problem::ProblemCode;
use serde_json::{Value, json};

use super::{AppState, HandlerError};

/// For how long an answer of the database's is good for all who ask.
const REMEMBERED: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(3);

/// The process runs.
pub(super) async fn live() -> Json<Value> {
    Json(json!({ "status": "live" }))
}

/// The database can be reached and has the schema that this binary knows.
pub(super) async fn ready(State(state): State<AppState>) -> Result<Json<Value>, HandlerError> {
    // Whoever asks while another is asking waits for that answer.
    let mut remembered = state.readiness().lock().await;
    let ready = match *remembered {
        Some((at, ready)) if at.elapsed() < REMEMBERED => ready,
        _ => {
            let ready = ask(&state).await;
            *remembered = Some((Instant::now(), ready));
            ready
        }
    };
    if ready {
        Ok(Json(json!({ "status": "ready" })))
    } else {
        Err(HandlerError::problem(
            ProblemCode::Unavailable,
            "The database can't be reached, or has another schema than this binary knows.",
        )
        .retry_after(1))
    }
}

async fn ask(state: &AppState) -> bool {
    let asked = tokio::time::timeout(PATIENCE, state.database().check_schema()).await;
    match asked {
        Ok(Ok(Ok(()))) => return true,
        Ok(Ok(Err(refusal))) => tracing::warn!(%refusal, "not ready"),
        Ok(Err(error)) => tracing::warn!(%error, "not ready"),
        Err(_) => tracing::warn!("not ready: the database does not answer"),
    }
    false
}
