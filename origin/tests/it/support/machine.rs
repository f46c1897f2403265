//! A machine that never connects.

use licet_shared::{
    decision::{Context, ShownLease, Verdict},
    documents::PlatformKeys,
    id::OrgTag,
    jws::LocalSigner,
    license_file::{
        ActivationRequest, DeactivationReceipt, LicenseFile, MachineCode, Trust, decide,
        machine_key,
    },
    license_key::LicenseKey,
    time::Timestamp,
};
use sha2::{Digest, Sha256};

use super::{edge::now, platform};

pub struct Machine {
    pub fingerprint: String,
    pub signer: LocalSigner,
    pub nonce: [u8; 16],
}

fn platform_keys() -> PlatformKeys {
    platform().verifying_key().to_string().parse().unwrap()
}

/// The org tag of a file, which whoever reads files in earnest knows by itself.
fn org_of(file: &str) -> OrgTag {
    use base64ct::{Base64, Base64UrlUnpadded, Encoding};
    let lines: Vec<&str> = file.lines().collect();
    let json = Base64::decode_vec(&lines[1..lines.len() - 1].concat()).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let header = json["license"].as_str().unwrap().split('.').next().unwrap();
    let header = Base64UrlUnpadded::decode_vec(header).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    OrgTag::of_kid(header["kid"].as_str().unwrap()).unwrap()
}

impl Machine {
    pub fn new(fingerprint: &str) -> Self {
        let seed: [u8; 32] = Sha256::digest(fingerprint.as_bytes()).into();
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&seed[..16]);
        Self {
            fingerprint: fingerprint.into(),
            signer: machine_key(seed),
            nonce,
        }
    }

    /// Its request file.
    pub fn request(&self, license_key: &str) -> String {
        let key: LicenseKey = license_key.parse().unwrap();
        let nonce = self.nonce;
        ActivationRequest::new(key, "local_cli", &self.fingerprint, &self.signer, nonce)
            .sign(&self.signer, now())
            .unwrap()
    }

    pub fn code(&self) -> String {
        MachineCode::of(&self.fingerprint).to_string()
    }

    pub fn file(&self, text: &str) -> LicenseFile {
        let platform_keys = platform_keys();
        let trust = Trust {
            platform_keys: &platform_keys,
            org: org_of(text),
        };
        LicenseFile::verify(text, trust).unwrap()
    }

    /// What it decides by a file.
    pub fn decide(&self, text: &str, at: Timestamp) -> Verdict<'static> {
        self.decide_with(text, None, at)
    }

    /// What it decides by a file and a lease beside it.
    pub fn decide_with(&self, text: &str, lease: Option<&str>, at: Timestamp) -> Verdict<'static> {
        let platform_keys = platform_keys();
        let trust = Trust {
            platform_keys: &platform_keys,
            org: org_of(text),
        };
        let context = Context {
            product: "local_cli",
            fingerprint: Some(&self.fingerprint),
            lease: lease.map_or(ShownLease::None, ShownLease::Text),
            ..Context::default()
        };
        decide(text, trust, &context, None, at)
    }

    /// Its receipt for a file that it has deleted.
    pub fn receipt(&self, text: &str) -> String {
        DeactivationReceipt::sign(&self.file(text), &self.signer, now()).unwrap()
    }
}
