//! `GET /problems/{code}`: the page that a problem's `type` points to.

use licet_shared::problem::ProblemCode;

use crate::http::{Answer, Fault, answer};

/// What the code means and what to do.
///
/// # Errors
/// 404 for a code there is not.
pub(crate) fn page(name: &str) -> Result<Answer, Fault> {
    let code = ProblemCode::ALL
        .iter()
        .find(|code| code.as_str().to_ascii_lowercase().replace('_', "-") == name)
        .ok_or_else(|| Fault::not_found("There is no problem of this name."))?;
    let text = format!(
        "{}\nHTTP status {}\n\n{}.\n\n{}\n",
        code.as_str(),
        code.status(),
        code.title(),
        advice(*code)
    );
    Ok(Answer::new(200, answer::TEXT, text.into_bytes()).cache_control("public, max-age=3600"))
}

const fn advice(code: ProblemCode) -> &'static str {
    match code {
        ProblemCode::BadRequest => {
            "The detail names the field or header. Mend it; the same request will fail again."
        }
        ProblemCode::Unauthorized => {
            "Send the license token that activation gave: Authorization: Bearer <token>."
        }
        ProblemCode::NotFound => "Check the path, or the name in it.",
        ProblemCode::MethodNotAllowed => "The Allow header lists the methods that this path takes.",
        ProblemCode::IdempotencyInFlight => {
            "Wait a moment, then send the same request with the same key to get its answer."
        }
        ProblemCode::BodyTooLarge => "A body may have at most 65536 bytes.",
        ProblemCode::UnsupportedMediaType => "Send JSON, with Content-Type: application/json.",
        ProblemCode::LicenseKeyMalformed => {
            "The license key has a typo. The detail says what is wrong; ask the person to look again."
        }
        ProblemCode::IdempotencyKeyReused => {
            "Use a new key for a new request. The same key is for repeating the same one."
        }
        ProblemCode::InvalidCredentials => {
            "E-mail or password is wrong, or the organization does not know this e-mail. Nobody is told which."
        }
        ProblemCode::Forbidden => {
            "The detail names the permission. Ask an owner of the organization for it."
        }
        ProblemCode::QuotaExceeded => {
            "Remove what is no longer needed, or change the organization's plan."
        }
        ProblemCode::Conflict => {
            "The detail says what it clashes with. Choose another name, or change that first."
        }
        ProblemCode::PreconditionFailed => {
            "Read it again, apply your change to what it is now, and send its new ETag."
        }
        ProblemCode::PasswordRefused => {
            "The detail says why. Several unrelated words make a good password."
        }
        ProblemCode::RateLimited => "Wait for as many seconds as Retry-After says.",
        ProblemCode::OriginError | ProblemCode::Internal => {
            "The fault is ours. Report the request id; try again later."
        }
        ProblemCode::OriginUnreachable => {
            "Wait for as many seconds as Retry-After says, then send the same request with the same idempotency key."
        }
        ProblemCode::Unavailable => "Wait for as many seconds as Retry-After says, then try again.",
        _ => "Report the request id.",
    }
}
