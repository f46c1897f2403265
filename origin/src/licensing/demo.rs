//! The demo organization, for a first look and for tests.

use licet_shared::id::{FeatureSetId, PolicyId, ProductId};
use serde_json::{Map, Value, json};

use crate::{
    db::{
        Error, Tx,
        catalogue::{self, NewPolicy},
        organizations,
    },
    fault::Fault,
    random::RowId,
};

/// The product that the demo sells.
pub(crate) const PRODUCT: &str = "local_cli";
/// The policy that its licenses are issued under.
pub(crate) const POLICY: &str = "pro";
const ACTIVATIONS: i32 = 5;

/// Makes what the organization sells, unless it is there.
pub(crate) async fn fill_catalogue(tx: &Tx<'_>) -> Result<(), Error> {
    organizations::lock(tx).await?;
    if catalogue::policy_by_name(tx, POLICY).await?.is_some() {
        return Ok(());
    }
    let product = match catalogue::product_by_code(tx, PRODUCT).await? {
        Some(product) => product,
        None => {
            let product = ProductId::generate()?;
            catalogue::insert_product(tx, product, PRODUCT, "Local CLI").await?;
            product
        }
    };
    let feature_set = match catalogue::feature_set_by_name(tx, POLICY).await? {
        Some(feature_set) => feature_set,
        None => {
            let feature_set = FeatureSetId::generate()?;
            catalogue::insert_feature_set(tx, feature_set, POLICY, &features()?).await?;
            feature_set
        }
    };
    let policy = NewPolicy {
        id: PolicyId::generate()?,
        name: POLICY,
        tier: "PRO",
        feature_set,
        max_activations: ACTIVATIONS,
    };
    catalogue::insert_policy(tx, &policy).await?;
    catalogue::cover(tx, policy.id, product).await
}

fn features() -> Result<Map<String, Value>, Fault> {
    match json!({ "export.pdf": true, "projects.max": 25 }) {
        Value::Object(features) => Ok(features),
        _ => Err(Fault::internal("the demo's features", "are no object")),
    }
}
