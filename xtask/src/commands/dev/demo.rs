//! The first activation and verdict a newcomer sees, and how to go on.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::step::step;
use crate::{net, paths};

const FINGERPRINT: &str = "demo-laptop";
const LIMIT: Duration = Duration::from_secs(20);

/// What the demonstration left to go on with.
pub(super) struct Demo {
    valid: bool,
    api: String,
    token: String,
    question: Value,
    /// The license that was seeded, as an operator's command names it.
    license: String,
}

/// Activates the seeded license and validates it through the edge, and prints both.
pub(super) fn show(edge: &str, seed: &Value) -> Result<Demo> {
    let key = seed["license"]["key"]
        .as_str()
        .context("`seed` printed no license key")?;
    let product = seed["product"]
        .as_str()
        .context("`seed` printed no product")?;
    let api = format!("{edge}/api/v1/licenses");
    let (token, activation) = step("activate through the edge", || activate(&api, key, product))?;
    let question = json!({"token": token, "product": product, "fingerprint": FINGERPRINT});
    let verdict = step("validate through the edge", || {
        net::post_json(&format!("{api}/validate"), &question, LIMIT)
    })?;
    println!("\nLicense     {key}");
    println!("Activation  {activation} for the device `{FINGERPRINT}`");
    println!(
        "Verdict     HTTP {}\n{}",
        verdict.status,
        indent(&verdict.body)
    );
    let valid = verdict.status == 200 && verdict.json()?["code"] == "VALID";
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let license = format!(
        "--org {} {}",
        text(&seed["org"]["slug"]),
        text(&seed["license"]["id"])
    );
    Ok(Demo {
        valid,
        api,
        token,
        question,
        license,
    })
}

/// The license token and the activation's id.
fn activate(api: &str, key: &str, product: &str) -> Result<(String, String)> {
    let body = json!({
        "license_key": key, "product": product, "fingerprint": FINGERPRINT, "name": "cargo xtask dev",
    });
    let answer = net::post_json(&format!("{api}/activate"), &body, LIMIT)?;
    let json = answer.json()?;
    match (
        json["license_token"].as_str(),
        json["activation_id"].as_str(),
    ) {
        (Some(token), Some(activation)) => Ok((token.to_owned(), activation.to_owned())),
        _ => bail!(
            "no activation: HTTP {}\n{}",
            answer.status,
            indent(&answer.body)
        ),
    }
}

impl Demo {
    /// Whether the verdict was `VALID`.
    pub(super) fn valid(&self) -> bool {
        self.valid
    }

    /// Prints commands that work as pasted. The token is long: files keep the lines short.
    pub(super) fn print_commands(&self, state: &Path) -> Result<()> {
        let demo = paths::make_dir(state.join("demo"))?;
        let (body, bearer) = (demo.join("validate.json"), demo.join("bearer"));
        paths::write_private(&body, &self.question.to_string())?;
        paths::write_private(&bearer, &format!("authorization: Bearer {}\n", self.token))?;
        let api = &self.api;
        println!(
            "\nGo on with:\n  \
             curl -sS {api}/validate -H 'content-type: application/json' -d @{}\n  \
             curl -sS {api}/features -H @{}\n  \
             curl -sS -X POST {api}/refresh -H @{}\n\
             Revoke the license, and see the first of them change within 30 s:\n  \
             ( . {}; {} license revoke {} )",
            body.display(),
            bearer.display(),
            bearer.display(),
            state.join("env").display(),
            paths::origin_binary().display(),
            self.license,
        );
        Ok(())
    }
}

/// JSON over several lines with its fields in the order they were sent, which
/// parsing would lose. Anything else comes
/// back as it is.
fn indent(json: &str) -> String {
    if serde_json::from_str::<Value>(json).is_err() {
        return json.to_owned();
    }
    let mut out = "  ".to_owned();
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
            "  {\n    \"z\": 1,\n    \"a\": \"x,\\\"{\\\\\",\n    \"l\": [\n      true\n    ]\n  }"
        );
        assert_eq!(indent("not json: {"), "not json: {");
    }
}
