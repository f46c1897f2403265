//! Tokens and answers.

use licet_shared::{
    api::ActivationAnswer,
    decision::{Code, FeatureSetReference, LicenseSummary, TokenSummary},
    documents::{LicenseClaims, Status, StatusReference, TOKEN_VERSION},
    id::EventId,
    jws::{Times, sign},
    time::Timestamp,
};

use crate::{
    db::{activations::Activation, grants::Grant},
    fault::Fault,
    keys::Keyring,
    random::RowId,
};

/// What is known of a license in any answer about it.
pub(super) fn summary(grant: &Grant) -> LicenseSummary {
    LicenseSummary {
        id: grant.license,
        tier: grant.tier,
        products: grant.products.clone(),
        expires_at: grant.expires_at,
    }
}

/// A no about a license that is known.
pub(super) fn refusal(code: Code, grant: &Grant) -> ActivationAnswer {
    ActivationAnswer {
        license: Some(summary(grant)),
        ..ActivationAnswer::plain(code)
    }
}

/// A yes, with a new token for the activation.
pub(super) fn token(
    grant: Grant,
    activation: &Activation,
    keyring: &Keyring,
    now: Timestamp,
) -> Result<ActivationAnswer, Fault> {
    let times = Times::starting(now, grant.token_lifetime_s);
    let claims = claims(&grant, activation, keyring)?;
    let text = sign(&claims, times, keyring.signer())
        .map_err(|error| Fault::internal("signing a license token", error))?;
    let half_life = times.expires_at.since(now) / 2;
    Ok(ActivationAnswer {
        license_token: Some(text),
        token: Some(TokenSummary {
            expires_at: times.expires_at,
            refresh_after: now.plus(half_life),
        }),
        license: Some(summary(&grant)),
        activation_id: Some(activation.id),
        feature_set: Some(FeatureSetReference {
            id: grant.feature_set,
            revision: grant.revision,
        }),
        features: Some(grant.features),
        ..ActivationAnswer::plain(Code::Valid)
    })
}

fn claims(
    grant: &Grant,
    activation: &Activation,
    keyring: &Keyring,
) -> Result<LicenseClaims, Fault> {
    let keys = keyring.public();
    let list = activation.entry.list;
    Ok(LicenseClaims {
        iss: keys.issuer().into(),
        aud: grant.products.clone(),
        sub: grant.license,
        jti: EventId::generate()?,
        org: keys.org(),
        act: activation.id,
        fp: grant.bound.then(|| activation.fingerprint_hash.clone()),
        tier: grant.tier,
        lexp: grant.expires_at.map(Timestamp::unix),
        grace: grant.grace_s,
        fs: grant.feature_set,
        status: Status {
            status_list: StatusReference {
                idx: activation.entry.index,
                uri: StatusReference::uri(keys.issuer(), keys.tag(), list),
            },
        },
        ver: TOKEN_VERSION,
    })
}
