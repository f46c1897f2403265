//! What `docs/ACCOUNTS.md` must not forget.

use std::fmt::Write;

use licet_origin::accounts::permissions::Permission;
use serde_json::Value;

const DOCUMENT: &str = include_str!("../../../../docs/ACCOUNTS.md");
const DESCRIPTION: &str = include_str!("../../../openapi.json");
const BEGIN: &str = "<!-- begin operations -->\n";
const END: &str = "<!-- end operations -->";

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

/// `LICET_UPDATE=1 cargo test -p licet-origin --test it documentation` writes the table.
#[test]
fn every_operation_is_documented() {
    let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
    let mut table = "| operation | who | what |\n|---|---|---|\n".to_owned();
    for (path, item) in description["paths"].as_object().unwrap() {
        for method in ["get", "post", "patch", "delete"] {
            let Some(operation) = item.get(method) else {
                continue;
            };
            let who = match operation["x-licet-access"].as_str().unwrap() {
                "open" => "anybody".to_owned(),
                "person" => "any person".to_owned(),
                permission => format!("`{permission}`"),
            };
            let summary = operation["summary"].as_str().unwrap();
            let method = method.to_uppercase();
            writeln!(table, "| `{method} {path}` | {who} | {summary} |").unwrap();
        }
    }
    let (before, rest) = DOCUMENT.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    if std::env::var_os("LICET_UPDATE").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ACCOUNTS.md");
        std::fs::write(path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert!(
            found == table,
            "the table is out of date: run with LICET_UPDATE=1"
        );
    }
}
