//! `/api/v1/products`: what an organization sells. The resource to look at before writing another.

use licet_shared::{
    api::{Body, BodyError},
    id::ProductId,
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
    accounts::permissions::Permission::{ProductsRead, ProductsWrite},
    db::{
        Error, Tx, Work, audit,
        products::{self, Product, ProductFilter},
    },
    http::HandlerError,
    random::RowId,
    rejection::Rejection,
};

const PATH: &str = "/api/v1/products";
const ONE: &str = "/api/v1/products/{id}";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(Get, PATH, ProductsRead, |call| Box::pin(list(call)))
            .named("list_products", "List products")
            .lists::<ProductView>()
            .param::<String>("code", "Only the one with this code.")
            .param::<String>("text", "Only those with this in code or name, in any case.")
            .param::<bool>("deleted", "The deleted ones instead of the others."),
        Operation::new(Post, PATH, ProductsWrite, |call| Box::pin(create(call)))
            .named("create_product", "Make a product")
            .takes::<NewProduct>()
            .creates::<ProductView>(),
        Operation::new(Get, ONE, ProductsRead, |call| Box::pin(read(call)))
            .named("read_product", "Read a product")
            .about::<ProductId>()
            .gives::<ProductView>(),
        Operation::new(Patch, ONE, ProductsWrite, |call| Box::pin(update(call)))
            .named("update_product", "Change a product")
            .detail("The code stays: it stands in tokens that are out in the world.")
            .about::<ProductId>()
            .takes::<ProductChange>()
            .gives::<ProductView>()
            .conditional()
            .or(ProblemCode::Conflict),
        Operation::new(Delete, ONE, ProductsWrite, |call| Box::pin(delete(call)))
            .named("delete_product", "Delete a product")
            .detail(
                "It can be restored, and keeps its code. Refused while a policy that is not deleted covers it; licenses that cover it go on as before.",
            )
            .about::<ProductId>()
            .conditional()
            .or(ProblemCode::Conflict),
        Operation::new(
            Post,
            "/api/v1/products/{id}/restore",
            ProductsWrite,
            |call| Box::pin(restore(call)),
        )
        .named("restore_product", "Restore a deleted product")
        .about::<ProductId>()
        .gives::<ProductView>()
        .conditional(),
    ]
}

/// Something that the organization sells.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Product)]
struct ProductView {
    id: ProductId,
    /// What licenses and products call it.
    code: String,
    name: String,
    description: String,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// Null where it is not deleted.
    deleted_at: Option<Timestamp>,
}

impl From<Product> for ProductView {
    fn from(product: Product) -> Self {
        let Product {
            id,
            code,
            name,
            description,
            version: _,
            created_at,
            updated_at,
            deleted_at,
        } = product;
        Self {
            id,
            code,
            name,
            description,
            created_at,
            updated_at,
            deleted_at,
        }
    }
}

/// A product to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewProduct {
    /// What licenses and products call it. Never changes.
    #[schema(pattern = "^[a-z0-9][a-z0-9_.-]{0,63}$", example = "local_cli")]
    code: String,
    #[schema(value_type = fields::Name, example = "Local CLI")]
    name: String,
    #[serde(default)]
    #[schema(max_length = 2000)]
    description: String,
}

impl Body for NewProduct {
    fn check(&self) -> Result<(), BodyError> {
        fields::check_code("code", &self.code)?;
        fields::check_name("name", &self.name)?;
        fields::check_description("description", &self.description)
    }
}

/// What is to be different. What is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ProductChange {
    #[serde(default)]
    #[schema(value_type = Option<fields::Name>)]
    name: Option<String>,
    #[serde(default)]
    #[schema(max_length = 2000)]
    description: Option<String>,
}

impl Body for ProductChange {
    fn check(&self) -> Result<(), BodyError> {
        self.name
            .iter()
            .try_for_each(|name| fields::check_name("name", name))?;
        self.description
            .iter()
            .try_for_each(|text| fields::check_description("description", text))
    }
}

async fn list(call: Call) -> Result<Reply, HandlerError> {
    let page = call.page()?;
    let filter = ProductFilter {
        code: call.param("code"),
        text: call.param("text"),
        deleted: call.flag("deleted")?.unwrap_or(false),
    };
    let rows = call.tenant().run_pipelined("list_products", |tx| {
        Box::pin(products::list(tx, &filter, page.before, page.fetch()))
    });
    page.reply(rows.await?, |product| product.id, ProductView::from)
}

async fn read(call: Call) -> Result<Reply, HandlerError> {
    let id: ProductId = call.id()?;
    let found = call
        .tenant()
        .run_pipelined("read_product", |tx| Box::pin(products::find(tx, id)));
    show(found.await?.ok_or_else(Rejection::not_found)?)
}

fn show(product: Product) -> Result<Reply, HandlerError> {
    let version = product.version;
    Ok(Reply::ok(&ProductView::from(product))?.version(version))
}

struct Create<'a> {
    call: &'a Call,
    new: NewProduct,
}

impl Creation for Create<'_> {
    type Made = ProductId;
    type Answer = Product;
    const NAME: &'static str = "create_product";

    fn make<'a>(&'a self, tx: &'a Tx<'_>) -> Work<'a, (ProductId, Product)> {
        Box::pin(async move {
            let product = Product {
                id: ProductId::generate()?,
                code: self.new.code.clone(),
                name: self.new.name.clone(),
                description: self.new.description.clone(),
                version: 1,
                created_at: self.call.now,
                updated_at: self.call.now,
                deleted_at: None,
            };
            let taken =
                || Rejection::conflict("Another product, perhaps a deleted one, has this code.");
            let inserted = products::insert(tx, &product).await;
            inserted.map_err(|error| error.on_constraint("products_code_key", taken))?;
            let event = audit::Event::new(self.call.origin(), "product.created");
            let event = event.after(&ProductView::from(product.clone()));
            audit::write(tx, &product.id, &event).await?;
            Ok((product.id, product))
        })
    }

    fn again<'a>(&'a self, tx: &'a Tx<'_>, id: ProductId) -> Work<'a, Option<Product>> {
        Box::pin(products::find(tx, id))
    }
}

async fn create(call: Call) -> Result<Reply, HandlerError> {
    let new = call.json()?;
    let creation = Create { call: &call, new };
    let reply = |product: Product| {
        let (id, version) = (product.id, product.version);
        Ok(Reply::created(&ProductView::from(product))?
            .version(version)
            .location(PATH, id))
    };
    call.create(&creation, reply).await
}

/// Changes a product under its lock, if it is the version that the caller means. `change` says
/// whether there is anything to do.
async fn change(
    call: &Call,
    action: &'static str,
    change: impl Fn(&mut Product) -> Result<bool, Rejection> + Send + Sync,
) -> Result<Product, HandlerError> {
    let id: ProductId = call.id()?;
    let if_match = call.if_match();
    let (if_match, change) = (&if_match, &change);
    let changed = call.tenant().run_tx("change_product", |tx| {
        Box::pin(async move {
            let before = products::lock(tx, id)
                .await?
                .ok_or_else(Rejection::not_found)?;
            if_match.check(before.version)?;
            let mut after = before.clone();
            if !change(&mut after)? {
                return Ok::<_, Error>(before);
            }
            if after.deleted_at.is_some() && products::is_sold(tx, id).await? {
                return Err(Rejection::conflict(
                    "A policy covers this product. Take it off the policy, or delete that, first.",
                )
                .into());
            }
            after.version += 1;
            after.updated_at = call.now;
            products::update(tx, &after).await?;
            let event = audit::Event::new(call.origin(), action)
                .before(&ProductView::from(before))
                .after(&ProductView::from(after.clone()));
            audit::write(tx, &id, &event).await?;
            Ok(after)
        })
    });
    Ok(changed.await?)
}

async fn update(call: Call) -> Result<Reply, HandlerError> {
    let wanted: ProductChange = call.json()?;
    let apply = |product: &mut Product| {
        if product.deleted_at.is_some() {
            return Err(Rejection::conflict(
                "The product is deleted. Restore it first.",
            ));
        }
        let before = product.clone();
        product.name = wanted.name.clone().unwrap_or_else(|| before.name.clone());
        product.description = wanted
            .description
            .clone()
            .unwrap_or_else(|| before.description.clone());
        Ok(*product != before)
    };
    show(change(&call, "product.updated", apply).await?)
}

async fn delete(call: Call) -> Result<Reply, HandlerError> {
    let now = call.now;
    let apply = |product: &mut Product| {
        let there = product.deleted_at.is_none();
        product.deleted_at = product.deleted_at.or(Some(now));
        Ok(there)
    };
    change(&call, "product.deleted", apply).await?;
    Ok(Reply::no_content())
}

async fn restore(call: Call) -> Result<Reply, HandlerError> {
    let apply = |product: &mut Product| Ok(product.deleted_at.take().is_some());
    show(change(&call, "product.restored", apply).await?)
}
