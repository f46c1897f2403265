//! Floating seats.

use licet_shared::{
    decision::{Code, OriginState},
    id::{ActivationId, LicenseId, OrgId},
};

use super::{
    super::world::{DAY, T0, World, org_signer, with_header, with_payload},
    Named, Tamper, case, flip_signature,
};

/// Floating seats: what is shown beside a token whose license has them.
pub(super) fn leases() -> Vec<Named> {
    let shown = |name: &str, change: fn(&mut super::super::world::Lease), expected: Code| {
        case(&format!("leases: {name}"), |w| change(w.float()), expected)
    };
    let mut cases = vec![
        shown("one of this activation's", |_| {}, Code::Valid),
        shown(
            "one that was borrowed",
            |it| it.claims.bor = true,
            Code::Valid,
        ),
        shown(
            "borrowed for a month",
            |it| {
                it.claims.bor = true;
                it.life.exp = T0 + 30 * DAY;
            },
            Code::Valid,
        ),
        shown(
            "the last second of it",
            |it| it.life.exp = T0 + 11,
            Code::Valid,
        ),
        shown(
            "the first second after it",
            |it| it.life.exp = T0 + 10,
            Code::LeaseExpired,
        ),
        shown(
            "signed by the second key while keys rotate",
            |it| it.signer = org_signer(2),
            Code::Valid,
        ),
        shown(
            "made a minute ahead: two clocks may differ",
            |it| it.life.iat = T0 + 70,
            Code::Valid,
        ),
        shown(
            "another activation's of the same license",
            |it| it.claims.act = ActivationId::new(1, [9; 10]),
            Code::LeaseInvalid,
        ),
        shown(
            "another license's",
            |it| it.claims.sub = LicenseId::new(1, [9; 10]),
            Code::LeaseInvalid,
        ),
        shown(
            "another organization's",
            |it| it.claims.org = OrgId::new(1, [9; 10]),
            Code::LeaseInvalid,
        ),
        shown(
            "another issuer's",
            |it| it.claims.iss = "https://staging.example".into(),
            Code::LeaseInvalid,
        ),
        shown("another format", |it| it.claims.ver = 2, Code::LeaseInvalid),
        shown(
            "a forged one that has ended",
            |it| {
                it.tamper = Some(flip_signature);
                it.life.exp = T0 + 10;
            },
            Code::LeaseInvalid,
        ),
    ];
    let texts: [(&str, Tamper); 8] = [
        ("a signature that does not fit", flip_signature),
        ("an empty text", |_| String::new()),
        ("no token at all", |_| "a seat, please".into()),
        ("the typ of a license", |t| {
            with_header(&t, |h| h.replace("lease+jwt", "license+jwt"))
        }),
        ("no holder", |t| {
            with_payload(&t, |p| p.replace("\"holder\":\"ada@workstation-7\",", ""))
        }),
        ("an end that is not written", |t| {
            with_payload(&t, |p| p.replace("\"exp\":1800000600,", ""))
        }),
        ("a later end, written in", |t| {
            let forged = with_payload(&t, |p| p.replace("1800000600", "1800086400"));
            let (head, _) = forged.rsplit_once('.').unwrap();
            format!("{head}.{}", t.rsplit_once('.').unwrap().1)
        }),
        ("9 KiB of text", |t| format!("{t}{}", "A".repeat(9 * 1024))),
    ];
    cases.extend(texts.into_iter().map(|(name, tamper)| {
        let change = |w: &mut World| w.float().tamper = Some(tamper);
        case(&format!("leases: {name}"), change, Code::LeaseInvalid)
    }));
    cases.extend([
        case(
            "leases: the license token in place of one",
            |w| {
                let token = w.token();
                w.claims.lr = true;
                w.context.lease = Some(token);
            },
            Code::LeaseInvalid,
        ),
        case(
            "leases: a license without floating seats does not look at one",
            |w| {
                w.float().tamper = Some(|_| "nonsense".into());
                w.claims.lr = false;
            },
            Code::Valid,
        ),
        case(
            "leases: nor at one that has ended",
            |w| {
                w.float().life.exp = T0 + 5;
                w.claims.lr = false;
            },
            Code::Valid,
        ),
        case(
            "leases: degraded, one goes on to its end",
            |w| {
                w.origin = OriginState::Unreachable;
                w.now = T0 + 599;
                w.float();
            },
            Code::Valid,
        ),
        case(
            "leases: degraded, and not beyond: there is no grace for a seat that is another's",
            |w| {
                w.origin = OriginState::Unreachable;
                w.now = T0 + 600;
                w.float();
            },
            Code::LeaseExpired,
        ),
        case(
            "leases: a borrowed one goes on in the token's grace",
            |w| {
                w.origin = OriginState::Unreachable;
                w.now = T0 + 3 * DAY;
                let lease = w.float();
                lease.claims.bor = true;
                lease.life.exp = T0 + 5 * DAY;
            },
            Code::Valid,
        ),
        case(
            "leases: and ends with it",
            |w| {
                w.origin = OriginState::Unreachable;
                w.now = T0 + 8 * DAY;
                let lease = w.float();
                lease.claims.bor = true;
                lease.life.exp = T0 + 30 * DAY;
            },
            Code::TokenExpired,
        ),
        case(
            "leases: a borrowed one of a revoked license",
            |w| {
                w.status = 1;
                w.float().claims.bor = true;
            },
            Code::Revoked,
        ),
        case(
            "leases: the claim that asks for none, written out",
            |w| {
                w.tamper = Some(|t| with_payload(&t, |p| p.replacen('{', "{\"lr\":false,", 1)));
            },
            Code::Valid,
        ),
        case(
            "leases: the claim is no number",
            |w| {
                w.tamper = Some(|t| with_payload(&t, |p| p.replacen('{', "{\"lr\":1,", 1)));
            },
            Code::Malformed,
        ),
        case(
            "leases: one is no substitute for features",
            |w| {
                w.float();
                w.features = None;
            },
            Code::Stale,
        ),
    ]);
    cases
}
