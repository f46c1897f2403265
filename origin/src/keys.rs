//! Keys: sealed at rest, unsealed into signers that are remembered for a while.

pub(crate) mod ed25519;
mod keyring;
mod seal;

pub use keyring::{Keyring, Keyrings};
pub(crate) use keyring::{new_org_key, org_key};
pub use seal::{MasterKey, SealError};
