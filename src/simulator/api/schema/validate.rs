//! Validation of a value by its schema.

use std::{collections::BTreeSet, fmt};

use serde_json::Value;

use super::node::Node;

/// Where a value is; written only where something is wrong with it.
pub enum Path<'a> {
    /// A part of the object.
    Top(&'a str),
    /// A field.
    Field(&'a Path<'a>, &'a str),
    /// An item of a list.
    Item(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    fn field(&'a self, name: &'a str) -> Self {
        Self::Field(self, name)
    }

    fn item(&'a self, index: usize) -> Self {
        Self::Item(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top(name) => f.write_str(name),
            Self::Field(above, name) => write!(f, "{above}.{name}"),
            Self::Item(above, index) => write!(f, "{above}[{index}]"),
        }
    }
}

/// Adds what is wrong, each with its field.
pub fn validate(node: &Node, path: &Path<'_>, old: Option<&Value>, value: &Value, causes: &mut Vec<(String, String)>) {
    if old == Some(value) || (value.is_null() && node.nullable) {
        return;
    }
    if !has_type(node, value) {
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        return causes.push((path.to_string(), format!("Invalid value: \"{found}\": must be of type {}", node.kind)));
    }
    if !node.variants.is_empty() && !node.variants.contains(value) {
        let known: Vec<String> = node.variants.iter().map(ToString::to_string).collect();
        causes.push((path.to_string(), format!("Unsupported value: {value}: supported values: {}", known.join(", "))));
    }
    limits(node, path, value, causes);
    match value {
        Value::Object(fields) => {
            for field in node.required.iter().filter(|field| !fields.contains_key(*field)) {
                causes.push((format!("{path}.{field}"), "Required value".into()));
            }
            for (name, value) in fields {
                if let Some(below) = node.properties.get(name).or(node.additional.as_deref()) {
                    validate(below, &path.field(name), old.and_then(|old| old.get(name)), value, causes);
                }
            }
        }
        Value::Array(items) => {
            duplicates(node, path, items, causes);
            for (index, item) in items.iter().enumerate() {
                if let Some(below) = &node.items {
                    validate(below, &path.item(index), same(node, old, item), item, causes);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Adds which rules do not hold, each with its field. What has another type than its schema says is passed over.
pub fn rules(node: &Node, path: &Path<'_>, old: Option<&Value>, value: &Value, causes: &mut Vec<(String, String)>) {
    if old == Some(value) || (value.is_null() && node.nullable) || !has_type(node, value) {
        return;
    }
    for message in node.rules.iter().filter_map(|rule| rule.fault(old, value)) {
        causes.push((path.to_string(), format!("Invalid value: {message}")));
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let Some(below) = node.properties.get(name).or(node.additional.as_deref()) {
                    rules(below, &path.field(name), old.and_then(|old| old.get(name)), value, causes);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                if let Some(below) = &node.items {
                    rules(below, &path.item(index), same(node, old, item), item, causes);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn has_type(node: &Node, value: &Value) -> bool {
    match node.kind.as_str() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => !node.int_or_string || value.is_i64() || value.is_string(),
    }
}

fn limits(node: &Node, path: &Path<'_>, value: &Value, causes: &mut Vec<(String, String)>) {
    let (size, least, most) = match value {
        Value::Number(number) => (number.as_f64().unwrap_or_default(), "minimum", "maximum"),
        Value::String(text) => (text.chars().count() as f64, "minLength", "maxLength"),
        Value::Array(items) => (items.len() as f64, "minItems", "maxItems"),
        Value::Object(fields) => (fields.len() as f64, "minProperties", "maxProperties"),
        Value::Null | Value::Bool(_) => return,
    };
    if let Some(least) = node.limits.get(least).filter(|least| size < **least) {
        causes.push((path.to_string(), format!("Invalid value: {size}: should be at least {least}")));
    }
    if let Some(most) = node.limits.get(most).filter(|most| size > **most) {
        causes.push((path.to_string(), format!("Invalid value: {size}: should be at most {most}")));
    }
    if let (Some(pattern), Value::String(text)) = (&node.pattern, value)
        && !pattern.is_match(text)
    {
        causes.push((path.to_string(), format!("Invalid value: \"{text}\": should match '{pattern}'")));
    }
}

/// The item that has the same keys in the old list, where the schema says by which.
fn same<'a>(node: &Node, old: Option<&'a Value>, item: &Value) -> Option<&'a Value> {
    if node.keys.is_empty() {
        return None;
    }
    old?.as_array()?.iter().find(|other| node.keys.iter().all(|key| other[key] == item[key]))
}

fn duplicates(node: &Node, path: &Path<'_>, items: &[Value], causes: &mut Vec<(String, String)>) {
    if node.keys.is_empty() && !node.set {
        return;
    }
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let key = if node.set {
            item.to_string()
        } else {
            node.keys.iter().map(|key| item[key].to_string()).collect::<Vec<_>>().join(",")
        };
        if !seen.insert(key) {
            causes.push((format!("{path}[{index}]"), "Duplicate value".into()));
        }
    }
}
