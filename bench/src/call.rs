//! Requests as bytes.

use anyhow::{Context, Result};
use base64ct::{Base64UrlUnpadded, Encoding};
use licet_shared::{
    documents::EdgeClaims,
    jws::{LocalSigner, Times, sign},
    time::Timestamp,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// A request. `{n}` in its body becomes another number each time.
#[derive(Deserialize)]
pub(crate) struct Item {
    method: String,
    path: String,
    #[serde(default)]
    bearer: Option<String>,
    #[serde(default)]
    body: String,
    /// Whether an edge sends it: signed, and with an idempotency key where it activates.
    #[serde(default)]
    edge: bool,
    #[serde(default)]
    once: bool,
}

/// An edge's key.
#[derive(Deserialize)]
pub(crate) struct Signing {
    kid: String,
    /// 32 bytes in base64url.
    seed: String,
}

/// So many requests, the items in turn.
pub(crate) fn texts(
    items: &[Item],
    count: usize,
    signing: Option<&Signing>,
) -> Result<Vec<Vec<u8>>> {
    let signer = signing.map(Signing::signer).transpose()?;
    let run = random_text()?;
    (0..count)
        .map(|number| {
            let item = &items[number % items.len()];
            item.text(signer.as_ref(), &format!("{run}-{number}"))
        })
        .collect()
}

impl Signing {
    fn signer(&self) -> Result<LocalSigner> {
        let mut seed = [0; 32];
        let length = Base64UrlUnpadded::decode(&self.seed, &mut seed)
            .ok()
            .map_or(0, <[u8]>::len);
        anyhow::ensure!(length == 32, "the edge's seed is not 32 bytes");
        Ok(LocalSigner::from_seed(self.kid.as_str(), seed))
    }
}

impl Item {
    fn text(&self, signer: Option<&LocalSigner>, unique: &str) -> Result<Vec<u8>> {
        let body = self.body.replace("{n}", unique);
        let key = self.once.then_some(unique);
        let bearer = match (&self.bearer, self.edge) {
            (Some(bearer), _) => Some(bearer.clone()),
            (None, true) => Some(self.edge_token(signer.context("no edge key")?, &body, key)?),
            (None, false) => None,
        };
        let mut text = format!("{} {} HTTP/1.1\r\nhost: bench\r\n", self.method, self.path);
        if let Some(bearer) = bearer {
            text.push_str(&format!("authorization: Bearer {bearer}\r\n"));
        }
        if let Some(key) = key {
            text.push_str(&format!("idempotency-key: {key}\r\n"));
        }
        if !body.is_empty() {
            text.push_str("content-type: application/json\r\n");
            text.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        text.push_str(&body);
        Ok(text.into_bytes())
    }

    fn edge_token(&self, signer: &LocalSigner, body: &str, key: Option<&str>) -> Result<String> {
        let claims = EdgeClaims {
            iss: licet_shared::jws::Signer::kid(signer).to_owned(),
            aud: EdgeClaims::AUDIENCE.into(),
            htm: self.method.clone(),
            htu: self.path.clone(),
            bh: Base64UrlUnpadded::encode_string(&Sha256::digest(body.as_bytes())),
            idk: key.map(str::to_owned),
            jti: random_text()?,
        };
        let times = Times::starting(now()?, EdgeClaims::LIFE_S);
        sign(&claims, times, signer).map_err(|error| anyhow::anyhow!("signing a call: {error}"))
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one place that asks for the time"
)]
fn now() -> Result<Timestamp> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(Timestamp::from_unix(i64::try_from(since.as_secs())?))
}

fn random_text() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    Ok(Base64UrlUnpadded::encode_string(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(json: &str) -> Item {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_machine_sends_a_body_with_its_key() {
        let item =
            item(r#"{"method":"POST","path":"/a","body":"{\"n\":1}","bearer":"licet_sk_x"}"#);
        let text = String::from_utf8(item.text(None, "7").unwrap()).unwrap();
        let wanted = "POST /a HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer licet_sk_x\r\n\
            content-type: application/json\r\ncontent-length: 7\r\n\r\n{\"n\":1}";
        assert_eq!(text, wanted);
    }

    #[test]
    fn what_an_edge_sends_is_signed_and_what_is_nobodys_is_not() {
        let nobodys = item(r#"{"method":"POST","path":"/a","body":"{n}"}"#);
        let text = String::from_utf8(nobodys.text(None, "7").unwrap()).unwrap();
        assert!(
            !text.contains("authorization") && text.ends_with("\r\n\r\n7"),
            "{text}"
        );
        let edges = item(r#"{"method":"POST","path":"/a","body":"{n}","edge":true,"once":true}"#);
        assert!(edges.text(None, "7").is_err());
        let signer = LocalSigner::from_seed("edge-1", [7; 32]);
        let text = String::from_utf8(edges.text(Some(&signer), "7").unwrap()).unwrap();
        assert!(text.contains("authorization: Bearer ey"), "{text}");
        assert!(text.contains("idempotency-key: 7\r\n"), "{text}");
    }
}
