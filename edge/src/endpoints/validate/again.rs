//! `validate` with a body that was sent before: the entry (`entry.js`) knows it by its text, and has kept its
//! answer up to the part that differs each time. What it asks is not read again; it is decided anew.

use std::rc::{Rc, Weak};

use licet_shared::{
    api::ValidateRequest,
    decision::{Code, LicenseToken, Ruling, Verdict, rule},
    documents::{FeatureSet, LicenseState},
};

use super::{context, documents_at_hand, grace_may_apply};
use crate::{
    documents::Documents,
    generations::Generations,
    isolate::{Arrival, Isolate},
};

/// Bytes of memory for all that is kept.
const BUDGET_BYTES: usize = 5 * 512 * 1024;
/// What one takes besides texts: its struct, and what is left of a token and documents that are gone.
const ENTRY_BYTES: usize = 1024;

/// A request that was answered from memory.
#[derive(Debug)]
pub(crate) struct Answered {
    /// But for the token's text.
    asked: ValidateRequest,
    /// Gone once the memory of tokens has forgotten it.
    token: Weak<LicenseToken>,
    said: Said,
}

/// Under which ticket a request may be kept, and how long its body is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) ticket: u64,
    pub(super) body_bytes: usize,
}

/// All that the part of an answer depends on that the entry keeps, beside the token.
#[derive(Debug)]
struct Said {
    code: Code,
    expired: bool,
    license: Option<Weak<LicenseState>>,
    features: Option<Weak<FeatureSet>>,
}

impl Said {
    fn is_still_so(&self, ruling: &Ruling, documents: &Documents) -> bool {
        self.code == ruling.code
            && self.expired == ruling.expired
            && is_same(self.license.as_ref(), documents.license())
            && is_same(self.features.as_ref(), documents.features())
    }
}

/// Whether it is the very document: what is only alike may say something else.
fn is_same<D>(then: Option<&Weak<D>>, now: Option<&Rc<D>>) -> bool {
    then.map(Weak::as_ptr) == now.map(Rc::as_ptr)
}

/// The requests that were answered from memory, by the tickets that the entry gave them.
#[derive(Debug)]
pub(crate) struct AnsweredRequests(Generations<u64, Rc<Answered>>);

impl AnsweredRequests {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self(Generations::new(BUDGET_BYTES))
    }

    /// Whether there is one of this ticket.
    pub(crate) fn has(&mut self, ticket: u64) -> bool {
        self.0.get_mut(&ticket).is_some()
    }

    /// Keeps a request, unless its answer has parts that change with time and are not at its end.
    pub(super) fn keep(
        &mut self,
        place: Place,
        mut asked: ValidateRequest,
        token: &Rc<LicenseToken>,
        verdict: &Verdict<'_>,
        documents: &Documents,
    ) {
        if asked.lease.is_some() || verdict.lease.is_some() || verdict.quotas.is_some() {
            return;
        }
        let rest_bytes = place.body_bytes.saturating_sub(asked.token.len());
        asked.token = String::new();
        let token = Rc::downgrade(token);
        let said = Said {
            code: verdict.code,
            expired: verdict.expired,
            license: documents.license().map(Rc::downgrade),
            features: documents.features().map(Rc::downgrade),
        };
        let answered = Answered { asked, token, said };
        self.0
            .insert(place.ticket, Rc::new(answered), ENTRY_BYTES + rest_bytes);
    }
}

/// The end of the answer to a request that was answered before, if it begins as it did then, and memory has
/// all that there is to know; else it has to be read again.
pub(crate) fn answer(isolate: &Isolate, ticket: u64) -> Option<String> {
    let answered = isolate.answered.borrow_mut().0.get(&ticket)?;
    let Answered { asked, token, said } = &*answered;
    let token = &*token.upgrade()?;
    let Arrival { clock, request_id } = Arrival::now();
    let now = clock.now();
    isolate.flood.recalled(now);
    let documents = documents_at_hand(isolate, asked, token, now)?;
    let ruling = rule(token, &context(asked, &None), &documents.state(), now);
    if grace_may_apply(isolate, token, &documents, ruling.code, now)
        || !said.is_still_so(&ruling, &documents)
    {
        return None;
    }
    isolate
        .metrics
        .answered_with(ruling.code, Some(&ruling.freshness));
    Some(licet_edge_hot::write_end(&ruling, request_id))
}
