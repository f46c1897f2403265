//! Signed documents for edges: made from the database, remembered for a while.

mod cache;
mod features;
mod feed;
mod license;
mod status;

pub use cache::{DocumentCache, SignedDocument};
pub(crate) use features::feature_set;
pub(crate) use feed::feed;
pub(crate) use license::license_state;
pub(crate) use status::{grows_with, status_list};

/// Life of every signed document, in seconds. Edges fetch them anew long before.
pub const DOCUMENT_LIFE_S: i64 = 86_400;

/// Age up to which a signed copy of the current version is served again, in seconds, unless the
/// edge demands a younger one.
pub const DEFAULT_MAX_AGE_S: i64 = 5;
