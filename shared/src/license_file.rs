//! License files: what lets a machine without a network run a product for a chosen time.
//!
//! A file is one armoured text that holds an organization's keys, signed by the platform, and a
//! `licensefile+jwt`, signed by one of them: what a license token says, the features as they were,
//! and by its `iat` as of when the license's status was good. Whoever reads it needs nothing but
//! the platform's public keys, the vendor's org tag and a clock, and decides by the same function
//! as an edge does.
//!
//! A machine that never connects asks by an [`ActivationRequest`], or by a [`MachineCode`] that is
//! short enough to be typed, and gives its activation back by a [`DeactivationReceipt`].
//!
//! What no file can do: keep somebody from going on with a copy of it until its end, on the
//! machine it was made for, or from setting back a clock together with all that the program has
//! kept of it. So choose lifetimes accordingly.

mod armour;
mod claims;
mod code;
mod receipt;
mod request;

pub use armour::ArmourError;
pub use claims::{FILE_VERSION, LicenseFileClaims};
pub use code::{MachineCode, MachineCodeError};
pub use receipt::{DeactivationReceipt, ReceiptError};
pub use request::{ActivationRequest, NONCE_BYTES, RequestError};

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{
    decision::{
        Code, Context, LicenseToken, OrgToken, OriginState, Source, State, Verdict, decide_verified,
    },
    documents::{DocumentError, FeatureSet, OrgKeys, PlatformKeys, StatusDocument},
    id::{ActivationId, LicenseId, OrgTag},
    jws::{LocalSigner, SignError, Signer, Times, Untrusted, Verified, VerifyingKey, sign},
    time::{CLOCK_SKEW_S, Timestamp},
};
use armour::Label;

/// Name under which a machine's own key goes.
const MACHINE_KID: &str = "machine";

/// A file's times are read as within a century of this one, 2026-01-01: the clock of the machine
/// may be anywhere.
const ABOUT: Timestamp = Timestamp::from_unix(1_767_225_600);

/// What the armour of a license file holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Container<'a> {
    version: u8,
    #[serde(borrow)]
    keys: Cow<'a, str>,
    #[serde(borrow)]
    license: Cow<'a, str>,
}

/// The version of a container, read before anything else is.
const CONTAINER_VERSION: u8 = 1;

/// Whom a program believes. Both are constants of the shipped program.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// The platform's public keys.
    pub platform_keys: &'a PlatformKeys,
    /// The program's vendor. Other vendors of the platform may have products of the same code.
    pub org: OrgTag,
}

/// The key that a machine signs its request and its receipt with, from 32 random bytes that
/// never leave the machine.
#[must_use]
pub fn machine_key(seed: [u8; 32]) -> LocalSigner {
    LocalSigner::from_seed(MACHINE_KID, seed)
}

/// Makes a license file: `keys` is the organization's `keys+jwt` that is current at `times`.
///
/// # Errors
/// [`SignError`] when the signer fails or the claims can't be written as JSON.
pub fn make(
    claims: &LicenseFileClaims,
    times: Times,
    signer: &dyn Signer,
    keys: &str,
) -> Result<String, SignError> {
    let container = Container {
        version: CONTAINER_VERSION,
        keys: Cow::Borrowed(keys),
        license: Cow::Owned(sign(claims, times, signer)?),
    };
    let json = serde_json::to_vec(&container).map_err(|error| SignError(error.to_string()))?;
    Ok(armour::wrap(Label::LicenseFile, &json))
}

/// Decides by a license file: may the product run on this machine now?
///
/// `newest_seen` is the newest time that the program has itself seen since it got the file: it
/// keeps the greatest `now` with which it asked, also where the answer was no, and begins anew
/// with a newer file. A clock behind that, or behind the making of the file, by more than
/// [`CLOCK_SKEW_S`] is answered with `CLOCK_MOVED_BACK`. Never panics.
#[must_use]
pub fn decide(
    text: &str,
    trust: Trust<'_>,
    context: &Context<'_>,
    newest_seen: Option<Timestamp>,
    now: Timestamp,
) -> Verdict<'static> {
    match LicenseFile::verify(text, trust) {
        Ok(file) => file.decide(context, newest_seen, now).into_owned(),
        Err(code) => explained(Verdict::refused(code)),
    }
}

/// A license file whose signatures hold. Whether it may be used is [decided](Self::decide).
#[derive(Clone, Debug)]
pub struct LicenseFile {
    token: LicenseToken,
    keys: OrgKeys,
    status: StatusDocument,
    features: FeatureSet,
    machine_key: Option<VerifyingKey>,
}

impl LicenseFile {
    /// Reads a license file and checks its signatures.
    ///
    /// # Errors
    /// [`Code::Malformed`], [`Code::UnknownKey`] or [`Code::SignatureInvalid`].
    pub fn verify(text: &str, trust: Trust<'_>) -> Result<Self, Code> {
        let json = armour::unwrap(Label::LicenseFile, text).map_err(|_| Code::Malformed)?;
        let container: Container<'_> =
            serde_json::from_slice(&json).map_err(|_| Code::Malformed)?;
        if container.version != CONTAINER_VERSION {
            return Err(Code::Malformed);
        }
        let file = Untrusted::<LicenseFileClaims>::parse(&container.license, ABOUT)
            .map_err(|_| Code::Malformed)?;
        if OrgTag::of_kid(file.kid()) != Some(trust.org) {
            return Err(Code::UnknownKey);
        }
        let keys =
            OrgKeys::verify_of_any_time(&container.keys, trust.org, trust.platform_keys, ABOUT)
                .map_err(|error| match error {
                    DocumentError::Parse(_) | DocumentError::Content => Code::Malformed,
                    DocumentError::Signature => Code::SignatureInvalid,
                    _ => Code::UnknownKey,
                })?;
        let key = keys.find(file.kid()).ok_or(Code::UnknownKey)?.clone();
        let file = file.verify(&key).map_err(|_| Code::SignatureInvalid)?;
        if !vouched_for(file.times(), keys.times()) {
            return Err(Code::UnknownKey);
        }
        Self::of(&file, &key, keys)
    }

    fn of(
        file: &Verified<LicenseFileClaims>,
        key: &VerifyingKey,
        keys: OrgKeys,
    ) -> Result<Self, Code> {
        let (claims, times) = (file.claims(), file.times());
        if claims.ver != FILE_VERSION {
            return Err(Code::Malformed);
        }
        let machine_key = claims
            .mk
            .as_deref()
            .map(|x| VerifyingKey::from_x(MACHINE_KID, x))
            .transpose()
            .map_err(|_| Code::Malformed)?;
        let token = LicenseToken::of(file.part(|claims| claims.lic.clone()), key, &keys)?;
        let uri = claims.lic.status.status_list.uri.clone();
        let features = FeatureSet::new(claims.lic.fs, claims.rev, claims.features.clone(), times);
        Ok(Self {
            token,
            status: StatusDocument::of_file(uri, times).map_err(|_| Code::Malformed)?,
            features: features.map_err(|_| Code::Malformed)?,
            keys: keys.held(times),
            machine_key,
        })
    }

    /// Decides by this file: see [`decide`].
    #[must_use]
    pub fn decide(
        &self,
        context: &Context<'_>,
        newest_seen: Option<Timestamp>,
        now: Timestamp,
    ) -> Verdict<'_> {
        let state = State {
            keys: Some(&self.keys),
            status_list: Some(&self.status),
            status_unchanged_at: None,
            license: None,
            features: Some(&self.features),
            source: Source::File,
            origin: OriginState::Answering,
            newest_evidence: newest_seen.max(Some(self.as_of())),
        };
        explained(decide_verified(&self.token, context, &state, now))
    }

    /// As of when the license's status was good: when the file was made.
    #[must_use]
    pub const fn as_of(&self) -> Timestamp {
        self.token.times().issued_at
    }

    /// It is refused from this second on.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.token.times().expires_at
    }

    /// The vendor.
    #[must_use]
    pub const fn org(&self) -> OrgTag {
        self.token.org()
    }

    /// The license.
    #[must_use]
    pub const fn license(&self) -> LicenseId {
        self.token.claims().sub
    }

    /// The machine's activation.
    #[must_use]
    pub const fn activation(&self) -> ActivationId {
        self.token.claims().act
    }

    /// The machine's own key, by which it can give the activation back; none where the file was
    /// made without a request of the machine's.
    #[must_use]
    pub const fn machine_key(&self) -> Option<&VerifyingKey> {
        self.machine_key.as_ref()
    }
}

/// Whether the organization's keys were current when the file was signed. They need not be any
/// more: nobody could tell the machine.
fn vouched_for(file: Times, keys: Times) -> bool {
    let made = file.issued_at;
    keys.issued_at <= made.plus(CLOCK_SKEW_S) && made < keys.expires_at
}

/// With the sentence that fits a file, where the one for tokens does not.
fn explained(mut verdict: Verdict<'_>) -> Verdict<'_> {
    verdict.detail = match verdict.code {
        Code::Malformed => "This is not a license file, or it was altered. Get it anew.",
        Code::UnknownKey => "This license file is not from this product's vendor.",
        Code::SignatureInvalid => "The license file was altered. Get it anew.",
        Code::TokenExpired => "The license file has ended. Get a new one.",
        Code::FingerprintMismatch => "This license file is for another machine.",
        _ => verdict.detail,
    };
    verdict
}
