//! `validate` with a token that was not seen before, of an organization whose keys are in memory:
//! only the signature's check is awaited, and that by the entry (`entry.js`).

use std::{collections::HashMap, fmt, rc::Rc};

use js_sys::Promise;
use licet_shared::{
    api::ValidateRequest,
    decision::{Awaiting, LicenseToken, Verdict},
    id::OrgTag,
    time::Timestamp,
};

use super::{answer_text, decide_at_once};
use crate::{
    documents::Documents,
    isolate::{Arrival, Isolate},
    native_ed25519,
};

/// Checks that may be under way at a time; what is more takes the whole way. Each has a request, of
/// 64 KiB at most.
const PLACES: u64 = 64;

/// A request whose token's signature is being checked.
pub(crate) struct Unseen {
    asked: ValidateRequest,
    token: Awaiting<LicenseToken>,
    org: OrgTag,
    check: Promise,
}

impl fmt::Debug for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unseen({})", self.org)
    }
}

/// The requests whose check is under way, by the tickets that the entry gave them. Those that nobody
/// comes back for, as their clients are gone, make room for others.
#[derive(Debug, Default)]
pub(crate) struct Waiting(HashMap<u64, (u64, Box<Unseen>)>);

impl Waiting {
    /// Keeps a request until its ticket is shown.
    pub(crate) fn keep(&mut self, ticket: u64, unseen: Box<Unseen>) {
        self.0.insert(ticket % PLACES, (ticket, unseen));
    }

    /// The request of a ticket, once.
    pub(crate) fn take(&mut self, ticket: u64) -> Option<Box<Unseen>> {
        let place = ticket % PLACES;
        match self.0.get(&place) {
            Some((kept, _)) if *kept == ticket => self.0.remove(&place).map(|(_, unseen)| unseen),
            _ => None,
        }
    }
}

impl Unseen {
    /// Begins the check, if memory has what that takes; else the whole way has to be taken.
    pub(super) fn begin(isolate: &Isolate, asked: ValidateRequest, now: Timestamp) -> Option<Self> {
        let token = licet_edge_hot::read_token(&asked.token, now).ok()?;
        let org = token.org_tag().ok()?;
        let keys = Documents::keys_at_hand(isolate, org, now)?;
        let key = token.key(&keys).ok()?;
        let check = native_ed25519::begin(key, token.signature(), token.signed_bytes())?;
        let token = token.awaiting(&keys).ok()?;
        Some(Self {
            asked,
            token,
            org,
            check,
        })
    }

    /// Whether the signature holds: a promise of a boolean.
    pub(crate) fn check(&self) -> &Promise {
        &self.check
    }

    /// The verdict as JSON, given what the check came to; none where the whole way has to be taken.
    pub(crate) fn conclude(self, isolate: &Isolate, holds: bool) -> Option<String> {
        // Somebody else may have been waited for: the time is another, and so may the keys be.
        let Arrival { clock, request_id } = Arrival::now();
        let now = clock.now();
        let keys = Documents::keys_at_hand(isolate, self.org, now)?;
        if keys.find(self.token.key().kid()) != Some(self.token.key()) {
            return None;
        }
        isolate.flood.checked(holds, now);
        match self.token.accept(&keys, holds) {
            Ok(token) => {
                let token = Rc::new(token);
                let mut tokens = isolate.tokens.borrow_mut();
                tokens.remember(&self.asked.token, Rc::clone(&token));
                drop(tokens);
                decide_at_once(isolate, self.asked, &token, None, now, request_id)
            }
            Err(code) => {
                let verdict = Verdict::refused(code);
                isolate.metrics.answered(&verdict);
                Some(answer_text(verdict, request_id))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use licet_shared::api;
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::{PLACES, Unseen, Waiting};
    use crate::{
        documents::Documents,
        testing::{Org, World},
    };

    #[wasm_bindgen_test]
    async fn a_ticket_is_good_once_and_old_ones_make_room() {
        let org = Org::default();
        let world = World::new(&org);
        let text = org.token(86_400);
        let scope = world.scope();
        crate::recognise::recognise::<licet_shared::decision::LicenseToken>(&scope, &text)
            .await
            .unwrap();
        assert!(Documents::keys_at_hand(&scope.isolate, Org::tag(), scope.now()).is_some());
        let begin = || {
            let body = serde_json::json!({"token": text, "product": "local_cli"}).to_string();
            let asked = api::parse(body.as_bytes()).unwrap();
            Box::new(Unseen::begin(&scope.isolate, asked, scope.now()).unwrap())
        };
        let mut waiting = Waiting::default();
        waiting.keep(1, begin());
        waiting.keep(2, begin());
        waiting.keep(2 + PLACES, begin());
        assert!(waiting.take(1).is_some());
        assert!(waiting.take(1).is_none(), "once");
        assert!(waiting.take(2).is_none(), "another has its place");
        assert!(waiting.take(2 + PLACES).is_some());
    }
}
