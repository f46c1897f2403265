//! Status lists: a few bits per entry, packed, compressed (IETF Token Status List §4).
//!
//! Entry `i` of a list with `b` bits stands in byte `i * b / 8`, least significant bits first.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use miniz_oxide::{deflate::compress_to_vec_zlib, inflate::decompress_to_vec_zlib_with_limit};
use serde::{Deserialize, Serialize};

use crate::base64url;

/// Largest list that is decompressed, in bytes: 2^20 entries of 8 bits. Stops zip bombs.
pub const MAX_LIST_BYTES: usize = 1 << 20;

/// Status of an entry (§7.1 and its registry; 3 and 12 are application-specific there).
pub mod status {
    /// In force.
    pub const VALID: u8 = 0x00;
    /// Ended for good (the registry's `INVALID`).
    pub const REVOKED: u8 = 0x01;
    /// Stopped for a time.
    pub const SUSPENDED: u8 = 0x02;
    /// Given back by its device.
    pub const DEACTIVATED: u8 = 0x03;
    /// In force, but no longer as the token says.
    pub const CHANGED: u8 = 0x0c;
}

/// Bits per entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Bits {
    /// Two values.
    One,
    /// Four values.
    Two,
    /// Sixteen values: what Licet writes.
    Four,
    /// 256 values.
    Eight,
}

impl Bits {
    /// How many bits.
    #[must_use]
    pub const fn count(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    const fn mask(self) -> u8 {
        0xff >> (8 - self.count())
    }

    const fn per_byte(self) -> usize {
        (8 / self.count()) as usize
    }
}

impl From<Bits> for u8 {
    fn from(bits: Bits) -> Self {
        bits.count()
    }
}

impl TryFrom<u8> for Bits {
    type Error = StatusListError;

    fn try_from(count: u8) -> Result<Self, StatusListError> {
        match count {
            1 => Ok(Self::One),
            2 => Ok(Self::Two),
            4 => Ok(Self::Four),
            8 => Ok(Self::Eight),
            _ => Err(StatusListError::Bits),
        }
    }
}

/// Why a status list can't be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatusListError {
    /// Entries have 1, 2, 4 or 8 bits.
    Bits,
    /// Not base64url of a zlib stream.
    Encoding,
    /// More than [`MAX_LIST_BYTES`].
    TooLong,
    /// A value that does not fit into an entry, or an index beyond the end.
    Entry,
}

impl fmt::Display for StatusListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bits => "a status list has 1, 2, 4 or 8 bits per entry",
            Self::Encoding => "a status list is base64url of a zlib stream",
            Self::TooLong => "the status list is too long",
            Self::Entry => "no such entry, or a value that it can't hold",
        })
    }
}

impl std::error::Error for StatusListError {}

/// The `status_list` claim (§4.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encoded {
    /// Bits per entry.
    pub bits: Bits,
    /// The packed entries, compressed by zlib (RFC 1950), in base64url.
    pub lst: String,
}

impl Encoded {
    /// Unpacks the list.
    ///
    /// # Errors
    /// [`StatusListError`] when it is broken or too long.
    pub fn decode(&self) -> Result<StatusList, StatusListError> {
        let compressed = base64url::decode(self.lst.as_bytes()).ok_or(StatusListError::Encoding)?;
        let bytes =
            decompress_to_vec_zlib_with_limit(&compressed, MAX_LIST_BYTES).map_err(|error| {
                match error.status {
                    miniz_oxide::inflate::TINFLStatus::HasMoreOutput => StatusListError::TooLong,
                    _ => StatusListError::Encoding,
                }
            })?;
        Ok(StatusList {
            bits: self.bits,
            bytes,
        })
    }
}

/// An unpacked list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusList {
    bits: Bits,
    bytes: Vec<u8>,
}

impl StatusList {
    /// A list of at least `entries` entries, all 0; whole bytes are filled.
    ///
    /// # Errors
    /// [`StatusListError::TooLong`] above [`MAX_LIST_BYTES`].
    pub fn new(bits: Bits, entries: usize) -> Result<Self, StatusListError> {
        let bytes = entries.div_ceil(bits.per_byte());
        if bytes > MAX_LIST_BYTES {
            return Err(StatusListError::TooLong);
        }
        Ok(Self {
            bits,
            bytes: vec![0; bytes],
        })
    }

    /// How many entries there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len() * self.bits.per_byte()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Memory the entries take, in bytes.
    #[must_use]
    pub const fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Entry `index`; none beyond the end.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<u8> {
        let byte = self.bytes.get(index / self.bits.per_byte())?;
        Some((byte >> self.shift(index)) & self.bits.mask())
    }

    /// Writes entry `index`.
    ///
    /// # Errors
    /// [`StatusListError::Entry`] beyond the end, or when `value` needs more bits.
    pub fn set(&mut self, index: usize, value: u8) -> Result<(), StatusListError> {
        let mask = self.bits.mask();
        let shift = self.shift(index);
        let byte = self
            .bytes
            .get_mut(index / self.bits.per_byte())
            .ok_or(StatusListError::Entry)?;
        if value & !mask != 0 {
            return Err(StatusListError::Entry);
        }
        *byte = (*byte & !(mask << shift)) | (value << shift);
        Ok(())
    }

    /// Packs the list for a token.
    #[must_use]
    pub fn encode(&self) -> Encoded {
        /// zlib's level; the lists are sparse, so higher ones gain nothing.
        const LEVEL: u8 = 6;
        let compressed = compress_to_vec_zlib(&self.bytes, LEVEL);
        Encoded {
            bits: self.bits,
            lst: Base64UrlUnpadded::encode_string(&compressed),
        }
    }

    const fn shift(&self, index: usize) -> u32 {
        (index % self.bits.per_byte()) as u32 * self.bits.count() as u32
    }
}
