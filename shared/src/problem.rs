//! Problem details (RFC 9457) for requests that could not be answered.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Unexpected},
};

/// Media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $title:literal, $advice:literal;)*) => {
        /// Every kind of problem, with its HTTP status.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ProblemCode {
            $($(#[$doc])* $name,)*
        }

        impl ProblemCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code as it stands in answers.
            // Not inlined: its texts would be in a program twice.
            #[inline(never)]
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// The HTTP status it is sent with.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status),* }
            }

            /// The same sentence for every occurrence.
            // Not inlined: its texts would be in a program twice.
            #[inline(never)]
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title),* }
            }

            /// What whoever gets it can do, for the page that documents it.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice),* }
            }
        }
    };
}

impl ProblemCode {
    /// Its page as plain text.
    #[must_use]
    pub fn explanation(self) -> String {
        let (name, status) = (self.as_str(), self.status());
        let (title, advice) = (self.title(), self.advice());
        format!("{name}\nHTTP status {status}\n\n{title}.\n\n{advice}\n")
    }

    /// The last part of the path of its page: `not-found`.
    #[must_use]
    pub fn page(self) -> String {
        self.as_str().to_ascii_lowercase().replace('_', "-")
    }

    /// The code whose page this is.
    #[must_use]
    pub fn of_page(page: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.page() == page)
    }
}

// By hand: a derived one would have the texts a second time.
impl Serialize for ProblemCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

// By hand, likewise.
impl<'de> Deserialize<'de> for ProblemCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = Self::ALL.iter().find(|code| code.as_str() == text);
        let unknown = || D::Error::invalid_value(Unexpected::Str(&text), &"a problem's code");
        known.copied().ok_or_else(unknown)
    }
}

// By hand: a derived one does not see the codes' texts behind the macro.
#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for ProblemCode {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::Type::String)
            .description(Some("Every kind of problem."))
            .enum_values(Some(Self::ALL.iter().map(|code| code.as_str())))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for ProblemCode {}

problems! {
    /// The body is not JSON, or has an unknown, missing, mistyped or overlong field.
    BadRequest = "BAD_REQUEST", 400, "The request can't be understood",
        "The detail names the field, parameter or header. Mend it; the same request will fail again.";
    /// No bearer token, or none that may do this.
    Unauthorized = "UNAUTHORIZED", 401, "A valid token is needed",
        "Send a token that is in force, as Authorization: Bearer followed by it: from a product the license token that activation gave, to the account API an access token or an API key. Log in or refresh for a new access token.";
    /// E-mail or password is wrong; which, is not told.
    InvalidCredentials = "INVALID_CREDENTIALS", 401, "E-mail or password is wrong",
        "E-mail or password is wrong, or the organization does not know this e-mail. Nobody is told which.";
    /// Known, but without the permission.
    Forbidden = "FORBIDDEN", 403, "You may not do this",
        "The detail names the permission. Ask an owner of the organization for it.";
    /// The organization's plan allows no more of these.
    QuotaExceeded = "QUOTA_EXCEEDED", 403, "The plan allows no more",
        "Remove what is no longer needed, or change the organization's plan.";
    /// No such path or document.
    NotFound = "NOT_FOUND", 404, "There is nothing here",
        "Check the path, and the name or id in it. What belongs to another organization is as little there as what does not exist.";
    /// The path exists, the method does not.
    MethodNotAllowed = "METHOD_NOT_ALLOWED", 405, "This method is not allowed here",
        "The Allow header lists the methods that this path takes.";
    /// The body did not come in time.
    RequestTimeout = "REQUEST_TIMEOUT", 408, "The request took too long to arrive",
        "Send the same request again, over a connection that carries the whole body within the time.";
    /// It clashes with how things stand: a name is taken, or the state does not allow it.
    Conflict = "CONFLICT", 409, "This clashes with how things stand",
        "The detail says what it clashes with. Choose another name, or change that first.";
    /// Another request with the same `Idempotency-Key` is still at work.
    IdempotencyInFlight = "IDEMPOTENCY_IN_FLIGHT", 409, "The same request is still being answered",
        "Wait a moment, then send the same request with the same key to get its answer.";
    /// The `If-Match` names another version.
    PreconditionFailed = "PRECONDITION_FAILED", 412, "It has been changed meanwhile",
        "Read it again, apply your change to what it is now, and send its new ETag.";
    /// The body is over its limit.
    BodyTooLarge = "BODY_TOO_LARGE", 413, "The body is too large",
        "A body may have at most 65536 bytes.";
    /// The body is not declared as JSON.
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", 415, "The body must be application/json",
        "Send JSON, with Content-Type: application/json.";
    /// The license key has a typo.
    LicenseKeyMalformed = "LICENSE_KEY_MALFORMED", 422, "This is not a license key",
        "The license key has a typo. The detail says what is wrong; ask the person to look again.";
    /// The password is too short, too long or too common.
    PasswordRefused = "PASSWORD_REFUSED", 422, "Choose another password",
        "The detail says why. Several unrelated words make a good password.";
    /// The `Idempotency-Key` was used for another request.
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", 422, "This idempotency key belongs to another request",
        "Use a new key for a new request. The same key is for repeating the same one.";
    /// Too many requests.
    RateLimited = "RATE_LIMITED", 429, "Too many requests",
        "Wait for as many seconds as Retry-After says.";
    /// The fault is ours.
    Internal = "INTERNAL", 500, "Something went wrong on our side",
        "The fault is ours. Report the request id; try again later.";
    /// The origin answered the edge with something that can't be used.
    OriginError = "ORIGIN_ERROR", 502, "The origin gave no usable answer",
        "The fault is ours. Report the request id; try again later.";
    /// The origin did not answer the edge.
    OriginUnreachable = "ORIGIN_UNREACHABLE", 503, "The origin can't be reached",
        "Wait for as many seconds as Retry-After says, then send the same request with the same idempotency key.";
    /// The service is starting, stopping or overloaded.
    Unavailable = "UNAVAILABLE", 503, "The service is busy",
        "Wait for as many seconds as Retry-After says, then try again.";
}

/// A problem body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// Path of the page that documents the code.
    #[serde(rename = "type")]
    pub type_: String,
    /// The same sentence for every occurrence.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened here, and what to do. Never a cause of our own making.
    pub detail: String,
    /// The code.
    pub code: ProblemCode,
    /// Names the request in logs.
    pub request_id: String,
}

impl Problem {
    /// A problem with what happened and what to do about it.
    #[must_use]
    pub fn new(
        code: ProblemCode,
        detail: impl Into<String>,
        request_id: impl Into<String>,
    ) -> Self {
        Self {
            type_: format!("/problems/{}", code.page()),
            title: code.title().into(),
            status: code.status(),
            detail: detail.into(),
            code,
            request_id: request_id.into(),
        }
    }
}
