//! Making tokens.

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::Serialize;

use super::{Kind, SignError, Signer, Times};

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    kid: &'a str,
    typ: &'static str,
}

/// The registered times (RFC 7519 §§4.1.4 to 4.1.6) before what the kind has to say.
#[derive(Serialize)]
struct Claims<'a, K> {
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    iat: i64,
    #[serde(flatten)]
    of_kind: &'a K,
}

/// Signs `claims` as a token of their kind, valid within `times`.
///
/// # Errors
/// [`SignError`] when the signer fails or the claims can't be written as JSON.
pub fn sign<K: Kind>(claims: &K, times: Times, signer: &dyn Signer) -> Result<String, SignError> {
    let header = Header {
        alg: "EdDSA",
        kid: signer.kid(),
        typ: K::TYP,
    };
    let claims = Claims {
        exp: times.expires_at.unix(),
        nbf: times.not_before.map(|time| time.unix()),
        iat: times.issued_at.unix(),
        of_kind: claims,
    };
    let mut token = format!("{}.{}", segment(&header)?, segment(&claims)?);
    let signature = signer.sign(token.as_bytes())?;
    token.push('.');
    token.push_str(&Base64UrlUnpadded::encode_string(&signature));
    Ok(token)
}

fn segment(part: &impl Serialize) -> Result<String, SignError> {
    match serde_json::to_vec(part) {
        Ok(json) => Ok(Base64UrlUnpadded::encode_string(&json)),
        Err(error) => Err(SignError(error.to_string())),
    }
}
