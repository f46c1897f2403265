//! Decision codes.

use serde::{Deserialize, Serialize, Serializer};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $detail:literal;)*) => {
        /// The answer in one word. Of several that apply, the one that stands first here is given.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Code {
            /// Every code, in order of precedence.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code as it stands in answers.
            // Not inlined: its texts would be in a program twice.
            #[inline(never)]
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// What it means, in a sentence for the developer who reads the answer.
            #[must_use]
            pub const fn detail(self) -> &'static str {
                match self { $(Self::$name => $detail),* }
            }
        }
    };
}

// By hand: a derived one would have the texts a second time.
impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

// By hand: a derived one does not see the codes' texts behind the macro.
#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Code {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::Type::String)
            .description(Some("The answer in one word. Of several that apply, the one that stands first here is given."))
            .enum_values(Some(Self::ALL.iter().map(|code| code.as_str())))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Code {}

codes! {
    /// The text is not a license token.
    Malformed = "MALFORMED", "This is not a license token. Activate to get one.";
    /// No key of the token's organization goes by its `kid`.
    UnknownKey = "UNKNOWN_KEY", "The key that signed this token is not known, or not any more. Activate again.";
    /// The signature is not the key's.
    SignatureInvalid = "SIGNATURE_INVALID", "The token's signature does not fit: it was altered. Activate again.";
    /// The vendor ended the license for good.
    Revoked = "REVOKED", "The license has been revoked by its vendor.";
    /// The vendor stopped the license for a time.
    Suspended = "SUSPENDED", "The license is suspended by its vendor.";
    /// The activation was given back.
    Deactivated = "DEACTIVATED", "This activation was given back. Activate again.";
    /// The status has a value that this version can't read.
    StatusUnknown = "STATUS_UNKNOWN", "The token's status can't be read, so it is refused.";
    /// Before `nbf`.
    NotYetValid = "NOT_YET_VALID", "The license does not begin until later.";
    /// The license itself has ended.
    LicenseExpired = "LICENSE_EXPIRED", "The license has ended. Renew it.";
    /// The license has ended, and this version of the product was not released before.
    VersionNotCovered = "VERSION_NOT_COVERED", "The license has ended. It covers the versions that were released before: say released_at, run one of those, or renew it.";
    /// The token has ended, the license perhaps not.
    TokenExpired = "TOKEN_EXPIRED", "The token has ended. Refresh it and ask again.";
    /// The token was made too long ago, although it has not ended.
    HeartbeatRequired = "HEARTBEAT_REQUIRED", "The device was last heard of too long ago. Refresh the token and ask again.";
    /// What was shown as a lease is none of this activation's.
    LeaseInvalid = "LEASE_INVALID", "This is no lease of this activation's. Acquire one.";
    /// The lease has ended: its seat may be somebody else's.
    LeaseExpired = "LEASE_EXPIRED", "The lease has ended, and its seat may be another's. Acquire a new one.";
    /// The token is for other products.
    ProductMismatch = "PRODUCT_MISMATCH", "The license does not cover this product.";
    /// The license is bound to a device, and none was named.
    FingerprintRequired = "FINGERPRINT_REQUIRED", "This license is bound to a device: send its fingerprint.";
    /// The license is bound to another device.
    FingerprintMismatch = "FINGERPRINT_MISMATCH", "This token belongs to another device. Activate this one.";
    /// The clock shows a time before one that has certainly been.
    ClockMovedBack = "CLOCK_MOVED_BACK", "This machine's clock is behind a time that has certainly been. Set it right.";
    /// A required feature is not granted.
    FeatureMissing = "FEATURE_MISSING", "The license does not grant a feature that was required.";
    /// More of a metered feature was to be used than is left.
    QuotaExceeded = "QUOTA_EXCEEDED", "Less is left of a metered feature than was to be used.";
    /// The license has floating seats, and no lease of one was shown.
    LeaseRequired = "LEASE_REQUIRED", "This license has floating seats: acquire one, and send its lease.";
    /// The answer can't be given as fresh as was demanded.
    Stale = "STALE", "The license's status is not known freshly enough. Ask again later.";
    /// No license has this key.
    LicenseNotFound = "LICENSE_NOT_FOUND", "No license has this key. Check it with its vendor.";
    /// All activations are taken.
    ActivationLimit = "ACTIVATION_LIMIT", "All activations of this license are in use. Deactivate another device first.";
    /// All seats are taken.
    SeatLimit = "SEAT_LIMIT", "All seats of this license are in use. Try again when one is given back.";
    /// No more activations may be given back at present.
    DeactivationLimit = "DEACTIVATION_LIMIT", "No more of this license's activations may be given back at present. Try again later, or ask its vendor.";
    /// The device has had its trial of the product.
    TrialUsed = "TRIAL_USED", "This device has tried the product before. Buy a license.";
    /// The license may not go to another device.
    TransferRefused = "TRANSFER_REFUSED", "This license may not go to another device, so its activation is not given back. Ask its vendor.";
    /// The lease is over: given back, taken back, or never there.
    LeaseNotFound = "LEASE_NOT_FOUND", "This lease was given back or taken back. Acquire a new one.";
    /// The license lends no seat for that long.
    BorrowRefused = "BORROW_REFUSED", "The license lends no seat for that long. Borrow for less, or stay connected.";
    /// The license does not include the product.
    ProductNotLicensed = "PRODUCT_NOT_LICENSED", "The license does not include this product.";
    /// The activation is gone.
    ActivationNotFound = "ACTIVATION_NOT_FOUND", "This activation does not exist any more. Activate again.";
    /// Yes.
    Valid = "VALID", "The license is valid.";
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
