//! Status lists against the draft's own test vectors, natively and on wasm32.
#![allow(clippy::panic, clippy::unwrap_used, missing_docs)]

mod support;

use licet_shared::status_list::{Bits, Encoded, MAX_LIST_BYTES, StatusList, StatusListError};
use serde::Deserialize;
use support::both_targets;

#[derive(Deserialize)]
struct Vectors {
    lists: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    #[serde(flatten)]
    encoded: Encoded,
    len: usize,
    entries: Vec<(usize, u8)>,
}

both_targets! {
    fn every_list_of_the_draft_reads_as_it_says() {
        let vectors: Vectors =
            serde_json::from_str(include_str!("../../tests/vectors/status_list.json")).unwrap();
        assert_eq!(vectors.lists.len(), 6);
        for vector in vectors.lists {
            let list = vector.encoded.decode().unwrap();
            assert_eq!(list.len(), vector.len);
            let mut expected = StatusList::new(vector.encoded.bits, vector.len).unwrap();
            for (index, value) in vector.entries {
                assert_eq!(list.get(index), Some(value), "{:?} {index}", vector.encoded.bits);
                expected.set(index, value).unwrap();
            }
            assert_eq!(list, expected, "entries that are not named are 0");
            // Compressors differ, what they compress may not.
            assert_eq!(expected.encode().decode().unwrap(), list);
        }
    }

    fn entries_stand_least_significant_bits_first() {
        let mut list = StatusList::new(Bits::Four, 3).unwrap();
        assert_eq!(list.len(), 4, "whole bytes are filled");
        list.set(0, 0x1).unwrap();
        list.set(1, 0xc).unwrap();
        let encoded = list.encode();
        assert_eq!(encoded.decode().unwrap(), list);
        assert_eq!((list.get(0), list.get(1), list.get(2), list.get(4)), (Some(1), Some(0xc), Some(0), None));
    }

    fn values_and_indexes_out_of_range_are_refused() {
        let mut list = StatusList::new(Bits::Two, 4).unwrap();
        assert_eq!(list.set(0, 4), Err(StatusListError::Entry));
        assert_eq!(list.set(4, 1), Err(StatusListError::Entry));
        assert_eq!(list.set(usize::MAX, 1), Err(StatusListError::Entry));
        assert_eq!(StatusList::new(Bits::Eight, MAX_LIST_BYTES + 1), Err(StatusListError::TooLong));
        for bits in [0_u8, 3, 5, 9, 255] {
            assert_eq!(Bits::try_from(bits), Err(StatusListError::Bits));
        }
    }

    fn broken_lists_and_zip_bombs_are_refused() {
        let decode = |lst: &str| Encoded { bits: Bits::One, lst: lst.into() }.decode();
        for broken in ["", "!", "bm90IHpsaWI", "eNrbuRgAAhcBXA", "eNrbuRgAAhcB", "eNrbuRgAAhcBXQ=="] {
            assert_eq!(decode(broken), Err(StatusListError::Encoding), "{broken}");
        }
        let bomb = miniz_oxide::deflate::compress_to_vec_zlib(&vec![0; MAX_LIST_BYTES + 1], 6);
        use base64ct::{Base64UrlUnpadded, Encoding};
        assert_eq!(decode(&Base64UrlUnpadded::encode_string(&bomb)), Err(StatusListError::TooLong));
    }
}
