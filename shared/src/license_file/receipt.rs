//! The receipt by which a machine that never connects gives its activation back.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    LicenseFile,
    armour::{self, ArmourError, Label},
};
use crate::{
    id::{ActivationId, LicenseId, OrgTag},
    jws::{Kind, LocalSigner, SignError, Times, Untrusted, VerifyingKey, sign},
    time::Timestamp,
};

const VERSION: u8 = 1;
/// What its `exp` says; a receipt does not end.
const LIFE_S: i64 = 86_400;

/// `deactivationreceipt+jwt`: signed by the machine with the key that its license file names.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct ReceiptClaims {
    ver: u8,
    tag: OrgTag,
    lic: LicenseId,
    act: ActivationId,
}

impl Kind for ReceiptClaims {
    const TYP: &'static str = "deactivationreceipt+jwt";
}

/// A machine's word that it has deleted its license file. Nobody has checked the signature yet:
/// see [`DeactivationReceipt::is_signed_by`].
#[derive(Clone, Debug)]
pub struct DeactivationReceipt {
    token: String,
    claims: ReceiptClaims,
}

/// Why a text is no receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiptError {
    /// Its armour is not whole.
    Armour(ArmourError),
    /// What it holds is no receipt, or one of another version.
    Content,
}

impl fmt::Display for ReceiptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Armour(error) => write!(f, "not a deactivation receipt: {error}"),
            Self::Content => f.write_str("not a deactivation receipt that is known here"),
        }
    }
}

impl std::error::Error for ReceiptError {}

impl DeactivationReceipt {
    /// Makes the receipt for a file, signed by the machine. Delete the file before the receipt
    /// leaves the machine.
    ///
    /// # Errors
    /// [`SignError`] when the file names no key, or another than the machine's.
    pub fn sign(
        file: &LicenseFile,
        machine: &LocalSigner,
        now: Timestamp,
    ) -> Result<String, SignError> {
        if file.machine_key() != Some(&machine.verifying_key()) {
            return Err(SignError("the file was not made for this key".into()));
        }
        let claims = ReceiptClaims {
            ver: VERSION,
            tag: file.org(),
            lic: file.license(),
            act: file.activation(),
        };
        let token = sign(&claims, Times::starting(now, LIFE_S), machine)?;
        Ok(armour::wrap(Label::DeactivationReceipt, token.as_bytes()))
    }

    /// Reads a receipt.
    ///
    /// # Errors
    /// [`ReceiptError`] that says what is wrong.
    pub fn read(text: &str, now: Timestamp) -> Result<Self, ReceiptError> {
        let token =
            armour::unwrap(Label::DeactivationReceipt, text).map_err(ReceiptError::Armour)?;
        let token = String::from_utf8(token).map_err(|_| ReceiptError::Content)?;
        let claims = Untrusted::<ReceiptClaims>::parse(&token, now)
            .map_err(|_| ReceiptError::Content)?
            .claims()
            .clone();
        if claims.ver == VERSION {
            Ok(Self { token, claims })
        } else {
            Err(ReceiptError::Content)
        }
    }

    /// Whether it was signed by this key, which must be the one that the origin keeps of the machine.
    #[must_use]
    pub fn is_signed_by(&self, machine: &VerifyingKey, now: Timestamp) -> bool {
        Untrusted::<ReceiptClaims>::parse(&self.token, now)
            .is_ok_and(|token| token.verify(machine).is_ok())
    }

    /// The vendor.
    #[must_use]
    pub const fn org(&self) -> OrgTag {
        self.claims.tag
    }

    /// The license.
    #[must_use]
    pub const fn license(&self) -> LicenseId {
        self.claims.lic
    }

    /// The activation that is given back.
    #[must_use]
    pub const fn activation(&self) -> ActivationId {
        self.claims.act
    }
}
