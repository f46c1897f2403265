//! Every case by name: what is changed in the good world, and the code it must get.

mod changes;
mod leases;
mod status;
mod terms;
mod tokens;

use licet_shared::{decision::Code, documents::AtExpiry};

use super::world::{DAY, Life, T0, World, org_signer};

type Change = fn(&mut World);
type Tamper = fn(String) -> String;

/// A name, a change, and the code that must come of it.
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) world: World,
    pub(crate) expected: Code,
}

fn case(name: &str, change: impl Fn(&mut World), expected: Code) -> Named {
    let mut world = World::good();
    change(&mut world);
    Named {
        name: name.into(),
        world,
        expected,
    }
}

/// One way to earn each code, in the order in which the design tries them. Written out here, not
/// taken from `Code::ALL`, so that a changed order in the code shows.
const FAULTS: [(Code, Change); 21] = [
    (Code::Malformed, |w| {
        w.tamper = Some(|token| token.replacen('.', "..", 1));
    }),
    (Code::UnknownKey, |w| w.signer = org_signer(9)),
    (Code::SignatureInvalid, |w| w.tamper = Some(flip_signature)),
    (Code::Revoked, |w| w.status = 1),
    (Code::Suspended, |w| w.status = 2),
    (Code::Deactivated, |w| w.status = 3),
    (Code::StatusUnknown, |w| w.status = 7),
    (Code::NotYetValid, |w| w.nbf = Some(w.now + 3600)),
    (Code::LicenseExpired, |w| w.claims.lexp = Some(w.now - 1)),
    (Code::VersionNotCovered, |w| {
        w.claims.lexp = Some(w.now - 1);
        w.claims.xb = AtExpiry::Maintain;
    }),
    (Code::TokenExpired, |w| {
        w.token_life = Life {
            iat: T0 - DAY,
            exp: w.now - 1,
        }
    }),
    (Code::HeartbeatRequired, |w| w.claims.hb = Some(10)),
    (Code::LeaseInvalid, |w| w.float().signer = org_signer(9)),
    (Code::LeaseExpired, |w| w.float().life.exp = T0 + 10),
    (Code::ProductMismatch, |w| {
        w.context.product = "workflow_app".into();
    }),
    (Code::FingerprintRequired, |w| w.context.fingerprint = None),
    (Code::FingerprintMismatch, |w| {
        w.context.fingerprint = Some("device-2".into());
    }),
    (Code::ClockMovedBack, |w| {
        w.newest_evidence = Some(w.now + 3600);
    }),
    (Code::FeatureMissing, |w| {
        w.context.require = vec!["beta".into()];
    }),
    (Code::LeaseRequired, |w| w.claims.lr = true),
    (Code::Stale, |w| w.context.max_staleness_s = Some(0)),
];

/// Codes of which a request can earn one at the most: they read the same value.
const EXCLUSIVE: [&[Code]; 5] = [
    &[
        Code::Revoked,
        Code::Suspended,
        Code::Deactivated,
        Code::StatusUnknown,
    ],
    &[Code::LicenseExpired, Code::VersionNotCovered],
    &[Code::FingerprintRequired, Code::FingerprintMismatch],
    &[Code::LeaseInvalid, Code::LeaseExpired, Code::LeaseRequired],
    // Both change the text of the signed token.
    &[Code::Malformed, Code::SignatureInvalid],
];

#[allow(clippy::needless_pass_by_value)] // it is a `Tamper`
fn flip_signature(token: String) -> String {
    let at = token.len() - 40;
    let replacement = if token.as_bytes()[at] == b'A' {
        "B"
    } else {
        "A"
    };
    format!("{}{replacement}{}", &token[..at], &token[at + 1..])
}

pub(crate) fn all() -> Vec<Named> {
    let mut cases = vec![case("all is well", |_| {}, Code::Valid)];
    cases.extend(
        FAULTS
            .iter()
            .map(|(code, fault)| case(&format!("{code} alone"), fault, *code)),
    );
    cases.extend(pairs());
    cases.extend(tokens::malformed());
    cases.extend(tokens::keys());
    cases.extend(tokens::boundaries());
    cases.extend(status::status());
    cases.extend(status::degraded());
    cases.extend(terms::uses());
    cases.extend(terms::overrides());
    cases.extend(terms::ends());
    cases.extend(terms::heartbeats());
    cases.extend(terms::components());
    cases.extend(leases::leases());
    cases.extend(status::clocks());
    cases.extend(status::unchanged());
    cases.extend(changes::upgrades());
    cases.extend(changes::quotas());
    cases
}

/// Of two codes that both apply, the one that stands first is given.
fn pairs() -> Vec<Named> {
    let mut cases = Vec::new();
    for (position, (first, fault)) in FAULTS.iter().enumerate() {
        for (second, other) in &FAULTS[position + 1..] {
            if EXCLUSIVE
                .iter()
                .any(|group| group.contains(first) && group.contains(second))
            {
                continue;
            }
            let both = |world: &mut World| {
                fault(world);
                other(world);
            };
            cases.push(case(&format!("{first} before {second}"), both, *first));
        }
    }
    cases
}
