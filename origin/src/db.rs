//! The database: reached only inside a named transaction, and only for a tenant that an
//! authenticated caller led to. One module per table, each with its SQL.

pub(crate) mod activation_records;
pub(crate) mod activations;
pub(crate) mod api_keys;
pub(crate) mod audit;
pub(crate) mod audit_records;
pub(crate) mod catalogue;
mod directory;
mod error;
pub(crate) mod feature_sets;
pub(crate) mod feed;
pub(crate) mod grants;
pub(crate) mod idempotency;
pub(crate) mod invitations;
mod kept;
pub(crate) mod leases;
pub(crate) mod license_records;
pub(crate) mod licenses;
pub(crate) mod machines;
pub(crate) mod organizations;
pub(crate) mod policies;
mod pool;
pub(crate) mod products;
pub(crate) mod projects;
pub(crate) mod sessions;
pub(crate) mod signing_keys;
pub(crate) mod snapshot;
mod startup;
pub(crate) mod status_lists;
mod system;
mod tenant;
#[cfg(test)]
mod tests;
pub(crate) mod trials;
mod tx;
pub(crate) mod usage;
pub(crate) mod users;

pub(crate) use directory::all_slugs;
pub use error::{Error, describe};
pub use pool::{Database, DatabaseSettings};
pub use startup::{Refusal, SchemaState};
pub use system::SystemDatabase;
pub(crate) use tenant::sealed;
pub use tenant::{Caller, Tenant};
pub use tx::{Tx, Work};
