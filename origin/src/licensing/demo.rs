//! The demo organization, for a first look and for tests.

use licet_shared::{
    id::{FeatureSetId, PolicyId, ProductId},
    time::Timestamp,
};
use serde_json::{Map, Value, json};

use super::Origin;
use crate::{
    db::{
        Error, Tx, audit,
        catalogue::{self, NewPolicy},
        feature_sets, organizations, policies, products,
    },
    fault::Fault,
    random::RowId,
};

/// The product that the demo sells.
pub(crate) const PRODUCT: &str = "local_cli";
/// The policy that its licenses are issued under.
pub(crate) const POLICY: &str = "pro";
const ACTIVATIONS: i32 = 5;

/// Makes what the organization sells, as far as it is not there: what was renamed is made anew,
/// what was deleted is restored, and the product that was taken off the policy is put back.
pub(crate) async fn fill_catalogue(
    tx: &Tx<'_>,
    origin: Origin<'_>,
    now: Timestamp,
) -> Result<(), Error> {
    organizations::lock(tx).await?;
    let found = catalogue::policy_by_name(tx, POLICY).await?;
    let mut repair = Repair {
        tx,
        now,
        done: Vec::new(),
    };
    let policy = match found {
        Some(policy) => {
            repair.policy(policy).await?;
            policy
        }
        None => repair.new_policy().await?,
    };
    let product = repair.product_by_code().await?;
    if catalogue::cover(tx, policy, product).await? && found.is_some() {
        repair.done.push((policy.to_string(), "policy.updated"));
    }
    // Last, after all other locks.
    for (subject, action) in &repair.done {
        audit::write(tx, subject, &audit::Event::new(origin, action)).await?;
    }
    Ok(())
}

/// What had to be put right.
struct Repair<'a, 'c> {
    tx: &'a Tx<'c>,
    now: Timestamp,
    /// Of what, and as the audit trail calls it.
    done: Vec<(String, &'static str)>,
}

impl Repair<'_, '_> {
    async fn policy(&mut self, id: PolicyId) -> Result<(), Error> {
        let locked = policies::lock(self.tx, id).await?;
        let mut policy = locked.ok_or(Error::Row("policies"))?;
        self.feature_set(policy.feature_set).await?;
        for product in policy.products.clone() {
            self.product(product).await?;
        }
        if policy.deleted_at.take().is_some() {
            policy.version += 1;
            policy.updated_at = self.now;
            policies::update(self.tx, &policy).await?;
            self.done.push((id.to_string(), "policy.restored"));
        }
        Ok(())
    }

    async fn feature_set(&mut self, id: FeatureSetId) -> Result<(), Error> {
        let locked = feature_sets::lock(self.tx, id).await?;
        let mut set = locked.ok_or(Error::Row("feature_sets"))?;
        if set.deleted_at.take().is_some() {
            set.version += 1;
            set.updated_at = self.now;
            feature_sets::update(self.tx, &set).await?;
            self.done.push((id.to_string(), "feature_set.restored"));
        }
        Ok(())
    }

    async fn product(&mut self, id: ProductId) -> Result<(), Error> {
        let locked = products::lock(self.tx, id).await?;
        let mut product = locked.ok_or(Error::Row("products"))?;
        if product.deleted_at.take().is_some() {
            product.version += 1;
            product.updated_at = self.now;
            products::update(self.tx, &product).await?;
            self.done.push((id.to_string(), "product.restored"));
        }
        Ok(())
    }

    async fn new_policy(&mut self) -> Result<PolicyId, Error> {
        let feature_set = match catalogue::feature_set_by_name(self.tx, POLICY).await? {
            Some(feature_set) => {
                self.feature_set(feature_set).await?;
                feature_set
            }
            None => {
                let feature_set = FeatureSetId::generate()?;
                let features = features()?;
                catalogue::insert_feature_set(self.tx, feature_set, POLICY, &features).await?;
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
        catalogue::insert_policy(self.tx, &policy).await?;
        Ok(policy.id)
    }

    async fn product_by_code(&mut self) -> Result<ProductId, Error> {
        if let Some(product) = catalogue::product_by_code(self.tx, PRODUCT).await? {
            self.product(product).await?;
            return Ok(product);
        }
        let product = ProductId::generate()?;
        catalogue::insert_product(self.tx, product, PRODUCT, "Local CLI").await?;
        Ok(product)
    }
}

fn features() -> Result<Map<String, Value>, Fault> {
    match json!({ "export.pdf": true, "projects.max": 25 }) {
        Value::Object(features) => Ok(features),
        _ => Err(Fault::internal("the demo's features", "are no object")),
    }
}
