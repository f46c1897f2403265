//! What the signed part of a license file says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{documents::LicenseClaims, jws::Kind};

/// The format of license files that this code writes, and the only one it reads.
pub const FILE_VERSION: u8 = 1;

/// `licensefile+jwt`: this activation may use these products until `exp`, and as of `iat` its
/// status was good. Signed by an org key.
///
/// Its own kind, so that a file is no token to ask an edge with, nor a token a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LicenseFileClaims {
    /// [`FILE_VERSION`].
    pub ver: u8,
    /// What a license token of the activation would say.
    pub lic: LicenseClaims,
    /// Revision of the feature set.
    pub rev: u32,
    /// The set's values, name to value.
    pub features: BTreeMap<String, serde_json::Value>,
    /// The machine's own public key, 32 bytes in base64url; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mk: Option<String>,
}

impl Kind for LicenseFileClaims {
    const TYP: &'static str = "licensefile+jwt";
    const MAX_BYTES: usize = 128 * 1024;
}
