//! What each operation of the account API is called with. Another operation needs a row here: the
//! walk fails without it.

use licet_origin::accounts::permissions::Role;
use licet_shared::license_file::MachineCode;
use serde_json::{Value, json};

use super::world::{Given, PASSWORD};

/// What a call is about, made for the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The organization, or the person who calls.
    Nothing,
    Product,
    DeletedProduct,
    FeatureSet,
    DeletedFeatureSet,
    Policy,
    DeletedPolicy,
    License,
    SuspendedLicense,
    /// The key of a license.
    LicenseKey,
    Activation,
    /// The receipt of a machine that never connects.
    Receipt,
    Lease,
    /// One that is published, and never signed.
    SigningKey,
    Project,
    ArchivedProject,
    DeletedProject,
    ApiKey,
    Invitation,
    /// A MEMBER.
    User,
    RemovedUser,
    AuditEvent,
    /// The session of the person who calls.
    Session,
    /// The text that a guest answers an invitation with.
    InvitationToken,
    /// The refresh token of a MEMBER.
    RefreshToken,
}

/// How one operation is called so that it does what it is for.
pub struct Row {
    pub operation: &'static str,
    pub target: Target,
    pub body: Option<fn(&Given<'_>) -> Value>,
    /// What the operator does so that the walk can go on.
    pub then: Option<&'static str>,
    /// The role that somebody gets by it: a key must have its permissions as well.
    pub gives: Option<Role>,
}

const fn row(operation: &'static str, target: Target) -> Row {
    Row {
        operation,
        target,
        body: None,
        then: None,
        gives: None,
    }
}

const fn with(operation: &'static str, target: Target, body: fn(&Given<'_>) -> Value) -> Row {
    Row {
        operation,
        target,
        body: Some(body),
        then: None,
        gives: None,
    }
}

/// One by which somebody gets a role.
const fn giving(role: Role, mut row: Row) -> Row {
    row.gives = Some(role);
    row
}

/// One after which nobody gets in any more.
const fn closing(operation: &'static str, body: fn(&Given<'_>) -> Value) -> Row {
    Row {
        then: Some("UPDATE licet.organizations SET closed_at = NULL"),
        ..with(operation, Target::Nothing, body)
    }
}

use Target as T;

/// One row for each operation, in the order of `api.rs`.
pub const TABLE: &[Row] = &[
    with("sign_up", T::Nothing, |it| {
        json!({
            "organization": { "name": "New", "slug": it.name },
            "email": format!("{}@x.test", it.name), "password": PASSWORD, "name": "Ada",
        })
    }),
    with(
        "log_in",
        T::Nothing,
        |it| json!({ "email": it.owner.email, "password": PASSWORD, "organization": it.owner.slug }),
    ),
    with(
        "refresh",
        T::RefreshToken,
        |it| json!({ "refresh_token": it.target }),
    ),
    with(
        "accept_invitation",
        T::InvitationToken,
        |it| json!({ "token": it.target, "name": "Grace", "password": PASSWORD }),
    ),
    row("log_out", T::Nothing),
    row("read_me", T::Nothing),
    with(
        "change_password",
        T::Nothing,
        |_| json!({ "current_password": PASSWORD, "new_password": "another long one 7" }),
    ),
    row("list_sessions", T::Nothing),
    row("end_session", T::Session),
    row("read_organization", T::Nothing),
    with(
        "update_organization",
        T::Nothing,
        |_| json!({ "name": "Another name" }),
    ),
    closing("close_organization", |it| json!({ "slug": it.owner.slug })),
    row("list_users", T::Nothing),
    row("read_user", T::User),
    with(
        "update_user",
        T::User,
        |it| json!({ "name": "Another", "license_id": it.id("lic") }),
    ),
    row("remove_user", T::User),
    giving(Role::Member, row("restore_user", T::RemovedUser)),
    with("erase_user", T::User, |it| json!({ "confirm": it.target })),
    row("list_invitations", T::Nothing),
    giving(
        Role::Guest,
        with(
            "create_invitation",
            T::Nothing,
            |it| json!({ "email": format!("{}@x.test", it.name), "role": "GUEST" }),
        ),
    ),
    row("revoke_invitation", T::Invitation),
    row("list_api_keys", T::Nothing),
    // What the caller has in any case: nobody gives more.
    with(
        "create_api_key",
        T::Nothing,
        |_| json!({ "name": "Shop", "scopes": ["api_keys:write"] }),
    ),
    row("read_api_key", T::ApiKey),
    with(
        "update_api_key",
        T::ApiKey,
        |_| json!({ "name": "Another" }),
    ),
    row("revoke_api_key", T::ApiKey),
    row("list_products", T::Nothing),
    with(
        "create_product",
        T::Nothing,
        |it| json!({ "code": it.name, "name": "A product" }),
    ),
    row("read_product", T::Product),
    with(
        "update_product",
        T::Product,
        |_| json!({ "name": "Another" }),
    ),
    row("delete_product", T::Product),
    row("restore_product", T::DeletedProduct),
    row("list_feature_sets", T::Nothing),
    with(
        "create_feature_set",
        T::Nothing,
        |it| json!({ "name": it.name, "features": { "export": true } }),
    ),
    row("read_feature_set", T::FeatureSet),
    with(
        "update_feature_set",
        T::FeatureSet,
        |_| json!({ "features": { "export": false } }),
    ),
    row("delete_feature_set", T::FeatureSet),
    row("restore_feature_set", T::DeletedFeatureSet),
    row("list_feature_set_revisions", T::FeatureSet),
    row("read_feature_set_revision", T::FeatureSet),
    row("list_policies", T::Nothing),
    with("create_policy", T::Nothing, |it| {
        json!({
            "name": it.name, "tier": "PRO", "feature_set_id": it.id("fs"),
            "product_ids": [it.id("prd")], "max_activations": 3,
        })
    }),
    row("read_policy", T::Policy),
    with(
        "update_policy",
        T::Policy,
        |it| json!({ "feature_set_id": it.id("fs"), "product_ids": [it.id("prd")], "grace_s": 60 }),
    ),
    row("delete_policy", T::Policy),
    row("restore_policy", T::DeletedPolicy),
    row("list_projects", T::Nothing),
    with(
        "create_project",
        T::Nothing,
        |it| json!({ "name": it.name }),
    ),
    row("read_project", T::Project),
    with(
        "update_project",
        T::Project,
        |_| json!({ "description": "New" }),
    ),
    row("delete_project", T::Project),
    row("archive_project", T::Project),
    row("unarchive_project", T::ArchivedProject),
    row("restore_project", T::DeletedProject),
    row("list_licenses", T::Nothing),
    with(
        "issue_license",
        T::Nothing,
        |it| json!({ "policy_id": it.id("pol") }),
    ),
    with(
        "issue_licenses",
        T::Nothing,
        |it| json!({ "policy_id": it.id("pol"), "count": 2 }),
    ),
    row("read_license", T::License),
    with(
        "update_license",
        T::License,
        |_| json!({ "max_activations": 9 }),
    ),
    row("suspend_license", T::License),
    row("reinstate_license", T::SuspendedLicense),
    row("revoke_license", T::License),
    with(
        "renew_license",
        T::License,
        |_| json!({ "expires_at": "2100-01-01T00:00:00Z" }),
    ),
    with(
        "transfer_license",
        T::License,
        |it| json!({ "policy_id": it.id("pol") }),
    ),
    row("read_usage", T::License),
    with(
        "correct_usage",
        T::License,
        |_| json!({ "feature": "exports.monthly", "by": 3 }),
    ),
    with(
        "look_up_license",
        T::LicenseKey,
        |it| json!({ "license_key": it.target }),
    ),
    row("list_activations", T::Nothing),
    row("list_activations_of_license", T::License),
    row("read_activation", T::Activation),
    row("revoke_activation", T::Activation),
    with(
        "check_out_license_file",
        T::Activation,
        |_| json!({ "lifetime_s": 86400 }),
    ),
    with("activate_offline", T::LicenseKey, |it| {
        json!({
            "license_key": it.target, "product": "local_cli", "lifetime_s": 86400,
            "code": MachineCode::of(&it.name).to_string(),
        })
    }),
    with(
        "deactivate_offline",
        T::Receipt,
        |it| json!({ "receipt": it.target }),
    ),
    row("list_leases", T::Nothing),
    row("list_leases_of_license", T::License),
    row("read_lease", T::Lease),
    row("take_back_lease", T::Lease),
    row("list_signing_keys", T::Nothing),
    row("create_signing_key", T::Nothing),
    row("read_signing_key", T::SigningKey),
    with(
        "activate_signing_key",
        T::SigningKey,
        |_| json!({ "emergency": true }),
    ),
    row("retire_signing_key", T::SigningKey),
    with(
        "withdraw_signing_key",
        T::SigningKey,
        |_| json!({ "reason": "KEY_COMPROMISE" }),
    ),
    row("list_audit_events", T::Nothing),
    row("read_audit_head", T::Nothing),
    row("read_audit_event", T::AuditEvent),
    row("export_organization", T::Nothing),
    row("export_user", T::User),
    row("export_me", T::Nothing),
];
