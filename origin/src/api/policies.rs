//! `/api/v1/policies`: what licenses are issued under.

use licet_shared::{
    api::{Body, BodyError},
    documents::Tier,
    id::{FeatureSetId, PolicyId, ProductId},
    problem::ProblemCode,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Call, Operation, Reply, fields,
    once::Creation,
    operation::Verb::{Delete, Get, Patch, Post},
};
use crate::{
    accounts::permissions::Permission::{PoliciesRead, PoliciesWrite},
    db::{
        Error, Tx, Work, audit, catalogue, feature_sets,
        policies::{self, FingerprintRule, Policy, PolicyFilter},
    },
    http::HandlerError,
    licensing::terms::{self, Terms},
    random::RowId,
    rejection::Rejection,
};

const PATH: &str = "/api/v1/policies";
const ONE: &str = "/api/v1/policies/{id}";
const PRODUCTS: usize = catalogue::MAX_PRODUCTS;
/// 400 days.
const LONGEST_S: i32 = 34_560_000;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(Get, PATH, PoliciesRead, |call| Box::pin(list(call)))
            .named("list_policies", "List policies")
            .lists::<PolicyView>()
            .param::<Tier>("tier", "Only those of this tier.")
            .param::<FeatureSetId>("feature_set", "Only those of this feature set.")
            .param::<String>("product", "Only those that cover the product with this code.")
            .param::<String>("text", "Only those with this in their name, in any case.")
            .param::<bool>("deleted", "The deleted ones instead of the others."),
        Operation::new(Post, PATH, PoliciesWrite, |call| Box::pin(create(call)))
            .named("create_policy", "Make a policy")
            .takes::<NewPolicy>()
            .creates::<PolicyView>()
            .or(ProblemCode::NotFound),
        Operation::new(Get, ONE, PoliciesRead, |call| Box::pin(read(call)))
            .named("read_policy", "Read a policy")
            .about::<PolicyId>()
            .gives::<PolicyView>(),
        Operation::new(Patch, ONE, PoliciesWrite, |call| Box::pin(update(call)))
            .named("update_policy", "Change a policy")
            .detail(
                "Tier, `token_lifetime_s`, `grace_s`, `fingerprint_rule` and `terms` count for every license under the policy, on devices from their next token on; the rest for licenses that are issued from now on.",
            )
            .about::<PolicyId>()
            .takes::<PolicyChange>()
            .gives::<PolicyView>()
            .conditional()
            .or(ProblemCode::Conflict),
        Operation::new(Delete, ONE, PoliciesWrite, |call| Box::pin(delete(call)))
            .named("delete_policy", "Delete a policy")
            .detail("It can be restored, and keeps its name. Licenses under it go on as before, and none is issued under it.")
            .about::<PolicyId>()
            .conditional(),
        Operation::new(
            Post,
            "/api/v1/policies/{id}/restore",
            PoliciesWrite,
            |call| Box::pin(restore(call)),
        )
        .named("restore_policy", "Restore a deleted policy")
        .detail("Refused while its feature set or one of its products is deleted.")
        .about::<PolicyId>()
        .gives::<PolicyView>()
        .conditional()
        .or(ProblemCode::Conflict),
    ]
}

/// What licenses are issued under.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Policy)]
struct PolicyView {
    id: PolicyId,
    name: String,
    tier: Tier,
    feature_set_id: FeatureSetId,
    /// What a license issued under it covers.
    product_ids: Vec<ProductId>,
    /// On how many devices at once a license may run.
    max_activations: i32,
    /// How long a token counts after it was made.
    token_lifetime_s: i32,
    /// How long a token counts beyond that while it can't be refreshed.
    grace_s: i32,
    /// How long a license counts after its issue; null where it does not end.
    license_duration_s: Option<i64>,
    fingerprint_rule: FingerprintRule,
    terms: Terms,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// Null where it is not deleted.
    deleted_at: Option<Timestamp>,
}

impl From<Policy> for PolicyView {
    fn from(policy: Policy) -> Self {
        let Policy {
            id,
            name,
            tier,
            feature_set,
            products,
            max_activations,
            token_lifetime_s,
            grace_s,
            license_duration_s,
            fingerprint_rule,
            terms,
            version: _,
            created_at,
            updated_at,
            deleted_at,
        } = policy;
        Self {
            id,
            name,
            tier,
            feature_set_id: feature_set,
            product_ids: products,
            max_activations,
            token_lifetime_s,
            grace_s,
            license_duration_s,
            fingerprint_rule,
            terms,
            created_at,
            updated_at,
            deleted_at,
        }
    }
}

const fn a_day() -> i32 {
    86_400
}

const fn a_week() -> i32 {
    604_800
}

const fn bound() -> FingerprintRule {
    FingerprintRule::Bound
}

/// A policy to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPolicy {
    #[schema(value_type = fields::Name, example = "Pro, yearly")]
    name: String,
    tier: Tier,
    feature_set_id: FeatureSetId,
    /// What a license issued under it covers.
    #[schema(min_items = 1, max_items = 64)]
    product_ids: Vec<ProductId>,
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_activations: i32,
    /// A day if absent.
    #[serde(default = "a_day")]
    #[schema(minimum = 60, maximum = 34_560_000)]
    token_lifetime_s: i32,
    /// A week if absent.
    #[serde(default = "a_week")]
    #[schema(minimum = 0, maximum = 34_560_000)]
    grace_s: i32,
    /// Null or absent: licenses don't end.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 3_155_760_000_i64)]
    license_duration_s: Option<i64>,
    /// BOUND if absent.
    #[serde(default = "bound")]
    fingerprint_rule: FingerprintRule,
    /// How its licenses may be used, beyond that.
    #[serde(default, deserialize_with = "fields::object")]
    terms: Terms,
}

impl Body for NewPolicy {
    fn check(&self) -> Result<(), BodyError> {
        fields::check_name("name", &self.name)?;
        check_products(&self.product_ids)?;
        check_activations(self.max_activations)?;
        check_lifetime(self.token_lifetime_s)?;
        check_grace(self.grace_s)?;
        self.license_duration_s
            .iter()
            .try_for_each(|duration| check_duration(*duration))?;
        self.terms.check()
    }
}

/// What is to be different. What is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PolicyChange {
    #[serde(default)]
    #[schema(value_type = Option<fields::Name>)]
    name: Option<String>,
    #[serde(default)]
    tier: Option<Tier>,
    #[serde(default)]
    feature_set_id: Option<FeatureSetId>,
    /// All of them, not only those that differ.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 64)]
    product_ids: Option<Vec<ProductId>>,
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_activations: Option<i32>,
    #[serde(default)]
    #[schema(minimum = 60, maximum = 34_560_000)]
    token_lifetime_s: Option<i32>,
    #[serde(default)]
    #[schema(minimum = 0, maximum = 34_560_000)]
    grace_s: Option<i32>,
    /// Null: licenses don't end.
    #[serde(default, deserialize_with = "fields::sent")]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 3_155_760_000_i64)]
    license_duration_s: Option<Option<i64>>,
    #[serde(default)]
    fingerprint_rule: Option<FingerprintRule>,
    /// All of them, not only those that differ.
    #[serde(default, deserialize_with = "terms::object")]
    terms: Option<Terms>,
}

impl Body for PolicyChange {
    fn check(&self) -> Result<(), BodyError> {
        let Self {
            name,
            product_ids,
            max_activations,
            token_lifetime_s,
            grace_s,
            license_duration_s,
            terms,
            ..
        } = self;
        name.iter()
            .try_for_each(|name| fields::check_name("name", name))?;
        product_ids.iter().try_for_each(|ids| check_products(ids))?;
        max_activations.map_or(Ok(()), check_activations)?;
        token_lifetime_s.map_or(Ok(()), check_lifetime)?;
        grace_s.map_or(Ok(()), check_grace)?;
        license_duration_s
            .flatten()
            .map_or(Ok(()), check_duration)?;
        terms.as_ref().map_or(Ok(()), Terms::check)
    }
}

fn check(sound: bool, field: &str, what: &str) -> Result<(), BodyError> {
    if sound {
        Ok(())
    } else {
        Err(BodyError::field(field, what))
    }
}

fn check_products(ids: &[ProductId]) -> Result<(), BodyError> {
    let sound = (1..=PRODUCTS).contains(&ids.len());
    check(sound, "product_ids", "must be 1 to 64")
}

fn check_activations(number: i32) -> Result<(), BodyError> {
    let sound = (1..=1_000_000).contains(&number);
    check(sound, "max_activations", "must be 1 to 1000000")
}

fn check_lifetime(seconds: i32) -> Result<(), BodyError> {
    let sound = (60..=LONGEST_S).contains(&seconds);
    check(sound, "token_lifetime_s", "must be 60 to 34560000")
}

fn check_grace(seconds: i32) -> Result<(), BodyError> {
    let sound = (0..=LONGEST_S).contains(&seconds);
    check(sound, "grace_s", "must be 0 to 34560000")
}

fn check_duration(seconds: i64) -> Result<(), BodyError> {
    let sound = (1..=3_155_760_000).contains(&seconds);
    check(sound, "license_duration_s", "must be 1 to 3155760000")
}

fn name_taken(error: Error) -> Error {
    error.on_constraint("policies_name_key", || {
        Rejection::conflict("Another policy, perhaps a deleted one, has this name.")
    })
}

fn sorted(ids: &[ProductId]) -> Vec<ProductId> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Another tenant's are as little there as none.
async fn hold_feature_set(tx: &Tx<'_>, id: FeatureSetId) -> Result<(), Error> {
    if feature_sets::hold(tx, id).await? {
        return Ok(());
    }
    let detail = "feature_set_id: there is none of this id, or it is deleted.";
    Err(Rejection::new(ProblemCode::NotFound, detail).into())
}

async fn hold_products(tx: &Tx<'_>, ids: &[ProductId]) -> Result<(), Error> {
    if policies::hold_products(tx, ids).await? {
        return Ok(());
    }
    let detail = "product_ids: one of them is not there, or is deleted.";
    Err(Rejection::new(ProblemCode::NotFound, detail).into())
}

async fn list(call: Call) -> Result<Reply, HandlerError> {
    let page = call.page()?;
    let tier = call.param("tier");
    if tier.is_some_and(|tier| !["FREE", "PRO", "ENTERPRISE", "TRIAL"].contains(&tier)) {
        return Err(Rejection::field("tier", "must be FREE, PRO, ENTERPRISE or TRIAL").into());
    }
    let filter = PolicyFilter {
        tier,
        feature_set: call.parsed("feature_set")?,
        product: call.param("product"),
        text: call.param("text"),
        deleted: call.flag("deleted")?.unwrap_or(false),
    };
    let rows = call.tenant().run_pipelined("list_policies", |tx| {
        Box::pin(policies::list(tx, &filter, page.before, page.fetch()))
    });
    page.reply(rows.await?, |policy| policy.id, PolicyView::from)
}

async fn read(call: Call) -> Result<Reply, HandlerError> {
    let id: PolicyId = call.id()?;
    let found = call
        .tenant()
        .run_pipelined("read_policy", |tx| Box::pin(policies::find(tx, id)));
    show(found.await?.ok_or_else(Rejection::not_found)?)
}

fn show(policy: Policy) -> Result<Reply, HandlerError> {
    let version = policy.version;
    Ok(Reply::ok(&PolicyView::from(policy))?.version(version))
}

struct Create<'a> {
    call: &'a Call,
    new: NewPolicy,
}

impl Creation for Create<'_> {
    type Made = PolicyId;
    type Answer = Policy;
    const NAME: &'static str = "create_policy";

    fn make<'a>(&'a self, tx: &'a Tx<'_>) -> Work<'a, (PolicyId, Policy)> {
        Box::pin(async move {
            let new = &self.new;
            let policy = Policy {
                id: PolicyId::generate()?,
                name: new.name.clone(),
                tier: new.tier,
                feature_set: new.feature_set_id,
                products: sorted(&new.product_ids),
                max_activations: new.max_activations,
                token_lifetime_s: new.token_lifetime_s,
                grace_s: new.grace_s,
                license_duration_s: new.license_duration_s,
                fingerprint_rule: new.fingerprint_rule,
                terms: new.terms.clone(),
                version: 1,
                created_at: self.call.now,
                updated_at: self.call.now,
                deleted_at: None,
            };
            hold_feature_set(tx, policy.feature_set).await?;
            hold_products(tx, &policy.products).await?;
            policies::insert(tx, &policy).await.map_err(name_taken)?;
            policies::set_products(tx, &policy).await?;
            let event = audit::Event::new(self.call.origin(), "policy.created");
            let event = event.after(&PolicyView::from(policy.clone()));
            audit::write(tx, &policy.id, &event).await?;
            Ok((policy.id, policy))
        })
    }

    fn again<'a>(&'a self, tx: &'a Tx<'_>, id: PolicyId) -> Work<'a, Option<Policy>> {
        Box::pin(policies::find(tx, id))
    }
}

async fn create(call: Call) -> Result<Reply, HandlerError> {
    let new = call.json()?;
    let creation = Create { call: &call, new };
    let reply = |policy: Policy| {
        let (id, version) = (policy.id, policy.version);
        Ok(Reply::created(&PolicyView::from(policy))?
            .version(version)
            .location(PATH, id))
    };
    call.create(&creation, reply).await
}

/// Changes a policy under its lock, if it is the version that the caller means. `change` leaves as
/// it was what is not to be changed.
async fn change(
    call: &Call,
    action: &'static str,
    change: impl Fn(&mut Policy) -> Result<(), Rejection> + Send + Sync,
) -> Result<Policy, HandlerError> {
    let id: PolicyId = call.id()?;
    let if_match = call.if_match();
    let (if_match, change) = (&if_match, &change);
    let changed = call.tenant().run_tx("change_policy", |tx| {
        Box::pin(async move {
            let before = policies::lock(tx, id)
                .await?
                .ok_or_else(Rejection::not_found)?;
            if_match.check(before.version)?;
            let mut after = before.clone();
            change(&mut after)?;
            if after == before {
                return Ok::<_, Error>(before);
            }
            if after.feature_set != before.feature_set {
                hold_feature_set(tx, after.feature_set).await?;
            }
            let restored = before.deleted_at.is_some() && after.deleted_at.is_none();
            if restored && !feature_sets::hold(tx, after.feature_set).await? {
                return Err(Rejection::conflict(
                    "The policy's feature set is deleted. Restore that first.",
                )
                .into());
            }
            if restored && !policies::hold_products(tx, &after.products).await? {
                return Err(Rejection::conflict(
                    "One of the policy's products is deleted. Restore that first.",
                )
                .into());
            }
            after.version += 1;
            after.updated_at = call.now;
            policies::update(tx, &after).await.map_err(name_taken)?;
            if after.products != before.products {
                let mut added = after.products.clone();
                added.retain(|product| !before.products.contains(product));
                hold_products(tx, &added).await?;
                policies::set_products(tx, &after).await?;
            }
            let event = audit::Event::new(call.origin(), action)
                .before(&PolicyView::from(before))
                .after(&PolicyView::from(after.clone()));
            audit::write(tx, &id, &event).await?;
            Ok(after)
        })
    });
    Ok(changed.await?)
}

async fn update(call: Call) -> Result<Reply, HandlerError> {
    let wanted: PolicyChange = call.json()?;
    let apply = |policy: &mut Policy| {
        if policy.deleted_at.is_some() {
            return Err(Rejection::conflict(
                "The policy is deleted. Restore it first.",
            ));
        }
        if let Some(name) = &wanted.name {
            policy.name.clone_from(name);
        }
        if let Some(ids) = &wanted.product_ids {
            policy.products = sorted(ids);
        }
        policy.tier = wanted.tier.unwrap_or(policy.tier);
        policy.feature_set = wanted.feature_set_id.unwrap_or(policy.feature_set);
        policy.max_activations = wanted.max_activations.unwrap_or(policy.max_activations);
        policy.token_lifetime_s = wanted.token_lifetime_s.unwrap_or(policy.token_lifetime_s);
        policy.grace_s = wanted.grace_s.unwrap_or(policy.grace_s);
        policy.license_duration_s = wanted
            .license_duration_s
            .unwrap_or(policy.license_duration_s);
        policy.fingerprint_rule = wanted.fingerprint_rule.unwrap_or(policy.fingerprint_rule);
        if let Some(terms) = &wanted.terms {
            policy.terms.clone_from(terms);
        }
        Ok(())
    };
    show(change(&call, "policy.updated", apply).await?)
}

async fn delete(call: Call) -> Result<Reply, HandlerError> {
    let now = call.now;
    let apply = |policy: &mut Policy| {
        policy.deleted_at = policy.deleted_at.or(Some(now));
        Ok(())
    };
    change(&call, "policy.deleted", apply).await?;
    Ok(Reply::no_content())
}

async fn restore(call: Call) -> Result<Reply, HandlerError> {
    let apply = |policy: &mut Policy| {
        policy.deleted_at = None;
        Ok(())
    };
    show(change(&call, "policy.restored", apply).await?)
}
