//! Signed documents and the tiers they are kept in.
//!
//! A document is looked for in this order: the isolate's memory, the data centre's cache, the
//! origin; and when the origin fails, the newest copy that memory, cache or key-value store
//! have. From whichever tier it comes, its signature, issuer, organization and subject are
//! verified before it is kept, and a lower version never replaces a higher one.
//!
//! [`at_hand`](Documents::at_hand) gets all that a decision needs from memory, [`gather`](Documents::gather)
//! from wherever it can be had; [`obtain`] tells the order of the
//! tiers for one document; [`renew`] asks the origin, and [`ahead`] beside it for what will be wanted next.

mod ahead;
mod at_hand;
mod cache_api;
mod claim;
mod document;
pub(crate) mod feed;
mod gather;
mod given_back;
pub(crate) mod keys;
mod kv;
mod memory;
mod name;
mod obtain;
mod ration;
mod renew;
mod stored;
#[cfg(test)]
mod tests;

pub(crate) use ahead::Ahead;
pub(crate) use claim::Claims;
pub(crate) use document::{Document, Edition, Freshness};
pub(crate) use gather::Documents;
pub(crate) use given_back::GivenBack;
pub(crate) use memory::{Held, Memory};
pub(crate) use name::{Name, Part};
pub(crate) use obtain::{Found, NamedBy, Obtained, newly_signed, obtain, supersede};
pub(crate) use ration::Ration;
