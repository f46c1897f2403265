//! Access tokens: `at+jwt`, signed by the platform key, good for an hour at most.

use licet_shared::{
    documents::AccessClaims,
    id::{EventId, OrgId, UserId},
    jws::{Times, Untrusted, sign},
    time::{CLOCK_SKEW_S, Timestamp},
};

use crate::{
    fault::Fault,
    keys::{Keyrings, ed25519},
    random::RowId,
};

/// How long an access token lives, in seconds.
pub const LIFE_S: i64 = 3600;
/// Who such tokens are for.
const AUDIENCE: &str = "licet-accounts";
/// The one client there is: whoever logs in with a password.
const CLIENT: &str = "licet";

/// A token, and the time from which it is refused.
pub(crate) struct AccessToken {
    pub(crate) text: String,
    pub(crate) expires_at: Timestamp,
}

/// Makes a token for a session. It ends with the session at the latest.
pub(crate) fn mint(
    keyrings: &Keyrings,
    org: OrgId,
    user: UserId,
    session: EventId,
    session_ends: Timestamp,
    now: Timestamp,
) -> Result<AccessToken, Fault> {
    let claims = AccessClaims {
        iss: keyrings.issuer().into(),
        aud: AUDIENCE.into(),
        sub: user,
        org,
        client_id: CLIENT.into(),
        // What a person may do is their role's, read anew for each call.
        scope: String::new(),
        sid: session,
        jti: EventId::generate()?,
    };
    let times = Times::starting(now, LIFE_S.min(session_ends.since(now)));
    let text = sign(&claims, times, keyrings.platform_signer())
        .map_err(|error| Fault::internal("the platform key", error))?;
    Ok(AccessToken {
        text,
        expires_at: times.expires_at,
    })
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It was not made here.
    MadeUp,
    /// It was, and is not in its time.
    OutOfTime,
}

/// The claims of a token that is ours and in its time. Whether its session is still alive, only
/// the database knows.
pub(crate) fn verify(
    keyrings: &Keyrings,
    text: &str,
    now: Timestamp,
) -> Result<AccessClaims, Refused> {
    let untrusted = Untrusted::<AccessClaims>::parse(text, now).map_err(|_| Refused::MadeUp)?;
    let key = keyrings.platform_key(untrusted.kid());
    let key = key.ok_or(Refused::MadeUp)?;
    let token = ed25519::verify(untrusted, key).map_err(|_| Refused::MadeUp)?;
    let times = token.times();
    let in_time = times.issued_at <= now.plus(CLOCK_SKEW_S)
        && times.expires_at > now
        && times.expires_at.since(times.issued_at) <= LIFE_S
        && times
            .not_before
            .is_none_or(|start| start <= now.plus(CLOCK_SKEW_S));
    let claims = token.into_claims();
    if claims.iss != keyrings.issuer() || claims.aud != AUDIENCE {
        return Err(Refused::MadeUp);
    }
    in_time.then_some(claims).ok_or(Refused::OutOfTime)
}

#[cfg(test)]
mod tests {
    use licet_shared::jws::LocalSigner;

    use super::*;
    use crate::keys::{MasterKey, Platform};

    fn keyrings(seed: u8, issuer: &str) -> Keyrings {
        let platform = LocalSigner::from_seed("platform.1", [seed; 32]);
        let platform = Platform::local(&platform).unwrap();
        Keyrings::new(MasterKey::new([2; 32]), platform, issuer.into())
    }

    fn token(keyrings: &Keyrings, now: Timestamp) -> AccessToken {
        let (org, user) = (OrgId::new(1, [1; 10]), UserId::new(1, [2; 10]));
        mint(
            keyrings,
            org,
            user,
            EventId::new(1, [3; 10]),
            now.plus(86_400),
            now,
        )
        .unwrap()
    }

    #[test]
    fn holds_for_its_hour_and_here_alone() {
        let now = Timestamp::from_unix(1_795_250_208);
        let ours = keyrings(1, "https://a.test");
        let text = token(&ours, now).text;
        assert!(verify(&ours, &text, now).is_ok());
        assert!(verify(&ours, &text, now.plus(LIFE_S - 1)).is_ok());
        let refused = |keyrings: &Keyrings, now| verify(keyrings, &text, now).unwrap_err();
        for out in [now.plus(LIFE_S), now.plus(-CLOCK_SKEW_S - 1)] {
            assert_eq!(refused(&ours, out), Refused::OutOfTime);
        }
        for other in [keyrings(2, "https://a.test"), keyrings(1, "https://b.test")] {
            assert_eq!(refused(&other, now), Refused::MadeUp);
        }
    }

    #[test]
    fn holds_while_the_platforms_key_changes() {
        let now = Timestamp::from_unix(1_795_250_208);
        let [old, new] =
            [1, 2].map(|number| LocalSigner::from_seed(format!("platform.{number}"), [number; 32]));
        let pinned = format!("{},{}", old.verifying_key(), new.verifying_key());
        let keyrings = |signer, pinned| {
            let platform = Platform::local(signer).unwrap().pinned(pinned).unwrap();
            Keyrings::new(MasterKey::new([2; 32]), platform, "https://a.test".into())
        };
        let both = Some(pinned.as_str());
        let of_old = token(&keyrings(&old, None), now).text;
        let of_new = token(&keyrings(&new, both), now).text;
        for signer in [&old, &new] {
            for text in [&of_old, &of_new] {
                assert!(verify(&keyrings(signer, both), text, now).is_ok());
            }
        }
        let alone = keyrings(&new, None);
        assert!(verify(&alone, &of_new, now).is_ok());
        assert_eq!(verify(&alone, &of_old, now), Err(Refused::MadeUp));
    }

    #[test]
    fn does_not_outlive_its_session() {
        let now = Timestamp::from_unix(1_795_250_208);
        let ours = keyrings(1, "https://a.test");
        let (org, user) = (OrgId::new(1, [1; 10]), UserId::new(1, [2; 10]));
        let token = mint(&ours, org, user, EventId::new(1, [3; 10]), now.plus(7), now).unwrap();
        assert_eq!(token.expires_at, now.plus(7));
    }
}
