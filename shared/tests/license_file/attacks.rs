//! What is altered, cut off or made up is refused, and nothing panics.

use licet_shared::{
    decision::{Code, Context},
    license_file::{
        ActivationRequest, DeactivationReceipt, LicenseFile, MachineCode, ReceiptError,
        RequestError, decide, machine_key,
    },
    license_key::LicenseKey,
    time::Timestamp,
};

use super::{
    support::both_targets,
    world::{
        DAY, MACHINE, T0, World, armoured, content, context, machine, platform_keys, tag, trust,
    },
};

const NOW: Timestamp = Timestamp::from_unix(T0 + DAY);

fn code(text: &str) -> Code {
    let keys = platform_keys();
    decide(text, trust(&keys), &context(), None, NOW).code
}

/// Text from bytes, as a program reads a file: what is no UTF-8 is none.
fn code_of(bytes: &[u8]) -> Code {
    std::str::from_utf8(bytes).map_or(Code::Malformed, code)
}

/// Numbers that look random and are the same each time (xorshift, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }
}

fn request() -> ActivationRequest {
    let key = LicenseKey::new(tag(), *b"0123456789abcdef");
    let mut request = ActivationRequest::new(key, "local_cli", MACHINE, &machine(), [9; 16]);
    request.name = Some("Press 7".into());
    request
}

both_targets! {
    fn each_byte_of_a_file_counts() {
        let text = World::good().file();
        assert_eq!(code(&text), Code::Valid);
        let mut bytes = text.clone().into_bytes();
        let step = if cfg!(target_arch = "wasm32") { 97 } else { 1 };
        for position in (0..bytes.len()).step_by(step) {
            // Two of its bits, others each time: all eight would take four times as long.
            for bit in [position % 8, (position / 8) % 8] {
                bytes[position] ^= 1 << bit;
                assert_ne!(code_of(&bytes), Code::Valid, "bit {bit} of byte {position}");
                bytes[position] ^= 1 << bit;
            }
        }
        assert_eq!(bytes, text.into_bytes());
    }

    fn a_file_with_another_byte_says_the_same_or_nothing() {
        let text = World::good().file();
        let said = content(&text);
        let mut dice = Dice(1);
        for _ in 0..2000 {
            let mut bytes = text.clone().into_bytes();
            let position = dice.below(bytes.len());
            bytes[position] = dice.byte();
            if code_of(&bytes) == Code::Valid {
                // The byte itself again, or a blank at a line's end.
                assert_eq!(content(std::str::from_utf8(&bytes).unwrap()), said);
            }
        }
    }

    fn no_part_of_a_file_is_enough() {
        let text = World::good().file();
        for length in 0..text.len() - 1 {
            assert_eq!(code(&text[..length]), Code::Malformed, "{length}");
            if length > 0 {
                assert_eq!(code(&text[length..]), Code::Malformed, "from {length}");
            }
        }
    }

    fn pieces_taken_out_doubled_and_exchanged_are_refused() {
        let text = World::good().file();
        let mut dice = Dice(2);
        for _ in 0..500 {
            let (from, length) = (dice.below(text.len()), 1 + dice.below(200));
            let to = (from + length).min(text.len());
            if text[from..to].trim().is_empty() {
                continue;
            }
            let without = format!("{}{}", &text[..from], &text[to..]);
            let doubled = format!("{}{}", &text[..to], &text[from..]);
            for altered in [without, doubled] {
                assert_ne!(code(&altered), Code::Valid, "{from}..{to}");
            }
        }
    }

    fn junk_is_malformed_and_nothing_panics() {
        let mut dice = Dice(3);
        for _ in 0..300 {
            let length = dice.below(2000);
            let junk: Vec<u8> = (0..length).map(|_| dice.byte()).collect();
            let text = String::from_utf8_lossy(&junk).into_owned();
            for text in [&text, &armoured("LICET LICENSE FILE", &text)] {
                assert_eq!(code(text), Code::Malformed);
                assert!(ActivationRequest::read(text, NOW).is_err());
                assert!(DeactivationReceipt::read(text, NOW).is_err());
                assert!(text.parse::<MachineCode>().is_err());
            }
        }
        for junk in [
            "{}", "[]", "null", "{\"version\":1}", "{\"version\":-1,\"keys\":\"\",\"license\":\"\"}",
            "{\"version\":1,\"keys\":\"\",\"license\":\"\"}", "{\"version\":1e999}",
        ] {
            assert_eq!(code(&armoured("LICET LICENSE FILE", junk)), Code::Malformed, "{junk}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(code(&armoured("LICET LICENSE FILE", &deep)), Code::Malformed);
        assert_eq!(code(&"A".repeat(400 * 1024)), Code::Malformed);
    }

    fn no_clock_makes_it_panic_or_say_yes_outside_its_time() {
        let text = World::good().file();
        let keys = platform_keys();
        let extremes = [i64::MIN, -1, 0, 1, T0 - 61, T0, T0 + DAY, T0 + 31 * DAY, i64::MAX];
        for now in extremes {
            for seen in [None, Some(i64::MIN), Some(0), Some(T0), Some(i64::MAX)] {
                let seen = seen.map(Timestamp::from_unix);
                let at = Timestamp::from_unix(now);
                let verdict = decide(&text, trust(&keys), &context(), seen, at);
                let within = (T0..T0 + 30 * DAY).contains(&now);
                assert!(within || !verdict.valid, "{now} {seen:?}");
                serde_json::to_string(&verdict).unwrap();
            }
        }
    }

    fn a_verdict_says_what_a_file_says() {
        let keys = platform_keys();
        let text = World::good().file();
        let file = LicenseFile::verify(&text, trust(&keys)).unwrap();
        assert_eq!(file.as_of(), Timestamp::from_unix(T0));
        assert_eq!(file.expires_at(), Timestamp::from_unix(T0 + 30 * DAY));
        assert_eq!(file.machine_key(), Some(&machine().verifying_key()));
        let verdict = file.decide(&context(), None, NOW);
        let verdict = serde_json::to_value(&verdict).unwrap();
        assert_eq!(verdict["freshness"]["source"], "file");
        assert_eq!(verdict["freshness"]["age_s"], DAY);
        assert_eq!(verdict["features"]["projects.max"], 25);
        assert_eq!(verdict["feature_set"]["revision"], 7);
        let again = decide(&text, trust(&keys), &context(), None, NOW);
        assert_eq!(serde_json::to_value(again).unwrap(), verdict);
    }

    fn a_request_is_read_as_it_was_signed() {
        let asked = request();
        // Whatever the clocks of the machine and of its reader are.
        for (machines, readers) in [(0, T0), (T0 + 40 * 365 * DAY, T0), (T0, T0)] {
            let text = asked.sign(&machine(), Timestamp::from_unix(machines)).unwrap();
            assert!(text.starts_with("-----BEGIN LICET ACTIVATION REQUEST-----\n"));
            let read = ActivationRequest::read(&text, Timestamp::from_unix(readers)).unwrap();
            assert_eq!(read.license_key, asked.license_key);
            assert_eq!(read.product, "local_cli");
            assert_eq!(read.fingerprint_hash, MachineCode::of(MACHINE).fingerprint_hash());
            assert_eq!(read.name.as_deref(), Some("Press 7"));
            assert_eq!(read.machine_key, machine().verifying_key());
            assert_eq!(read.nonce, asked.nonce);
        }
        assert!(asked.sign(&machine_key([1; 32]), NOW).is_err());
    }

    fn each_byte_of_a_request_and_of_a_receipt_counts() {
        let keys = platform_keys();
        let file = World::good().file();
        let file = LicenseFile::verify(&file, trust(&keys)).unwrap();
        let request = request().sign(&machine(), NOW).unwrap();
        let receipt = DeactivationReceipt::sign(&file, &machine(), NOW).unwrap();
        for text in [request, receipt] {
            let mut bytes = text.into_bytes();
            let accepted = |bytes: &[u8]| {
                let Ok(text) = std::str::from_utf8(bytes) else { return false };
                let machine = machine().verifying_key();
                ActivationRequest::read(text, NOW).is_ok()
                    || DeactivationReceipt::read(text, NOW)
                        .is_ok_and(|receipt| receipt.is_signed_by(&machine, NOW))
            };
            assert!(accepted(&bytes));
            for position in 0..bytes.len() {
                let bit = position % 8;
                bytes[position] ^= 1 << bit;
                assert!(!accepted(&bytes), "bit {bit} of byte {position}");
                bytes[position] ^= 1 << bit;
            }
        }
    }

    fn a_request_says_what_is_wrong_with_it() {
        let read = |text: &str| ActivationRequest::read(text, NOW).unwrap_err();
        assert!(matches!(read(""), RequestError::Armour(_)));
        let receipts = armoured("LICET DEACTIVATION RECEIPT", "x");
        assert!(matches!(read(&receipts), RequestError::Armour(_)));
        let junk = armoured("LICET ACTIVATION REQUEST", "x");
        assert_eq!(read(&junk), RequestError::Content);
        // Another machine's signature under this one's claims.
        let text = request().sign(&machine(), NOW).unwrap();
        let mut other = request();
        other.machine_key = machine_key([1; 32]).verifying_key();
        let theirs = content(&other.sign(&machine_key([1; 32]), NOW).unwrap());
        let own = content(&text);
        let (claims, _) = own.rsplit_once('.').unwrap();
        let (_, signature) = theirs.rsplit_once('.').unwrap();
        let forged = armoured("LICET ACTIVATION REQUEST", &format!("{claims}.{signature}"));
        assert_eq!(read(&forged), RequestError::Signature);
    }

    fn a_receipt_is_the_machines_own() {
        let keys = platform_keys();
        let text = World::good().file();
        let file = LicenseFile::verify(&text, trust(&keys)).unwrap();
        let receipt = DeactivationReceipt::sign(&file, &machine(), NOW).unwrap();
        let read = DeactivationReceipt::read(&receipt, NOW).unwrap();
        assert_eq!(
            (read.org(), read.license(), read.activation()),
            (file.org(), file.license(), file.activation())
        );
        assert!(read.is_signed_by(&machine().verifying_key(), NOW));
        assert!(!read.is_signed_by(&machine_key([1; 32]).verifying_key(), NOW));
        assert!(DeactivationReceipt::sign(&file, &machine_key([1; 32]), NOW).is_err());
        let mut keyless = World::good();
        keyless.machine_key = None;
        let file = LicenseFile::verify(&keyless.file(), trust(&keys)).unwrap();
        assert!(DeactivationReceipt::sign(&file, &machine(), NOW).is_err());
        let request = request().sign(&machine(), NOW).unwrap();
        let refused = DeactivationReceipt::read(&request, NOW).unwrap_err();
        assert!(matches!(refused, ReceiptError::Armour(_)));
    }

    fn a_file_by_which_nothing_is_asked_is_refused_for_it() {
        let text = World::good().file();
        let keys = platform_keys();
        let verdict = decide(&text, trust(&keys), &Context::default(), None, NOW);
        assert_eq!(verdict.code, Code::ProductMismatch);
    }
}
