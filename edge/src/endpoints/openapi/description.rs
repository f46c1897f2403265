//! The description's source: one function per path, of which only the attribute counts.
//!
//! `LICET_UPDATE=1 cargo test -p licet-edge --target wasm32-unknown-unknown --lib openapi` writes the file.

use licet_shared::{
    api::{
        AcquireRequest, ActivateRequest, ActivationAnswer, CheckoutRequest, ConsumeAnswer,
        ConsumeRequest, LeaseAnswer, OfflineActivateRequest, ReceiptRequest, ValidateRequest,
    },
    decision::Verdict,
    documents::Jwk,
    problem::Problem,
};
use utoipa::{
    Modify, OpenApi, ToResponse, ToSchema,
    openapi::{
        Components, ContentBuilder, Ref, RefOr, Response, ResponseBuilder,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use wasm_bindgen_test::wasm_bindgen_test;

use crate::routes::Route;

/// An Ed25519 key set (RFC 7517 §5, RFC 8037).
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is wanted")]
struct JwkSet {
    keys: Vec<Jwk>,
}

/// Whether the Worker can serve.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is wanted")]
struct Health {
    /// `live` or `ready`.
    status: String,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Licet edge",
        description = "May this installation run this product, with which features? Answered near you from signed documents; only activation, refresh, deactivation, consumption and what concerns floating seats and license files go on to the origin.\n\nA refused license is an answer: HTTP 200 with `valid: false` and a `code`. A problem (RFC 9457) says that a request could not be answered. Every answer carries `X-Request-Id`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    paths(
        validate, features, activate, refresh, deactivate, acquire, heartbeat, release, checkout,
        activate_offline, deactivate_offline, consume, jwks, status_list, live, ready, openapi,
        problem_page
    ),
    components(schemas(Problem, Verdict<'static>, ActivationAnswer, LeaseAnswer)),
    modifiers(&Common),
    tags(
        (name = "licenses", description = "What a shipped product calls."),
        (name = "organizations", description = "Public documents, for who verifies by itself."),
        (name = "service", description = "About this edge.")
    )
)]
struct Description;

/// What paths have in common.
struct Common;

macro_rules! problems {
    ($($name:ident = $text:literal;)*) => {
        $(
            struct $name;

            impl<'r> ToResponse<'r> for $name {
                fn response() -> (&'r str, RefOr<Response>) {
                    (stringify!($name), problem($text).into())
                }
            }
        )*

        fn problems() -> Vec<(&'static str, RefOr<Response>)> {
            vec![$($name::response()),*]
        }
    };
}

problems! {
    BadRequest = "`BAD_REQUEST`: the body or a header can't be understood; the detail names the field.";
    Unauthorized = "`UNAUTHORIZED`: no bearer token.";
    Forbidden = "`FORBIDDEN`: the license's terms leave license files to its vendor.";
    NotFound = "`NOT_FOUND`.";
    RequestConflict = "`CONFLICT`: another machine's request has this nonce; make it anew.";
    IdempotencyInFlight = "`IDEMPOTENCY_IN_FLIGHT`: the same request is still being answered.";
    RequestTimeout = "`REQUEST_TIMEOUT`: the body did not arrive in time.";
    BodyTooLarge = "`BODY_TOO_LARGE`: more than 65536 bytes.";
    UnsupportedMediaType = "`UNSUPPORTED_MEDIA_TYPE`: the body must be `application/json`.";
    Unprocessable = "`LICENSE_KEY_MALFORMED`: the license key has a typo. `IDEMPOTENCY_KEY_REUSED`: the key belongs to another request.";
    RateLimited = "`RATE_LIMITED`: wait for as long as `Retry-After` says. Also where organizations or lists that are not known here can't be looked for, since too many made-up ones are being asked for.";
    OriginError = "`ORIGIN_ERROR`: the origin gave no usable answer.";
    OriginUnreachable = "`ORIGIN_UNREACHABLE`: what is needed is not known here and the origin did not answer; or `UNAVAILABLE`: the origin is busy. Try again after `Retry-After` seconds.";
    NotReady = "`UNAVAILABLE`: a setting is missing or wrong.";
}

fn problem(description: &str) -> Response {
    let schema = Ref::from_schema_name("Problem");
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new()
        .description(description)
        .content("application/problem+json", content)
        .build()
}

impl Modify for Common {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let components = description.components.get_or_insert_with(Components::new);
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("license+jwt")
            .description(Some("The license token that activation or refresh gave."))
            .build();
        components.add_security_scheme("license_token", SecurityScheme::Http(bearer));
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("lease+jwt")
            .description(Some(
                "The lease that `acquire` or the last `heartbeat` gave.",
            ))
            .build();
        components.add_security_scheme("lease", SecurityScheme::Http(bearer));
        for (name, response) in problems() {
            components.responses.insert(name.into(), response);
        }
    }
}

/// May it run?
///
/// Decided here from the token and signed documents, and answered in one go. `freshness` says how
/// old the knowledge is that the answer rests on; `max_staleness_s` demands newer.
#[utoipa::path(
    post, path = "/api/v1/licenses/validate", tag = "licenses", operation_id = "validate",
    request_body(content = ValidateRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "A verdict, also when it is a no.", body = Verdict<'static>),
        (status = 400, response = BadRequest),
        (status = 408, response = RequestTimeout),
        (status = 413, response = BodyTooLarge),
        (status = 415, response = UnsupportedMediaType),
        (status = 429, response = RateLimited),
        (status = 503, response = OriginUnreachable),
    )
)]
#[allow(dead_code)]
fn validate() {}

/// What does the license grant?
///
/// A verdict about the license by itself: neither product nor device is asked about.
#[utoipa::path(
    get, path = "/api/v1/licenses/features", tag = "licenses", operation_id = "features",
    security(("license_token" = [])),
    params(("If-None-Match" = Option<String>, Header, description = "The `ETag` of an earlier answer.")),
    responses(
        (status = 200, description = "A verdict with features, or a no.", body = Verdict<'static>,
         headers(("ETag" = String, description = "Names the feature set's revision. Absent from a no."))),
        (status = 304, description = "The license stands, and its features are those of the tag."),
        (status = 401, response = Unauthorized),
        (status = 429, response = RateLimited),
        (status = 503, response = OriginUnreachable),
    )
)]
#[allow(dead_code)]
fn features() {}

/// Turn a license key into a token for this device.
///
/// The same license and fingerprint again give the same activation and take no further place.
#[utoipa::path(
    post, path = "/api/v1/licenses/activate", tag = "licenses", operation_id = "activate",
    request_body(content = ActivateRequest, content_type = "application/json"),
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters: repeating a request under the same key does not act twice.")),
    responses(
        (status = 200, description = "The activation, also when it is a no.", body = ActivationAnswer),
        (status = 400, response = BadRequest),
        (status = 408, response = RequestTimeout),
        (status = 409, response = IdempotencyInFlight),
        (status = 413, response = BodyTooLarge),
        (status = 415, response = UnsupportedMediaType),
        (status = 422, response = Unprocessable),
        (status = 429, response = RateLimited),
        (status = 502, response = OriginError),
        (status = 503, response = OriginUnreachable),
    )
)]
#[allow(dead_code)]
fn activate() {}

/// Get a new token for the same activation.
///
/// Worth doing once `token.refresh_after` has passed. A token that does not verify is answered here by its code.
#[utoipa::path(
    post, path = "/api/v1/licenses/refresh", tag = "licenses", operation_id = "refresh",
    security(("license_token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "As for `activate`.")),
    responses(
        (status = 200, description = "The new token, or a no.", body = ActivationAnswer),
        (status = 400, response = BadRequest),
        (status = 401, response = Unauthorized),
        (status = 429, response = RateLimited),
        (status = 502, response = OriginError),
        (status = 503, response = OriginUnreachable),
    )
)]
#[allow(dead_code)]
fn refresh() {}

/// Give an activation back.
#[utoipa::path(
    post, path = "/api/v1/licenses/deactivate", tag = "licenses", operation_id = "deactivate",
    security(("license_token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "As for `activate`.")),
    responses(
        (status = 200, description = "`VALID` when it is given back, or a no.", body = ActivationAnswer),
        (status = 400, response = BadRequest),
        (status = 401, response = Unauthorized),
        (status = 429, response = RateLimited),
        (status = 502, response = OriginError),
        (status = 503, response = OriginUnreachable),
    )
)]
#[allow(dead_code)]
fn deactivate() {}

/// Take a floating seat.
///
/// Gives a lease, to be sent to `validate` beside the license token until `lease.expires_at`. A
/// license without floating seats needs none: then the answer is `VALID` without one.
#[utoipa::path(
    post, path = "/api/v1/licenses/acquire", tag = "licenses", operation_id = "acquire",
    security(("license_token" = [])),
    request_body(content = AcquireRequest, content_type = "application/json"),
    params(("Idempotency-Key" = Option<String>, Header, description = "As for `activate`: a retry gets the same lease.")),
    responses(
        (status = 200, description = "The lease, also when it is a no.", body = LeaseAnswer),
        (status = 400, response = BadRequest),
        (status = 401, response = Unauthorized),
        (status = 408, response = RequestTimeout),
        (status = 413, response = BodyTooLarge),
        (status = 415, response = UnsupportedMediaType),
        (status = 422, response = Unprocessable),
        (status = 429, response = RateLimited),
        (status = 502, response = OriginError),
        (status = 503, response = OriginUnreachable),
    )
)]
#[allow(dead_code)]
fn acquire() {}

/// Keep a floating seat.
///
/// Gives a new lease for the same seat. To be sent once `lease.heartbeat_after` has passed; without
/// one the seat comes back by itself a few seconds after `lease.expires_at`.
#[utoipa::path(
    post, path = "/api/v1/licenses/heartbeat", tag = "licenses", operation_id = "heartbeat",
    security(("lease" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "As for `activate`.")),
    responses(
        (status = 200, description = "The new lease, or a no.", body = LeaseAnswer),
        (status = 400, response = BadRequest),
        (status = 401, response = Unauthorized),
        (status = 429, response = RateLimited),
        (status = 502, response = OriginError),
        (status = 503, response = OriginUnreachable),
    )
)]
#[allow(dead_code)]
fn heartbeat() {}

/// Give a floating seat back.
///
/// Also one that was borrowed, before its time.
#[utoipa::path(
    post, path = "/api/v1/licenses/release", tag = "licenses", operation_id = "release",
    security(("lease" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "As for `activate`.")),
    responses(
        (status = 200, description = "`VALID` when it is given back, or a no.", body = LeaseAnswer),
        (status = 400, response = BadRequest),
        (status = 401, response = Unauthorized),
        (status = 429, response = RateLimited),
        (status = 502, response = OriginError),
        (status = 503, response = OriginUnreachable),
    )
)]
#[allow(dead_code)]
fn release() {}

/// Get a license file, for going without the network.
///
/// It holds for as long as asked, within the license's terms, and nothing can call it back before
/// its end. Verified by the product itself, offline.
#[utoipa::path(
    post, path = "/api/v1/licenses/checkout", tag = "licenses", operation_id = "checkout",
    request_body(content = CheckoutRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "The license file, or a no.", body = ActivationAnswer),
        (status = 400, response = BadRequest),
        (status = 403, response = Forbidden),
        (status = 408, response = RequestTimeout),
        (status = 413, response = BodyTooLarge),
        (status = 415, response = UnsupportedMediaType),
        (status = 429, response = RateLimited),
        (status = 502, response = OriginError),
        (status = 503, response = OriginUnreachable),
    )
)]
#[allow(dead_code)]
fn checkout() {}

/// Turn the request of a machine that never connects into its license file.
///
/// Either `request`, the text of the file that the machine made, or `license_key`, `product` and
/// `code`. The same request again gives the same activation, and a file as things now stand.
#[utoipa::path(
    post, path = "/api/v1/licenses/activate-offline", tag = "licenses", operation_id = "activateOffline",
    request_body(content = OfflineActivateRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "The license file, or a no.", body = ActivationAnswer),
        (status = 400, response = BadRequest),
        (status = 403, response = Forbidden),
        (status = 408, response = RequestTimeout),
        (status = 409, response = RequestConflict),
        (status = 413, response = BodyTooLarge),
        (status = 415, response = UnsupportedMediaType),
        (status = 422, response = Unprocessable),
        (status = 429, response = RateLimited),
        (status = 502, response = OriginError),
        (status = 503, response = OriginUnreachable),
    )
)]
#[allow(dead_code)]
fn activate_offline() {}

/// Give back the activation of a machine that never connects.
///
/// By the receipt that the machine signed when it deleted its license file.
#[utoipa::path(
    post, path = "/api/v1/licenses/deactivate-offline", tag = "licenses", operation_id = "deactivateOffline",
    request_body(content = ReceiptRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "`VALID` when it is given back, or a no.", body = ActivationAnswer),
        (status = 400, response = BadRequest),
        (status = 408, response = RequestTimeout),
        (status = 413, response = BodyTooLarge),
        (status = 415, response = UnsupportedMediaType),
        (status = 429, response = RateLimited),
        (status = 502, response = OriginError),
        (status = 503, response = OriginUnreachable),
    )
)]
#[allow(dead_code)]
fn deactivate_offline() {}

/// Record what was used of metered features.
///
/// All uses of a request are recorded, or none is; never more than the quota leaves. The token must be in force.
#[utoipa::path(
    post, path = "/api/v1/licenses/consume", tag = "licenses", operation_id = "consume",
    security(("license_token" = [])),
    request_body(content = ConsumeRequest, content_type = "application/json"),
    params(("Idempotency-Key" = Option<String>, Header, description = "As for `activate`.")),
    responses(
        (status = 200, description = "`VALID` when it is recorded, or a no; and what is left.", body = ConsumeAnswer),
        (status = 400, response = BadRequest),
        (status = 401, response = Unauthorized),
        (status = 408, response = RequestTimeout),
        (status = 409, response = IdempotencyInFlight),
        (status = 413, response = BodyTooLarge),
        (status = 415, response = UnsupportedMediaType),
        (status = 422, response = Unprocessable),
        (status = 429, response = RateLimited),
        (status = 502, response = OriginError),
        (status = 503, response = OriginUnreachable),
    )
)]
#[allow(dead_code)]
fn consume() {}

/// An organization's public keys.
#[utoipa::path(
    get, path = "/api/v1/orgs/{tag}/jwks.json", tag = "organizations", operation_id = "jwks",
    params(("tag" = String, Path, description = "The organization's tag: the first 8 symbols of its license keys.", example = "ABCDEFGH")),
    responses(
        (status = 200, description = "The keys that verify its tokens.", body = JwkSet, content_type = "application/jwk-set+json"),
        (status = 304, description = "The keys are those of the tag sent in `If-None-Match`."),
        (status = 404, response = NotFound),
        (status = 429, response = RateLimited),
        (status = 503, response = OriginUnreachable),
    )
)]
#[allow(dead_code)]
fn jwks() {}

/// A status list, as tokens refer to it.
///
/// A signed Token Status List of the IETF, 4 bits per entry.
#[utoipa::path(
    get, path = "/api/v1/orgs/{tag}/statuslists/{number}", tag = "organizations", operation_id = "statusList",
    params(
        ("tag" = String, Path, description = "The organization's tag.", example = "ABCDEFGH"),
        ("number" = u32, Path, description = "The list's number, from 0."),
    ),
    responses(
        (status = 200, description = "A compact JWS of type `statuslist+jwt`.", body = String, content_type = "application/statuslist+jwt"),
        (status = 304, description = "The list is that of the tag sent in `If-None-Match`."),
        (status = 404, response = NotFound),
        (status = 429, response = RateLimited),
        (status = 503, response = OriginUnreachable),
    )
)]
#[allow(dead_code)]
fn status_list() {}

/// Does the Worker run?
#[utoipa::path(
    get, path = "/health/live", tag = "service", operation_id = "live",
    responses((status = 200, description = "Yes.", body = Health))
)]
#[allow(dead_code)]
fn live() {}

/// Can it serve?
///
/// Does not ask the origin, whose absence an edge outlives.
#[utoipa::path(
    get, path = "/health/ready", tag = "service", operation_id = "ready",
    responses(
        (status = 200, description = "Yes.", body = Health),
        (status = 503, response = NotReady),
    )
)]
#[allow(dead_code)]
fn ready() {}

/// This description.
#[utoipa::path(
    get, path = "/openapi.json", tag = "service", operation_id = "openapi",
    responses((status = 200, description = "OpenAPI 3.1.", content_type = "application/json"))
)]
#[allow(dead_code)]
fn openapi() {}

/// What a problem means.
#[utoipa::path(
    get, path = "/problems/{code}", tag = "service", operation_id = "problem",
    params(("code" = String, Path, description = "The last part of a problem's `type`.", example = "not-found")),
    responses(
        (status = 200, description = "A short page.", body = String, content_type = "text/plain"),
        (status = 404, response = NotFound),
    )
)]
#[allow(dead_code)]
fn problem_page() {}

/// Reads an environment variable of the test runner's.
fn variable(name: &str) -> Option<String> {
    let read = js_sys::Function::new_with_args("name", "return process.env[name]");
    read.call1(&worker::wasm_bindgen::JsValue::NULL, &name.into())
        .ok()?
        .as_string()
}

fn write(path: &str, text: &str) {
    let code = "process.getBuiltinModule('node:fs').writeFileSync(path, text)";
    let write = js_sys::Function::new_with_args("path, text", code);
    write
        .call2(
            &worker::wasm_bindgen::JsValue::NULL,
            &path.into(),
            &text.into(),
        )
        .unwrap();
}

#[wasm_bindgen_test]
fn the_committed_description_is_current() {
    let mut current = Description::openapi().to_pretty_json().unwrap();
    current.push('\n');
    if variable("LICET_UPDATE").is_some() {
        write(
            concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json"),
            &current,
        );
    } else {
        let committed = include_str!("../../../openapi.json");
        assert!(
            committed == current,
            "edge/openapi.json is out of date: see this module's head"
        );
    }
}

#[wasm_bindgen_test]
fn every_described_path_is_routed_with_its_methods() {
    let description = serde_json::to_value(Description::openapi()).unwrap();
    let paths = description["paths"].as_object().unwrap();
    for (template, item) in paths {
        let path = template
            .replace("{tag}", "ABCDEFGH")
            .replace("{number}", "0")
            .replace("{code}", "not-found");
        let route = Route::find(&path).unwrap_or_else(|| panic!("{path}"));
        for method in ["get", "post", "put", "patch", "delete"] {
            let described = item.get(method).is_some();
            assert_eq!(
                described,
                route.takes(&method.to_ascii_uppercase()),
                "{method} {path}"
            );
        }
    }
    assert_eq!(paths.len(), Route::COUNT, "a route lacks its description");
}
