//! What an export holds. A test asks the catalogue: a table or column that is neither here nor
//! among the exceptions fails it.

use std::fmt::Write as _;

use licet_shared::id::{
    ActivationId, ApiKeyId, EventId, FeatureSetId, InvitationId, LeaseId, LicenseId, OrgId,
    PolicyId, ProductId, ProjectId, UserId,
};
use postgres_protocol::escape::escape_literal;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{db::Error, random::RowId};

/// A table as it is exported.
#[derive(Debug)]
pub struct Table {
    /// What each line calls itself.
    pub kind: &'static str,
    /// The table's name.
    pub name: &'static str,
    /// Its columns: `name`, `name:prefix` where it is an id, `name:hex` where it is bytes.
    columns: &'static str,
    /// In which order, which an index gives.
    order: &'static str,
}

/// Everything that is exported.
pub const TABLES: &[Table] = &[
    Table {
        kind: "organization",
        name: "organizations",
        columns: "org_id:org slug tag name plan max_users max_projects max_licenses settings \
                  keys_version version created_at updated_at closed_at",
        order: "org_id",
    },
    Table {
        kind: "signing_key",
        name: "signing_keys",
        columns: "number public_key:hex state store object_id:hex created_at activated_at superseded_at \
                  signed_until ended_at withdrawn_why",
        order: "number",
    },
    Table {
        kind: "user",
        name: "users",
        columns: "id:usr email name role license_id:lic version created_at updated_at \
                  last_login_at disabled_at deleted_at erased_at",
        order: "id",
    },
    Table {
        kind: "session",
        name: "sessions",
        columns: "id:evt user_id:usr generation renewed_at expires_at ends_at created_at \
                  ended_at ended_why",
        order: "id",
    },
    Table {
        kind: "invitation",
        name: "invitations",
        columns: "id:inv email role invited_by created_at expires_at accepted_at revoked_at",
        order: "id",
    },
    Table {
        kind: "api_key",
        name: "api_keys",
        columns: "id:key name hint scopes created_by version created_at expires_at last_used_at \
                  revoked_at",
        order: "id",
    },
    Table {
        kind: "product",
        name: "products",
        columns: "id:prd code name description version created_at updated_at deleted_at",
        order: "id",
    },
    Table {
        kind: "feature_set",
        name: "feature_sets",
        columns: "id:fs name current_revision version created_at updated_at deleted_at",
        order: "id",
    },
    Table {
        kind: "feature_set_revision",
        name: "feature_set_revisions",
        columns: "feature_set_id:fs revision features created_at",
        order: "feature_set_id, revision",
    },
    Table {
        kind: "policy",
        name: "policies",
        columns: "id:pol name tier feature_set_id:fs max_activations token_lifetime_s grace_s \
                  license_duration_s fingerprint_rule terms token_reach_s version created_at updated_at deleted_at",
        order: "id",
    },
    Table {
        kind: "policy_product",
        name: "policy_products",
        columns: "policy_id:pol product_id:prd",
        order: "policy_id, product_id",
    },
    Table {
        kind: "project",
        name: "projects",
        columns: "id:prj name description status metadata version created_at updated_at",
        order: "id",
    },
    Table {
        kind: "license",
        name: "licenses",
        columns: "id:lic policy_id:pol feature_set_id:fs status status_since max_activations \
                  own_max_activations expires_at pending_duration_s features terms metadata version state_version created_at \
                  updated_at",
        order: "id",
    },
    Table {
        kind: "license_product",
        name: "license_products",
        columns: "license_id:lic product_id:prd",
        order: "license_id, product_id",
    },
    Table {
        kind: "status_list",
        name: "status_versions",
        columns: "number version next_index changed_version",
        order: "number",
    },
    Table {
        kind: "activation",
        name: "activations",
        columns: "id:act license_id:lic fingerprint_hash components status_list status_index name metadata \
                  machine_key:hex request_nonce created_at last_seen_at deactivated_at given_back",
        order: "id",
    },
    Table {
        kind: "lease",
        name: "leases",
        columns: "id:lea license_id:lic activation_id:act holder machine_hash borrowed acquired_at \
                  renewed_at expires_at ended_at ended_why",
        order: "id",
    },
    Table {
        kind: "trial",
        name: "trials",
        columns: "fingerprint_hash product_id:prd license_id:lic created_at",
        order: "fingerprint_hash, product_id",
    },
    Table {
        kind: "withdrawal",
        name: "withdrawals",
        columns: "status_list license_id:lic status",
        order: "status_list, license_id",
    },
    Table {
        kind: "license_change",
        name: "license_changes",
        columns: "status_list license_id:lic until",
        order: "status_list, license_id",
    },
    Table {
        kind: "usage",
        name: "usage",
        columns: "license_id:lic feature period period_start used quota updated_at",
        order: "license_id, feature, period, period_start",
    },
    Table {
        kind: "audit_event",
        name: "audit_events",
        columns: "id:evt seq at actor action subject request_id details before after \
                  personal_hash:hex prev_hash:hex hash:hex",
        order: "seq",
    },
    Table {
        kind: "audit_personal",
        name: "audit_personal",
        columns: "event_id:evt user_id:usr salt:hex content",
        order: "event_id",
    },
    Table {
        kind: "audit_head",
        name: "audit_heads",
        columns: "seq prev_hash:hex hash:hex",
        order: "org_id",
    },
];

/// Columns that are exported nowhere, `*` for all of a table, and why.
pub const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("api_keys", "key_hash", "a credential"),
    ("idempotency_keys", "*", "remembers requests for a day"),
    ("invitations", "token_hash", "a credential"),
    ("leases", "request_hash", "tells requests apart"),
    ("leases", "request_key", "tells requests apart"),
    ("licenses", "key_hash", "a credential"),
    ("sessions", "token_hash", "a credential"),
    ("signing_keys", "sealed_seed", "a credential"),
    ("users", "password_hash", "a credential"),
];

impl Table {
    /// Names of its columns, each with what follows the colon.
    pub fn columns(&self) -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
        self.columns
            .split_whitespace()
            .map(|column| match column.split_once(':') {
                Some((name, form)) => (name, Some(form)),
                None => (column, None),
            })
    }

    /// One column of the result: an array of values, each as JSON, written by the database, so
    /// that numbers and what the audit trail has hashed come out as they are stored.
    pub(super) fn query(&self, org: OrgId, condition: Option<&str>) -> String {
        let values: Vec<String> = self
            .columns()
            .map(|(name, _)| format!("to_json({name})::text"))
            .collect();
        let condition = condition.map_or_else(String::new, |text| format!(" AND {text}"));
        format!(
            "SELECT ARRAY[{}] FROM licet.{} WHERE org_id = {}{condition} ORDER BY {}",
            values.join(", "),
            self.name,
            escape_literal(&org.uuid().to_string()),
            self.order
        )
    }

    pub(super) fn write_line(&self, row: &Row, out: &mut String) -> Result<(), Error> {
        let values: Vec<Option<&str>> = row.try_get(0)?;
        let _ = write!(out, "{{\"kind\":\"{}\",\"data\":{{", self.kind);
        for (position, ((name, form), value)) in self.columns().zip(values).enumerate() {
            let comma = if position == 0 { "" } else { "," };
            let _ = write!(out, "{comma}\"{name}\":");
            match (value, form) {
                (None, _) => out.push_str("null"),
                (Some(json), None) => out.push_str(json),
                (Some(json), Some(form)) => {
                    let text = readable(form, json.trim_matches('"'));
                    let text = text.ok_or(Error::Row(self.name))?;
                    let _ = write!(out, "\"{text}\"");
                }
            }
        }
        out.push_str("}}\n");
        Ok(())
    }
}

/// An id or bytes as the API writes them.
fn readable(form: &str, text: &str) -> Option<String> {
    if form == "hex" {
        // JSON has the backslash twice.
        return text.strip_prefix("\\\\x").map(str::to_owned);
    }
    let uuid: Uuid = text.parse().ok()?;
    Some(match form {
        ActivationId::PREFIX => ActivationId::from_uuid(uuid).to_string(),
        ApiKeyId::PREFIX => ApiKeyId::from_uuid(uuid).to_string(),
        EventId::PREFIX => EventId::from_uuid(uuid).to_string(),
        FeatureSetId::PREFIX => FeatureSetId::from_uuid(uuid).to_string(),
        InvitationId::PREFIX => InvitationId::from_uuid(uuid).to_string(),
        LeaseId::PREFIX => LeaseId::from_uuid(uuid).to_string(),
        LicenseId::PREFIX => LicenseId::from_uuid(uuid).to_string(),
        OrgId::PREFIX => OrgId::from_uuid(uuid).to_string(),
        PolicyId::PREFIX => PolicyId::from_uuid(uuid).to_string(),
        ProductId::PREFIX => ProductId::from_uuid(uuid).to_string(),
        ProjectId::PREFIX => ProjectId::from_uuid(uuid).to_string(),
        UserId::PREFIX => UserId::from_uuid(uuid).to_string(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_bytes_are_written_as_the_api_writes_them() {
        let uuid = "0193a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b";
        for table in TABLES {
            for (name, form) in table.columns() {
                if let Some(form) = form.filter(|form| *form != "hex") {
                    let id = readable(form, uuid).unwrap_or_else(|| panic!("{name}:{form}"));
                    assert!(id.starts_with(form) && id.len() == form.len() + 27, "{id}");
                }
            }
        }
        assert_eq!(readable("hex", "\\\\x00ff").as_deref(), Some("00ff"));
        assert_eq!(readable("hex", "00ff"), None);
        assert_eq!(readable("usr", "x"), None);
    }
}
