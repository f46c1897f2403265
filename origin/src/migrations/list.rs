//! Every migration, in order.

use sha2::{Digest, Sha256};

/// One step of the schema.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Counted from 1 without gaps.
    pub version: i32,
    /// The file's name between number and ending.
    pub name: &'static str,
    /// SQL that takes the step.
    pub up: &'static str,
    /// SQL that takes it back.
    pub down: &'static str,
}

impl Migration {
    /// SHA-256 of `up`: an applied step that was edited since is noticed by it.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.up.as_bytes()).into()
    }
}

macro_rules! migrations {
    ($($version:literal $file:literal $name:literal;)*) => {
        /// Every migration, in order. Append-only: what was released is never edited.
        pub const MIGRATIONS: &[Migration] = &[$(Migration {
            version: $version,
            name: $name,
            up: include_str!(concat!("../../../migrations/", $file, ".up.sql")),
            down: include_str!(concat!("../../../migrations/", $file, ".down.sql")),
        }),*];

        #[cfg(test)]
        const FILES: &[&str] = &[$($file),*];
    };
}

migrations! {
    1 "0001_tenants" "tenants";
    2 "0002_catalogue" "catalogue";
    3 "0003_licenses" "licenses";
    4 "0004_idempotency_keys" "idempotency_keys";
    5 "0005_withdrawals" "withdrawals";
    6 "0006_people" "people";
    7 "0007_audit_chain" "audit_chain";
    8 "0008_closing" "closing";
    9 "0009_list_indexes" "list_indexes";
    10 "0010_background" "background";
    11 "0011_license_terms" "license_terms";
    12 "0012_inline_tenant" "inline_tenant";
    13 "0013_terms" "terms";
    14 "0014_license_start" "license_start";
    15 "0015_trials" "trials";
    16 "0016_components" "components";
    17 "0017_leases" "leases";
    18 "0018_offline" "offline";
    19 "0019_meters" "meters";
    20 "0020_feed" "feed";
    21 "0021_key_rotation" "key_rotation";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_is_on_the_list_and_the_list_is_in_order() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations");
        let found: BTreeSet<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".sql"))
            .collect();
        let listed: BTreeSet<String> = FILES
            .iter()
            .flat_map(|file| [format!("{file}.up.sql"), format!("{file}.down.sql")])
            .collect();
        assert_eq!(
            found, listed,
            "migrations/ and the list in migrations/list.rs differ"
        );

        for (position, (migration, file)) in MIGRATIONS.iter().zip(FILES).enumerate() {
            assert_eq!(migration.version as usize, position + 1);
            assert_eq!(
                *file,
                format!("{:04}_{}", migration.version, migration.name)
            );
        }
    }
}
