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
    Acquire,
    Heartbeat,
    Release,
    Checkout,
    ActivateOffline,
    DeactivateOffline,
    Consume,
    Jwks(OrgTag),
    StatusList(OrgTag, u32),
    Live,
    Ready,
    OpenApi,
    /// For the operator alone, where a token for it is set.
    Metrics,
    ProblemPage(&'a str),
}

impl<'a> Route<'a> {
    /// How many there are for everybody.
    #[cfg(test)]
    pub(crate) const COUNT: usize = 18;

    /// The route of a path, whatever the method.
    pub(crate) fn find(path: &'a str) -> Option<Self> {
        match path {
            "/api/v1/licenses/validate" => Some(Self::Validate),
            "/api/v1/licenses/features" => Some(Self::Features),
            "/api/v1/licenses/activate" => Some(Self::Activate),
            "/api/v1/licenses/refresh" => Some(Self::Refresh),
            "/api/v1/licenses/deactivate" => Some(Self::Deactivate),
            "/api/v1/licenses/acquire" => Some(Self::Acquire),
            "/api/v1/licenses/heartbeat" => Some(Self::Heartbeat),
            "/api/v1/licenses/release" => Some(Self::Release),
            "/api/v1/licenses/checkout" => Some(Self::Checkout),
            "/api/v1/licenses/activate-offline" => Some(Self::ActivateOffline),
            "/api/v1/licenses/deactivate-offline" => Some(Self::DeactivateOffline),
            "/api/v1/licenses/consume" => Some(Self::Consume),
            "/health/live" => Some(Self::Live),
            "/health/ready" => Some(Self::Ready),
            "/openapi.json" => Some(Self::OpenApi),
            "/metrics" => Some(Self::Metrics),
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
            Self::Validate
                | Self::Activate
                | Self::Refresh
                | Self::Deactivate
                | Self::Acquire
                | Self::Heartbeat
                | Self::Release
                | Self::Checkout
                | Self::ActivateOffline
                | Self::DeactivateOffline
                | Self::Consume
        )
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::Route;

    #[wasm_bindgen_test]
    fn paths_lead_where_they_should() {
        let org = "ABCDEFGH".parse().unwrap();
        for (path, route) in [
            ("/api/v1/licenses/validate", Route::Validate),
            ("/api/v1/orgs/ABCDEFGH/jwks.json", Route::Jwks(org)),
            (
                "/api/v1/orgs/ABCDEFGH/statuslists/0",
                Route::StatusList(org, 0),
            ),
            (
                "/api/v1/orgs/ABCDEFGH/statuslists/4294967295",
                Route::StatusList(org, u32::MAX),
            ),
            ("/problems/not-found", Route::ProblemPage("not-found")),
            ("/openapi.json", Route::OpenApi),
            ("/metrics", Route::Metrics),
        ] {
            assert_eq!(Route::find(path), Some(route), "{path}");
        }
        for path in [
            "/",
            "",
            "/api/v1/licenses/validate/",
            "/api/v1/licenses",
            "//api/v1/licenses/validate",
            "/API/v1/licenses/validate",
            "/api/v1/orgs/abcdefgh/jwks.json",
            "/api/v1/orgs/ABCDEFGH/jwks",
            "/api/v1/orgs/ABCDEFGH/statuslists/",
            "/api/v1/orgs/ABCDEFGH/statuslists/01",
            "/api/v1/orgs/ABCDEFGH/statuslists/+1",
            "/api/v1/orgs/ABCDEFGH/statuslists/4294967296",
            "/api/v1/orgs/ABCDEFGH/statuslists/0/1",
            "/api/v1/orgs//jwks.json",
            "/.licet-documents/v1/orgs/ABCDEFGH/keys",
            "/edge/v1/orgs/ABCDEFGH/keys",
        ] {
            assert_eq!(Route::find(path), None, "{path}");
        }
    }

    #[wasm_bindgen_test]
    fn each_route_takes_the_methods_it_lists() {
        for route in [
            Route::Validate,
            Route::Activate,
            Route::Checkout,
            Route::Features,
            Route::Live,
        ] {
            for method in [
                "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "get",
            ] {
                let listed = route.allowed().split(", ").any(|allowed| allowed == method);
                assert_eq!(route.takes(method), listed, "{route:?} {method}");
            }
        }
    }
}
