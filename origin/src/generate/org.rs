//! One organization and what it has, each made from its number alone.

use licet_shared::{
    id::{
        ActivationId, ApiKeyId, EventId, FeatureSetId, InvitationId, LicenseId, OrgId, OrgTag,
        PolicyId, ProductId, ProjectId, UserId,
    },
    license_key::LicenseKey,
};
use serde::Serialize;

use super::{
    PASSWORD, Plan, Share,
    dice::{Dice, For},
};
use crate::{
    accounts::secrets::{OrgSecret, SecretKind},
    db::licenses::LicenseStatus,
};

/// 2026-01-01, in microseconds since 1970. Everything was made in the two years before.
const NOW_US: i64 = 1_767_225_600_000_000;
const DAY_US: i64 = 86_400_000_000;
/// Seats of the first license of each organization: as many as the table allows.
const SITE_SEATS: i32 = 1_000_000;

/// One organization.
pub(crate) struct Org {
    root: u64,
    pub(super) share: Share,
    pub(super) id: OrgId,
    pub(super) tag: OrgTag,
    pub(super) slug: String,
    pub(super) created_us: i64,
}

/// What a policy allows.
pub(super) struct Policy {
    pub(super) id: PolicyId,
    pub(super) name: String,
    pub(super) tier: &'static str,
    pub(super) feature_set: u32,
    /// Numbers of products.
    pub(super) products: std::ops::Range<u32>,
    pub(super) max_activations: i32,
    pub(super) bound: bool,
}

/// A license without its seats.
pub(super) struct License {
    pub(super) id: LicenseId,
    pub(super) policy: u32,
    pub(super) status: LicenseStatus,
    pub(super) created_us: i64,
    pub(super) expires_us: Option<i64>,
}

/// An activation.
pub(super) struct Activation {
    pub(super) id: ActivationId,
    /// Number of its license.
    pub(super) license: u32,
    pub(super) created_us: i64,
    pub(super) seen_us: i64,
    pub(super) deactivated_us: Option<i64>,
}

/// A license that can be activated, with all that a client needs for it.
#[derive(Debug, Serialize)]
pub(crate) struct Usable {
    pub(crate) org: OrgId,
    pub(crate) slug: String,
    pub(crate) tag: String,
    pub(crate) owner: String,
    pub(crate) password: &'static str,
    pub(crate) license: LicenseId,
    pub(crate) license_key: String,
    pub(crate) product: String,
    pub(crate) policy: PolicyId,
    pub(crate) api_key: String,
}

/// An id from when and how the thing was made.
macro_rules! id {
    ($type:ty, $dice:expr, $us:expr) => {
        <$type>::new(u64::try_from($us / 1000).unwrap_or(0), $dice.bytes())
    };
}

impl Org {
    pub(super) fn new(plan: &Plan, share: Share) -> Self {
        let root = Dice::root(&[
            plan.seed,
            u64::from(plan.orgs),
            u64::from(plan.licenses),
            u64::from(plan.activations),
        ]);
        let mut dice = Dice::new(root, For::Org, share.number, 0);
        let created_us = NOW_US - i64::from(dice.below(730 * 24)) * (DAY_US / 24) - DAY_US;
        Self {
            root,
            share,
            id: id!(OrgId, dice, created_us),
            tag: OrgTag::new(dice.bytes()),
            slug: format!("load-{:05}", share.number),
            created_us,
        }
    }

    pub(super) fn dice(&self, thing: For, number: u32) -> Dice {
        Dice::new(self.root, thing, self.share.number, number)
    }

    /// When the `number`th of `all` was made: one after the other, since the organization was.
    pub(super) fn time_of(&self, number: u32, all: u32) -> i64 {
        let since = NOW_US - self.created_us;
        let part = i128::from(since) * i128::from(number + 1) / i128::from(all + 1);
        self.created_us + i64::try_from(part).unwrap_or(since)
    }

    pub(super) fn products(&self) -> u32 {
        1 + (self.share.licenses / 500).min(19)
    }

    pub(super) fn product(&self, number: u32) -> ProductId {
        let mut dice = self.dice(For::Product, number);
        id!(ProductId, dice, self.created_us)
    }

    pub(super) fn product_code(number: u32) -> String {
        format!("app-{number:02}")
    }

    pub(super) fn feature_sets(&self) -> u32 {
        1 + (self.share.licenses / 1000).min(7)
    }

    pub(super) fn feature_set(&self, number: u32) -> (FeatureSetId, u32) {
        let mut dice = self.dice(For::FeatureSet, number);
        let id = id!(FeatureSetId, dice, self.created_us);
        (id, 1 + dice.below(4))
    }

    pub(super) fn policies(&self) -> u32 {
        4 + (self.share.licenses / 300).min(16)
    }

    /// The first has no limits to speak of; the others are of each tier in turn.
    pub(super) fn policy(&self, number: u32) -> Policy {
        const TIERS: [(&str, &str, i32); 4] = [
            ("ENTERPRISE", "Enterprise", 100),
            ("PRO", "Professional", 5),
            ("FREE", "Free", 1),
            ("TRIAL", "Trial", 2),
        ];
        let mut dice = self.dice(For::Policy, number);
        let (tier, name, seats) = TIERS[number as usize % TIERS.len()];
        let first = dice.below(self.products());
        let products = if number == 0 {
            0..self.products().min(3)
        } else {
            first..(first + 1 + dice.below(3)).min(self.products())
        };
        Policy {
            id: id!(PolicyId, dice, self.created_us),
            name: format!("{name} {number}"),
            tier,
            feature_set: number % self.feature_sets(),
            products,
            max_activations: if number == 0 { SITE_SEATS } else { seats },
            bound: number == 0 || dice.below(10) > 0,
        }
    }

    pub(super) fn license(&self, number: u32) -> License {
        let mut dice = self.dice(For::License, number);
        let created_us = self.time_of(number, self.share.licenses);
        let id = id!(LicenseId, dice, created_us);
        let (status, ends, policy, days) = (
            dice.below(100),
            dice.below(10),
            dice.below(u32::MAX),
            dice.below(3650),
        );
        let status = match status {
            _ if number == 0 => LicenseStatus::Active,
            0..84 => LicenseStatus::Active,
            84..90 => LicenseStatus::Expired,
            90..95 => LicenseStatus::Suspended,
            _ => LicenseStatus::Revoked,
        };
        let expires_us = match status {
            LicenseStatus::Expired => Some(created_us + (NOW_US - created_us) / 2),
            _ if number == 0 || ends < 4 => None,
            _ => Some(NOW_US + (i64::from(days) + 30) * DAY_US),
        };
        License {
            id,
            // Most licenses are under few policies.
            policy: if number == 0 {
                0
            } else {
                let (all, part) = (self.policies() - 1, f64::from(policy) / f64::from(u32::MAX));
                1 + super::up_to(all - 1, part * part)
            },
            status,
            created_us,
            expires_us,
        }
    }

    pub(super) fn license_key(&self, number: u32) -> LicenseKey {
        LicenseKey::new(self.tag, self.dice(For::LicenseKey, number).bytes())
    }

    /// On one of the licenses that there were by then. The first ones have more.
    pub(super) fn activation(&self, number: u32) -> Activation {
        let mut dice = self.dice(For::Activation, number);
        let all = self.share.activations;
        let created_us = self.time_of(number, all);
        let there = u64::from(self.share.licenses) * u64::from(number) / u64::from(all.max(1));
        let license = dice.below(u32::try_from(there).unwrap_or(u32::MAX - 1) + 1);
        let rest = NOW_US - created_us;
        let seen_us = created_us + rest / 100 * i64::from(dice.below(100));
        Activation {
            id: id!(ActivationId, dice, created_us),
            license,
            created_us,
            seen_us,
            deactivated_us: (dice.below(20) == 0).then_some(seen_us),
        }
    }

    /// What the device of an activation says it is.
    pub(super) fn fingerprint(&self, activation: u32) -> String {
        format!("{}-device-{activation}", self.slug)
    }

    pub(super) fn users(&self) -> u32 {
        1 + (self.share.licenses / 200).min(299)
    }

    pub(super) fn user(&self, number: u32) -> UserId {
        let mut dice = self.dice(For::User, number);
        id!(UserId, dice, self.time_of(number, self.users()))
    }

    pub(super) fn email(&self, user: u32) -> String {
        match user {
            0 => format!("owner@{}.example", self.slug),
            _ => format!("person-{user}@{}.example", self.slug),
        }
    }

    pub(super) fn api_keys(&self) -> u32 {
        1 + (self.share.licenses / 1000).min(49)
    }

    pub(super) fn api_key(&self, number: u32) -> (ApiKeyId, OrgSecret) {
        let mut dice = self.dice(For::ApiKey, number);
        let id = id!(ApiKeyId, dice, self.created_us);
        let body = format!("{:032x}", u128::from_be_bytes(dice.bytes()));
        (
            id,
            OrgSecret::with_body(SecretKind::ApiKey, self.tag, &body),
        )
    }

    pub(super) fn projects(&self) -> u32 {
        1 + (self.share.licenses / 100).min(499)
    }

    pub(super) fn project(&self, number: u32) -> ProjectId {
        let mut dice = self.dice(For::Project, number);
        id!(ProjectId, dice, self.time_of(number, self.projects()))
    }

    pub(super) fn invitations(&self) -> u32 {
        (self.share.licenses / 1000).min(50)
    }

    pub(super) fn invitation(&self, number: u32) -> (InvitationId, [u8; 32]) {
        let mut dice = self.dice(For::Invitation, number);
        let time = self.time_of(number, self.invitations());
        (id!(InvitationId, dice, time), dice.bytes())
    }

    pub(super) fn event(&self, number: u32, unix_us: i64) -> EventId {
        let mut dice = self.dice(For::Event, number);
        id!(EventId, dice, unix_us)
    }

    pub(super) fn signing_seed(&self) -> [u8; 32] {
        self.dice(For::SigningKey, 1).bytes()
    }

    /// The licenses that are in force, stay so and have many seats, the one with a million first.
    pub(crate) fn usable(&self) -> impl Iterator<Item = Usable> {
        (0..self.share.licenses).filter_map(|number| {
            let license = self.license(number);
            let policy = self.policy(license.policy);
            let in_force = license.status == LicenseStatus::Active && license.expires_us.is_none();
            (in_force && policy.max_activations >= 100).then(|| Usable {
                org: self.id,
                slug: self.slug.clone(),
                tag: self.tag.as_str().to_owned(),
                owner: self.email(0),
                password: PASSWORD,
                license: license.id,
                license_key: self.license_key(number).reveal(),
                product: Self::product_code(policy.products.start),
                policy: policy.id,
                api_key: self.api_key(0).1.reveal().to_owned(),
            })
        })
    }
}
