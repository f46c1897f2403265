//! What is learnt of a request while it is answered, for its log line and its problem body.

use std::sync::{Arc, OnceLock};

use licet_shared::id::RequestId;

use super::Unauthorized;
use crate::random::RowId;

/// Shared between the frame around all handlers and whoever authenticates the request.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestFacts(Arc<Facts>);

#[derive(Debug, Default)]
struct Facts {
    id: OnceLock<String>,
    edge: OnceLock<String>,
    caller: OnceLock<String>,
    unauthorized: OnceLock<Unauthorized>,
}

impl RequestFacts {
    /// The request's id: the edge's if it is authenticated and gave one, else one of our own.
    pub(crate) fn id(&self) -> &str {
        self.0.id.get_or_init(|| {
            // Without randomness little else will work, but that must still be told.
            RequestId::generate().map_or_else(|_| "unnamed".into(), |id| id.to_string())
        })
    }

    /// Notes who calls, and the id that they gave the request.
    pub(super) fn authenticated(&self, edge: &str, given_id: Option<&str>) {
        // Set once: whoever comes second has nothing new to say.
        let _ = self.0.edge.set(edge.to_owned());
        if let Some(id) = given_id.filter(|id| is_sound(id)) {
            let _ = self.0.id.set(id.to_owned());
        }
    }

    /// Notes which person or API key calls, by their id.
    pub(crate) fn called_by(&self, caller: &str) {
        let _ = self.0.caller.set(caller.to_owned());
    }

    /// The person or API key that calls, once it is known.
    pub(super) fn caller(&self) -> Option<&str> {
        self.0.caller.get().map(String::as_str)
    }

    /// Notes why the call is not an edge's.
    pub(super) fn unauthorized(&self, why: Unauthorized) {
        let _ = self.0.unauthorized.set(why);
    }

    /// Why the call is not an edge's, if it is not.
    pub(super) fn why_unauthorized(&self) -> Option<Unauthorized> {
        self.0.unauthorized.get().copied()
    }

    /// The edge that calls, once it is known.
    pub(super) fn edge(&self) -> Option<&str> {
        self.0.edge.get().map(String::as_str)
    }
}

/// Short, and nothing that could break out of a log line.
fn is_sound(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sound_id_is_taken_over_and_only_with_its_edge() {
        let facts = RequestFacts::default();
        assert!(facts.id().starts_with("req_"));
        assert_eq!(facts.id(), facts.id());

        let facts = RequestFacts::default();
        facts.authenticated("edge.1", Some("abc-123"));
        assert_eq!((facts.id(), facts.edge()), ("abc-123", Some("edge.1")));

        for bad in ["", "a b", "a\"b", "é", &"x".repeat(65)] {
            let facts = RequestFacts::default();
            facts.authenticated("edge.1", Some(bad));
            assert!(facts.id().starts_with("req_"), "{bad}");
        }
    }
}
