//! `/edge/v1`: for edges alone. One endpoint per file.

mod activate;
mod activate_offline;
mod checkout;
mod deactivate;
mod deactivate_offline;
mod document;
mod feature_sets;
mod keys;
mod leases;
mod licenses;
mod refresh;
mod revocations;
mod status_lists;
mod token;
mod usage;

use axum::{
    Router,
    routing::{get, post},
};

use crate::http::AppState;

/// The routes. Each handler takes an [`crate::http::EdgeCall`], and has no database without one.
pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .route("/edge/v1/orgs/{tag}/keys", get(keys::handle))
        .route(
            "/edge/v1/orgs/{tag}/statuslists/{number}",
            get(status_lists::handle),
        )
        .route(
            "/edge/v1/orgs/{tag}/feature-sets/{id}",
            get(feature_sets::handle),
        )
        .route("/edge/v1/orgs/{tag}/licenses/{id}", get(licenses::handle))
        .route(
            "/edge/v1/revocations/{generation}/{since}",
            get(revocations::handle),
        )
        .route("/edge/v1/activations", post(activate::handle))
        .route("/edge/v1/activations/refresh", post(refresh::handle))
        .route("/edge/v1/usage", post(usage::handle))
        .route("/edge/v1/activations/deactivate", post(deactivate::handle))
        .route("/edge/v1/leases/acquire", post(leases::acquire))
        .route("/edge/v1/leases/heartbeat", post(leases::heartbeat))
        .route("/edge/v1/leases/release", post(leases::release))
        .route("/edge/v1/activations/license-file", post(checkout::handle))
        .route(
            "/edge/v1/activations/offline",
            post(activate_offline::handle),
        )
        .route(
            "/edge/v1/activations/receipt",
            post(deactivate_offline::handle),
        )
}
