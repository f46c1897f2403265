//! Sessions: a family of refresh tokens of which the newest counts.
//!
//! A refresh token is computed from the master key, the session and its generation, so that a
//! spent one is recognised for what it is without a store of spent ones, nobody who only knows a
//! session's id can end it, and the child of a token whose answer was lost can be given again
//! instead of a sibling.

use base64ct::{Base64UrlUnpadded, Encoding};
use licet_shared::{
    id::{EventId, OrgId, OrgTag, UserId},
    time::Timestamp,
};
use subtle::ConstantTimeEq;

use super::{
    credentials::Fingerprint,
    secrets::{OrgSecret, SecretKind},
};
use crate::{
    db::{Error, Tx, sessions},
    fault::Fault,
    keys::{MasterKey, MasterKeys},
    random::RowId,
};

/// A session ends after as many seconds without renewal …
pub(crate) const SLIDING_S: i64 = 7 * 86_400;
/// … and after as many in any case.
pub(crate) const ABSOLUTE_S: i64 = 90 * 86_400;
/// For as many seconds after a renewal its parent gives the same child again.
const PARENT_S: i64 = 10;

const KIND: SecretKind = SecretKind::RefreshToken;
const TOKEN_HASH: &str = "a session's token hash";
const BODY_BYTES: usize = 16 + 4 + 32;

/// A refresh token in the right form.
pub(crate) struct RefreshToken {
    secret: OrgSecret,
    session: EventId,
    generation: u32,
}

impl RefreshToken {
    /// Reads one; none for what is not well-formed.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let secret = OrgSecret::parse(KIND, text)?;
        let mut bytes = [0; BODY_BYTES];
        let decoded = Base64UrlUnpadded::decode(secret.body(KIND), &mut bytes).ok()?;
        let (session, rest) = decoded.split_first_chunk::<16>()?;
        let (generation, mac) = rest.split_first_chunk::<4>()?;
        if mac.len() != 32 {
            return None;
        }
        let (session, generation) = (
            EventId::from_uuid_bytes(*session),
            u32::from_be_bytes(*generation),
        );
        Some(Self {
            secret,
            session,
            generation,
        })
    }

    /// The one token of a session's generation.
    fn derive(
        master: &MasterKey,
        org: OrgId,
        tag: OrgTag,
        session: EventId,
        generation: u32,
    ) -> Self {
        let mut input = Vec::with_capacity(36);
        input.extend_from_slice(&org.uuid_bytes());
        input.extend_from_slice(&session.uuid_bytes());
        input.extend_from_slice(&generation.to_be_bytes());
        let mac = master.derive("licet refresh token", &input);
        let mut body = [0; BODY_BYTES];
        body[..20].copy_from_slice(&input[16..]);
        body[20..].copy_from_slice(&mac[..]);
        let secret = OrgSecret::with_body(KIND, tag, &Base64UrlUnpadded::encode_string(&body));
        Self {
            secret,
            session,
            generation,
        }
    }

    /// Whether it was made here, ever.
    pub(crate) fn is_ours(&self, masters: &MasterKeys, org: OrgId) -> bool {
        let same = |master| {
            let (tag, session) = (self.secret.tag(), self.session);
            let ours = Self::derive(master, org, tag, session, self.generation);
            let (theirs, ours) = (self.secret.reveal(), ours.secret.reveal());
            bool::from(theirs.as_bytes().ct_eq(ours.as_bytes()))
        };
        masters.all().any(same)
    }

    /// What it is counted by.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.secret.hash()
    }

    pub(crate) const fn tag(&self) -> OrgTag {
        self.secret.tag()
    }

    pub(crate) fn reveal(&self) -> &str {
        self.secret.reveal()
    }
}

/// A session that was begun or renewed.
pub(crate) struct Session {
    pub(crate) id: EventId,
    pub(crate) user: UserId,
    pub(crate) token: RefreshToken,
    /// End of the refresh token.
    pub(crate) expires_at: Timestamp,
    /// End of the session in any case.
    pub(crate) ends_at: Timestamp,
}

/// Begins a session.
pub(crate) async fn begin(
    tx: &Tx<'_>,
    masters: &MasterKeys,
    tag: OrgTag,
    user: UserId,
    now: Timestamp,
) -> Result<Session, Error> {
    let id = EventId::generate()?;
    let token = RefreshToken::derive(masters.sealing(), tx.org_id(), tag, id, 0);
    let session = Session {
        id,
        user,
        token,
        expires_at: now.plus(SLIDING_S),
        ends_at: now.plus(ABSOLUTE_S),
    };
    let row = sessions::NewSession {
        id,
        user,
        token_hash: session.token.secret.hash(),
        expires_at: session.expires_at,
        ends_at: session.ends_at,
        now,
    };
    sessions::insert(tx, &row).await?;
    Ok(session)
}

/// What became of a refresh token.
pub(crate) enum Renewal {
    Renewed(Session),
    /// The session is over, or was never there.
    Refused,
    /// It was spent before: whoever shows it or whoever spent it stole it. The session is over.
    Reused {
        session: EventId,
        user: UserId,
    },
}

/// Spends a refresh token for the next one.
pub(crate) async fn renew(
    tx: &Tx<'_>,
    masters: &MasterKeys,
    token: &RefreshToken,
    now: Timestamp,
) -> Result<Renewal, Error> {
    let Some(row) = sessions::lock(tx, token.session).await? else {
        return Ok(Renewal::Refused);
    };
    let alive =
        row.ended_at.is_none() && row.expires_at > now && row.ends_at > now && row.user_active;
    if !alive || !token.is_ours(masters, tx.org_id()) || token.generation > row.generation {
        return Ok(Renewal::Refused);
    }
    let next = |master, generation, expires_at| Session {
        id: token.session,
        user: row.user,
        token: RefreshToken::derive(master, tx.org_id(), token.tag(), token.session, generation),
        expires_at,
        ends_at: row.ends_at,
    };
    if token.generation < row.generation {
        let parent = token.generation + 1 == row.generation;
        if parent && now.since(row.renewed_at) <= PARENT_S {
            // The child was perhaps made under another master key than would be used now.
            let child = masters
                .all()
                .map(|master| next(master, row.generation, row.expires_at))
                .find(|child| child.token.secret.hash().ct_eq(&row.token_hash).into());
            let child = child.ok_or_else(|| Fault::internal(TOKEN_HASH, "is of no token"))?;
            return Ok(Renewal::Renewed(child));
        }
        sessions::end(tx, token.session, sessions::Why::Reused, now).await?;
        return Ok(Renewal::Reused {
            session: token.session,
            user: row.user,
        });
    }
    if !bool::from(token.secret.hash().ct_eq(&row.token_hash)) {
        return Err(Fault::internal(TOKEN_HASH, "is not that of its token").into());
    }
    let expires_at = now.plus(SLIDING_S).min(row.ends_at);
    let session = next(masters.sealing(), row.generation + 1, expires_at);
    sessions::renew(
        tx,
        session.id,
        &session.token.secret.hash(),
        expires_at,
        now,
    )
    .await?;
    Ok(Renewal::Renewed(session))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back_and_are_known_here_alone() {
        let master = MasterKey::new([1; 32]);
        let (org, session) = (OrgId::new(1, [1; 10]), EventId::new(1, [2; 10]));
        let tag = "7Q2M4X9K".parse().unwrap();
        let token = RefreshToken::derive(&master, org, tag, session, 7);
        assert!(token.reveal().starts_with("licet_rt_7Q2M4X9K"));
        let read = RefreshToken::parse(token.reveal()).unwrap();
        assert_eq!(
            (read.session, read.generation, read.tag()),
            (session, 7, tag)
        );
        let ours = MasterKeys::from(master.clone());
        assert!(read.is_ours(&ours, org));
        let other = MasterKey::new([2; 32]);
        assert!(!read.is_ours(&other.clone().into(), org));
        assert!(read.is_ours(&MasterKeys::new(other, vec![master.clone()]), org));
        assert!(!read.is_ours(&ours, OrgId::new(1, [3; 10])));
        let made_up = OrgSecret::with_body(
            KIND,
            tag,
            &Base64UrlUnpadded::encode_string(&[7; BODY_BYTES]),
        );
        assert!(
            !RefreshToken::parse(made_up.reveal())
                .unwrap()
                .is_ours(&ours, org)
        );
        assert_ne!(
            RefreshToken::derive(&master, org, tag, session, 8).reveal(),
            token.reveal()
        );
    }
}
