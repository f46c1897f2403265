//! The claims that every token has beside those of its kind, read with them in one pass.

use std::borrow::Cow;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IntoDeserializer, MapAccess, Visitor, value::CowStrDeserializer},
    forward_to_deserialize_any,
};

/// What the claims of every token have (RFC 7519 §§4.1.4 to 4.1.6), as numbers. The outer `None` is for
/// a claim that is not there, the inner one for `null`.
#[derive(Default)]
pub(super) struct RegisteredClaims {
    pub(super) iat: Option<Option<i64>>,
    pub(super) exp: Option<Option<i64>>,
    pub(super) nbf: Option<Option<i64>>,
}

/// Reads a JSON object as the claims of a kind, which do not get to see the registered ones, and these.
pub(super) fn claims<'de, K: Deserialize<'de>>(
    json: &'de [u8],
) -> serde_json::Result<(K, RegisteredClaims)> {
    let mut registered = RegisteredClaims::default();
    let mut json = serde_json::Deserializer::from_slice(json);
    let claims = K::deserialize(Beside(&mut json, &mut registered))?;
    json.end()?;
    Ok((claims, registered))
}

/// What reads objects alone, and keeps their registered claims to itself. `serde`'s `flatten` would
/// keep all the others in memory first.
struct Beside<'a, T>(T, &'a mut RegisteredClaims);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Beside<'_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(Beside(visitor, self.1))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Beside<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.expecting(f)
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<V::Value, M::Error> {
        self.0.visit_map(Beside(map, self.1))
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de, M: MapAccess<'de>> MapAccess<'de> for Beside<'_, M> {
    type Error = M::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, M::Error> {
        while let Some(Name(name)) = self.0.next_key()? {
            let (name, claim) = match &*name {
                "iat" => ("iat", &mut self.1.iat),
                "exp" => ("exp", &mut self.1.exp),
                "nbf" => ("nbf", &mut self.1.nbf),
                _ => {
                    let name: CowStrDeserializer<'_, M::Error> = name.into_deserializer();
                    return seed.deserialize(name).map(Some);
                }
            };
            if claim.is_some() {
                return Err(M::Error::duplicate_field(name));
            }
            *claim = Some(self.0.next_value()?);
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, M::Error> {
        self.0.next_value_seed(seed)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::claims;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Own {
        name: String,
        number: Option<u8>,
    }

    /// `iat`, `exp`, `nbf`.
    type Times = [Option<Option<i64>>; 3];

    fn read(json: &str) -> Option<(Own, Times)> {
        let (own, times) = claims(json.as_bytes()).ok()?;
        Some((own, [times.iat, times.exp, times.nbf]))
    }

    fn own(number: Option<u8>) -> Own {
        let name = "n".to_owned();
        Own { name, number }
    }

    #[test]
    fn registered_claims_and_the_kind_s_own_are_told_apart_in_any_order() {
        let one = Some(Some(1));
        for (json, times) in [
            (
                r#"{"name":"n","iat":1,"exp":2}"#,
                [one, Some(Some(2)), None],
            ),
            (
                r#" { "exp" : 2 , "name":"n", "\u0069at":1 } "#,
                [one, Some(Some(2)), None],
            ),
            (
                r#"{"other":{"iat":7},"nbf":1,"name":"n"}"#,
                [None, None, one],
            ),
            (r#"{"name":"n","iat":null}"#, [Some(None), None, None]),
        ] {
            assert_eq!(read(json), Some((own(None), times)), "{json}");
        }
        let numbered = r#"{"number":3,"iat":1,"na\u006de":"n"}"#;
        assert_eq!(read(numbered), Some((own(Some(3)), [one, None, None])));
    }

    #[test]
    fn what_is_twice_there_of_another_type_or_no_object_is_refused() {
        for json in [
            r#"{"name":"n","iat":1,"iat":1}"#,
            r#"{"name":"n","iat":null,"iat":1}"#,
            r#"{"name":"n","exp":1,"\u0065xp":1}"#,
            r#"{"name":"n","name":"n"}"#,
            r#"{"name":"n","iat":"1"}"#,
            r#"{"name":"n","iat":1.5}"#,
            r#"{"name":"n","iat":9223372036854775808}"#,
            r#"{"iat":1}"#,
            r#"["n",3]"#,
            r#"{"name":"n"} {}"#,
            r#"{"name":"n""#,
            "null",
            "",
        ] {
            assert_eq!(read(json), None, "{json}");
        }
    }
}
