//! `/api/v1/feature-sets`: what licenses switch on. Values change by a new revision alone; those
//! before it stay as they were.

use licet_shared::{
    api::{Body, BodyError},
    id::FeatureSetId,
    problem::ProblemCode,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Call, Operation, Reply, fields,
    once::Creation,
    operation::Verb::{Delete, Get, Patch, Post},
};
use crate::{
    accounts::permissions::Permission::{FeatureSetsRead, FeatureSetsWrite},
    db::{
        Error, Tx, Work, audit, catalogue,
        feature_sets::{self, FeatureSet, FeatureSetFilter, Revision},
    },
    http::HandlerError,
    random::RowId,
    rejection::Rejection,
};

const PATH: &str = "/api/v1/feature-sets";
const ONE: &str = "/api/v1/feature-sets/{id}";
/// Most features of a set.
const FEATURES: usize = 1000;
/// As JSON. The table's limit is twice that, as it writes some values at greater length.
const FEATURES_BYTES: usize = 32 * 1024;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(Get, PATH, FeatureSetsRead, |call| Box::pin(list(call)))
            .named("list_feature_sets", "List feature sets")
            .lists::<FeatureSetSummary>()
            .param::<String>("text", "Only those with this in their name, in any case.")
            .param::<bool>("deleted", "The deleted ones instead of the others."),
        Operation::new(Post, PATH, FeatureSetsWrite, |call| Box::pin(create(call)))
            .named("create_feature_set", "Make a feature set")
            .takes::<NewFeatureSet>()
            .creates::<FeatureSetView>(),
        Operation::new(Get, ONE, FeatureSetsRead, |call| Box::pin(read(call)))
            .named("read_feature_set", "Read a feature set")
            .about::<FeatureSetId>()
            .gives::<FeatureSetView>(),
        Operation::new(Patch, ONE, FeatureSetsWrite, |call| Box::pin(update(call)))
            .named("update_feature_set", "Rename a feature set, or give it new values")
            .detail(
                "With `features` that differ from those it has, it makes a new revision, which every license of the set has from now on.",
            )
            .about::<FeatureSetId>()
            .takes::<FeatureSetChange>()
            .gives::<FeatureSetView>()
            .conditional()
            .or(ProblemCode::Conflict),
        Operation::new(Delete, ONE, FeatureSetsWrite, |call| Box::pin(delete(call)))
            .named("delete_feature_set", "Delete a feature set")
            .detail(
                "It can be restored, and keeps its name. Refused while a policy that is not deleted, or a license that is not revoked, uses it.",
            )
            .about::<FeatureSetId>()
            .conditional()
            .or(ProblemCode::Conflict),
        Operation::new(
            Post,
            "/api/v1/feature-sets/{id}/restore",
            FeatureSetsWrite,
            |call| Box::pin(restore(call)),
        )
        .named("restore_feature_set", "Restore a deleted feature set")
        .about::<FeatureSetId>()
        .gives::<FeatureSetView>()
        .conditional(),
        Operation::new(
            Get,
            "/api/v1/feature-sets/{id}/revisions",
            FeatureSetsRead,
            |call| Box::pin(list_revisions(call)),
        )
        .named("list_feature_set_revisions", "List a feature set's revisions")
        .about::<FeatureSetId>()
        .lists::<RevisionSummary>(),
        Operation::new(
            Get,
            "/api/v1/feature-sets/{id}/revisions/{revision}",
            FeatureSetsRead,
            |call| Box::pin(read_revision(call)),
        )
        .named("read_feature_set_revision", "Read a feature set's revision")
        .detail("A revision never changes.")
        .about::<FeatureSetId>()
        .gives::<RevisionView>(),
    ]
}

/// A feature set in a list: without its values.
#[derive(Debug, Serialize, ToSchema)]
struct FeatureSetSummary {
    id: FeatureSetId,
    name: String,
    /// The current revision.
    revision: u32,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// Null where it is not deleted.
    deleted_at: Option<Timestamp>,
}

impl From<FeatureSet> for FeatureSetSummary {
    fn from(set: FeatureSet) -> Self {
        let FeatureSet {
            id,
            name,
            revision,
            version: _,
            created_at,
            updated_at,
            deleted_at,
        } = set;
        Self {
            id,
            name,
            revision,
            created_at,
            updated_at,
            deleted_at,
        }
    }
}

/// What licenses switch on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FeatureSet)]
struct FeatureSetView {
    #[serde(flatten)]
    #[schema(inline)]
    set: FeatureSetSummary,
    /// Feature name to value: a boolean, an integer, a number, a string or other JSON.
    #[schema(value_type = BTreeMap<String, Value>)]
    features: Map<String, Value>,
}

/// A feature set with the values of its current revision.
#[derive(Clone)]
struct Whole {
    set: FeatureSet,
    features: Map<String, Value>,
}

impl From<Whole> for FeatureSetView {
    fn from(whole: Whole) -> Self {
        Self {
            set: whole.set.into(),
            features: whole.features,
        }
    }
}

/// A revision in a list: without its values.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FeatureSetRevisionSummary)]
struct RevisionSummary {
    revision: u32,
    created_at: Timestamp,
}

impl From<Revision> for RevisionSummary {
    fn from(revision: Revision) -> Self {
        Self {
            revision: revision.number,
            created_at: revision.created_at,
        }
    }
}

/// The values that a feature set had, or has.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FeatureSetRevision)]
struct RevisionView {
    #[serde(flatten)]
    #[schema(inline)]
    revision: RevisionSummary,
    /// Feature name to value.
    #[schema(value_type = BTreeMap<String, Value>)]
    features: Map<String, Value>,
}

/// A feature set to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewFeatureSet {
    #[schema(value_type = fields::Name, example = "Pro")]
    name: String,
    /// Feature name to value: a boolean, an integer, a number, a string or other JSON, but not
    /// null. The values of revision 1.
    #[schema(value_type = fields::Features)]
    features: Map<String, Value>,
}

impl Body for NewFeatureSet {
    fn check(&self) -> Result<(), BodyError> {
        fields::check_name("name", &self.name)?;
        check_features(&self.features)
    }
}

/// What is to be different. What is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct FeatureSetChange {
    #[serde(default)]
    #[schema(value_type = Option<fields::Name>)]
    name: Option<String>,
    /// All values of the new revision, not only those that differ.
    #[serde(default)]
    #[schema(value_type = Option<fields::Features>)]
    features: Option<Map<String, Value>>,
}

impl Body for FeatureSetChange {
    fn check(&self) -> Result<(), BodyError> {
        self.name
            .iter()
            .try_for_each(|name| fields::check_name("name", name))?;
        self.features.iter().try_for_each(check_features)
    }
}

fn check_features(features: &Map<String, Value>) -> Result<(), BodyError> {
    const FIELD: &str = "features";
    if features.len() > FEATURES {
        return Err(BodyError::field(FIELD, "must be at most 1000"));
    }
    if features.values().any(Value::is_null) {
        return Err(BodyError::field(FIELD, "must not have null as a value"));
    }
    fields::check_features(FIELD, features, FEATURES_BYTES)
}

fn name_taken(error: Error) -> Error {
    error.on_constraint("feature_sets_name_key", || {
        Rejection::conflict("Another feature set, perhaps a deleted one, has this name.")
    })
}

fn too_large(error: Error) -> Error {
    error.on_constraint("feature_set_revisions_features_size", || {
        Rejection::field("features", "must be less than that")
    })
}

async fn list(call: Call) -> Result<Reply, HandlerError> {
    let page = call.page()?;
    let filter = FeatureSetFilter {
        text: call.param("text"),
        deleted: call.flag("deleted")?.unwrap_or(false),
    };
    let rows = call.tenant().run_pipelined("list_feature_sets", |tx| {
        Box::pin(feature_sets::list(tx, &filter, page.before, page.fetch()))
    });
    page.reply(rows.await?, |set| set.id, FeatureSetSummary::from)
}

/// The same with its current values.
async fn complete(tx: &Tx<'_>, set: Option<FeatureSet>) -> Result<Option<Whole>, Error> {
    let Some(set) = set else { return Ok(None) };
    let features = catalogue::features(tx, set.id, set.revision).await?;
    Ok(Some(Whole { set, features }))
}

async fn find(tx: &Tx<'_>, id: FeatureSetId) -> Result<Option<Whole>, Error> {
    complete(tx, feature_sets::find(tx, id).await?).await
}

async fn read(call: Call) -> Result<Reply, HandlerError> {
    let id: FeatureSetId = call.id()?;
    let found = call
        .tenant()
        .run_tx("read_feature_set", |tx| Box::pin(find(tx, id)));
    show(found.await?.ok_or_else(Rejection::not_found)?)
}

fn show(whole: Whole) -> Result<Reply, HandlerError> {
    let version = whole.set.version;
    Ok(Reply::ok(&FeatureSetView::from(whole))?.version(version))
}

struct Create<'a> {
    call: &'a Call,
    new: NewFeatureSet,
}

impl Creation for Create<'_> {
    type Made = FeatureSetId;
    type Answer = Whole;
    const NAME: &'static str = "create_feature_set";

    fn make<'a>(&'a self, tx: &'a Tx<'_>) -> Work<'a, (FeatureSetId, Whole)> {
        Box::pin(async move {
            let set = FeatureSet {
                id: FeatureSetId::generate()?,
                name: self.new.name.clone(),
                revision: 1,
                version: 1,
                created_at: self.call.now,
                updated_at: self.call.now,
                deleted_at: None,
            };
            feature_sets::insert(tx, &set).await.map_err(name_taken)?;
            feature_sets::insert_revision(tx, &set, &self.new.features)
                .await
                .map_err(too_large)?;
            let id = set.id;
            let whole = Whole {
                set,
                features: self.new.features.clone(),
            };
            let event = audit::Event::new(self.call.origin(), "feature_set.created");
            let event = event.after(&FeatureSetView::from(whole.clone()));
            audit::write(tx, &id, &event).await?;
            Ok((id, whole))
        })
    }

    fn again<'a>(&'a self, tx: &'a Tx<'_>, id: FeatureSetId) -> Work<'a, Option<Whole>> {
        Box::pin(find(tx, id))
    }
}

async fn create(call: Call) -> Result<Reply, HandlerError> {
    let new = call.json()?;
    let creation = Create { call: &call, new };
    let reply = |whole: Whole| {
        let (id, version) = (whole.set.id, whole.set.version);
        Ok(Reply::created(&FeatureSetView::from(whole))?
            .version(version)
            .location(PATH, id))
    };
    call.create(&creation, reply).await
}

/// Changes a feature set under its lock, if it is the version that the caller means. `change`
/// leaves as it was what is not to be changed. New features make a new revision.
async fn change(
    call: &Call,
    action: &'static str,
    change: impl Fn(&mut Whole) -> Result<(), Rejection> + Send + Sync,
) -> Result<Whole, HandlerError> {
    let id: FeatureSetId = call.id()?;
    let if_match = call.if_match();
    let (if_match, change) = (&if_match, &change);
    let changed = call.tenant().run_tx("change_feature_set", |tx| {
        Box::pin(async move {
            let before = complete(tx, feature_sets::lock(tx, id).await?)
                .await?
                .ok_or_else(Rejection::not_found)?;
            if_match.check(before.set.version)?;
            let mut after = before.clone();
            change(&mut after)?;
            let revised = after.features != before.features;
            if !revised && after.set == before.set {
                return Ok::<_, Error>(before);
            }
            if after.set.deleted_at.is_some() && feature_sets::is_used(tx, id).await? {
                return Err(Rejection::conflict(
                    "A policy or a license uses this feature set. Have them use another first.",
                )
                .into());
            }
            after.set.version += 1;
            after.set.updated_at = call.now;
            if revised {
                after.set.revision += 1;
                feature_sets::insert_revision(tx, &after.set, &after.features)
                    .await
                    .map_err(too_large)?;
            }
            feature_sets::update(tx, &after.set)
                .await
                .map_err(name_taken)?;
            let event = audit::Event::new(call.origin(), action)
                .before(&FeatureSetView::from(before))
                .after(&FeatureSetView::from(after.clone()));
            audit::write(tx, &id, &event).await?;
            Ok(after)
        })
    });
    Ok(changed.await?)
}

async fn update(call: Call) -> Result<Reply, HandlerError> {
    let wanted: FeatureSetChange = call.json()?;
    let apply = |whole: &mut Whole| {
        if whole.set.deleted_at.is_some() {
            return Err(Rejection::conflict(
                "The feature set is deleted. Restore it first.",
            ));
        }
        if let Some(name) = &wanted.name {
            whole.set.name.clone_from(name);
        }
        if let Some(features) = &wanted.features {
            whole.features.clone_from(features);
        }
        Ok(())
    };
    show(change(&call, "feature_set.updated", apply).await?)
}

async fn delete(call: Call) -> Result<Reply, HandlerError> {
    let now = call.now;
    let apply = |whole: &mut Whole| {
        whole.set.deleted_at = whole.set.deleted_at.or(Some(now));
        Ok(())
    };
    change(&call, "feature_set.deleted", apply).await?;
    Ok(Reply::no_content())
}

async fn restore(call: Call) -> Result<Reply, HandlerError> {
    let apply = |whole: &mut Whole| {
        whole.set.deleted_at = None;
        Ok(())
    };
    show(change(&call, "feature_set.restored", apply).await?)
}

async fn list_revisions(call: Call) -> Result<Reply, HandlerError> {
    let id: FeatureSetId = call.id()?;
    let page = call.page()?;
    // A cursor holds 16 bytes; here they are the revision's number.
    let before = page
        .before
        .map(|cursor| i32::try_from(cursor.as_u128()).unwrap_or(i32::MAX));
    let rows = call.tenant().run_tx("list_feature_set_revisions", |tx| {
        Box::pin(async move {
            feature_sets::find(tx, id)
                .await?
                .ok_or_else(Rejection::not_found)?;
            feature_sets::list_revisions(tx, id, before, page.fetch()).await
        })
    });
    page.reply_by(
        rows.await?,
        |revision| Uuid::from_u128(revision.number.into()),
        RevisionSummary::from,
    )
}

async fn read_revision(call: Call) -> Result<Reply, HandlerError> {
    let id: FeatureSetId = call.id()?;
    let number: i32 = call.segment("revision")?;
    let found = call
        .tenant()
        .run_pipelined("read_feature_set_revision", |tx| {
            Box::pin(feature_sets::find_revision(tx, id, number))
        });
    let (revision, features) = found.await?.ok_or_else(Rejection::not_found)?;
    Reply::ok(&RevisionView {
        revision: revision.into(),
        features,
    })
}
