//! Tokens that were altered or made by others, sent to the edge (SECURITY 1 to 7). What the
//! parser makes of every single field is tested in `shared`; this is that the edge uses it.

use base64ct::{Base64UrlUnpadded, Encoding};
use licet_shared::documents::{EdgeClaims, LicenseClaims};
use licet_shared::jws::{LocalSigner, Times, sign};
use licet_tests::device::code;
use licet_tests::forge::ForgedOrg;
use licet_tests::{Activation, Stack, now};
use serde_json::{Value, json};

fn activated() -> Activation {
    let stack = Stack::shared();
    let activation = stack
        .device(&stack.license("tokens", 5), "laptop")
        .activated();
    assert_eq!(activation.code(), "VALID");
    activation
}

fn segments(token: &str) -> [String; 3] {
    let parts: Vec<_> = token.split('.').map(str::to_owned).collect();
    parts.try_into().unwrap()
}

fn decoded(segment: &str) -> Value {
    serde_json::from_slice(&Base64UrlUnpadded::decode_vec(segment).unwrap()).unwrap()
}

fn encoded(json: &Value) -> String {
    Base64UrlUnpadded::encode_string(json.to_string().as_bytes())
}

/// The code for this text in the place of a good token, from every endpoint that takes one.
#[track_caller]
fn expect_refused(activation: &Activation, token: &str, expected: &[&str], what: &str) {
    let forged = activation.with_token(token);
    let verdict = forged.validate();
    assert!(
        expected.contains(&code(&verdict).as_str()),
        "{what}: {verdict}"
    );
    assert!(
        verdict.get("license").is_none(),
        "{what}: tells of a license: {verdict}"
    );
    assert!(
        verdict.get("features").is_none(),
        "{what}: tells features: {verdict}"
    );
    for request in [forged.features(), forged.refresh(), forged.deactivate()] {
        let answer = request.send();
        match answer.status {
            200 => {
                let verdict = answer.verdict();
                assert!(
                    expected.contains(&code(&verdict).as_str()),
                    "{what}: {answer:?}"
                );
            }
            401 => drop(answer.problem(401, "UNAUTHORIZED")),
            _ => panic!("{what}: {answer:?}"),
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    let activation = activated();
    let whole = segments(&activation.token);
    for (i, name) in ["header", "claims", "signature"].iter().enumerate() {
        let bytes = Base64UrlUnpadded::decode_vec(&whole[i]).unwrap();
        for place in [0, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
            let mut bytes = bytes.clone();
            bytes[place] ^= 0x04;
            let mut forged = whole.clone();
            forged[i] = Base64UrlUnpadded::encode_string(&bytes);
            let expected: &[&str] = match i {
                2 => &["SIGNATURE_INVALID"],
                _ => &["MALFORMED", "UNKNOWN_KEY", "SIGNATURE_INVALID"],
            };
            let verdict = activation.with_token(forged.join(".")).validate();
            assert!(
                expected.contains(&code(&verdict).as_str()),
                "{name} {place}: {verdict}"
            );
        }
    }
    assert_eq!(activation.code(), "VALID");
}

#[test]
fn a_claim_can_t_be_changed_under_its_signature() {
    let activation = activated();
    let [header, claims, signature] = segments(&activation.token);
    let claims = decoded(&claims);
    let later = claims["exp"].as_i64().unwrap() + 86_400;
    let changes = [
        ("aud", json!(["local_cli", "cloud_ide"])),
        ("exp", json!(later)),
        ("tier", json!("ENTERPRISE")),
        ("grace", json!(30_000_000)),
        ("fp", json!("00000000000000000000000000000000000000000000")),
        ("iss", json!("https://licet.example")),
        ("ver", json!(2)),
    ];
    for (name, value) in changes {
        assert_ne!(claims[name], value, "no change of {name}");
        let mut forged = claims.clone();
        forged[name] = value;
        let token = format!("{header}.{}.{signature}", encoded(&forged));
        expect_refused(
            &activation,
            &token,
            &["SIGNATURE_INVALID", "MALFORMED"],
            name,
        );
    }
    // Its status entry: another's, none, another list.
    for uri_or_index in [json!({"idx": 100_000}), json!({"uri": "x"})] {
        let mut forged = claims.clone();
        let reference = forged["status"]["status_list"].as_object_mut().unwrap();
        reference.extend(uri_or_index.as_object().unwrap().clone());
        let token = format!("{header}.{}.{signature}", encoded(&forged));
        expect_refused(
            &activation,
            &token,
            &["SIGNATURE_INVALID", "MALFORMED"],
            "status",
        );
    }
}

#[test]
fn a_header_can_t_choose_how_it_is_verified() {
    let activation = activated();
    let [header, claims, signature] = segments(&activation.token);
    let header = decoded(&header);
    let changes = [
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("typ", json!("JWT")),
        ("typ", json!("features+jwt")),
        ("crit", json!(["exp"])),
        ("jku", json!("https://evil.example/keys")),
        ("jwk", json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"})),
        ("b64", json!(false)),
    ];
    for (name, value) in changes {
        let mut forged = header.clone();
        forged[name] = value.clone();
        let token = format!("{}.{claims}.{signature}", encoded(&forged));
        expect_refused(
            &activation,
            &token,
            &["MALFORMED"],
            &format!("{name}: {value}"),
        );
    }
    let mut no_signature = header.clone();
    no_signature["alg"] = json!("none");
    let token = format!("{}.{claims}.", encoded(&no_signature));
    expect_refused(&activation, &token, &["MALFORMED"], "no signature");
}

#[test]
fn another_key_under_a_true_kid_does_not_count() {
    let stack = Stack::shared();
    let activation = activated();
    let claims: LicenseClaims = claims_of(&activation);
    let times = Times::starting(now(), 3600);
    let kid = decoded(&segments(&activation.token)[0])["kid"]
        .as_str()
        .unwrap()
        .to_owned();
    let seed: [u8; 32] = xtask::net::random().unwrap();
    let same_kid = LocalSigner::from_seed(&kid, seed);
    let token = sign(&claims, times, &same_kid).unwrap();
    expect_refused(
        &activation,
        &token,
        &["SIGNATURE_INVALID"],
        "right kid, wrong key",
    );

    // The platform's and the edge's keys are true keys, but for other things.
    for (what, secret) in [
        ("platform", &stack.keys().platform_key),
        ("edge", &stack.keys().edge_key),
    ] {
        let signer: LocalSigner = secret.parse().unwrap();
        let token = sign(&claims, times, &signer).unwrap();
        expect_refused(&activation, &token, &["UNKNOWN_KEY"], what);
        let seed = Base64UrlUnpadded::decode_vec(secret.split_once(':').unwrap().1).unwrap();
        let renamed = LocalSigner::from_seed(&kid, seed.try_into().unwrap());
        let token = sign(&claims, times, &renamed).unwrap();
        expect_refused(&activation, &token, &["SIGNATURE_INVALID"], what);
    }
    for kid in [
        "",
        "nothing",
        &kid.replace(".1", ".2"),
        "00000000.1",
        "../../keys.1",
    ] {
        let token = sign(&claims, times, &LocalSigner::from_seed(kid, seed)).unwrap();
        expect_refused(&activation, &token, &["UNKNOWN_KEY", "MALFORMED"], kid);
    }
}

#[test]
fn a_token_of_an_organization_that_nobody_vouched_for_is_refused() {
    let stack = Stack::shared();
    let activation = activated();
    let own_platform = LocalSigner::from_seed("platform.1", xtask::net::random().unwrap()).reveal();
    let org = ForgedOrg::new(&stack.edge(), &own_platform);
    let token = org.sign(&org.license_claims(0));
    expect_refused(
        &activation,
        &token,
        &["UNKNOWN_KEY"],
        "an unknown organization",
    );
}

#[test]
fn other_kinds_of_tokens_are_no_license_tokens() {
    let stack = Stack::shared();
    let activation = activated();
    let caller = stack.caller();
    let tag = activation_tag(&activation);
    let mut others = vec![caller.token(&EdgeClaims {
        aud: "licet".to_owned(),
        ..caller.claims(&licet_tests::edge_caller::Call::get("/"))
    })];
    let feature_set = activation.validate()["feature_set"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for path in [
        "keys",
        "statuslists/0",
        &format!("feature-sets/{feature_set}"),
    ] {
        let answer = caller
            .get(&format!("/edge/v1/orgs/{tag}/{path}"))
            .send()
            .expect(200);
        others.push(answer.text());
    }
    for token in others {
        let typ = decoded(&segments(&token)[0])["typ"].clone();
        expect_refused(&activation, &token, &["MALFORMED"], &typ.to_string());
    }
}

fn activation_tag(activation: &Activation) -> String {
    let header = decoded(&segments(&activation.token)[0]);
    let kid = header["kid"].as_str().unwrap();
    kid.split_once('.').unwrap().0.to_owned()
}

fn claims_of(activation: &Activation) -> LicenseClaims {
    serde_json::from_value(decoded(&segments(&activation.token)[1])).unwrap()
}
