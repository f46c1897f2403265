//! `edge+jwt`: the proof that a call was made by an edge, just now, and is this very call.

use std::fmt;

use axum::http::{HeaderMap, Method, Uri, header};
use licet_shared::{
    documents::EdgeClaims,
    jws::{Untrusted, Verified, VerifyingKey},
    time::{CLOCK_SKEW_S, Timestamp},
};

use super::{Replay, ReplayCapacity, ReplayMemory, WhenFull};
use crate::keys::ed25519;

/// Longest id that a call may have.
const MAX_JTI_BYTES: usize = 128;

/// For how long after it was first shown a token could be shown again.
pub(crate) const REPLAY_WINDOW_S: i64 = EdgeClaims::LIFE_S + 2 * CLOCK_SKEW_S;

/// Why a call is not an edge's. For the log; the caller learns only that it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unauthorized {
    /// No bearer token.
    Missing,
    /// Not an `edge+jwt`.
    Malformed,
    /// By no edge that is known here.
    UnknownEdge,
    /// The signature does not fit.
    Signature,
    /// For somebody else.
    Audience,
    /// Ended, not yet made, or made for too long.
    Times,
    /// For another method, path, body or idempotency key.
    OtherCall,
    /// Shown before.
    Replayed,
}

impl fmt::Display for Unauthorized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "no bearer token",
            Self::Malformed => "not an edge+jwt",
            Self::UnknownEdge => "unknown edge",
            Self::Signature => "signature does not fit",
            Self::Audience => "for somebody else",
            Self::Times => "ended, not begun or too long-lived",
            Self::OtherCall => "for another call",
            Self::Replayed => "shown before",
        })
    }
}

/// Knows the edges, and remembers their calls.
pub struct EdgeAuthenticator {
    keys: Vec<VerifyingKey>,
    reads: ReplayMemory,
    writes: ReplayMemory,
}

impl fmt::Debug for EdgeAuthenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.keys.iter().map(VerifyingKey::kid))
            .finish()
    }
}

/// A call whose head is an edge's. The body is still to be compared.
pub(super) struct Signed {
    token: Verified<EdgeClaims>,
}

impl EdgeAuthenticator {
    /// Accepts calls signed by any of `keys`, remembering up to `capacity` of them.
    #[must_use]
    pub fn new(keys: Vec<VerifyingKey>, capacity: ReplayCapacity) -> Self {
        let ReplayCapacity { reads, writes } = capacity;
        Self {
            keys,
            reads: ReplayMemory::new(reads, REPLAY_WINDOW_S, WhenFull::ForgetOldest),
            writes: ReplayMemory::new(writes, REPLAY_WINDOW_S, WhenFull::Refuse),
        }
    }

    /// How many calls are remembered.
    #[must_use]
    pub fn remembered_calls(&self) -> ReplayCapacity {
        ReplayCapacity {
            reads: self.reads.len(),
            writes: self.writes.len(),
        }
    }

    /// Checks everything but the body, so that nobody else can have us read one.
    pub(super) fn check_head(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Signed, Unauthorized> {
        let text = bearer(headers).ok_or(Unauthorized::Missing)?;
        let untrusted =
            Untrusted::<EdgeClaims>::parse(text, now).map_err(|_| Unauthorized::Malformed)?;
        let key = self.keys.iter().find(|key| key.kid() == untrusted.kid());
        let token = ed25519::verify(untrusted, key.ok_or(Unauthorized::UnknownEdge)?)
            .map_err(|_| Unauthorized::Signature)?;
        let claims = token.claims();
        if claims.aud != EdgeClaims::AUDIENCE || claims.iss != token.kid() {
            return Err(Unauthorized::Audience);
        }
        check_times(&token, now)?;
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        if claims.htm != method.as_str()
            || claims.htu != target
            || claims.idk.as_deref() != idempotency_key(headers)?
        {
            return Err(Unauthorized::OtherCall);
        }
        if claims.jti.is_empty() || claims.jti.len() > MAX_JTI_BYTES {
            return Err(Unauthorized::Malformed);
        }
        Ok(Signed { token })
    }

    /// Compares the body, and takes note of the call. The inner error says that there is no room
    /// to remember it.
    pub(super) fn check_body(
        &self,
        signed: &Signed,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Result<(), Full>, Unauthorized> {
        let claims = signed.token.claims();
        if claims.bh != EdgeClaims::body_hash(body) {
            return Err(Unauthorized::OtherCall);
        }
        // Methods that are safe by RFC 9110 §9.2.1; whatever else acts.
        let calls = match claims.htm.as_str() {
            "GET" | "HEAD" => &self.reads,
            _ => &self.writes,
        };
        match calls.witness(signed.edge(), &claims.jti, now) {
            Replay::New => Ok(Ok(())),
            Replay::Seen => Err(Unauthorized::Replayed),
            Replay::Full => Ok(Err(Full)),
        }
    }
}

/// There is no room to remember a call, so it is not taken.
pub(super) struct Full;

impl Signed {
    /// The edge, by its key's `kid`.
    pub(super) fn edge(&self) -> &str {
        self.token.kid()
    }

    /// The idempotency key that is signed and sent.
    pub(super) fn idempotency_key(&self) -> Option<&str> {
        self.token.claims().idk.as_deref()
    }
}

fn check_times(token: &Verified<EdgeClaims>, now: Timestamp) -> Result<(), Unauthorized> {
    let times = token.times();
    let sound = times.expires_at.since(times.issued_at) <= EdgeClaims::LIFE_S
        && times.issued_at <= now.plus(CLOCK_SKEW_S)
        && times.expires_at.plus(CLOCK_SKEW_S) > now
        && times
            .not_before
            .is_none_or(|start| start <= now.plus(CLOCK_SKEW_S));
    if sound {
        Ok(())
    } else {
        Err(Unauthorized::Times)
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then_some(token)
}

/// The header's one value; two are no call that an edge would make.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Unauthorized> {
    let mut values = headers.get_all("idempotency-key").iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value
            .to_str()
            .map(Some)
            .map_err(|_| Unauthorized::OtherCall),
        (Some(_), Some(_)) => Err(Unauthorized::OtherCall),
    }
}
