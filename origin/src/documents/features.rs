//! Feature sets.

use std::sync::Arc;

use licet_shared::{
    documents::FeaturesClaims,
    id::FeatureSetId,
    jws::{Times, sign},
    time::Timestamp,
};
use serde_json::{Map, Value};

use super::{
    DOCUMENT_LIFE_S, DocumentCache, SignedDocument,
    cache::{Copy, DocumentId, DocumentState},
};
use crate::{
    db::{
        Tenant,
        catalogue::{FeatureSetVersion, feature_set_version, features},
    },
    fault::Fault,
    keys::Keyrings,
};

/// A revision never changes, so its copy is signed anew only to renew its life, and its word on how
/// far the feed had come, without which an edge has to ask again.
const RESIGN_AFTER_S: i64 = 30;

enum Found {
    Remembered(Arc<SignedDocument>),
    Content(FeatureSetVersion, u64, Map<String, Value>),
}

/// The signed current revision of a feature set. None where the organization has no such set.
/// Also tells whether the copy was remembered.
pub(crate) async fn feature_set(
    tenant: &Tenant,
    keyrings: &Keyrings,
    cache: &DocumentCache,
    set: FeatureSetId,
    now: Timestamp,
) -> Result<Option<(Arc<SignedDocument>, bool)>, Fault> {
    let id = DocumentId::FeatureSet(tenant.org(), set);
    let found = tenant
        .run_tx("feature_set", |tx| {
            Box::pin(async move {
                let Some((version, epoch)) = feature_set_version(tx, set).await? else {
                    return Ok(None);
                };
                let state = DocumentState::FeatureSet(version);
                if let Some(document) = cache.get(id, state, RESIGN_AFTER_S, now) {
                    return Ok(Some(Found::Remembered(document)));
                }
                let features = features(tx, set, version.revision).await?;
                Ok(Some(Found::Content(version, epoch, features)))
            })
        })
        .await?;
    let (version, epoch, features) = match found {
        None => return Ok(None),
        Some(Found::Remembered(document)) => return Ok(Some((document, true))),
        Some(Found::Content(version, epoch, features)) => (version, epoch, features),
    };

    let keyring = keyrings
        .get_version(tenant, version.keys_version, now)
        .await?;
    let claims = FeaturesClaims {
        iss: keyrings.issuer().into(),
        org: tenant.org(),
        sub: set,
        rev: version.revision,
        ep: epoch,
        features: features.into_iter().collect(),
    };
    let text = sign(
        &claims,
        Times::starting(now, DOCUMENT_LIFE_S),
        keyring.signer(),
    )
    .map_err(|error| Fault::internal("signing a feature set", error))?;
    let document = Arc::new(SignedDocument::new(text, u64::from(version.revision), now));
    let state = DocumentState::FeatureSet(version);
    cache.put(
        id,
        Copy {
            state,
            document: Arc::clone(&document),
        },
    );
    Ok(Some((document, false)))
}
