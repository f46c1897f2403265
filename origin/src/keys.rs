//! Keys: sealed at rest, unsealed into signers that are remembered for a while.

mod ring;
mod seal;

pub use ring::{Keyring, Keyrings};
pub(crate) use ring::{new_org_key, org_key};
pub use seal::{MasterKey, SealError};
