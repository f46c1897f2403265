//! What `docs/ACCOUNTS.md` must not forget.

use licet_origin::accounts::permissions::Permission;

const DOCUMENT: &str = include_str!("../../../../docs/ACCOUNTS.md");

#[test]
fn every_permission_is_documented_with_its_role() {
    for permission in Permission::ALL {
        let role = permission.least_role().as_str();
        let row = format!(
            "\n| `{permission}` | {role} | {} |",
            permission.meaning().trim()
        );
        assert!(DOCUMENT.contains(&row), "{row}");
    }
}
