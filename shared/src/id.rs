//! Ids: a prefix that names the kind, and a UUIDv7 (RFC 9562 §5.7) in 26 base-32 symbols,
//! written as the TypeID convention does: `lic_01jd3t6q8zf5k9v7m2x4c6b8n0`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::crockford;

/// A text that is not an id of the expected kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdError {
    prefix: &'static str,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected an id such as {}_ followed by 26 letters and digits",
            self.prefix
        )
    }
}

impl std::error::Error for IdError {}

/// UUIDv7 bytes for a time in milliseconds since the epoch and ten random bytes.
fn uuid_v7(unix_ms: u64, random: [u8; 10]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&unix_ms.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&random);
    bytes[6] = (bytes[6] & 0x0f) | 0x70;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    bytes
}

/// Most bytes of a prefix.
const PREFIX_BYTES: usize = 3;
/// Symbols of the UUID's 128 bits.
const SYMBOLS: usize = 26;

/// An id as text, on the stack: several stand in every answer.
struct IdText {
    bytes: [u8; PREFIX_BYTES + 1 + SYMBOLS],
    len: usize,
}

impl IdText {
    fn new(prefix: &str, uuid: [u8; 16]) -> Self {
        let mut text = Self {
            bytes: [b'_'; PREFIX_BYTES + 1 + SYMBOLS],
            len: prefix.len() + 1 + SYMBOLS,
        };
        let (head, symbols) = text.bytes.split_at_mut(prefix.len() + 1);
        head[..prefix.len()].copy_from_slice(prefix.as_bytes());
        // In halves: 128-bit arithmetic is slow in Wasm.
        let number = u128::from_be_bytes(uuid);
        let (high, low) = ((number >> 64) as u64, number as u64);
        for (place, symbol) in symbols.iter_mut().take(SYMBOLS).enumerate() {
            let shift = 5 * (SYMBOLS - 1 - place);
            let bits = match shift {
                64.. => high >> (shift - 64),
                60 => high << 4 | low >> 60,
                _ => low >> shift,
            };
            *symbol = crockford::lower_symbol(bits as u8);
        }
        text
    }

    fn as_str(&self) -> &str {
        // Prefixes and symbols are ASCII.
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

fn parse_id(prefix: &'static str, text: &str) -> Result<[u8; 16], IdError> {
    let error = IdError { prefix };
    let symbols = text
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('_'))
        .ok_or(error)?;
    if symbols.len() != SYMBOLS || !symbols.starts_with(|c| matches!(c, '0'..='7')) {
        return Err(error);
    }
    let (mut high, mut low) = (0_u64, 0_u64);
    for symbol in symbols.bytes() {
        // One spelling per id: an id is also a key in caches and logs.
        let value = crockford::lower_value(symbol).ok_or(error)?;
        high = high << 5 | low >> 59;
        low = low << 5 | u64::from(value);
    }
    Ok((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
}

/// The schema of a text with one spelling.
#[cfg(feature = "openapi")]
fn text_schema(pattern: &str, example: &str) -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
    utoipa::openapi::ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::Type::String)
        .pattern(Some(pattern))
        .examples([example])
        .into()
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// The text before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new id from the time in milliseconds since the epoch and ten random bytes.
            #[must_use]
            pub fn new(unix_ms: u64, random: [u8; 10]) -> Self {
                Self(uuid_v7(unix_ms, random))
            }

            /// The id that a database holds as a UUID.
            #[must_use]
            pub const fn from_uuid_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The UUID's bytes, in network order.
            #[must_use]
            pub const fn uuid_bytes(&self) -> [u8; 16] {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(IdText::new($prefix, self.0).as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_id($prefix, text).map(Self)
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                text_schema(
                    concat!("^", $prefix, "_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
                    concat!($prefix, "_01jd3t6q8zf5k9v7m2x4c6b8n0"),
                )
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(IdText::new($prefix, self.0).as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                std::borrow::Cow::<'_, str>::deserialize(deserializer)?
                    .parse()
                    .map_err(D::Error::custom)
            }
        }
    };
}

id!(
    /// An organization: the vendor, and the tenant of everything below it.
    OrgId, "org"
);
id!(
    /// A person of an organization.
    UserId, "usr"
);
id!(
    /// An invitation to join an organization.
    InvitationId, "inv"
);
id!(
    /// A license.
    LicenseId, "lic"
);
id!(
    /// One installation of a license.
    ActivationId, "act"
);
id!(
    /// A lease of a floating seat.
    LeaseId, "lea"
);
id!(
    /// A product.
    ProductId, "prd"
);
id!(
    /// A feature set.
    FeatureSetId, "fs"
);
id!(
    /// A policy.
    PolicyId, "pol"
);
id!(
    /// A project.
    ProjectId, "prj"
);
id!(
    /// An API key.
    ApiKeyId, "key"
);
id!(
    /// A token, a session or an event: anything that is named once.
    EventId, "evt"
);
id!(
    /// A request, as it is named in answers and logs.
    RequestId, "req"
);

/// The eight symbols that name an organization in license keys, key ids and URLs.
///
/// Chosen at random when the organization is made, and never changed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrgTag([u8; 8]);

impl OrgTag {
    /// How many symbols a tag has.
    pub const LEN: usize = 8;

    /// A tag from 40 random bits.
    #[must_use]
    pub fn new(random: [u8; 5]) -> Self {
        let mut wide = [0; 16];
        wide[11..].copy_from_slice(&random);
        let mut symbols = [0; 8];
        symbols.copy_from_slice(crockford::encode(u128::from_be_bytes(wide), 8).as_bytes());
        Self(symbols)
    }

    /// The tag as text, upper case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only symbols of the alphabet, all ASCII, ever get in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The org tag of a key id, `<org tag>.<n>`; none for any other form.
    #[must_use]
    pub fn of_kid(kid: &str) -> Option<Self> {
        let (tag, number) = kid.split_once('.')?;
        let canonical = number.parse::<u32>().is_ok_and(|n| n.to_string() == number);
        if canonical { tag.parse().ok() } else { None }
    }
}

impl fmt::Display for OrgTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for OrgTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is not an org tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrgTagError;

impl fmt::Display for OrgTagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an org tag of 8 letters and digits, upper case, without I, L, O, U")
    }
}

impl std::error::Error for OrgTagError {}

impl FromStr for OrgTag {
    type Err = OrgTagError;

    /// Reads the canonical, upper-case spelling only: a tag is part of cache keys.
    fn from_str(text: &str) -> Result<Self, OrgTagError> {
        let symbols: [u8; 8] = text.as_bytes().try_into().map_err(|_| OrgTagError)?;
        let canonical = |&s: &u8| {
            crockford::value(char::from(s)).is_ok_and(|v| crockford::symbol(v) == char::from(s))
        };
        if symbols.iter().all(canonical) {
            Ok(Self(symbols))
        } else {
            Err(OrgTagError)
        }
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for OrgTag {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        text_schema("^[0-9A-HJKMNP-TV-Z]{8}$", "7Q2M4X9K")
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for OrgTag {}

impl Serialize for OrgTag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for OrgTag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'_, str>::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_id_is_a_version_7_uuid_that_reads_back() {
        let id = LicenseId::new(0x0190_1234_5678, [0xff; 10]);
        let bytes = id.uuid_bytes();
        assert_eq!(bytes[..6], [0x01, 0x90, 0x12, 0x34, 0x56, 0x78]);
        assert_eq!(bytes[6] >> 4, 7);
        assert_eq!(bytes[8] >> 6, 0b10);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().starts_with("lic_"));
    }

    /// From the TypeID specification's `valid.json`.
    #[test]
    fn agrees_with_the_typeid_vectors() {
        let uuid = [
            0x01, 0x89, 0x0a, 0x5d, 0xac, 0x96, 0x77, 0x4b, 0xbc, 0xce, 0xb3, 0x02, 0x09, 0x9a,
            0x80, 0x57,
        ];
        let id = OrgId::from_uuid_bytes(uuid);
        assert_eq!(id.to_string(), "org_01h455vb4pex5vsknk084sn02q");
        assert_eq!(
            OrgId::from_uuid_bytes([0xff; 16]).to_string(),
            "org_7zzzzzzzzzzzzzzzzzzzzzzzzz"
        );
    }

    #[test]
    fn other_spellings_and_kinds_are_refused() {
        let good = "lic_01h455vb4pex5vsknk084sn02q";
        assert!(good.parse::<LicenseId>().is_ok());
        for bad in [
            "",
            "lic_",
            "lic",
            "act_01h455vb4pex5vsknk084sn02q",
            "lic_01H455VB4PEX5VSKNK084SN02Q",
            "lic_81h455vb4pex5vsknk084sn02q",
            "lic_01h455vb4pex5vsknk084sn02",
            "lic_01h455vb4pex5vsknk084sn02qq",
            "lic_o1h455vb4pex5vsknk084sn02q",
            "lic_01h455vb4pex5vsknk084sn0é",
            "lic01h455vb4pex5vsknk084sn02q",
        ] {
            assert!(bad.parse::<LicenseId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn org_tags_have_one_spelling() {
        let tag = OrgTag::new([0xff, 0, 0xaa, 0x55, 0x01]);
        assert_eq!(tag.as_str().len(), 8);
        assert_eq!(tag.as_str().parse(), Ok(tag));
        for bad in [
            "",
            "ABCDEFG",
            "abcdefgh",
            "ABCDEFGI",
            "ABCDEFGHJ",
            "ABCDEFG-",
            "ABCDEFé",
        ] {
            assert_eq!(bad.parse::<OrgTag>(), Err(OrgTagError), "{bad}");
        }
    }

    #[test]
    fn a_kid_names_its_org_in_one_way() {
        let tag: OrgTag = "ABCDEFGH".parse().unwrap();
        assert_eq!(OrgTag::of_kid("ABCDEFGH.1"), Some(tag));
        for bad in [
            "ABCDEFGH",
            "ABCDEFGH.",
            "ABCDEFGH.01",
            "ABCDEFGH.+1",
            "ABCDEFGH.1.2",
            "x.1",
        ] {
            assert_eq!(OrgTag::of_kid(bad), None, "{bad}");
        }
    }
}
