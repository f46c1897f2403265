//! From a text to a license token or lease whose signature holds.

use std::{cell::RefCell, rc::Rc};

use licet_shared::{
    decision::{Code, LeaseToken, LicenseToken, OrgToken, Presented},
    documents::OrgKeys,
};

use crate::{
    bindings,
    documents::{
        Found, Obtained,
        keys::{Newer, look_for_newer, obtain_keys},
    },
    flood,
    http::Fault,
    isolate::{Isolate, Scope},
    native_ed25519,
    verified_tokens::{Remembered, VerifiedTokens},
};

/// What a text turned out to be.
#[derive(Debug)]
pub(crate) enum Recognised<T> {
    /// A token, and the keys that vouch for it.
    Token(Rc<T>, Found<OrgKeys>),
    /// Nothing to be believed: `MALFORMED`, `UNKNOWN_KEY` or `SIGNATURE_INVALID`.
    Refused(Code),
}

/// A kind of token that is remembered once its signature has been checked.
pub(crate) trait Recognisable: OrgToken + Remembered {
    /// Those that were checked here before.
    fn remembered(isolate: &Isolate) -> &RefCell<VerifiedTokens<Self>>;

    /// Whether these keys still vouch for it.
    fn still_vouched_for_by(&self, keys: &OrgKeys) -> bool;
}

impl Recognisable for LicenseToken {
    fn remembered(isolate: &Isolate) -> &RefCell<VerifiedTokens<Self>> {
        &isolate.tokens
    }

    fn still_vouched_for_by(&self, keys: &OrgKeys) -> bool {
        self.still_vouched_for_by(keys)
    }
}

impl Recognisable for LeaseToken {
    fn remembered(isolate: &Isolate) -> &RefCell<VerifiedTokens<Self>> {
        &isolate.leases
    }

    fn still_vouched_for_by(&self, keys: &OrgKeys) -> bool {
        self.still_vouched_for_by(keys)
    }
}

/// Checks a text against its organization's keys, from memory where it was checked before.
///
/// # Errors
/// 503 when the keys can't be had, 429 when too many made-up organizations are being asked about.
pub(crate) fn recognise<'a, T: Recognisable + 'a>(
    scope: &'a Rc<Scope>,
    text: &'a str,
) -> impl Future<Output = Result<Recognised<T>, Fault>> + 'a {
    recognise_with(scope, text, |_, _| {})
}

/// Likewise; `announce` hears what the text says of itself before anybody has vouched for it.
pub(crate) async fn recognise_with<T: Recognisable>(
    scope: &Rc<Scope>,
    text: &str,
    announce: fn(&Scope, &Presented<'_, T>),
) -> Result<Recognised<T>, Fault> {
    let refused = |code| Ok(Recognised::Refused(code));
    let presented = match Presented::<T>::parse(text, scope.now()) {
        Ok(presented) => presented,
        Err(code) => return refused(code),
    };
    let org = match presented.org_tag() {
        Ok(org) => org,
        Err(code) => return refused(code),
    };
    announce(scope, &presented);
    let mut keys = match obtain_keys(scope, org).await {
        Obtained::Found(keys) => keys,
        Obtained::Unknown => return refused(Code::UnknownKey),
        Obtained::Missing => return Err(no_keys()),
        Obtained::Rationed => return Err(Fault::rationed()),
    };
    if let Some(token) = recall::<T>(&scope.isolate, text, &keys.document) {
        return Ok(Recognised::Token(token, keys));
    }
    if presented.key(&keys.document).is_err() {
        match look_for_newer(scope, &keys).await {
            Newer::Found(newer) => keys.document = newer,
            Newer::No => {}
            Newer::Missing => return Err(no_keys()),
        }
    }
    match check(scope, presented, &keys.document).await {
        Ok(token) => {
            let token = Rc::new(token);
            T::remembered(&scope.isolate)
                .borrow_mut()
                .remember(text, Rc::clone(&token));
            Ok(Recognised::Token(token, keys))
        }
        Err(code) => refused(code),
    }
}

/// Checks the signature: by the runtime's Ed25519, which is some times faster than ours in Wasm,
/// or by ours where the runtime has none.
async fn check<T: Recognisable>(
    scope: &Scope,
    presented: Presented<'_, T>,
    keys: &OrgKeys,
) -> Result<T, Code> {
    let key = presented.key(keys)?;
    let isolate = &scope.isolate;
    if isolate.flood.is_on(scope.now()) {
        bindings::sleep(flood::WAIT_MS).await;
    }
    let holds = native_ed25519::verify(key, presented.signature(), presented.signed_bytes()).await;
    // Somebody else may have been waited for.
    scope.read_clock();
    let token = match holds {
        Some(holds) => presented.accept(keys, holds),
        None => presented.verify(keys),
    };
    isolate.flood.checked(token.is_ok(), scope.now());
    token
}

fn no_keys() -> Fault {
    Fault::origin_unreachable(
        "The token's signature can't be checked: its organization's keys are not known here, and the origin did not answer.",
    )
}

/// A token of exactly this text that was checked here before, if these keys still vouch for it.
pub(crate) fn recall<T: Recognisable>(
    isolate: &Isolate,
    text: &str,
    keys: &OrgKeys,
) -> Option<Rc<T>> {
    let token = T::remembered(isolate).borrow_mut().recall(text)?;
    token.still_vouched_for_by(keys).then_some(token)
}
