#![doc = include_str!("../README.md")]

mod bindings;
mod clock;
mod config;
mod documents;
mod endpoints;
pub mod entry;
mod flood;
mod generations;
mod http;
mod isolate;
mod log;
mod metrics;
mod native_ed25519;
mod origin;
mod random;
mod recognise;
mod routes;
#[cfg(test)]
mod testing;
mod timing;
mod verified_tokens;

use std::{
    future::{Future, ready},
    pin::Pin,
    rc::Rc,
};

use config::ConfigError;
use documents::feed;
use endpoints::{
    activate, activate_offline, checkout, consume, deactivate, deactivate_offline, features,
    health, leases, openapi, orgs, problems, refresh, scrape, validate,
};
use http::{Answer, Fault, Incoming, cors};
use isolate::{Arrival, Isolate, Scope};
use licet_shared::id::RequestId;
use routes::Route;
use worker::{Context, Env, wasm_bindgen::JsValue, web_sys::Response};

/// Answers one request.
async fn respond(request: Incoming, env: Env, context: Context) -> Result<Response, JsValue> {
    let arrival = Arrival::now();
    let request_id = arrival.request_id;
    let isolate = Isolate::of(&env);
    let there = |route: &Route<'_>| *route != Route::Metrics || scrape::is_there(&isolate);
    let answered = match Route::find(request.path()).filter(there) {
        None => Err(Fault::not_found(
            "There is no such path. /openapi.json lists those there are.",
        )),
        Some(route) if request.method() == "OPTIONS" => Ok(cors::preflight(route.allowed())),
        Some(route) if !route.takes(request.method()) => {
            Err(Fault::method_not_allowed(route.allowed()))
        }
        Some(route) => answer(route, &isolate, env, context, arrival, &request).await,
    };
    let answer = answered.unwrap_or_else(|fault| fault.into_answer(request_id));
    finish(answer, &isolate, request_id, &request).into_response()
}

async fn answer(
    route: Route<'_>,
    isolate: &Result<Rc<Isolate>, ConfigError>,
    env: Env,
    context: Context,
    arrival: Arrival,
    request: &Incoming,
) -> Result<Answer, Fault> {
    // What has to work without settings.
    match route {
        Route::Live => return Ok(health::live()),
        Route::Ready => return health::ready(isolate),
        Route::OpenApi => return Ok(openapi::description()),
        Route::ProblemPage(name) => return problems::page(name),
        _ => {}
    }
    let isolate = isolate.as_ref().map_err(|_| Fault::misconfigured())?;
    if route == Route::Metrics {
        return scrape::handle(isolate, request, arrival.clock.now());
    }
    let scope = Rc::new(Scope::new(Rc::clone(isolate), env, context, arrival));
    let answered = handled(route, &scope, request).await;
    // Whoever answers by documents keeps up with what changes.
    if matches!(route, Route::Validate | Route::Features) {
        feed::follow(&scope);
    }
    scope.answered();
    answered.map(|answer| answer.header("server-timing", scope.timing.header()))
}

/// What a route's endpoint comes to. Boxed each for itself: the runtime compiles a function when it is first called,
/// and none that holds all of them has to be.
fn handled<'a>(
    route: Route<'a>,
    scope: &'a Rc<Scope>,
    request: &'a Incoming,
) -> Pin<Box<dyn Future<Output = Result<Answer, Fault>> + 'a>> {
    match route {
        Route::Validate => Box::pin(validate::handle(scope, request)),
        Route::Features => Box::pin(features::handle(scope, request)),
        Route::Activate => Box::pin(activate::handle(scope, request)),
        Route::Refresh => Box::pin(refresh::handle(scope, request)),
        Route::Deactivate => Box::pin(deactivate::handle(scope, request)),
        Route::Acquire => Box::pin(leases::acquire(scope, request)),
        Route::Heartbeat => Box::pin(leases::heartbeat(scope, request)),
        Route::Release => Box::pin(leases::release(scope, request)),
        Route::Checkout => Box::pin(checkout::handle(scope, request)),
        Route::ActivateOffline => Box::pin(activate_offline::handle(scope, request)),
        Route::DeactivateOffline => Box::pin(deactivate_offline::handle(scope, request)),
        Route::Consume => Box::pin(consume::handle(scope, request)),
        Route::Jwks(org) => Box::pin(orgs::jwks(scope, request, org)),
        Route::StatusList(org, number) => Box::pin(orgs::status_list(scope, request, org, number)),
        Route::Live | Route::Ready | Route::OpenApi | Route::Metrics | Route::ProblemPage(_) => {
            Box::pin(ready(Err(Fault::internal())))
        }
    }
}

/// Adds what every answer has.
fn finish(
    answer: Answer,
    isolate: &Result<Rc<Isolate>, ConfigError>,
    request_id: RequestId,
    request: &Incoming,
) -> Answer {
    let answer = answer
        .header("x-request-id", request_id.to_string())
        .nosniff();
    let answer = match isolate {
        Ok(isolate) => {
            let cors = &isolate.config.cors;
            let origin = cors
                .depends_on_origin()
                .then(|| request.header("origin"))
                .flatten();
            cors.allow(answer, origin)
        }
        Err(_) => answer,
    };
    if request.method() == "HEAD" {
        answer.without_body()
    } else {
        answer
    }
}
