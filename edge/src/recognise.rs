//! From a text to a license token whose signature holds.

use std::rc::Rc;

use licet_shared::{
    decision::{Code, LicenseToken},
    documents::{LicenseClaims, OrgKeys},
    jws::Untrusted,
};

use crate::{
    documents::{
        Found, Obtained,
        keys::{Newer, look_for_newer, obtain_keys},
    },
    http::Fault,
    isolate::Scope,
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
    let org = match LicenseToken::org_tag(text, scope.now()) {
        Ok(org) => org,
        Err(code) => return Ok(Recognised::Refused(code)),
    };
    let mut keys = match obtain_keys(scope, org).await {
        Obtained::Found(keys) => keys,
        Obtained::Unknown => return Ok(Recognised::Refused(Code::UnknownKey)),
        Obtained::Missing => return Err(no_keys()),
        Obtained::Rationed => return Err(Fault::rationed()),
    };
    if let Some(token) = recall(scope, text, &keys) {
        return Ok(Recognised::Token(token, keys));
    }
    if !names_a_key(scope, text, &keys.document) {
        match look_for_newer(scope, &keys).await {
            Newer::Found(newer) => keys.document = newer,
            Newer::No => {}
            Newer::Missing => return Err(no_keys()),
        }
    }
    match LicenseToken::verify(text, Some(&keys.document), scope.now()) {
        Ok(token) => {
            let token = Rc::new(token);
            scope
                .isolate
                .tokens
                .borrow_mut()
                .remember(text, Rc::clone(&token));
            Ok(Recognised::Token(token, keys))
        }
        Err(code) => Ok(Recognised::Refused(code)),
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

/// Whether the token's `kid` is among the keys.
fn names_a_key(scope: &Scope, text: &str, keys: &OrgKeys) -> bool {
    Untrusted::<LicenseClaims>::parse(text, scope.now())
        .is_ok_and(|token| keys.find(token.kid()).is_some())
}
