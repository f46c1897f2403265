//! Organizations' keys, and when to ask for newer ones.

use std::rc::Rc;

use licet_shared::{decision::OriginState, documents::OrgKeys, id::OrgTag};

use super::{
    Found, Name, NamedBy, Obtained, obtain,
    renew::{Renewal, renew, wait_for_another},
};
use crate::{clock, isolate::Scope};

/// An organization's keys. Its tag stands in a text that nobody has verified yet.
pub(crate) async fn obtain_keys(scope: &Rc<Scope>, org: OrgTag) -> Obtained<OrgKeys> {
    let platform = &scope.isolate.config.platform;
    obtain(scope, Name::keys(org), platform, None, NamedBy::Stranger).await
}

/// What a look for keys newer than those at hand came to.
pub(crate) enum Newer {
    /// There are some, perhaps the same again.
    Found(Rc<OrgKeys>),
    /// The origin was asked a moment ago.
    No,
    /// The origin could not be asked, or did not send them.
    Missing,
}

/// Asks the origin for an organization's keys, unless it was asked a moment ago: then what that
/// brought is taken.
pub(crate) async fn look_for_newer(scope: &Rc<Scope>, keys: &Found<OrgKeys>) -> Newer {
    if keys.origin != OriginState::Answering {
        return Newer::Missing;
    }
    let name = Name::keys(keys.document.tag());
    let now_ms = clock::now_ms();
    if !scope
        .isolate
        .documents
        .borrow_mut()
        .may_seek_newer(name, now_ms)
    {
        // By another request, whose answer is here or on its way.
        wait_for_another(scope, name).await;
        let platform = &scope.isolate.config.platform;
        let mut memory = scope.isolate.documents.borrow_mut();
        let held = memory.look::<OrgKeys>(name, platform, scope.now());
        return match held {
            Some(held) if held.document.version() > keys.document.version() => {
                Newer::Found(held.document)
            }
            _ => Newer::No,
        };
    }
    match renew::<OrgKeys>(scope, name, &scope.isolate.config.platform, None).await {
        Renewal::Current(held) => Newer::Found(held.document),
        Renewal::Unknown => Newer::No,
        Renewal::Failed => Newer::Missing,
    }
}

/// Keys newer than those held, for a document signed by a key that is not among them.
pub(super) async fn newer(scope: &Rc<Scope>, org: OrgTag) -> Option<Rc<OrgKeys>> {
    let Obtained::Found(keys) = obtain_keys(scope, org).await else {
        return None;
    };
    match look_for_newer(scope, &keys).await {
        Newer::Found(keys) => Some(keys),
        Newer::No | Newer::Missing => None,
    }
}
