//! The name of an organization's key: `<org tag>.<number>`.

use std::{fmt, str::FromStr};

use licet_shared::id::OrgTag;
use serde::{Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ObjectBuilder, Type},
    },
};

/// A key of an organization's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kid {
    pub(crate) tag: OrgTag,
    pub(crate) number: u32,
}

impl fmt::Display for Kid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.tag, self.number)
    }
}

/// It is no `<org tag>.<number>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KidError;

impl fmt::Display for KidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is no kid: <org tag>.<number>")
    }
}

impl std::error::Error for KidError {}

impl FromStr for Kid {
    type Err = KidError;

    /// In its one spelling.
    fn from_str(text: &str) -> Result<Self, KidError> {
        let (tag, number) = text.split_once('.').ok_or(KidError)?;
        let kid = Self {
            tag: tag.parse().map_err(|_| KidError)?,
            number: number.parse().map_err(|_| KidError)?,
        };
        (kid.number > 0 && kid.to_string() == text)
            .then_some(kid)
            .ok_or(KidError)
    }
}

impl Serialize for Kid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl PartialSchema for Kid {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("The name of a key, as tokens have it in `kid`."))
            .pattern(Some("^[0-9A-HJKMNP-TV-Z]{8}\\.[1-9][0-9]{0,8}$"))
            .examples(["7K3M9QXR.2"])
            .into()
    }
}

impl ToSchema for Kid {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_one_spelling() {
        let kid: Kid = "7K3M9QXR.12".parse().unwrap();
        assert_eq!((kid.number, kid.to_string().as_str()), (12, "7K3M9QXR.12"));
        for bad in [
            "",
            "7K3M9QXR",
            "7K3M9QXR.",
            "7K3M9QXR.0",
            "7K3M9QXR.01",
            "7K3M9QXR.+1",
            "7k3m9qxr.1",
            "7K3M9QXR.1.1",
            "7K3M9QXR.4294967296",
            "platform.1",
        ] {
            assert_eq!(bad.parse::<Kid>(), Err(KidError), "{bad}");
        }
    }
}
