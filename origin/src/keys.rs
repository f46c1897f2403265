//! Keys: sealed at rest, unsealed into signers that are remembered for a while, and changed for
//! others in good time.

pub(crate) mod ed25519;
mod keyring;
mod kid;
mod pkcs11;
mod platform;
pub(crate) mod rotation;
mod seal;
mod vault;

pub use keyring::{Keyring, Keyrings};
pub(crate) use kid::Kid;
pub use pkcs11::{Module, ModuleError};
pub(crate) use platform::IN_MODULE;
pub use platform::Platform;
pub use seal::{MasterKey, MasterKeys, SealError};
pub use vault::Vault;
pub(crate) use vault::seal_seed;
