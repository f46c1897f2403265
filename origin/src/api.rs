//! `/api/v1`: for people and API keys. One file per resource; each lists its operations, and the
//! router, the checks before a handler, the description and the tests all read that list.

mod activations;
mod api_keys;
mod audit_events;
mod auth;
mod call;
mod deprecation;
mod description;
mod export;
mod feature_sets;
mod fields;
mod invitations;
mod leases;
mod licenses;
mod list;
mod offline;
mod once;
mod operation;
mod organization;
mod policies;
mod products;
mod projects;
mod reply;
mod settings;
mod signing_keys;
mod users;
mod versions;

pub(crate) use call::{Call, OpenCall};
pub(crate) use description::COMMITTED_DESCRIPTION;
pub use description::description;
pub(crate) use operation::{Access, Operation};
pub(crate) use reply::Reply;
pub(crate) use settings::Accounts;
pub use settings::{AccountSettings, PlanQuotas};
pub(crate) use versions::is_unchanged;

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, extract::Request, extract::State, routing::MethodRouter};

use crate::http::AppState;

/// Every operation. A new resource is added here.
pub(crate) fn operations() -> Vec<Operation> {
    [
        auth::operations(),
        organization::operations(),
        users::operations(),
        invitations::operations(),
        api_keys::operations(),
        products::operations(),
        feature_sets::operations(),
        policies::operations(),
        projects::operations(),
        licenses::operations(),
        activations::operations(),
        offline::operations(),
        leases::operations(),
        signing_keys::operations(),
        audit_events::operations(),
        export::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The routes, with everything that comes before a handler in front of each.
pub(crate) fn routes() -> Router<AppState> {
    router(operations())
}

fn router(operations: Vec<Operation>) -> Router<AppState> {
    let mut paths: BTreeMap<&'static str, MethodRouter<AppState>> = BTreeMap::new();
    for operation in operations {
        let (path, filter) = (operation.path, operation.verb.filter());
        let operation = Arc::new(operation);
        let handler = move |State(state): State<AppState>, request: Request| {
            let operation = Arc::clone(&operation);
            async move {
                let mut response = call::serve(&state, &operation, request).await;
                if let Some(deprecation) = &operation.deprecation {
                    deprecation.announce(response.headers_mut());
                }
                response
            }
        };
        let methods = paths.remove(path).unwrap_or_default();
        paths.insert(path, methods.on(filter, handler));
    }
    paths
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| {
            router.route(path, methods)
        })
}
