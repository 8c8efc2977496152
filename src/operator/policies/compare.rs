//! Whether what the API server holds has the same effect as what was given to it.

use serde_json::Value;

/// The first difference, with its path; `None` when there is none apart from defaults.
pub(super) fn difference(expected: &Value, live: &Value) -> Option<String> {
    at("spec", expected, live)
}

fn at(path: &str, expected: &Value, live: &Value) -> Option<String> {
    match (expected, live) {
        // Readers of YAML fold long lines differently; white space means nothing to CEL, and little inside its strings.
        (Value::String(wanted), Value::String(found))
            if wanted == found || wanted.split_whitespace().eq(found.split_whitespace()) =>
        {
            None
        }
        (Value::Object(wanted), Value::Object(found)) => {
            let missing = wanted.iter().find_map(|(name, value)| match found.get(name) {
                None => Some(format!("{path}.{name} is missing")),
                Some(live) => at(&format!("{path}.{name}"), value, live),
            });
            let extra = || {
                let mut others = found.iter().filter(|(name, _)| !wanted.contains_key(*name));
                others
                    .find(|(name, value)| !is_default(name, value))
                    .map(|(name, _)| format!("{path}.{name} was added"))
            };
            missing.or_else(extra)
        }
        (Value::Array(wanted), Value::Array(found)) if wanted.len() != found.len() => {
            Some(format!("{path} has {} entries instead of {}", found.len(), wanted.len()))
        }
        (Value::Array(wanted), Value::Array(found)) => {
            let mut pairs = wanted.iter().zip(found).enumerate();
            pairs.find_map(|(index, (wanted, found))| at(&format!("{path}[{index}]"), wanted, found))
        }
        (wanted, found) => (wanted != found).then(|| format!("{path} differs")),
    }
}

/// What API servers fill in, by name and value; all of it leaves a policy as strict as it was. A field that a later API
/// server adds is reported as altered: a guard that does not know must not say yes.
fn is_default(name: &str, value: &Value) -> bool {
    match name {
        "matchPolicy" => value == "Equivalent",
        "scope" => value == "*",
        "namespaceSelector" | "objectSelector" => value.as_object().is_some_and(serde_json::Map::is_empty),
        _ => value.is_null() || value.as_array().is_some_and(Vec::is_empty),
    }
}
