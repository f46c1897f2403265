//! The `edge+jwt` by which the origin knows that a call is an edge's, and exactly this call.

use std::cell::OnceCell;

use licet_shared::{
    documents::EdgeClaims,
    id::EventId,
    jws::{SignError, SigningSeed, Times, Unsigned},
};

use super::Call;
use crate::{
    clock,
    native_ed25519::{self, CryptoKey},
    random,
};

/// The key that this edge signs with: in the runtime's hands once it has been needed.
#[derive(Debug)]
pub(crate) struct EdgeKey {
    seed: SigningSeed,
    key: OnceCell<CryptoKey>,
}

impl EdgeKey {
    /// From its seed.
    pub(crate) fn new(seed: SigningSeed) -> Self {
        let key = OnceCell::new();
        Self { seed, key }
    }

    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        let key = match self.key.get() {
            Some(key) => key,
            None => {
                let imported = native_ed25519::import_seed(&self.seed).await?;
                // Another request may have been faster.
                self.key.get_or_init(|| imported)
            }
        };
        native_ed25519::sign(key, message).await
    }
}

/// A token for one attempt at a call: the origin takes each only once, and only for a minute. So it
/// is made of the time it is sent at, however long the request has been waiting.
pub(super) async fn edge_token(key: &EdgeKey, call: Call<'_>) -> Result<String, SignError> {
    let now_ms = clock::now_ms();
    let claims = EdgeClaims {
        iss: key.seed.kid().into(),
        aud: EdgeClaims::AUDIENCE.into(),
        htm: call.method.into(),
        htu: call.path.into(),
        bh: EdgeClaims::body_hash(call.body.unwrap_or_default().as_bytes()),
        idk: call.idempotency_key.map(Into::into),
        jti: EventId::new(now_ms, random::bytes()).to_string(),
    };
    let times = Times::starting(clock::timestamp(now_ms), EdgeClaims::LIFE_S);
    let unsigned = Unsigned::new(&claims, times, key.seed.kid())?;
    let signature = key.sign(unsigned.signed_bytes()).await?;
    Ok(unsigned.complete(&signature))
}

#[cfg(test)]
mod tests {
    use licet_shared::{
        documents::EdgeClaims,
        jws::{Untrusted, Verified},
    };
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::{Call, EdgeKey, edge_token};
    use crate::{clock, testing::edge_key};

    async fn token(call: Call<'_>) -> Verified<EdgeClaims> {
        let key = EdgeKey::new(edge_key().reveal().parse().unwrap());
        let text = edge_token(&key, call).await.unwrap();
        Untrusted::parse(&text, clock::timestamp(clock::now_ms()))
            .unwrap()
            .verify(&edge_key().verifying_key())
            .unwrap()
    }

    #[wasm_bindgen_test]
    async fn says_which_call_it_is_for() {
        let call = Call {
            method: "POST",
            path: "/edge/v1/x?y=1",
            body: Some("{}"),
            idempotency_key: Some("k"),
            ..Call::default()
        };
        let token = token(call).await;
        let EdgeClaims {
            iss,
            aud,
            htm,
            htu,
            bh,
            idk,
            ..
        } = token.claims();
        assert_eq!(
            [iss, aud, htm, htu],
            ["edge.1", "licet-origin", "POST", "/edge/v1/x?y=1"]
        );
        assert_eq!(bh, "RBNvo1WzZ4oRRq0W9-hknpT7T8If536DEMBg9hyq_4o");
        assert_eq!(idk.as_deref(), Some("k"));
        let times = token.times();
        let now = clock::timestamp(clock::now_ms());
        assert!((0..=1).contains(&now.since(times.issued_at)), "{times:?}");
        assert_eq!(times.expires_at, times.issued_at.plus(60));
    }

    #[wasm_bindgen_test]
    async fn is_never_the_same_twice() {
        let call = Call {
            method: "GET",
            path: "/edge/v1/x",
            ..Call::default()
        };
        let (one, two) = (token(call).await, token(call).await);
        assert_ne!(one.claims().jti, two.claims().jti);
        assert_eq!(
            one.claims().bh,
            "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
            "of no body"
        );
    }
}
