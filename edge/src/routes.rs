//! Which endpoint answers which path and method.

use licet_shared::id::OrgTag;

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    Validate,
    Features,
    Activate,
    Refresh,
    Deactivate,
    Jwks(OrgTag),
    StatusList(OrgTag, u32),
    Live,
    Ready,
    OpenApi,
    ProblemPage(&'a str),
}

impl<'a> Route<'a> {
    /// The route of a path, whatever the method.
    pub(crate) fn find(path: &'a str) -> Option<Self> {
        match path {
            "/api/v1/licenses/validate" => Some(Self::Validate),
            "/api/v1/licenses/features" => Some(Self::Features),
            "/api/v1/licenses/activate" => Some(Self::Activate),
            "/api/v1/licenses/refresh" => Some(Self::Refresh),
            "/api/v1/licenses/deactivate" => Some(Self::Deactivate),
            "/health/live" => Some(Self::Live),
            "/health/ready" => Some(Self::Ready),
            "/openapi.json" => Some(Self::OpenApi),
            _ => match path.strip_prefix("/api/v1/orgs/") {
                Some(rest) => Self::of_org(rest),
                None => path.strip_prefix("/problems/").map(Self::ProblemPage),
            },
        }
    }

    fn of_org(rest: &str) -> Option<Self> {
        let (tag, document) = rest.split_once('/')?;
        let org = tag.parse().ok()?;
        match document.split_once('/') {
            None if document == "jwks.json" => Some(Self::Jwks(org)),
            Some(("statuslists", number)) => {
                let list = number.parse::<u32>().ok()?;
                // One spelling each, as in the tokens that refer to them.
                (list.to_string() == number).then_some(Self::StatusList(org, list))
            }
            _ => None,
        }
    }

    /// The methods it takes, as `Allow` lists them.
    pub(crate) const fn allowed(self) -> &'static str {
        if self.is_read() {
            "GET, HEAD, OPTIONS"
        } else {
            "POST, OPTIONS"
        }
    }

    /// Whether it takes `method`, `OPTIONS` aside.
    pub(crate) fn takes(self, method: &str) -> bool {
        if self.is_read() {
            matches!(method, "GET" | "HEAD")
        } else {
            method == "POST"
        }
    }

    const fn is_read(self) -> bool {
        !matches!(
            self,
            Self::Validate | Self::Activate | Self::Refresh | Self::Deactivate
        )
    }
}
