//! The first activation and verdict a newcomer sees, and how to go on.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::step::step;
use crate::{net, paths};

const FINGERPRINT: &str = "demo-laptop";
const LIMIT: Duration = Duration::from_secs(20);

/// Activates the seeded license and validates it through the edge, prints the
/// verdict and commands to go on with. Says whether the verdict was `VALID`.
pub(super) fn show(edge: &str, seed: &Value, state: &Path) -> Result<bool> {
    let key = seed["license"]["key"]
        .as_str()
        .context("`seed` printed no license key")?;
    let product = seed["product"]
        .as_str()
        .context("`seed` printed no product")?;
    let api = format!("{edge}/api/v1/licenses");
    let token = step("activate through the edge", || activate(&api, key, product))?;
    let question = json!({"token": token, "product": product, "fingerprint": FINGERPRINT});
    let verdict = step("validate through the edge", || {
        net::post_json(&format!("{api}/validate"), &question, LIMIT)
    })?;
    println!(
        "\nLicense {key}\nVerdict (HTTP {}):\n{}",
        verdict.status,
        indent(&verdict.body)
    );
    commands(&api, &token, &question, state)?;
    Ok(verdict.status == 200 && verdict.json()?["code"] == "VALID")
}

fn activate(api: &str, key: &str, product: &str) -> Result<String> {
    let body = json!({
        "license_key": key, "product": product, "fingerprint": FINGERPRINT, "name": "cargo xtask dev",
    });
    let answer = net::post_json(&format!("{api}/activate"), &body, LIMIT)?;
    match answer.json()?["license_token"].as_str() {
        Some(token) => Ok(token.to_owned()),
        None => bail!(
            "no activation: HTTP {}\n{}",
            answer.status,
            indent(&answer.body)
        ),
    }
}

/// The token is long: files keep the lines short enough to be read and pasted.
fn commands(api: &str, token: &str, question: &Value, state: &Path) -> Result<()> {
    let demo = paths::make_dir(state.join("demo"))?;
    let (body, bearer) = (demo.join("validate.json"), demo.join("bearer"));
    paths::write_private(&body, &question.to_string())?;
    paths::write_private(&bearer, &format!("authorization: Bearer {token}\n"))?;
    println!(
        "\nGo on with:\n  \
         curl -sS {api}/validate -H 'content-type: application/json' -d @{}\n  \
         curl -sS {api}/features -H @{}\n  \
         curl -sS -X POST {api}/refresh -H @{}",
        body.display(),
        bearer.display(),
        bearer.display()
    );
    Ok(())
}

/// JSON over several lines with its fields in the order they were sent, which
/// parsing would lose. Anything else comes back as it is.
fn indent(json: &str) -> String {
    if serde_json::from_str::<Value>(json).is_err() {
        return json.to_owned();
    }
    let mut out = String::new();
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for c in json.chars() {
        if in_text {
            out.push(c);
            in_text = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            '{' | '[' => {
                depth += 1;
                out.push(c);
                new_line(&mut out, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_whitespace() => {}
            c => {
                in_text = c == '"';
                out.push(c);
            }
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.push_str(&"  ".repeat(depth + 1));
}

#[cfg(test)]
mod tests {
    use super::indent;

    #[test]
    fn indents_without_reordering() {
        assert_eq!(
            indent(r#"{"z":1,"a":"x,\"{\\","l":[true]}"#),
            "{\n    \"z\": 1,\n    \"a\": \"x,\\\"{\\\\\",\n    \"l\": [\n      true\n    ]\n  }"
        );
        assert_eq!(indent("not json: {"), "not json: {");
    }
}
