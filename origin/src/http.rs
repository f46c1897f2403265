//! The HTTP side: who calls, within which limits, and how answers look. What is answered is in
//! `edge_api`.

pub(crate) mod body;
mod client;
mod cors;
mod edge_auth;
mod edge_call;
mod error;
mod frame;
mod health;
mod replay;
mod request_id;
mod scrape;
mod server;
mod state;

pub(crate) use client::client_address;
pub use edge_auth::{EdgeAuthenticator, Unauthorized};
pub(crate) use edge_call::EdgeCall;
pub use edge_call::EdgeCaller;
pub(crate) use error::HandlerError;
pub use replay::{Replay, ReplayCapacity, ReplayMemory, WhenFull};
pub(crate) use request_id::RequestFacts;
pub use server::{Limits, ServeError, serve};
pub use state::{AppState, StateSettings};

use axum::{Router, middleware, routing::get};

/// Everything that is served, in its frame of limits and logs.
pub fn app(state: AppState) -> Router {
    Router::new()
        .merge(crate::edge_api::routes())
        .merge(crate::api::routes())
        .merge(crate::pages::routes())
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(scrape::handle))
        .layer(middleware::from_fn_with_state(state.clone(), frame::frame))
        .layer(middleware::from_fn_with_state(state.clone(), cors::cors))
        .with_state(state)
}
