//! Whether a license's tokens are ones that edges take, which is nothing beyond 8 KiB.

use licet_shared::documents::FeatureOverrides;

use crate::{db::catalogue::MAX_PRODUCTS, rejection::Rejection};

/// Most bytes that products and features may take together: what the most and longest products of
/// one policy take, each with its quotes and comma. The rest of a token always fits beside them.
pub(super) const MAX_BYTES: usize = MAX_PRODUCTS * (MAX_CODE_BYTES + 3);
pub(super) const MAX_CODE_BYTES: usize = 64;

/// Bytes that a license's products and its own features take in a token.
pub(super) fn bytes(products: &[String], own: &FeatureOverrides) -> usize {
    let products: usize = products.iter().map(|code| code.len() + 3).sum();
    products + own.claim_bytes()
}

/// Refuses what would make tokens too long, while there is somebody to tell.
pub(crate) fn check(products: &[String], own: &FeatureOverrides) -> Result<(), Rejection> {
    let bytes = bytes(products, own);
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    Err(Rejection::conflict(format!(
        "The license's {} products and its own features take {bytes} bytes of each of its tokens, \
         and {MAX_BYTES} fit. Give it fewer products or features.",
        products.len()
    )))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn products_and_features_share_the_room() {
        let own = |bytes: usize| -> FeatureOverrides {
            // What is around the text: the claim's name, braces, quotes, colon.
            let text = "x".repeat(bytes - r#""fo":,{"a":""}"#.len());
            [("a".to_owned(), json!(text))].into_iter().collect()
        };
        let most = vec!["x".repeat(MAX_CODE_BYTES); MAX_PRODUCTS];
        assert!(check(&most, &FeatureOverrides::default()).is_ok());
        let refused = check(&most, &own(20)).unwrap_err();
        assert!(refused.detail.contains("64 products"), "{refused}");
        let few = most[..MAX_PRODUCTS - 30].to_vec();
        let room = MAX_BYTES - bytes(&few, &FeatureOverrides::default());
        assert!(check(&few, &own(room)).is_ok());
        assert!(check(&few, &own(room + 1)).is_err());
    }
}
