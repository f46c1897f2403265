//! `validate` with a token that was not seen before, of an organization whose keys are in memory:
//! only the signature's check is awaited, and that by the entry (`entry.js`).

use std::rc::Rc;

use js_sys::Promise;
use licet_shared::{
    api::ValidateRequest,
    decision::{Awaiting, LicenseToken, Verdict},
    id::OrgTag,
    time::Timestamp,
};
use worker::wasm_bindgen::{self, prelude::wasm_bindgen};

use super::{answer_text, decide_at_once};
use crate::{
    documents::Documents,
    isolate::{Arrival, Isolate},
    native_ed25519,
};

/// A request whose token's signature is being checked.
#[wasm_bindgen]
pub struct Unseen {
    asked: ValidateRequest,
    token: Awaiting<LicenseToken>,
    org: OrgTag,
    check: Promise,
}

#[wasm_bindgen]
impl Unseen {
    /// Whether the signature holds: a promise of a boolean.
    pub fn check(&self) -> Promise {
        self.check.clone()
    }

    /// The verdict as JSON, given what the check came to; none where the whole way has to be taken.
    #[must_use]
    pub fn conclude(self, holds: bool) -> Option<String> {
        self.conclude_in(&*Isolate::running()?, holds)
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

    pub(crate) fn conclude_in(self, isolate: &Isolate, holds: bool) -> Option<String> {
        // Somebody else may have been waited for: the time is another, and so may the keys be.
        let Arrival { clock, request_id } = Arrival::now();
        let now = clock.now();
        let keys = Documents::keys_at_hand(isolate, self.org, now)?;
        if keys.find(self.token.key().kid()) != Some(self.token.key()) {
            return None;
        }
        match self.token.accept(&keys, holds) {
            Ok(token) => {
                let token = Rc::new(token);
                let mut tokens = isolate.tokens.borrow_mut();
                tokens.remember(&self.asked.token, Rc::clone(&token));
                drop(tokens);
                decide_at_once(isolate, &self.asked, &token, now, request_id)
            }
            Err(code) => {
                let verdict = Verdict::refused(code);
                isolate.metrics.answered(&verdict);
                Some(answer_text(verdict, request_id))
            }
        }
    }
}
