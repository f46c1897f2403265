//! What the origin refuses, each with its code, and as a verdict: a no is an answer.

use licet_shared::license_key::LicenseKey;
use licet_tests::device::code;
use licet_tests::{License, Stack};
use serde_json::json;

#[test]
fn a_key_that_nobody_was_sold_is_not_found() {
    let stack = Stack::shared();
    let license = stack.license("refusals", 1);
    let unsold = LicenseKey::new(license.org.tag, *b"never sold to me").reveal();
    let strangers = LicenseKey::new("00000000".parse().unwrap(), *b"no such org here").reveal();
    for key in [unsold, strangers] {
        let answer = stack.device(&license, "laptop").typing(&key).activate();
        assert_eq!(code(&answer.verdict()), "LICENSE_NOT_FOUND", "{answer:?}");
    }
}

#[test]
fn a_product_that_was_not_bought_is_not_licensed() {
    let stack = Stack::shared();
    let license = stack.license("refusals", 1);
    for product in ["cloud_ide", "Local_CLI", "local_cli ", "🦀"] {
        let device = stack.device(&license, "laptop").running(product);
        assert_eq!(
            device.activation_code(),
            "PRODUCT_NOT_LICENSED",
            "{product:?}"
        );
    }
    assert_eq!(stack.seats_taken(&license), 0);
}

#[test]
fn a_revoked_license_can_neither_be_activated_nor_refreshed_nor_reinstated() {
    let stack = Stack::shared();
    let license = stack.license("refusals", 3);
    let activation = stack.device(&license, "laptop").activated();
    stack.license_command("revoke", &license);
    assert_eq!(
        stack.device(&license, "laptop").activation_code(),
        "REVOKED"
    );
    assert_eq!(
        stack.device(&license, "another").activation_code(),
        "REVOKED"
    );
    assert_eq!(code(&activation.refresh().send().verdict()), "REVOKED");
    assert_eq!(stack.seats_taken(&license), 1);

    // Ended for good: there is no way back.
    let reinstate = [
        "license",
        "reinstate",
        "--org",
        &license.org.slug,
        &license.id.to_string(),
    ];
    let result = xtask::origin::operator(stack.app_url(), stack.keys(), &reinstate);
    assert!(result.is_err(), "{result:?}");
    assert_eq!(
        stack.device(&license, "laptop").activation_code(),
        "REVOKED"
    );
}

#[test]
fn a_suspended_license_works_again_once_reinstated() {
    let stack = Stack::shared();
    let license = stack.license("refusals", 2);
    let activation = stack.device(&license, "laptop").activated();
    let now = json!({"max_staleness_s": 0});
    assert_eq!(code(&activation.validate_with(&now)), "VALID");

    stack.license_command("suspend", &license);
    assert_eq!(code(&activation.validate_with(&now)), "SUSPENDED");
    assert_eq!(
        stack.device(&license, "another").activation_code(),
        "SUSPENDED"
    );
    assert_eq!(code(&activation.refresh().send().verdict()), "SUSPENDED");

    stack.license_command("reinstate", &license);
    assert_eq!(code(&activation.validate_with(&now)), "VALID");
    assert_eq!(code(&activation.refresh().send().verdict()), "VALID");
    assert_eq!(
        stack.device(&license, "another").activated().code(),
        "VALID"
    );
}

#[test]
fn what_was_given_back_stays_so_when_its_license_is_suspended_and_reinstated() {
    let stack = Stack::shared();
    let license = stack.license("refusals", 2);
    let kept = stack.device(&license, "kept").activated();
    let given_back = stack.device(&license, "given back").activated();
    assert_eq!(code(&given_back.deactivate().send().verdict()), "VALID");
    stack.license_command("suspend", &license);
    stack.license_command("reinstate", &license);
    let now = json!({"max_staleness_s": 0});
    assert_eq!(code(&given_back.validate_with(&now)), "DEACTIVATED");
    assert_eq!(code(&kept.validate_with(&now)), "VALID");
}

#[test]
fn a_license_that_has_ended_can_neither_be_activated_nor_refreshed() {
    let stack = Stack::shared();
    let license = stack.license("refusals", 2);
    let activation = stack.device(&license, "laptop").activated();
    set_expiry(stack, &license, "now() - interval '1 second'");
    assert_eq!(
        stack.device(&license, "laptop").activation_code(),
        "LICENSE_EXPIRED"
    );
    assert_eq!(
        stack.device(&license, "another").activation_code(),
        "LICENSE_EXPIRED"
    );
    assert_eq!(
        code(&activation.refresh().send().verdict()),
        "LICENSE_EXPIRED"
    );
    assert_eq!(stack.seats_taken(&license), 1);
}

#[test]
fn a_token_does_not_outlive_its_license() {
    let stack = Stack::shared();
    let endless = stack.license("refusals", 1);
    let end = licet_tests::now().plus(8);
    let license = stack.issue_like(&endless, &["--expires-at", &end.to_string()]);
    let activation = stack.device(&license, "laptop").activated();
    let verdict = activation.validate();
    assert_eq!(verdict["code"], "VALID", "{verdict}");
    assert_eq!(verdict["license"]["expires_at"], end.to_string());
    while licet_tests::now() < end {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(activation.code(), "LICENSE_EXPIRED");
    assert_eq!(
        code(&activation.refresh().send().verdict()),
        "LICENSE_EXPIRED"
    );
}

#[test]
fn the_limit_of_the_license_counts_and_not_that_of_its_policy() {
    let stack = Stack::shared();
    let wide = stack.license("refusals", 5);
    let narrow = stack.issue_like(&wide, &["--max-activations", "1"]);
    stack.device(&narrow, "one").activated();
    assert_eq!(
        stack.device(&narrow, "two").activation_code(),
        "ACTIVATION_LIMIT"
    );
    // The same device counts anew for each license.
    stack.device(&wide, "one").activated();
}

#[test]
fn an_operator_sees_what_a_license_is_but_never_its_key() {
    let stack = Stack::shared();
    let license = stack.license("refusals", 3);
    stack.device(&license, "laptop").activated();
    let shown = stack.license_command("show", &license);
    assert_eq!(shown["id"], license.id.to_string(), "{shown}");
    assert_eq!(shown["status"], "ACTIVE", "{shown}");
    let secret = license.key.rsplit('-').nth(1).unwrap();
    assert!(!shown.to_string().contains(secret), "{shown}");
    stack.license_command("suspend", &license);
    assert_eq!(
        stack.license_command("show", &license)["status"],
        "SUSPENDED"
    );
    stack.license_command("revoke", &license);
    assert_eq!(stack.license_command("show", &license)["status"], "REVOKED");
}

fn set_expiry(stack: &Stack, license: &License, expression: &str) {
    let id = license.uuid();
    stack.superuser().rows(&format!(
        "UPDATE licet.licenses SET expires_at = {expression} WHERE id = '{id}'"
    ));
}
