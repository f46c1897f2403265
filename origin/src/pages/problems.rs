//! `GET /problems/{code}`: what the `type` of a problem leads to.

use std::fmt::Write as _;

use axum::{
    extract::{Path, Request},
    http::{HeaderMap, header},
    response::Response,
};
use licet_shared::problem::ProblemCode;

use super::{Document, HTML, TEXT};
use crate::http::HandlerError;

/// The page of one code.
pub(super) async fn page(
    Path(page): Path<String>,
    request: Request,
) -> Result<Response, HandlerError> {
    let code = ProblemCode::of_page(&page).ok_or_else(HandlerError::no_such_path)?;
    let content = format!(
        "<h1><code>{name}</code></h1>\n<p>{title}.</p>\n<dl>\n<dt>HTTP status</dt>\n<dd>{status}</dd>\n\
         <dt>What to do</dt>\n<dd>{advice}</dd>\n</dl>\n\
         <p><a href=\"/problems\">All problems</a> · <a href=\"/docs\">API reference</a></p>\n",
        name = code.as_str(),
        title = escape(code.title()),
        status = code.status(),
        advice = escape(code.advice()),
    );
    Ok(answer(&request, code.as_str(), &content, || {
        code.explanation()
    }))
}

/// All of them.
pub(super) async fn list(request: Request) -> Response {
    let mut rows = String::new();
    let mut lines = String::new();
    for code in ProblemCode::ALL {
        let (name, status, page) = (code.as_str(), code.status(), code.page());
        let title = escape(code.title());
        // Writing to a string can't fail.
        let _ = writeln!(
            rows,
            "<tr><td>{status}</td><td><a href=\"/problems/{page}\"><code>{name}</code></a></td><td>{title}.</td></tr>"
        );
        let _ = writeln!(lines, "{status} {name}: {}.", code.title());
    }
    let content = format!(
        "<h1>Problems</h1>\n<p>Why a request was not answered (RFC 9457), by its <code>code</code>.</p>\n\
         <table>\n<thead><tr><th>Status</th><th>Code</th><th>Meaning</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n\
         <p><a href=\"/docs\">API reference</a></p>\n"
    );
    answer(&request, "Problems", &content, || lines)
}

/// HTML for browsers, text for whoever asks from a terminal.
fn answer(
    request: &Request,
    title: &str,
    content: &str,
    text: impl FnOnce() -> String,
) -> Response {
    let document = if wants_html(request.headers()) {
        Document::new(HTML, frame(title, content))
    } else {
        Document::new(TEXT, text())
    };
    document.with(header::VARY, "Accept").answer_to(request)
}

fn wants_html(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(header::ACCEPT).iter();
    accepted.any(|value| {
        value
            .to_str()
            .is_ok_and(|value| value.contains("text/html"))
    })
}

fn frame(title: &str, content: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} · Licet</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         <link rel=\"stylesheet\" href=\"/docs/pages.css\">\n</head>\n<body>\n<main>\n{content}</main>\n</body>\n</html>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
