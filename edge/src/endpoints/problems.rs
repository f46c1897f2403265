//! `GET /problems/{code}`: the page that a problem's `type` points to.

use licet_shared::problem::ProblemCode;

use crate::http::{Answer, Fault, answer};

/// What the code means and what to do.
///
/// # Errors
/// 404 for a code there is not.
pub(crate) fn page(name: &str) -> Result<Answer, Fault> {
    let code = ProblemCode::of_page(name)
        .ok_or_else(|| Fault::not_found("There is no problem of this name."))?;
    Ok(
        Answer::new(200, answer::TEXT, code.explanation().into_bytes())
            .cache_control("public, max-age=3600"),
    )
}
