//! Documents asked for beside the keys that vouch for them: where no isolate here has heard of an organization, a first
//! verdict takes one way to the origin and back, not two.
//!
//! Only a token that nobody has verified yet names them. So what comes waits with the request until it would have
//! been asked for, and is verified as ever; and nothing is asked for ahead while names are being tried in vain.

use std::{
    cell::{RefCell, RefMut},
    rc::Rc,
};

use futures_util::future::join;
use licet_shared::{
    decision::{LicenseToken, Presented},
    documents::{FeatureSet, OrgKeys, StatusDocument},
};

use super::{Document, Memory, Name, Part, renew::may_renew};
use crate::{
    clock,
    isolate::Scope,
    origin::{self, Call, Reply},
};

/// What a request will want once it has the keys, and what of it has come.
#[derive(Debug, Default)]
pub(crate) struct Ahead(RefCell<Vec<(Name, Option<Reply>)>>);

impl Ahead {
    /// Notes what the token names, for the case that its organization's keys have to be asked for.
    pub(crate) fn want(scope: &Scope, token: &Presented<'_, LicenseToken>) {
        let issuer = &scope.isolate.config.platform.issuer;
        if let Some((org, list, set)) = token.names(issuer) {
            let names = [Name::status_list(org, list), Name::features(org, set)];
            *scope.ahead.0.borrow_mut() = names.map(|name| (name, None)).into();
        }
    }

    /// Whether the document has come.
    pub(super) fn has(&self, name: Name) -> bool {
        let documents = self.0.borrow();
        (documents.iter()).any(|(its, reply)| *its == name && reply.is_some())
    }

    /// Hands out what has come, once.
    pub(super) fn take(&self, name: Name) -> Option<Reply> {
        self.place(name)?.take()
    }

    /// Lets other requests ask for what this one has not come to use.
    pub(crate) fn give_up(&self, memory: &mut Memory) {
        for (name, reply) in self.0.take() {
            if reply.is_some() {
                memory.end_renewal(name);
            }
        }
    }

    fn place(&self, name: Name) -> Option<RefMut<'_, Option<Reply>>> {
        RefMut::filter_map(self.0.borrow_mut(), |documents| {
            let its = documents.iter_mut().find(|(its, _)| *its == name);
            its.map(|(_, reply)| reply)
        })
        .ok()
    }
}

/// Asks for the rest of what the request wants, where it asks in the name of all isolates for keys that none of them has.
pub(super) async fn ask(scope: &Rc<Scope>, keys: Name) {
    if keys.part != Part::Keys || !scope.claims.has_any_of(keys.org) {
        return;
    }
    let isolate = &scope.isolate;
    let is_known = isolate.documents.borrow_mut().holds::<OrgKeys>(keys);
    if is_known || !isolate.strangers.is_plentiful() {
        return;
    }
    let names: Vec<_> = (scope.ahead.0.borrow().iter().map(|(name, _)| *name)).collect();
    if let [list, set] = names[..] {
        let list = ask_for::<StatusDocument>(scope, list);
        join(list, ask_for::<FeatureSet>(scope, set)).await;
    }
}

async fn ask_for<D: Document>(scope: &Rc<Scope>, name: Name) {
    let (isolate, now_ms) = (&scope.isolate, clock::now_ms());
    if isolate.documents.borrow_mut().holds::<D>(name) || !may_renew(isolate, name, now_ms) {
        return;
    }
    isolate.documents.borrow_mut().begin_renewal(name, now_ms);
    let path = name.origin_path();
    let call = Call {
        method: "GET",
        path: &path,
        max_answer_bytes: D::MAX_BYTES,
        ..Call::default()
    };
    match (origin::call(scope, call).await, scope.ahead.place(name)) {
        (Ok(reply), Some(mut place)) if reply.status == 200 => *place = Some(reply),
        // Whatever it says, it will be asked again in its turn.
        _ => isolate.documents.borrow_mut().end_renewal(name),
    }
}
