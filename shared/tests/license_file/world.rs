//! A machine whose license file is good, and those who made it.

use licet_shared::{
    decision::Context,
    documents::{Jwk, KeysClaims, LicenseClaims, PlatformKeys},
    id::{ActivationId, EventId, FeatureSetId, LicenseId, OrgId, OrgTag},
    jws::{LocalSigner, Times, sign},
    license_file::{LicenseFileClaims, Trust, machine_key, make},
    time::Timestamp,
};
use serde_json::{Value, json};

/// When the file was made: 2027-01-15T08:00:00Z.
pub(crate) const T0: i64 = 1_800_000_000;
pub(crate) const DAY: i64 = 86_400;
pub(crate) const ISSUER: &str = "https://edge.licet.example";
pub(crate) const MACHINE: &str = "plant-7";

pub(crate) fn platform(number: u8) -> LocalSigner {
    LocalSigner::from_seed(format!("platform.{number}"), [number; 32])
}

pub(crate) fn platform_keys() -> PlatformKeys {
    platform(1).verifying_key().to_string().parse().unwrap()
}

pub(crate) fn tag() -> OrgTag {
    "0ACME0AG".parse().unwrap()
}

pub(crate) fn org_signer(number: u8) -> LocalSigner {
    LocalSigner::from_seed(format!("{}.{number}", tag()), [10 + number; 32])
}

pub(crate) fn machine() -> LocalSigner {
    machine_key([77; 32])
}

pub(crate) fn trust(platform_keys: &PlatformKeys) -> Trust<'_> {
    Trust {
        platform_keys,
        org: tag(),
    }
}

pub(crate) fn context() -> Context<'static> {
    Context {
        product: "local_cli",
        fingerprint: Some(MACHINE),
        ..Context::default()
    }
}

pub(crate) fn times(iat: i64, exp: i64) -> Times {
    Times {
        issued_at: Timestamp::from_unix(iat),
        expires_at: Timestamp::from_unix(exp),
        not_before: None,
    }
}

/// What a license token of the machine says.
pub(crate) fn license() -> Value {
    let ms = T0 as u64 * 1000;
    let uri = format!("{ISSUER}/api/v1/orgs/{}/statuslists/0", tag());
    json!({
        "iss": ISSUER, "aud": ["local_cli", "cloud_ide"], "sub": LicenseId::new(ms, [3; 10]),
        "jti": EventId::new(ms, [4; 10]), "org": OrgId::new(ms, [1; 10]),
        "act": ActivationId::new(ms, [5; 10]),
        "fp": licet_shared::decision::fingerprint_hash(MACHINE), "tier": "PRO",
        "lexp": T0 + 365 * DAY, "grace": 0, "fs": FeatureSetId::new(ms, [2; 10]),
        "status": { "status_list": { "idx": 5, "uri": uri } }, "ver": 1,
    })
}

/// A file before it is made.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) license: Value,
    pub(crate) version: u8,
    pub(crate) features: Value,
    pub(crate) times: Times,
    pub(crate) keys_times: Times,
    pub(crate) keys_issuer: &'static str,
    pub(crate) platform: LocalSigner,
    pub(crate) signer: LocalSigner,
    pub(crate) machine_key: Option<String>,
}

impl World {
    pub(crate) fn good() -> Self {
        Self {
            license: license(),
            version: 1,
            features: json!({ "export.pdf": true, "projects.max": 25, "beta": false }),
            times: times(T0, T0 + 30 * DAY),
            keys_times: times(T0 - 600, T0 - 600 + DAY),
            keys_issuer: ISSUER,
            platform: platform(1),
            signer: org_signer(1),
            machine_key: Some(machine().verifying_key().x()),
        }
    }

    pub(crate) fn keys(&self) -> String {
        let claims = KeysClaims {
            iss: self.keys_issuer.into(),
            sub: OrgId::new(T0 as u64 * 1000, [1; 10]),
            tag: tag(),
            ver: 1,
            ep: 0,
            keys: [1, 2]
                .map(|number| Jwk::of(&org_signer(number).verifying_key()))
                .into(),
        };
        sign(&claims, self.keys_times, &self.platform).unwrap()
    }

    pub(crate) fn claims(&self) -> LicenseFileClaims {
        let license: LicenseClaims = serde_json::from_value(self.license.clone()).unwrap();
        LicenseFileClaims {
            ver: self.version,
            lic: license,
            rev: 7,
            features: serde_json::from_value(self.features.clone()).unwrap(),
            mk: self.machine_key.clone(),
        }
    }

    pub(crate) fn file(&self) -> String {
        make(&self.claims(), self.times, &self.signer, &self.keys()).unwrap()
    }
}

/// Armour around any text.
pub(crate) fn armoured(name: &str, content: &str) -> String {
    use base64ct::{Base64, Encoding};
    let base64 = Base64::encode_string(content.as_bytes());
    let lines: Vec<&str> = base64
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {name}-----\n{}\n-----END {name}-----\n",
        lines.join("\n")
    )
}

/// What the armour of a text holds.
pub(crate) fn content(text: &str) -> String {
    use base64ct::{Base64, Encoding};
    let lines: Vec<&str> = text.lines().collect();
    let base64 = lines[1..lines.len() - 1].concat();
    String::from_utf8(Base64::decode_vec(&base64).unwrap()).unwrap()
}
