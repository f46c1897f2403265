//! `GET /openapi.json`: the account API's description (OpenAPI 3.1), made from the list of
//! operations and from the types they name.

use std::collections::BTreeSet;

use licet_shared::problem::{self, Problem, ProblemCode};
use utoipa::{
    ToSchema,
    openapi::{
        self, ComponentsBuilder, ContentBuilder, Deprecated, HttpMethod, InfoBuilder, License,
        OpenApi, OpenApiBuilder, PathItem, PathsBuilder, Ref, RefOr, Required, ResponseBuilder,
        Schema,
        extensions::ExtensionsBuilder,
        header::HeaderBuilder,
        link::LinkBuilder,
        path::{OperationBuilder, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        schema::{ArrayBuilder, ObjectBuilder, Type as JsonType},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::{
    Access, Operation,
    operation::{Output, Type, Verb},
    operations,
};

const ABOUT: &str = "Where vendors run their business: people, keys, products, licenses.\n\n\
    Lists come newest first, page by page: `next_cursor` of one page is `cursor` of the next. \
    `ETag` and `If-Match` keep two people from undoing each other's changes. A POST that creates, renews or transfers takes an \
    `Idempotency-Key`, and acts once however often it is sent; what was shown once is not shown again. \
    Problems are RFC 9457, and say in `detail` what to do. `RateLimit` says how many requests the \
    organization's plan has left. Every answer carries `X-Request-Id`.";

/// The description as the code has it.
#[must_use]
pub fn description() -> OpenApi {
    describe_all(&operations())
}

pub(super) fn describe_all(operations: &[Operation]) -> OpenApi {
    let mut types = Vec::new();
    add::<Problem>(&mut types);
    let mut paths = PathsBuilder::new();
    for operation in operations {
        let mut described = describe(operation, &mut types);
        link(operation, operations, &mut described);
        let item = PathItem::new(method(operation.verb), described);
        paths = paths.path(operation.path, item);
    }
    let bearer = |format: &str, description: &str| {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format(format);
        SecurityScheme::Http(scheme.description(Some(description)).build())
    };
    let components = ComponentsBuilder::new()
        .schemas_from_iter(types)
        .security_scheme(
            "person",
            bearer("at+jwt", "The access token that login or refresh gave."),
        )
        .security_scheme(
            "api_key",
            bearer(
                "licet_sk",
                "An API key with the scope that the operation needs.",
            ),
        );
    let mut license = License::new("MIT OR Apache-2.0");
    license.identifier = Some("MIT OR Apache-2.0".into());
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Licet accounts")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(ABOUT))
                .license(Some(license)),
        )
        .paths(paths)
        .components(Some(components.build()))
        .build()
}

/// The description as it is committed, which a test keeps the same.
pub(crate) const COMMITTED_DESCRIPTION: &str = include_str!("../../openapi.json");

/// Headers of operations that will go.
const GOING: [(&str, &str); 2] = [
    (
        "Deprecation",
        "Since when it should not be used (RFC 9745).",
    ),
    ("Sunset", "From when on it may be gone (RFC 8594)."),
];

type Schemas = Vec<(String, RefOr<Schema>)>;

fn add<T: ToSchema>(types: &mut Schemas) {
    add_type(Type::of::<T>(), types);
}

/// Adds a type with all that it is made of, and hands back a reference to it.
fn add_type(of: Type, types: &mut Schemas) -> Ref {
    (of.schemas)(types);
    let name = (of.name)();
    types.push((name.clone().into_owned(), (of.schema)()));
    Ref::from_schema_name(name)
}

const fn method(verb: Verb) -> HttpMethod {
    match verb {
        Verb::Get => HttpMethod::Get,
        Verb::Post => HttpMethod::Post,
        Verb::Patch => HttpMethod::Patch,
        Verb::Delete => HttpMethod::Delete,
    }
}

fn describe(operation: &Operation, types: &mut Schemas) -> openapi::path::Operation {
    let needs = match operation.access {
        Access::Open => "For anybody.".to_owned(),
        Access::Person => "For any person who is logged in.".to_owned(),
        Access::Needs(permission) => format!(
            "Needs the permission `{permission}`: the role {} or above, or an API key of this scope.",
            permission.least_role().as_str()
        ),
    };
    let goes = operation.deprecation.map(|it| it.explanation());
    let text = [
        goes.as_deref().unwrap_or_default(),
        operation.detail,
        &needs,
    ]
    .into_iter()
    .filter(|text| !text.is_empty());
    let description = text.collect::<Vec<_>>().join("\n\n");
    let tag = operation
        .path
        .split('/')
        .nth(3)
        .unwrap_or_default()
        .replace('-', "_");
    let mut built = OperationBuilder::new()
        .operation_id(Some(operation.id))
        .tag(tag)
        .summary(Some(operation.summary))
        .description(Some(description))
        .extensions(Some(
            ExtensionsBuilder::new()
                .add("x-licet-access", access(operation))
                .build(),
        ));
    if operation.deprecation.is_some() {
        built = built.deprecated(Some(Deprecated::True));
    }
    for requirement in security(operation.access) {
        built = built.security(requirement);
    }
    for parameter in parameters(operation, types) {
        built = built.parameter(parameter);
    }
    if let Some(input) = operation.input {
        let content = ContentBuilder::new()
            .schema(Some(add_type(input, types)))
            .build();
        let body = RequestBodyBuilder::new().content("application/json", content);
        built = built.request_body(Some(body.required(Some(Required::True)).build()));
    }
    let mut responses = vec![(operation.status, success(operation, types))];
    for (status, codes) in problems(operation) {
        responses.push((status, refusal(&codes)));
    }
    for (status, mut response) in responses {
        if operation.deprecation.is_some() {
            for (name, meaning) in GOING {
                let header = HeaderBuilder::new().schema(Some(text_schema()));
                let header = header.description(Some(meaning)).build();
                response.headers.insert(name.into(), header.into());
            }
        }
        built = built.response(status.to_string(), response);
    }
    built.build()
}

/// What can be done with what was just made: everything that is below its own path.
fn link(maker: &Operation, operations: &[Operation], described: &mut openapi::path::Operation) {
    let made = described.responses.responses.get_mut("201");
    let (true, Some(RefOr::T(response))) = (maker.status == 201, made) else {
        return;
    };
    let own = format!("{}/{{id}}", maker.path);
    for operation in operations.iter().filter(|it| it.path.starts_with(&own)) {
        // Others of its parameters are not known from the answer.
        if operation.path.matches('{').count() > 1 {
            continue;
        }
        let link = LinkBuilder::new()
            .operation_id(operation.id)
            .parameter("id", "$response.body#/id");
        response
            .links
            .insert(operation.id.into(), link.build().into());
    }
}

/// For tests and tools: `open`, `person` or the permission's name.
fn access(operation: &Operation) -> &'static str {
    match operation.access {
        Access::Open => "open",
        Access::Person => "person",
        Access::Needs(permission) => permission.as_str(),
    }
}

fn security(access: Access) -> Vec<SecurityRequirement> {
    let one = |name: &str| SecurityRequirement::new(name, Vec::<String>::new());
    match access {
        Access::Open => vec![SecurityRequirement::default()],
        Access::Person => vec![one("person")],
        Access::Needs(_) => vec![one("person"), one("api_key")],
    }
}

fn text_schema() -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(JsonType::String).into()
}

fn parameters(operation: &Operation, types: &mut Schemas) -> Vec<openapi::path::Parameter> {
    let mut parameters = Vec::new();
    let segments = operation.path.split('/').filter_map(|segment| {
        segment
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
    });
    for (position, name) in segments.enumerate() {
        let schema = match operation.about {
            Some(about) if position == 0 => add_type(about, types).into(),
            _ => text_schema(),
        };
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path);
        parameters.push(
            parameter
                .required(Required::True)
                .schema(Some(schema))
                .build(),
        );
    }
    for param in &operation.params {
        let parameter = ParameterBuilder::new()
            .name(param.name)
            .parameter_in(ParameterIn::Query);
        let parameter = parameter
            .required(Required::False)
            .schema(Some((param.schema)()));
        parameters.push(parameter.description(Some(param.meaning)).build());
    }
    let header = |name: &str, meaning: &str, schema: RefOr<Schema>| {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header);
        let parameter = parameter.required(Required::False).schema(Some(schema));
        parameter.description(Some(meaning)).build()
    };
    if operation.once {
        let key = ObjectBuilder::new()
            .schema_type(JsonType::String)
            .pattern(Some("^[!-~]{1,255}$"));
        parameters.push(header(
            "Idempotency-Key",
            "The same for each try of one request.",
            key.into(),
        ));
    }
    if operation.conditional {
        parameters.push(header(
            "If-Match",
            "The `ETag` of the version that is meant.",
            ObjectBuilder::new()
                .schema_type(JsonType::String)
                .pattern(Some(super::versions::IF_MATCH_PATTERN))
                .examples(["\"3\""])
                .into(),
        ));
    }
    parameters
}

fn success(operation: &Operation, types: &mut Schemas) -> openapi::Response {
    let body = match operation.output {
        Output::Nothing => None,
        Output::One(of) => Some(RefOr::from(add_type(of, types))),
        Output::Page(of) => Some(page(add_type(of, types))),
        Output::Lines(of) => Some(RefOr::from(add_type(of, types))),
    };
    let (description, schema) = match body {
        None => ("Done.", None),
        Some(schema) if operation.status == 201 => ("Made.", Some(schema)),
        Some(schema) if matches!(operation.output, Output::Lines(_)) => {
            ("Lines, each of them such.", Some(schema))
        }
        Some(schema) => ("As it stands.", Some(schema)),
    };
    let mut response = ResponseBuilder::new().description(description);
    if let Some(schema) = schema {
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let media_type = match operation.output {
            Output::Lines(_) => "application/x-ndjson",
            _ => "application/json",
        };
        response = response.content(media_type, content);
    }
    if operation.once {
        let header = HeaderBuilder::new().schema(Some(text_schema()));
        let header = header.description(Some("`true` when an earlier request had made it."));
        response = response.header("Idempotency-Replayed", header.build());
    }
    response.build()
}

fn page(item: Ref) -> RefOr<Schema> {
    let cursor = ObjectBuilder::new()
        .schema_type(openapi::schema::SchemaType::from_iter([
            JsonType::String,
            JsonType::Null,
        ]))
        .description(Some("`cursor` of the next page; null on the last."));
    ObjectBuilder::new()
        .schema_type(JsonType::Object)
        .property("data", ArrayBuilder::new().items(RefOr::from(item)))
        .property("next_cursor", cursor)
        .required("data")
        .required("next_cursor")
        .into()
}

/// By status, every problem that an operation may be answered with.
pub(super) fn problems(operation: &Operation) -> Vec<(u16, Vec<ProblemCode>)> {
    use ProblemCode as P;
    let mut codes = vec![P::BadRequest, P::RateLimited, P::Internal, P::Unavailable];
    let mut also = |condition: bool, more: &[ProblemCode]| {
        if condition {
            codes.extend_from_slice(more);
        }
    };
    also(
        operation.access != Access::Open,
        &[P::Unauthorized, P::Forbidden],
    );
    also(operation.path.contains('{'), &[P::NotFound]);
    also(
        operation.once,
        &[P::Conflict, P::IdempotencyInFlight, P::IdempotencyKeyReused],
    );
    also(operation.conditional, &[P::PreconditionFailed]);
    also(
        operation.input.is_some(),
        &[P::BodyTooLarge, P::UnsupportedMediaType],
    );
    also(true, &operation.problems);
    let statuses: BTreeSet<u16> = codes.iter().map(|code| code.status()).collect();
    let of = |status: u16| {
        ProblemCode::ALL
            .iter()
            .copied()
            .filter(move |code| code.status() == status)
    };
    statuses
        .into_iter()
        .map(|status| {
            (
                status,
                of(status).filter(|code| codes.contains(code)).collect(),
            )
        })
        .collect()
}

fn refusal(codes: &[ProblemCode]) -> openapi::Response {
    let names: Vec<_> = codes
        .iter()
        .map(|code| {
            let (name, page, title) = (code.as_str(), code.page(), code.title());
            format!("[`{name}`](/problems/{page}): {title}.")
        })
        .collect();
    let schema = Ref::from_schema_name(Problem::name());
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new()
        .description(names.join(" "))
        .content(problem::MEDIA_TYPE, content)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `LICET_UPDATE=1 cargo test -p licet-origin --lib description` writes the file.
    #[test]
    fn the_committed_description_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        let mut current = description().to_pretty_json().unwrap();
        current.push('\n');
        if std::env::var_os("LICET_UPDATE").is_some() {
            std::fs::write(path, &current).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap();
        assert!(
            committed == current,
            "origin/openapi.json is out of date: see this test"
        );
    }

    #[test]
    fn operations_have_names_of_their_own_and_say_what_they_do() {
        let operations = operations();
        let ids: BTreeSet<_> = operations.iter().map(|operation| operation.id).collect();
        assert_eq!(ids.len(), operations.len());
        let places: BTreeSet<_> = operations.iter().map(|it| (it.path, it.verb)).collect();
        assert_eq!(places.len(), operations.len());
        for operation in &operations {
            assert!(
                !operation.id.is_empty() && !operation.summary.is_empty(),
                "{}",
                operation.path
            );
            // A key does not belong into an address.
            let reads = operation.verb == Verb::Get || operation.id == "look_up_license";
            if let Access::Needs(permission) = operation.access {
                assert_eq!(
                    reads,
                    permission.as_str().ends_with(":read")
                        || permission.as_str().ends_with(":export"),
                    "{}",
                    operation.id
                );
            }
        }
    }
}
