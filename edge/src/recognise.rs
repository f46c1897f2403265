//! From a text to a license token whose signature holds.

use std::rc::Rc;

use licet_shared::{
    decision::{Code, LicenseToken, PresentedToken},
    documents::OrgKeys,
};

use crate::{
    documents::{
        Found, Obtained,
        keys::{Newer, look_for_newer, obtain_keys},
    },
    http::Fault,
    isolate::Scope,
    native_ed25519,
};

/// What a text turned out to be.
#[derive(Debug)]
pub(crate) enum Recognised {
    /// A license token, and the keys that vouch for it.
    Token(Rc<LicenseToken>, Found<OrgKeys>),
    /// Nothing to be believed: `MALFORMED`, `UNKNOWN_KEY` or `SIGNATURE_INVALID`.
    Refused(Code),
}

/// Checks a text against its organization's keys, from memory where it was checked before.
///
/// # Errors
/// 503 when the keys can't be had, 429 when too many made-up organizations are being asked about.
pub(crate) async fn recognise(scope: &Rc<Scope>, text: &str) -> Result<Recognised, Fault> {
    let refused = |code| Ok(Recognised::Refused(code));
    let presented = match PresentedToken::parse(text, scope.now()) {
        Ok(presented) => presented,
        Err(code) => return refused(code),
    };
    let org = match presented.org_tag() {
        Ok(org) => org,
        Err(code) => return refused(code),
    };
    let mut keys = match obtain_keys(scope, org).await {
        Obtained::Found(keys) => keys,
        Obtained::Unknown => return refused(Code::UnknownKey),
        Obtained::Missing => return Err(no_keys()),
        Obtained::Rationed => return Err(Fault::rationed()),
    };
    if let Some(token) = recall(scope, text, &keys) {
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
            scope
                .isolate
                .tokens
                .borrow_mut()
                .remember(text, Rc::clone(&token));
            Ok(Recognised::Token(token, keys))
        }
        Err(code) => refused(code),
    }
}

/// Checks the signature: by the runtime's Ed25519, which is some times faster than ours in Wasm,
/// or by ours where the runtime has none.
async fn check(
    scope: &Scope,
    presented: PresentedToken<'_>,
    keys: &OrgKeys,
) -> Result<LicenseToken, Code> {
    let key = presented.key(keys)?;
    let holds = native_ed25519::verify(key, presented.signature(), presented.signed_bytes()).await;
    // Somebody else may have been waited for.
    scope.read_clock();
    match holds {
        Some(holds) => presented.accept(keys, holds),
        None => presented.verify(keys),
    }
}

fn no_keys() -> Fault {
    Fault::origin_unreachable(
        "The token's signature can't be checked: its organization's keys are not known here, and the origin did not answer.",
    )
}

fn recall(scope: &Scope, text: &str, keys: &Found<OrgKeys>) -> Option<Rc<LicenseToken>> {
    let token = scope.isolate.tokens.borrow_mut().recall(text)?;
    token.still_vouched_for_by(&keys.document).then_some(token)
}
