//! Operations that will go: `Deprecation` (RFC 9745) and `Sunset` (RFC 8594) on every answer, and
//! the same in the description.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use licet_shared::time::Timestamp;

/// Since when an operation should not be used any more, and until when it can be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deprecation {
    pub(super) since: Timestamp,
    /// From then on it may be gone.
    pub(super) sunset: Option<Timestamp>,
    /// The id of the operation to use instead.
    pub(super) successor: &'static str,
}

impl Deprecation {
    /// For people.
    pub(super) fn explanation(&self) -> String {
        let end = self.sunset.map_or_else(String::new, |sunset| {
            format!(" It may be gone from {sunset} on.")
        });
        let Self {
            since, successor, ..
        } = self;
        format!("Deprecated since {since}: use `{successor}` instead.{end}")
    }

    /// For the programs that still call it.
    pub(super) fn announce(&self, headers: &mut HeaderMap) {
        let values = [
            (
                HeaderName::from_static("deprecation"),
                Some(format!("@{}", self.since.unix())),
            ),
            (
                HeaderName::from_static("sunset"),
                self.sunset.map(Timestamp::http_date),
            ),
            (
                header::LINK,
                Some("</docs>; rel=\"deprecation\"; type=\"text/html\"".to_owned()),
            ),
        ];
        for (name, value) in values {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
                headers.append(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use tower::ServiceExt;

    use super::*;
    use crate::{
        api::{Operation, Reply, description, operation::Verb, router},
        http::{AppState, StateSettings},
    };

    const OLD: &str = "/api/v1/tests/old";
    const NEW: &str = "/api/v1/tests/new";

    /// Two operations of no other use, the first of which is to go.
    fn operations() -> Vec<Operation> {
        let empty = |path| {
            Operation::open(Verb::Get, path, |_| {
                Box::pin(async { Ok(Reply::no_content()) })
            })
        };
        vec![
            empty(OLD).named("old", "Old").deprecated(Deprecation {
                since: Timestamp::from_unix(1_688_169_599),
                sunset: Some(Timestamp::from_unix(1_719_791_999)),
                successor: "new",
            }),
            empty(NEW).named("new", "New"),
        ]
    }

    #[tokio::test]
    async fn a_deprecated_operation_says_so_with_each_answer() {
        let app = router(operations()).with_state(AppState::unreachable(StateSettings::default()));
        // Answers and refusals alike.
        for (target, status) in [(OLD.to_owned(), 204), (format!("{OLD}?no=1"), 400)] {
            let request = Request::get(target).body(Body::empty()).unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status().as_u16(), status);
            let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
            assert_eq!(header("deprecation"), "@1688169599");
            assert_eq!(header("sunset"), "Sun, 30 Jun 2024 23:59:59 GMT");
            assert!(header("link").contains("rel=\"deprecation\""));
        }
        let request = Request::get(NEW).body(Body::empty()).unwrap();
        let response = app.oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), 204);
        for name in ["deprecation", "sunset", "link"] {
            assert!(!response.headers().contains_key(name), "{name}");
        }
    }

    #[test]
    fn the_description_says_so_too() {
        let described = serde_json::to_value(description::describe_all(&operations())).unwrap();
        let old = &described["paths"][OLD]["get"];
        assert_eq!(old["deprecated"], true);
        let text = old["description"].as_str().unwrap();
        assert!(text.starts_with("Deprecated since 2023-06-30T23:59:59Z: use `new`"));
        assert!(text.contains("2024-06-30T23:59:59Z"));
        for header in ["Deprecation", "Sunset"] {
            assert!(old["responses"]["204"]["headers"][header].is_object());
            assert!(old["responses"]["400"]["headers"][header].is_object());
        }
        let new = &described["paths"][NEW]["get"];
        assert!(new["deprecated"].is_null() && new["responses"]["204"]["headers"].is_null());
    }
}
