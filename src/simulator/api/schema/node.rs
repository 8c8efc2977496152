//! A structural schema, read once; what an object lacks is filled in, and what it does not say is dropped.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};

use super::rule::Rule;
use crate::api::object::{list, text};

/// A schema of a value.
#[derive(Debug, Default)]
pub struct Node {
    pub kind: String,
    pub properties: BTreeMap<String, Self>,
    pub additional: Option<Box<Self>>,
    pub items: Option<Box<Self>>,
    pub required: Vec<String>,
    pub nullable: bool,
    pub preserve: bool,
    pub int_or_string: bool,
    pub default: Option<Value>,
    pub variants: Vec<Value>,
    pub pattern: Option<Regex>,
    /// By name: `minimum`, `maxLength` and so on.
    pub limits: BTreeMap<String, f64>,
    /// The keys by which items are told apart.
    pub keys: Vec<String>,
    pub set: bool,
    pub rules: Vec<Rule>,
}

const LIMITS: [&str; 8] =
    ["minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"];

impl Node {
    /// Reads a schema as the CRD has it.
    pub fn read(schema: &Value) -> Self {
        let one = |field: &str| schema[field].is_object().then(|| Box::new(Self::read(&schema[field])));
        let texts = |field: &str| list(&schema[field]).iter().map(|item| text(item).to_owned()).collect();
        let properties = schema["properties"].as_object().into_iter().flatten();
        Self {
            kind: text(&schema["type"]).to_owned(),
            properties: properties.map(|(name, schema)| (name.clone(), Self::read(schema))).collect(),
            additional: one("additionalProperties"),
            items: one("items"),
            required: texts("required"),
            nullable: schema["nullable"] == true,
            preserve: schema["x-kubernetes-preserve-unknown-fields"] == true,
            int_or_string: schema["x-kubernetes-int-or-string"] == true,
            default: schema.get("default").cloned(),
            variants: list(&schema["enum"]).to_vec(),
            pattern: schema["pattern"].as_str().and_then(|pattern| Regex::new(pattern).ok()),
            limits: LIMITS.into_iter().filter_map(|name| Some((name.to_owned(), schema[name].as_f64()?))).collect(),
            keys: texts("x-kubernetes-list-map-keys"),
            set: schema["x-kubernetes-list-type"] == "set",
            rules: list(&schema["x-kubernetes-validations"]).iter().map(Rule::read).collect(),
        }
    }

    /// Drops what the schema does not know, and nulls that it does not allow; fills in defaults.
    pub fn complete(&self, value: &mut Value) {
        match value {
            Value::Object(object) => self.complete_object(object),
            Value::Array(items) => {
                if let Some(node) = &self.items {
                    items.iter_mut().for_each(|item| node.complete(item));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn complete_object(&self, object: &mut Map<String, Value>) {
        if !self.preserve && self.additional.is_none() {
            object.retain(|name, value| {
                self.properties.get(name).is_some_and(|node| !value.is_null() || node.nullable || node.preserve)
            });
        }
        for (name, node) in &self.properties {
            match (object.get_mut(name), &node.default) {
                (Some(value), _) => node.complete(value),
                (None, Some(default)) => {
                    let mut value = default.clone();
                    node.complete(&mut value);
                    object.insert(name.clone(), value);
                }
                (None, None) => {}
            }
        }
        if let Some(node) = &self.additional {
            object.values_mut().for_each(|value| node.complete(value));
        }
    }

    /// Adds each field that the schema does not know.
    pub fn unknown(&self, path: &str, value: &Value, causes: &mut Vec<(String, String)>) {
        match value {
            Value::Object(object) => {
                for (name, value) in object {
                    let path = format!("{path}.{name}");
                    match self.properties.get(name).or(self.additional.as_deref()) {
                        Some(node) => node.unknown(&path, value, causes),
                        None if self.preserve || self.properties.is_empty() => {}
                        None => {
                            let known: Vec<&str> = self.properties.keys().map(String::as_str).collect();
                            causes.push((path, format!("unknown field: there are {}", known.join(", "))));
                        }
                    }
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    if let Some(node) = &self.items {
                        node.unknown(&format!("{path}[{index}]"), item, causes);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Calls this for the node and all below it.
    #[cfg(test)]
    pub fn each(&self, look: &mut impl FnMut(&Self)) {
        look(self);
        let below = self.properties.values().chain(self.items.as_deref()).chain(self.additional.as_deref());
        below.into_iter().for_each(|node| node.each(look));
    }
}
