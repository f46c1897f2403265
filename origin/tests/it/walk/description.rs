//! The operations as the description has them: what the walk goes through.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::Value;

use licet_origin::accounts::permissions::Permission;

/// An operation.
pub struct Operation {
    pub id: String,
    pub method: Method,
    /// With its parameters in braces.
    pub path: String,
    pub access: Access,
    pub has_body: bool,
    /// The status of its answer when all is well.
    pub success: u16,
    /// Every status it may be answered with.
    pub statuses: BTreeSet<u16>,
    /// Query parameters that take an id, each with what such ids begin with.
    pub ids_in_query: Vec<(String, String)>,
    /// The same for the fields of its body.
    pub ids_in_body: Vec<(String, String)>,
}

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Open,
    Person,
    Needs(Permission),
}

impl Access {
    fn read(text: &str) -> Self {
        match text {
            "open" => Self::Open,
            "person" => Self::Person,
            permission => Self::Needs(permission.parse().unwrap_or_else(|_| {
                panic!("{permission} is not in the table of permissions");
            })),
        }
    }
}

impl Operation {
    pub fn has_id(&self) -> bool {
        self.path.contains("{id}")
    }

    /// The path with this id, and whatever else it needs.
    pub fn path_of(&self, id: &str) -> String {
        let path = self.path.replace("{id}", id).replace("{revision}", "1");
        assert!(
            !path.contains('{'),
            "{}: teach the walk this parameter",
            self.path
        );
        path
    }
}

/// All of them, from the description that is made from the code.
pub fn operations() -> Vec<Operation> {
    let description = serde_json::to_value(licet_origin::api::description()).unwrap();
    let mut operations = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations.push(read(&description, path, method, operation));
        }
    }
    operations
}

fn read(description: &Value, path: &str, method: &str, operation: &Value) -> Operation {
    let statuses: BTreeSet<u16> = operation["responses"]
        .as_object()
        .unwrap()
        .keys()
        .map(|status| status.parse().unwrap())
        .collect();
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    let fields = resolve(description, body)["properties"].as_object();
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let queries = parameters.filter(|parameter| parameter["in"] == "query");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Operation {
        id: text(&operation["operationId"]),
        method: method.to_uppercase().parse().unwrap(),
        path: path.into(),
        access: Access::read(operation["x-licet-access"].as_str().unwrap()),
        has_body: !operation["requestBody"].is_null(),
        success: *statuses.iter().find(|status| **status < 300).unwrap(),
        statuses,
        ids_in_query: queries
            .filter_map(|it| Some((text(&it["name"]), prefix(description, &it["schema"])?)))
            .collect(),
        ids_in_body: fields
            .into_iter()
            .flatten()
            .filter_map(|(name, schema)| Some((name.clone(), prefix(description, schema)?)))
            .collect(),
    }
}

fn resolve<'a>(description: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => description.pointer(&reference[1..]).unwrap(),
        None => schema,
    }
}

/// `lic` for the schema of a license's id, or of a list of such, or of one that may be null.
fn prefix(description: &Value, schema: &Value) -> Option<String> {
    let schema = resolve(description, schema);
    if let Some(pattern) = schema["pattern"].as_str() {
        let (prefix, rest) = pattern.strip_prefix('^')?.split_once('_')?;
        return rest.starts_with("[0-7][").then(|| prefix.to_owned());
    }
    if schema["items"].is_object() {
        return prefix(description, &schema["items"]);
    }
    let mut choices = schema["oneOf"].as_array()?.iter();
    choices.find_map(|choice| prefix(description, choice))
}

#[test]
fn ids_are_found_wherever_they_may_stand() {
    let operations = operations();
    let of = |id: &str| operations.iter().find(|it| it.id == id).unwrap();
    let pairs = |of: &[(String, String)]| {
        let pairs = of.iter().map(|(name, prefix)| format!("{name}:{prefix}"));
        pairs.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(pairs(&of("list_activations").ids_in_query), "license:lic");
    assert_eq!(
        pairs(&of("update_policy").ids_in_body),
        "feature_set_id:fs product_ids:prd"
    );
    assert_eq!(of("create_policy").success, 201);
    assert!(of("create_policy").ids_in_query.is_empty());
}
