//! Answers of the account API.

use std::fmt::Display;

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::{fault::Fault, http::HandlerError};

/// What an answer holds.
enum Content {
    Nothing,
    Json(Vec<u8>),
    Lines(Body),
}

/// An answer when all is well.
pub(crate) struct Reply {
    status: StatusCode,
    body: Content,
    headers: Vec<(HeaderName, HeaderValue)>,
    etag: Option<String>,
    changing: bool,
}

impl Reply {
    const fn new(status: StatusCode, body: Content) -> Self {
        Self {
            status,
            body,
            headers: Vec::new(),
            etag: None,
            changing: false,
        }
    }

    fn json(status: StatusCode, body: &impl Serialize) -> Result<Self, HandlerError> {
        let json = serde_json::to_vec(body)
            .map_err(|error| Fault::internal("writing an answer", error))?;
        Ok(Self::new(status, Content::Json(json)))
    }

    /// 200 with a body.
    pub(crate) fn ok(body: &impl Serialize) -> Result<Self, HandlerError> {
        Self::json(StatusCode::OK, body)
    }

    /// 201 with a body.
    pub(crate) fn created(body: &impl Serialize) -> Result<Self, HandlerError> {
        Self::json(StatusCode::CREATED, body)
    }

    /// 204.
    pub(crate) fn no_content() -> Self {
        Self::new(StatusCode::NO_CONTENT, Content::Nothing)
    }

    /// 200 with lines of JSON, for a file of this name.
    pub(crate) fn lines(body: Body, file: &str) -> Self {
        Self::new(StatusCode::OK, Content::Lines(body)).header(
            header::CONTENT_DISPOSITION,
            &format!("attachment; filename=\"{file}.ndjson\""),
        )
    }

    /// With the version that `If-Match` may name.
    pub(crate) fn version(mut self, version: i32) -> Self {
        self.etag = Some(format!("\"{version}\""));
        self
    }

    /// It also shows what its version does not count, so it is sent whole each time.
    pub(crate) fn changing(mut self) -> Self {
        self.changing = true;
        self
    }

    /// With where it can be read.
    pub(crate) fn location(self, path: &str, id: impl Display) -> Self {
        self.header(header::LOCATION, &format!("{path}/{id}"))
    }

    /// Says that an earlier request with this `Idempotency-Key` had done it.
    pub(super) fn replayed(self, replayed: bool) -> Self {
        if replayed {
            self.header(HeaderName::from_static("idempotency-replayed"), "true")
        } else {
            self
        }
    }

    fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// The tag by which a caller's copy is known to be as good.
    pub(super) fn etag(&self) -> Option<&str> {
        self.etag.as_deref().filter(|_| !self.changing)
    }

    /// The same as 304.
    pub(super) fn not_modified(self) -> Response {
        Self {
            status: StatusCode::NOT_MODIFIED,
            body: Content::Nothing,
            ..self
        }
        .into_response()
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let Self {
            status,
            body,
            headers,
            etag,
            changing: _,
        } = self;
        let (body, media_type) = match body {
            Content::Nothing => (Body::empty(), None),
            Content::Json(json) => (Body::from(json), Some("application/json")),
            Content::Lines(lines) => (lines, Some("application/x-ndjson")),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let all = response.headers_mut();
        if let Some(media_type) = media_type {
            all.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        }
        // It is one caller's: nothing on the way may keep it.
        all.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-store"),
        );
        all.extend(headers);
        if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(&etag).ok()) {
            all.insert(header::ETAG, etag);
        }
        response
    }
}
