//! Every Wycheproof Ed25519 vector through the very function that checks tokens, on both targets.
#![allow(clippy::panic, clippy::unwrap_used, missing_docs)]

mod support;

use licet_shared::jws::VerifyingKey;
use support::both_targets;
use wycheproof::{TestResult, eddsa};

both_targets! {
    fn every_ed25519_vector_is_judged_as_expected() {
        let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
        let mut judged = 0;
        for group in set.test_groups {
            let key: Option<[u8; 32]> = group.key.pk[..].try_into().ok();
            let key = key.and_then(|bytes| VerifyingKey::new("k", bytes).ok());
            for test in group.tests {
                let accepted = key.as_ref().is_some_and(|key| key.verify(&test.msg, &test.sig));
                let expected = match test.result {
                    TestResult::Valid => true,
                    TestResult::Invalid => false,
                    TestResult::Acceptable => panic!("vector {} leaves it open", test.tc_id),
                };
                assert_eq!(accepted, expected, "vector {}: {}", test.tc_id, test.comment);
                judged += 1;
            }
        }
        assert_eq!(judged, set.number_of_tests);
        assert!(judged >= 150);
    }

    /// The eight points of small order, and the other encodings of those that have two
    /// (C2SP "Taming the many EdDSAs", table 1): a key among them verifies what nobody signed.
    fn keys_of_small_order_are_refused_when_loaded() {
        let points = [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
            "0100000000000000000000000000000000000000000000000000000000000080",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        ];
        for point in points {
            let bytes: Vec<u8> = (0..32)
                .map(|i| u8::from_str_radix(&point[2 * i..2 * i + 2], 16).unwrap())
                .collect();
            assert!(VerifyingKey::new("k", bytes.try_into().unwrap()).is_err(), "{point}");
        }
    }
}
