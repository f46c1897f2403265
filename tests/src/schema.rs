//! Whether an answer is as an OpenAPI 3.1 document describes it: as much of JSON Schema as such
//! documents use. Stricter in one thing: a member that is not described is an error.

use serde_json::{Map, Value};

use crate::http::Answer;

/// Checks an answer to `method` (lower case) on the path as the document writes it.
///
/// # Errors
/// What is not described, or otherwise than it is.
pub fn check(document: &Value, method: &str, path: &str, answer: &Answer) -> Result<(), String> {
    let operation = &document["paths"][path][method];
    let responses = operation["responses"].as_object();
    let responses = responses.ok_or_else(|| format!("{method} {path} is not described"))?;
    let response = responses
        .get(&answer.status.to_string())
        .ok_or_else(|| format!("{method} {path}: status {} is not described", answer.status))?;
    let response = resolve(document, response)?;
    let Some(content) = response["content"].as_object() else {
        return if answer.body.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "{method} {path} {}: a body is not described",
                answer.status
            ))
        };
    };
    let media = content
        .get(answer.media_type())
        .ok_or_else(|| format!("{method} {path}: {} is not described", answer.media_type()))?;
    let value = match answer.media_type() {
        text if text.ends_with("json") => {
            serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?
        }
        _ => Value::String(answer.text()),
    };
    conforms(document, &media["schema"], &value)
        .map_err(|error| format!("{method} {path} {}: {error}", answer.status))
}

fn resolve<'a>(document: &'a Value, value: &'a Value) -> Result<&'a Value, String> {
    match value["$ref"].as_str() {
        None => Ok(value),
        Some(reference) => reference
            .strip_prefix('#')
            .and_then(|pointer| document.pointer(pointer))
            .ok_or_else(|| format!("{reference} leads nowhere")),
    }
}

fn conforms(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let schema = resolve(document, schema)?;
    if let Some(choices) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        let errors: Vec<_> = choices
            .iter()
            .filter_map(|choice| conforms(document, choice, value).err())
            .collect();
        if errors.len() == choices.len() {
            return Err(format!("none of: {}", errors.join("; ")));
        }
    }
    if let Some(known) = schema["enum"].as_array()
        && !known.contains(value)
    {
        return Err(format!("{value} is none of {known:?}"));
    }
    if !is_of_type(&schema["type"], value) {
        return Err(format!("{value} is not {}", schema["type"]));
    }
    match value {
        Value::Object(members) => check_members(document, schema, members),
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| conforms(document, &schema["items"], item)),
        _ => Ok(()),
    }
}

fn check_members(
    document: &Value,
    schema: &Value,
    members: &Map<String, Value>,
) -> Result<(), String> {
    let required = schema["required"].as_array().into_iter().flatten();
    for name in required.filter_map(Value::as_str) {
        if !members.contains_key(name) {
            return Err(format!("{name} is missing"));
        }
    }
    let described = schema["properties"].as_object();
    for (name, member) in members {
        match described.and_then(|described| described.get(name)) {
            Some(of_member) => {
                conforms(document, of_member, member)
                    .map_err(|error| format!("{name}: {error}"))?;
            }
            None if schema
                .get("additionalProperties")
                .is_some_and(|more| *more != false) => {}
            // Of a choice, one alternative describes the members.
            None if described.is_none() => {}
            None => return Err(format!("{name} is not described")),
        }
    }
    Ok(())
}

fn is_of_type(kind: &Value, value: &Value) -> bool {
    match kind {
        Value::Array(kinds) => kinds.iter().any(|kind| is_of_type(kind, value)),
        Value::String(kind) => match kind.as_str() {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            _ => false,
        },
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn notices_what_is_missing_mistyped_unknown_and_undescribed() {
        let schema = json!({
            "type": "object", "required": ["a"],
            "properties": {
                "a": {"type": ["string", "null"]},
                "b": {"oneOf": [{"type": "null"}, {"enum": ["X"], "type": "string"}]},
            },
        });
        let outcome = |value: &Value| conforms(&json!({}), &schema, value);
        assert_eq!(outcome(&json!({"a": null, "b": "X"})), Ok(()));
        for wrong in [
            json!({}),
            json!({"a": 1}),
            json!({"a": "", "b": "Y"}),
            json!({"a": "", "c": 1}),
            json!([]),
        ] {
            assert!(outcome(&wrong).is_err(), "{wrong}");
        }
    }
}
