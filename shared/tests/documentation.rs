//! What `docs/API.md` must not forget.
#![cfg(not(target_arch = "wasm32"))]
#![allow(missing_docs)]

use licet_shared::{decision::Code, problem::ProblemCode};

const API: &str = include_str!("../../docs/API.md");

#[test]
fn every_decision_code_is_documented() {
    for code in Code::ALL {
        assert!(API.contains(&format!("\n| `{code}` |")), "{code}");
    }
}

#[test]
fn every_problem_is_documented_with_its_status() {
    for code in ProblemCode::ALL {
        let row = format!("\n| `{}` | {} |", code.as_str(), code.status());
        assert!(API.contains(&row), "{}", code.as_str());
    }
}
