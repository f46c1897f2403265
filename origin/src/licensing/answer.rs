//! Tokens and answers.

use licet_shared::{
    api::ActivationAnswer,
    decision::{Code, Effective, FeatureSetReference, LicenseSummary, TokenSummary},
    documents::{
        BoundComponents, FeatureOverrides, LicenseClaims, Revision, Status, StatusReference,
        TOKEN_VERSION,
    },
    id::EventId,
    jws::{MAX_TOKEN_BYTES, Times, sign},
    time::Timestamp,
};

use serde_json::{Map, Value};

use super::{terms::Fingerprint, token_size};
use crate::{
    db::{activations::Activation, grants::Grant},
    fault::Fault,
    keys::Keyring,
    random::RowId,
};

/// Whether the license's token would be one that edges take: before a seat is taken for a device
/// that could not use it, nor ever give it back.
pub(super) fn check_size(grant: &Grant) -> Result<(), Fault> {
    let bytes = token_size::bytes(&grant.products, &grant.own_features);
    if bytes > token_size::MAX_BYTES {
        return Err(too_long(format!(
            "license {} covers {} products, and with its own features has {bytes} bytes, {} fit",
            grant.license,
            grant.products.len(),
            token_size::MAX_BYTES
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
        revision: Some(grant.state_version),
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
    Ok(ActivationAnswer {
        expired: grant.is_past_end(now),
        license_token: Some(text),
        token: Some(TokenSummary {
            expires_at: times.expires_at,
            refresh_after: Effective::from(&claims).refresh_after(times),
        }),
        license: Some(summary(&grant)),
        activation_id: Some(activation.id),
        feature_set: Some(FeatureSetReference {
            id: grant.feature_set,
            revision: grant.revision,
        }),
        features: Some(features(grant.features, &grant.own_features)),
        ..ActivationAnswer::plain(Code::Valid)
    })
}

/// All features of the license.
fn features(in_set: Map<String, Value>, own: &FeatureOverrides) -> Map<String, Value> {
    if own.is_empty() {
        return in_set;
    }
    let all = own.over(&in_set).into_iter();
    all.map(|(name, value)| (name.to_owned(), value.clone()))
        .collect()
}

/// The components that tell a device, in place of one fingerprint.
pub(super) fn components(grant: &Grant, activation: &Activation) -> Option<BoundComponents> {
    let of = activation.components.clone()?;
    let all = u8::try_from(of.len()).unwrap_or(u8::MAX);
    let n = grant
        .terms
        .matching_components()
        .map_or(all, |n| n.min(all));
    Some(BoundComponents { n, of })
}

pub(super) fn claims(
    grant: &Grant,
    activation: &Activation,
    keyring: &Keyring,
) -> Result<LicenseClaims, Fault> {
    let keys = keyring.public();
    let list = activation.entry.list;
    let bound = grant.fingerprint != Fingerprint::None;
    let fpc = components(grant, activation).filter(|_| bound);
    let hash = activation.fingerprint_hash.clone();
    let fp = hash.filter(|_| bound && fpc.is_none());
    Ok(LicenseClaims {
        iss: keys.issuer().into(),
        aud: grant.products.clone(),
        sub: grant.license,
        jti: EventId::generate()?,
        org: keys.org(),
        act: activation.id,
        fp,
        fpc,
        tier: grant.tier,
        lexp: grant.expires_at.map(Timestamp::unix),
        xb: grant.terms.at_expiry(),
        ra: grant.terms.refresh_after_s,
        hb: grant.terms.heartbeat_s,
        grace: grant.grace_s,
        fs: grant.feature_set,
        fo: grant.own_features.clone(),
        lr: grant.terms.seats.is_some(),
        rev: Some(Revision {
            license: grant.state_version,
            list: activation.list_version,
        }),
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
        api::MAX_COMPONENTS,
        documents::{AtExpiry, Tier},
        id::{ActivationId, FeatureSetId, LicenseId, OrgId, PolicyId},
        jws::LocalSigner,
    };

    use super::{
        token_size::{MAX_BYTES, MAX_CODE_BYTES},
        *,
    };
    use crate::{config::MAX_ISSUER_BYTES, db::catalogue::MAX_PRODUCTS, licensing::terms::Terms};

    /// The longest token that limits elsewhere allow with these products and features.
    fn longest(products: Vec<String>, own: FeatureOverrides) -> usize {
        let issuer = format!("https://{}", "i".repeat(MAX_ISSUER_BYTES - 8));
        let tag = "ZZZZZZZZ".parse().unwrap();
        let now = Timestamp::from_unix(4_000_000_000);
        let claims = LicenseClaims {
            iss: issuer.clone(),
            aud: products,
            sub: LicenseId::from_uuid_bytes([255; 16]),
            jti: EventId::from_uuid_bytes([255; 16]),
            org: OrgId::from_uuid_bytes([255; 16]),
            act: ActivationId::from_uuid_bytes([255; 16]),
            fp: None,
            fpc: Some(BoundComponents {
                n: 8,
                of: (0..MAX_COMPONENTS)
                    .map(|n| (format!("{n:024}"), "x".repeat(43)))
                    .collect(),
            }),
            tier: Tier::Enterprise,
            lexp: Some(253_402_300_799),
            xb: AtExpiry::Maintain,
            ra: Some(34_560_000),
            hb: Some(34_560_000),
            grace: 34_560_000,
            fs: FeatureSetId::from_uuid_bytes([255; 16]),
            fo: own,
            lr: true,
            rev: Some(Revision {
                license: i64::MAX.unsigned_abs(),
                list: i64::MAX.unsigned_abs(),
            }),
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
        text.len()
    }

    #[test]
    fn the_longest_token_is_not_too_long() {
        let none = FeatureOverrides::default();
        let most = longest(vec!["x".repeat(MAX_CODE_BYTES); MAX_PRODUCTS], none);
        assert!(most <= MAX_TOKEN_BYTES, "{most}");
        // The same room, taken by features alone.
        let text = "x".repeat(MAX_BYTES - r#""fo":,{"a":""}"#.len());
        let own: FeatureOverrides = [("a".to_owned(), text.into())].into_iter().collect();
        assert_eq!(token_size::bytes(&[], &own), MAX_BYTES);
        let most = longest(Vec::new(), own);
        assert!(most <= MAX_TOKEN_BYTES, "{most}");
    }

    #[test]
    fn what_would_not_fit_is_noticed() {
        let mut grant = Grant {
            license: LicenseId::from_uuid_bytes([1; 16]),
            policy: PolicyId::from_uuid_bytes([1; 16]),
            status: crate::db::licenses::LicenseStatus::Active,
            expires_at: None,
            pending_duration_s: None,
            max_activations: 1,
            tier: Tier::Pro,
            token_lifetime_s: 60,
            grace_s: 0,
            fingerprint: Fingerprint::Required,
            terms: Terms::default(),
            products: vec!["x".repeat(MAX_CODE_BYTES); MAX_PRODUCTS],
            feature_set: FeatureSetId::from_uuid_bytes([1; 16]),
            revision: 1,
            features: Map::new(),
            own_features: FeatureOverrides::default(),
            keys_version: 1,
            state_version: 1,
        };
        assert!(check_size(&grant).is_ok());
        // From before there was a limit: many short ones fit as well.
        grant.products = vec!["x".repeat(10); 300];
        assert!(check_size(&grant).is_ok());
        grant.products = vec!["x".repeat(10); 400];
        assert!(check_size(&grant).is_err());
        grant.products = vec!["x".repeat(10); 300];
        grant.own_features = [("a".to_owned(), "x".repeat(400).into())]
            .into_iter()
            .collect();
        assert!(check_size(&grant).is_err());
    }
}
