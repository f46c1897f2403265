//! The `edge+jwt` by which the origin knows that a call is an edge's, and exactly this call.

use licet_shared::{
    documents::EdgeClaims,
    id::EventId,
    jws::{self, SignError, Signer, Times},
    time::Timestamp,
};

use super::Call;
use crate::{clock, random};

/// A token for one attempt at a call: the origin takes each only once.
pub(super) fn edge_token(
    key: &impl Signer,
    call: Call<'_>,
    now: Timestamp,
) -> Result<String, SignError> {
    let claims = EdgeClaims {
        iss: key.kid().into(),
        aud: EdgeClaims::AUDIENCE.into(),
        htm: call.method.into(),
        htu: call.path.into(),
        bh: EdgeClaims::body_hash(call.body.unwrap_or_default().as_bytes()),
        idk: call.idempotency_key.map(Into::into),
        jti: EventId::new(clock::now_ms(), random::bytes()).to_string(),
    };
    jws::sign(&claims, Times::starting(now, EdgeClaims::LIFE_S), key)
}
