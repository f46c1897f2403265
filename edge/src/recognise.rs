//! From a text to a license token or lease whose signature holds.

use std::{cell::RefCell, rc::Rc};

use licet_shared::{
    decision::{Code, LeaseToken, LicenseToken, PresentedLease, PresentedToken},
    documents::{LeaseClaims, LicenseClaims, OrgKeys},
    id::OrgTag,
    jws::{Kind, Untrusted},
    time::Timestamp,
};

use crate::{
    documents::{
        Found, Obtained,
        keys::{Newer, look_for_newer, obtain_keys},
    },
    http::Fault,
    isolate::{Isolate, Scope},
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

/// A kind of token that an organization signs and clients send.
pub(crate) trait OfOrg: Remembered + Sized {
    /// What it says.
    type Claims: Kind;

    /// The org tag that a text names.
    fn org_tag(text: &str, now: Timestamp) -> Result<OrgTag, Code>;

    /// The token in a text, if these keys vouch for it.
    fn verify(text: &str, keys: &OrgKeys, now: Timestamp) -> Result<Self, Code>;

    /// Whether these keys still vouch for it.
    fn still_vouched_for_by(&self, keys: &OrgKeys) -> bool;

    /// Those that were checked here before.
    fn remembered(isolate: &Isolate) -> &RefCell<VerifiedTokens<Self>>;
}

impl OfOrg for LicenseToken {
    type Claims = LicenseClaims;

    fn org_tag(text: &str, now: Timestamp) -> Result<OrgTag, Code> {
        PresentedToken::parse(text, now)?.org_tag()
    }

    fn verify(text: &str, keys: &OrgKeys, now: Timestamp) -> Result<Self, Code> {
        Self::verify(text, Some(keys), now)
    }

    fn still_vouched_for_by(&self, keys: &OrgKeys) -> bool {
        self.still_vouched_for_by(keys)
    }

    fn remembered(isolate: &Isolate) -> &RefCell<VerifiedTokens<Self>> {
        &isolate.tokens
    }
}

impl OfOrg for LeaseToken {
    type Claims = LeaseClaims;

    fn org_tag(text: &str, now: Timestamp) -> Result<OrgTag, Code> {
        PresentedLease::parse(text, now)?.org_tag()
    }

    fn verify(text: &str, keys: &OrgKeys, now: Timestamp) -> Result<Self, Code> {
        Self::verify(text, Some(keys), now)
    }

    fn still_vouched_for_by(&self, keys: &OrgKeys) -> bool {
        self.still_vouched_for_by(keys)
    }

    fn remembered(isolate: &Isolate) -> &RefCell<VerifiedTokens<Self>> {
        &isolate.leases
    }
}

/// Checks a text against its organization's keys, from memory where it was checked before.
///
/// # Errors
/// 503 when the keys can't be had, 429 when too many made-up organizations are being asked about.
pub(crate) async fn recognise<T: OfOrg>(
    scope: &Rc<Scope>,
    text: &str,
) -> Result<Recognised<T>, Fault> {
    let org = match T::org_tag(text, scope.now()) {
        Ok(org) => org,
        Err(code) => return Ok(Recognised::Refused(code)),
    };
    let mut keys = match obtain_keys(scope, org).await {
        Obtained::Found(keys) => keys,
        Obtained::Unknown => return Ok(Recognised::Refused(Code::UnknownKey)),
        Obtained::Missing => return Err(no_keys()),
        Obtained::Rationed => return Err(Fault::rationed()),
    };
    if let Some(token) = recall::<T>(scope, text, &keys.document) {
        return Ok(Recognised::Token(token, keys));
    }
    if !names_a_key::<T>(scope, text, &keys.document) {
        match look_for_newer(scope, &keys).await {
            Newer::Found(newer) => keys.document = newer,
            Newer::No => {}
            Newer::Missing => return Err(no_keys()),
        }
    }
    match T::verify(text, &keys.document, scope.now()) {
        Ok(token) => {
            let token = Rc::new(token);
            T::remembered(&scope.isolate)
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

/// A token of exactly this text that was checked here before, if these keys still vouch for it.
pub(crate) fn recall<T: OfOrg>(scope: &Scope, text: &str, keys: &OrgKeys) -> Option<Rc<T>> {
    let token = T::remembered(&scope.isolate).borrow_mut().recall(text)?;
    token.still_vouched_for_by(keys).then_some(token)
}

/// Whether the token's `kid` is among the keys.
fn names_a_key<T: OfOrg>(scope: &Scope, text: &str, keys: &OrgKeys) -> bool {
    Untrusted::<T::Claims>::parse(text, scope.now())
        .is_ok_and(|token| keys.find(token.kid()).is_some())
}
