//! `GET /metrics`: what this isolate has counted, for who has the token that is set for it.

use std::rc::Rc;

use licet_shared::time::Timestamp;

use crate::{
    config::ConfigError,
    http::{Answer, Fault, Incoming},
    isolate::Isolate,
};

const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether there is such a path here: not where no token is set.
pub(crate) fn is_there(isolate: &Result<Rc<Isolate>, ConfigError>) -> bool {
    isolate
        .as_ref()
        .is_ok_and(|isolate| isolate.config.metrics_token.is_some())
}

/// Answers in the text format of Prometheus.
///
/// # Errors
/// 401 without the token.
pub(crate) fn handle(
    isolate: &Isolate,
    request: &Incoming,
    now: Timestamp,
) -> Result<Answer, Fault> {
    let shown = request.bearer().map_err(|_| Fault::no_metrics_token())?;
    let token = isolate.config.metrics_token.as_ref();
    if !token.is_some_and(|token| token.is(&shown)) {
        return Err(Fault::no_metrics_token());
    }
    let as_of = isolate.documents.borrow().told.as_of();
    let text = isolate.metrics.text(as_of.map(|as_of| now.since(as_of)));
    Ok(Answer::new(200, MEDIA_TYPE, text.into_bytes()).cache_control("no-store"))
}
