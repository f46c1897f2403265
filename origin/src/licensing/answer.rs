//! Tokens and answers.

use licet_shared::{
    api::ActivationAnswer,
    decision::{Code, FeatureSetReference, LicenseSummary, TokenSummary},
    documents::{LicenseClaims, Status, StatusReference, TOKEN_VERSION},
    id::EventId,
    jws::{MAX_TOKEN_BYTES, Times, sign},
    time::Timestamp,
};

use crate::{
    db::{activations::Activation, catalogue::MAX_PRODUCTS, grants::Grant},
    fault::Fault,
    keys::Keyring,
    random::RowId,
};

/// Most bytes that a token's products may take: what the most and longest products of one policy
/// take, each with its quotes and comma. The rest of a token always fits beside them.
const MAX_PRODUCT_BYTES: usize = MAX_PRODUCTS * (MAX_CODE_BYTES + 3);
const MAX_CODE_BYTES: usize = 64;

/// Whether the license's token would be one that edges take: before a seat is taken for a device
/// that could not use it, nor ever give it back.
pub(super) fn check_products(grant: &Grant) -> Result<(), Fault> {
    let bytes: usize = grant.products.iter().map(|code| code.len() + 3).sum();
    if bytes > MAX_PRODUCT_BYTES {
        return Err(too_long(format!(
            "license {} covers {} products with {bytes} bytes, {MAX_PRODUCT_BYTES} fit",
            grant.license,
            grant.products.len()
        )));
    }
    Ok(())
}

fn too_long(why: String) -> Fault {
    Fault::internal("a license token would be too long", why)
}

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
    if text.len() > MAX_TOKEN_BYTES {
        return Err(too_long(format!("{} bytes", text.len())));
    }
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

#[cfg(test)]
mod tests {
    use licet_shared::{
        documents::Tier,
        id::{ActivationId, FeatureSetId, LicenseId, OrgId},
        jws::LocalSigner,
    };

    use super::*;
    use crate::config::MAX_ISSUER_BYTES;

    /// The longest token that limits elsewhere allow.
    #[test]
    fn the_longest_token_is_not_too_long() {
        let code = "x".repeat(MAX_CODE_BYTES);
        let issuer = format!("https://{}", "i".repeat(MAX_ISSUER_BYTES - 8));
        let tag = "ZZZZZZZZ".parse().unwrap();
        let now = Timestamp::from_unix(4_000_000_000);
        let claims = LicenseClaims {
            iss: issuer.clone(),
            aud: vec![code; MAX_PRODUCTS],
            sub: LicenseId::from_uuid_bytes([255; 16]),
            jti: EventId::from_uuid_bytes([255; 16]),
            org: OrgId::from_uuid_bytes([255; 16]),
            act: ActivationId::from_uuid_bytes([255; 16]),
            fp: Some("x".repeat(43)),
            tier: Tier::Enterprise,
            lexp: Some(253_402_300_799),
            grace: 34_560_000,
            fs: FeatureSetId::from_uuid_bytes([255; 16]),
            status: Status {
                status_list: StatusReference {
                    idx: 131_071,
                    uri: StatusReference::uri(&issuer, tag, u32::MAX),
                },
            },
            ver: TOKEN_VERSION,
        };
        let signer = LocalSigner::from_seed(format!("{tag}.{}", i32::MAX), [1; 32]);
        let text = sign(&claims, Times::starting(now, 34_560_000), &signer).unwrap();
        assert!(text.len() <= MAX_TOKEN_BYTES, "{}", text.len());
    }

    #[test]
    fn products_that_would_not_fit_are_noticed() {
        let mut grant = Grant {
            license: LicenseId::from_uuid_bytes([1; 16]),
            status: crate::db::licenses::LicenseStatus::Active,
            expires_at: None,
            max_activations: 1,
            tier: Tier::Pro,
            token_lifetime_s: 60,
            grace_s: 0,
            bound: true,
            products: vec!["x".repeat(MAX_CODE_BYTES); MAX_PRODUCTS],
            feature_set: FeatureSetId::from_uuid_bytes([1; 16]),
            revision: 1,
            features: serde_json::Map::new(),
            keys_version: 1,
        };
        assert!(check_products(&grant).is_ok());
        // From before there was a limit: many short ones fit as well.
        grant.products = vec!["x".repeat(10); 300];
        assert!(check_products(&grant).is_ok());
        grant.products = vec!["x".repeat(10); 400];
        assert!(check_products(&grant).is_err());
    }
}
