//! What a document is called: at the origin, in the caches, in memory. Every name has its organization.

use licet_shared::id::{FeatureSetId, LicenseId, OrgTag};

/// Layout of what the caches hold. A change of it starts with empty caches.
const LAYOUT: &str = "v1";

/// A document's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    /// Whose it is.
    pub(crate) org: OrgTag,
    /// Which one.
    pub(crate) part: Part,
}

/// One of an organization's documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// Its public keys.
    Keys,
    /// A status list, by number.
    StatusList(u32),
    /// A feature set.
    Features(FeatureSetId),
    /// A license.
    License(LicenseId),
}

impl Name {
    /// The organization's keys.
    pub(crate) const fn keys(org: OrgTag) -> Self {
        Self {
            org,
            part: Part::Keys,
        }
    }

    /// One of its status lists.
    pub(crate) const fn status_list(org: OrgTag, number: u32) -> Self {
        Self {
            org,
            part: Part::StatusList(number),
        }
    }

    /// One of its feature sets.
    pub(crate) const fn features(org: OrgTag, id: FeatureSetId) -> Self {
        Self {
            org,
            part: Part::Features(id),
        }
    }

    /// One of its licenses.
    pub(crate) const fn license(org: OrgTag, id: LicenseId) -> Self {
        Self {
            org,
            part: Part::License(id),
        }
    }

    /// Path at the origin.
    pub(super) fn origin_path(self) -> String {
        format!("/edge/v1/{}", self.path())
    }

    /// Key in the Cache API, which wants URLs. Below the edge's own host, where the data centre
    /// keeps what belongs to it; no route leads there.
    pub(super) fn cache_url(self, issuer: &str) -> String {
        Self::note_url(issuer, &self.path())
    }

    /// Likewise, of what is no document but stands beside them.
    pub(super) fn note_url(issuer: &str, what: &str) -> String {
        format!("{issuer}/.licet-documents/{LAYOUT}/{what}")
    }

    /// Key in the key-value store. Names the issuer: one store may serve several installations.
    pub(super) fn kv_key(self, issuer: &str) -> String {
        format!("{LAYOUT}/{issuer}/{}", self.path())
    }

    fn path(self) -> String {
        let org = self.org;
        match self.part {
            Part::Keys => format!("orgs/{org}/keys"),
            Part::StatusList(number) => format!("orgs/{org}/statuslists/{number}"),
            Part::Features(id) => format!("orgs/{org}/feature-sets/{id}"),
            Part::License(id) => format!("orgs/{org}/licenses/{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use licet_shared::id::{FeatureSetId, LicenseId};
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::Name;

    #[wasm_bindgen_test]
    fn every_key_names_issuer_and_organization_and_no_two_are_the_same() {
        let mut keys = HashSet::new();
        for issuer in ["https://one.example", "https://two.example:8443"] {
            for org in ["ABCDEFGH", "00000000"] {
                let tag = org.parse().unwrap();
                for name in [
                    Name::keys(tag),
                    Name::status_list(tag, 0),
                    Name::status_list(tag, 1),
                    Name::features(tag, FeatureSetId::from_uuid_bytes([1; 16])),
                    Name::features(tag, FeatureSetId::from_uuid_bytes([2; 16])),
                    Name::license(tag, LicenseId::from_uuid_bytes([1; 16])),
                    Name::license(tag, LicenseId::from_uuid_bytes([2; 16])),
                ] {
                    for key in [name.cache_url(issuer), name.kv_key(issuer)] {
                        assert!(key.contains(issuer) && key.contains(org), "{key}");
                        assert!(key.len() < 512, "{key}");
                        assert!(keys.insert(key));
                    }
                    assert!(
                        name.origin_path()
                            .starts_with(&format!("/edge/v1/orgs/{org}/"))
                    );
                }
            }
        }
    }
}
