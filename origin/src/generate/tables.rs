//! What goes into each table, in the order in which their references allow.

use std::collections::BTreeSet;

use licet_shared::{decision::fingerprint_hash, id::UserId};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{org::Org, rows::Rows};
use crate::{
    accounts::permissions::Permission,
    db::{
        audit::{Chained, link},
        licenses::LicenseStatus,
        status_lists::ENTRIES,
    },
    fault::Fault,
    keys::{Kid, MasterKey, seal_seed},
    random::RowId,
};

const DAY_US: i64 = 86_400_000_000;
/// As the audit trail names the operator.
const ACTOR: &str = "operator";

/// What is the same for all organizations.
pub(crate) struct Common {
    pub(crate) master: MasterKey,
    pub(crate) password_hash: String,
}

/// An organization, and what takes a walk over all its activations to know.
pub(super) struct Made {
    pub(super) org: Org,
    /// Live activations of each license.
    live: Vec<i32>,
    /// Suspended and revoked licenses, with each list that they have entries in.
    withdrawn: BTreeSet<(u32, u32)>,
}

impl Made {
    pub(super) fn new(org: Org) -> Self {
        let mut live = vec![0; org.share.licenses as usize];
        let mut withdrawn = BTreeSet::new();
        for number in 0..org.share.activations {
            let activation = org.activation(number);
            if activation.deactivated_us.is_none()
                && let Some(live) = live.get_mut(activation.license as usize)
            {
                *live += 1;
            }
            let status = org.license(activation.license).status;
            if matches!(status, LicenseStatus::Suspended | LicenseStatus::Revoked) {
                withdrawn.insert((number / ENTRIES, activation.license));
            }
        }
        Self {
            org,
            live,
            withdrawn,
        }
    }
}

/// Adds one organization's rows.
type Fill = fn(&Made, &Common, &mut Rows) -> Result<(), Fault>;

/// A table and where its rows come from.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [&'static str],
    pub(super) fill: Fill,
}

macro_rules! table {
    ($name:ident ( $($column:ident),* $(,)? ) $fill:expr) => {
        Table {
            name: stringify!($name),
            columns: &[$(stringify!($column)),*],
            fill: $fill,
        }
    };
}

pub(super) const TABLES: &[Table] = &[
    table!(
        org_directory(tag, slug, org_id) | made,
        _,
        rows | {
            let Made { org, .. } = made;
            rows.row()
                .text(org.tag.as_str())
                .text(&org.slug)
                .uuid(org.id.uuid());
            Ok(())
        }
    ),
    table!(
        organizations(
            org_id,
            slug,
            tag,
            name,
            plan,
            max_users,
            max_projects,
            max_licenses,
            keys_version,
            created_at,
            updated_at
        ) | made,
        _,
        rows | {
            let Made { org, .. } = made;
            let (plan, times) = match org.share.licenses {
                0..100 => ("FREE", 1),
                100..5000 => ("PRO", 10),
                _ => ("ENTERPRISE", 1000),
            };
            rows.row()
                .uuid(org.id.uuid())
                .text(&org.slug)
                .text(org.tag.as_str());
            rows.text(&format!("Load {}", org.share.number)).text(plan);
            rows.int4(5 * times).int4(10 * times).int4(1000 * times);
            rows.int8(org.created_us / 1000)
                .time(org.created_us)
                .time(org.created_us);
            Ok(())
        }
    ),
    table!(
        signing_keys(
            org_id,
            number,
            public_key,
            sealed_seed,
            created_at,
            activated_at
        ) | made,
        common,
        rows | {
            let Made { org, .. } = made;
            let kid = Kid {
                tag: org.tag,
                number: 1,
            };
            let (public, sealed) = seal_seed(&common.master, org.id, kid, &org.signing_seed())?;
            rows.row()
                .uuid(org.id.uuid())
                .int4(1)
                .bytea(&public)
                .bytea(&sealed)
                .time(org.created_us)
                .time(org.created_us);
            Ok(())
        }
    ),
    table!(
        products(org_id, id, code, name, created_at, updated_at) | made,
        _,
        rows | {
            let Made { org, .. } = made;
            for number in 0..org.products() {
                let code = Org::product_code(number);
                rows.row()
                    .uuid(org.id.uuid())
                    .uuid(org.product(number).uuid());
                rows.text(&code).text(&format!("Application {number}"));
                rows.time(org.created_us).time(org.created_us);
            }
            Ok(())
        }
    ),
    table!(
        feature_sets(org_id, id, name, current_revision, created_at, updated_at) | made,
        _,
        rows | {
            let Made { org, .. } = made;
            for number in 0..org.feature_sets() {
                let (id, revision) = org.feature_set(number);
                rows.row()
                    .uuid(org.id.uuid())
                    .uuid(id.uuid())
                    .text(&format!("features {number}"));
                rows.int4(small(revision))
                    .time(org.created_us)
                    .time(org.created_us);
            }
            Ok(())
        }
    ),
    table!(
        feature_set_revisions(org_id, feature_set_id, revision, features, created_at) | made,
        _,
        rows | {
            let Made { org, .. } = made;
            for number in 0..org.feature_sets() {
                let (id, current) = org.feature_set(number);
                for revision in 1..=current {
                    rows.row()
                        .uuid(org.id.uuid())
                        .uuid(id.uuid())
                        .int4(small(revision));
                    rows.jsonb(&json!({
                    "export.pdf": number % 2 == 0, "export.csv": true, "projects.max": 25 * revision,
                    "storage.gib": 10.5, "support": "e-mail", "theme": { "colors": ["red", "blue"] },
                }));
                    rows.time(org.created_us);
                }
            }
            Ok(())
        }
    ),
    table!(
        policies(
            org_id,
            id,
            name,
            tier,
            feature_set_id,
            max_activations,
            fingerprint_rule,
            created_at,
            updated_at
        ) | made,
        _,
        rows | {
            let Made { org, .. } = made;
            for number in 0..org.policies() {
                let policy = org.policy(number);
                rows.row()
                    .uuid(org.id.uuid())
                    .uuid(policy.id.uuid())
                    .text(&policy.name)
                    .text(policy.tier);
                rows.uuid(org.feature_set(policy.feature_set).0.uuid())
                    .int4(policy.max_activations);
                rows.text(if policy.bound { "BOUND" } else { "FREE" });
                rows.time(org.created_us).time(org.created_us);
            }
            Ok(())
        }
    ),
    table!(
        policy_products(org_id, policy_id, product_id) | made,
        _,
        rows | {
            let Made { org, .. } = made;
            for policy in (0..org.policies()).map(|number| org.policy(number)) {
                for product in policy.products {
                    rows.row()
                        .uuid(org.id.uuid())
                        .uuid(policy.id.uuid())
                        .uuid(org.product(product).uuid());
                }
            }
            Ok(())
        }
    ),
    table!(
        users(
            org_id,
            id,
            email,
            name,
            role,
            password_hash,
            created_at,
            updated_at
        ) | made,
        common,
        rows | {
            let Made { org, .. } = made;
            for number in 0..org.users() {
                let role = match number {
                    0 => "OWNER",
                    n if n % 20 == 1 => "ADMIN",
                    n if n % 4 == 0 => "GUEST",
                    _ => "MEMBER",
                };
                let time = org.time_of(number, org.users());
                rows.row().uuid(org.id.uuid()).uuid(org.user(number).uuid());
                rows.text(&org.email(number))
                    .text(&format!("Person {number}"))
                    .text(role);
                rows.text(&common.password_hash).time(time).time(time);
            }
            Ok(())
        }
    ),
    table!(
        login_directory(email, org_id, user_id) | made,
        _,
        rows | {
            let Made { org, .. } = made;
            for number in 0..org.users() {
                rows.row()
                    .text(&org.email(number))
                    .uuid(org.id.uuid())
                    .uuid(org.user(number).uuid());
            }
            Ok(())
        }
    ),
    table!(
        api_keys(
            org_id, id, name, hint, key_hash, scopes, created_by, created_at
        ) | made,
        _,
        rows | {
            let Made { org, .. } = made;
            let scopes = [Permission::LicensesRead, Permission::ActivationsRead];
            let owner: UserId = org.user(0);
            for number in 0..org.api_keys() {
                let (id, key) = org.api_key(number);
                rows.row()
                    .uuid(org.id.uuid())
                    .uuid(id.uuid())
                    .text(&format!("machine {number}"));
                rows.text(key.hint())
                    .bytea(&key.hash())
                    .texts(&scopes.map(Permission::as_str));
                rows.text(&owner.to_string()).time(org.created_us);
            }
            Ok(())
        }
    ),
    table!(
        projects(org_id, id, name, status, created_at, updated_at) | made,
        _,
        rows | {
            let Made { org, .. } = made;
            for number in 0..org.projects() {
                let status = match number % 10 {
                    8 => "ARCHIVED",
                    9 => "DELETED",
                    _ => "ACTIVE",
                };
                let time = org.time_of(number, org.projects());
                rows.row()
                    .uuid(org.id.uuid())
                    .uuid(org.project(number).uuid());
                rows.text(&format!("Project {number}"))
                    .text(status)
                    .time(time)
                    .time(time);
            }
            Ok(())
        }
    ),
    table!(
        invitations(
            org_id, id, email, role, token_hash, invited_by, created_at, expires_at
        ) | made,
        _,
        rows | {
            let Made { org, .. } = made;
            let owner: UserId = org.user(0);
            for number in 0..org.invitations() {
                let (id, hash) = org.invitation(number);
                let time = org.time_of(number, org.invitations());
                rows.row().uuid(org.id.uuid()).uuid(id.uuid());
                rows.text(&format!("guest-{number}@{}.example", org.slug))
                    .text("MEMBER")
                    .bytea(&hash);
                rows.text(&owner.to_string())
                    .time(time)
                    .time(time + 7 * DAY_US);
            }
            Ok(())
        }
    ),
    table!(
        licenses(
            org_id,
            id,
            key_hash,
            policy_id,
            feature_set_id,
            status,
            max_activations,
            expires_at,
            metadata,
            created_at,
            updated_at,
            status_since
        ) | made,
        _,
        rows | {
            let Made { org, live, .. } = made;
            for (number, live) in (0..).zip(live) {
                let license = org.license(number);
                let policy = org.policy(license.policy);
                rows.row().uuid(org.id.uuid()).uuid(license.id.uuid());
                rows.bytea(&org.license_key(number).hash())
                    .uuid(policy.id.uuid());
                rows.uuid(org.feature_set(policy.feature_set).0.uuid())
                    .text(license.status.as_str());
                rows.int4(policy.max_activations.max(*live))
                    .time_or_null(license.expires_us);
                rows.jsonb(&json!({ "customer": format!("Customer {}", number / 3), "order": format!("A-{number:06}") }));
                rows.time(license.created_us)
                    .time(license.created_us)
                    .time(license.created_us);
            }
            Ok(())
        }
    ),
    table!(
        license_products(org_id, license_id, product_id) | made,
        _,
        rows | {
            let Made { org, .. } = made;
            for license in (0..org.share.licenses).map(|number| org.license(number)) {
                for product in org.policy(license.policy).products {
                    rows.row()
                        .uuid(org.id.uuid())
                        .uuid(license.id.uuid())
                        .uuid(org.product(product).uuid());
                }
            }
            Ok(())
        }
    ),
    table!(
        status_versions(org_id, number, version, next_index) | made,
        _,
        rows | {
            let Made { org, .. } = made;
            for list in 0..=org.share.activations.saturating_sub(1) / ENTRIES {
                let taken = (org.share.activations - list * ENTRIES).min(ENTRIES);
                rows.row()
                    .uuid(org.id.uuid())
                    .int4(small(list))
                    .int8(org.created_us / 1000)
                    .int4(small(taken));
            }
            Ok(())
        }
    ),
    table!(
        activations(
            org_id,
            id,
            license_id,
            fingerprint_hash,
            status_list,
            status_index,
            name,
            created_at,
            last_seen_at,
            deactivated_at
        ) | made,
        _,
        rows | {
            let Made { org, .. } = made;
            for number in 0..org.share.activations {
                let activation = org.activation(number);
                rows.row().uuid(org.id.uuid()).uuid(activation.id.uuid());
                rows.uuid(org.license(activation.license).id.uuid());
                rows.text(&fingerprint_hash(&org.fingerprint(number)));
                rows.int4(small(number / ENTRIES))
                    .int4(small(number % ENTRIES));
                rows.text(&format!("Device {number}"))
                    .time(activation.created_us)
                    .time(activation.seen_us);
                rows.time_or_null(activation.deactivated_us);
            }
            Ok(())
        }
    ),
    table!(
        withdrawals(org_id, status_list, license_id, status) | made,
        _,
        rows | {
            let Made { org, withdrawn, .. } = made;
            for (list, number) in withdrawn {
                let license = org.license(*number);
                rows.row()
                    .uuid(org.id.uuid())
                    .int4(small(*list))
                    .uuid(license.id.uuid())
                    .text(license.status.as_str());
            }
            Ok(())
        }
    ),
    table!(
        audit_events(
            org_id, id, at, actor, action, subject, details, seq, prev_hash, hash
        ) | made,
        _,
        rows | {
            chain(made, |link| {
                rows.row()
                    .uuid(made.org.id.uuid())
                    .uuid(link.id)
                    .time(link.at_us)
                    .text(ACTOR);
                rows.text(link.action)
                    .text(&link.subject)
                    .jsonb(&link.details);
                rows.int8(link.seq).bytea(&link.prev_hash).bytea(&link.hash);
            });
            Ok(())
        }
    ),
    table!(
        audit_heads(org_id, seq, prev_hash, hash) | made,
        _,
        rows | {
            let mut head = None;
            chain(made, |link| {
                head = Some((link.seq, link.prev_hash, link.hash));
            });
            if let Some((seq, prev_hash, hash)) = head {
                rows.row()
                    .uuid(made.org.id.uuid())
                    .int8(seq)
                    .bytea(&prev_hash)
                    .bytea(&hash);
            }
            Ok(())
        }
    ),
];

/// An event of an organization's audit trail.
struct Link {
    id: Uuid,
    at_us: i64,
    action: &'static str,
    subject: String,
    details: Value,
    seq: i64,
    prev_hash: [u8; 32],
    hash: [u8; 32],
}

/// The whole trail, as the origin would have written it: the founding, then each license.
fn chain(made: &Made, mut each: impl FnMut(Link)) {
    let org = &made.org;
    let org_id = org.id.uuid();
    let mut prev_hash = [0; 32];
    for number in 0..=org.share.licenses {
        let (at_us, action, subject, details) = match number.checked_sub(1) {
            None => (
                org.created_us,
                "organization.created",
                org.id.to_string(),
                json!({}),
            ),
            Some(number) => {
                let license = org.license(number);
                let details = json!({ "policy": org.policy(license.policy).id });
                (
                    license.created_us,
                    "license.issued",
                    license.id.to_string(),
                    details,
                )
            }
        };
        let id = org.event(number, at_us).uuid();
        let seq = i64::from(number) + 1;
        let digest = Chained {
            org: org_id.as_bytes(),
            id: id.as_bytes(),
            at_us,
            actor: ACTOR,
            action,
            subject: &subject,
            request_id: None,
            details: &details.to_string(),
            before: None,
            after: None,
            personal_hash: None,
        };
        let hash = link(&prev_hash, seq, &digest.digest());
        each(Link {
            id,
            at_us,
            action,
            subject,
            details,
            seq,
            prev_hash,
            hash,
        });
        prev_hash = hash;
    }
}

/// A number that `integer` holds, as all of them here are.
fn small(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
