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

use std::rc::Rc;

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
    let answered = match route {
        Route::Validate => validate::handle(&scope, request).await,
        Route::Features => features::handle(&scope, request).await,
        Route::Activate => activate::handle(&scope, request).await,
        Route::Refresh => refresh::handle(&scope, request).await,
        Route::Deactivate => deactivate::handle(&scope, request).await,
        Route::Acquire => leases::acquire(&scope, request).await,
        Route::Heartbeat => leases::heartbeat(&scope, request).await,
        Route::Release => leases::release(&scope, request).await,
        Route::Checkout => checkout::handle(&scope, request).await,
        Route::ActivateOffline => activate_offline::handle(&scope, request).await,
        Route::DeactivateOffline => deactivate_offline::handle(&scope, request).await,
        Route::Consume => consume::handle(&scope, request).await,
        Route::Jwks(org) => orgs::jwks(&scope, request, org).await,
        Route::StatusList(org, number) => orgs::status_list(&scope, request, org, number).await,
        Route::Live | Route::Ready | Route::OpenApi | Route::Metrics | Route::ProblemPage(_) => {
            Err(Fault::internal())
        }
    };
    // Whoever answers by documents keeps up with what changes.
    if matches!(route, Route::Validate | Route::Features) {
        feed::follow(&scope);
    }
    scope.answered();
    answered.map(|answer| answer.header("server-timing", scope.timing.header()))
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
