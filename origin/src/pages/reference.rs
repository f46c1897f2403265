//! `GET /openapi.json`, and `GET /docs`, which shows it with Swagger UI. Its files come with a
//! crate and are part of the binary.

use std::sync::{Arc, LazyLock};

use axum::{
    extract::{Path, Request},
    http::header,
    response::Response,
};
use utoipa_swagger_ui::Config;

use super::{Document, HTML};
use crate::{api::COMMITTED_DESCRIPTION, http::HandlerError};

static DESCRIPTION: LazyLock<Document> = LazyLock::new(|| {
    // Anybody's page may read it: there is nothing of anybody's in it.
    Document::new("application/json", COMMITTED_DESCRIPTION)
        .with(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")
        .with(header::ACCESS_CONTROL_EXPOSE_HEADERS, "etag")
});

static PAGE: LazyLock<Document> =
    LazyLock::new(|| Document::new(HTML, include_str!("../../assets/reference.html")));

/// The files that pages name.
static ASSETS: LazyLock<Vec<(&str, Document)>> = LazyLock::new(|| {
    let css = include_str!("../../assets/pages.css");
    let script = include_str!("../../assets/reference.js");
    let mut assets = vec![
        ("pages.css", Document::new("text/css", css)),
        ("reference.js", Document::new("text/javascript", script)),
    ];
    assets.extend(packaged("swagger-ui.css", "text/css"));
    assets.extend(packaged("swagger-ui-bundle.js", "text/javascript"));
    assets
});

/// A file of Swagger UI's. Compressed when it was compiled in: all that show the page take that.
fn packaged(name: &'static str, media_type: &'static str) -> Option<(&'static str, Document)> {
    let file = utoipa_swagger_ui::serve(name, Arc::new(Config::default())).ok()??;
    let document = Document::new(media_type, file.bytes.into_owned());
    Some(if file.gzpipped {
        (name, document.with(header::CONTENT_ENCODING, "gzip"))
    } else {
        (name, document)
    })
}

/// The description as it is committed, which a test keeps the same as the code.
pub(super) async fn description(request: Request) -> Response {
    DESCRIPTION.answer_to(&request)
}

/// The reference page.
pub(super) async fn page(request: Request) -> Response {
    PAGE.answer_to(&request)
}

/// What the page is made of.
pub(super) async fn asset(
    Path(file): Path<String>,
    request: Request,
) -> Result<Response, HandlerError> {
    let found = ASSETS.iter().find(|(name, _)| *name == file);
    let (_, document) = found.ok_or_else(HandlerError::no_such_path)?;
    Ok(document.answer_to(&request))
}
