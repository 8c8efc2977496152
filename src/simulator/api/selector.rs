//! Label and field selectors of requests, and those within objects.

use serde_json::Value;

use super::{
    Status,
    object::{list, text},
};

/// Which objects a list or watch is about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, bool, String)>,
}

#[derive(Clone, Debug, PartialEq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl Selector {
    /// Whether it is about one object, by its name.
    pub fn is_name(&self) -> bool {
        self.fields.iter().any(|(field, equal, _)| *equal && field == "metadata.name")
    }

    /// Reads the parameters `labelSelector` and `fieldSelector`.
    ///
    /// # Errors
    /// When one of them is not what this server knows.
    pub fn parse(labels: &str, fields: &str) -> Result<Self, Status> {
        let labels = split(labels).into_iter().map(requirement).collect::<Result<_, _>>()?;
        let fields = split(fields).into_iter().map(field).collect::<Result<_, _>>()?;
        Ok(Self { labels, fields })
    }

    /// Whether it is about everything.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether it is about this object.
    pub fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.labels.iter().all(|requirement| requirement.holds(labels))
            && self.fields.iter().all(|(path, equal, wanted)| {
                let pointer = format!("/{}", path.replace('.', "/"));
                (object.pointer(&pointer).map_or("", text) == wanted) == *equal
            })
    }
}

impl Requirement {
    fn holds(&self, labels: &Value) -> bool {
        let value = labels[&self.key].as_str();
        match &self.test {
            Test::In(values) => value.is_some_and(|value| values.iter().any(|v| v == value)),
            Test::NotIn(values) => value.is_none_or(|value| values.iter().all(|v| v != value)),
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
        }
    }
}

/// At the commas outside of parentheses.
fn split(selector: &str) -> Vec<&str> {
    let mut depth = 0;
    let parts = selector.split(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        character == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn requirement(text: &str) -> Result<Requirement, Status> {
    let made = |key: &str, test| Ok(Requirement { key: key.trim().into(), test });
    let set = |values: &str| -> Vec<String> {
        values.trim_matches(['(', ')', ' ']).split(',').map(|value| value.trim().to_owned()).collect()
    };
    if let Some((key, values)) = text.split_once(" notin ") {
        return made(key, Test::NotIn(set(values)));
    }
    if let Some((key, values)) = text.split_once(" in ") {
        return made(key, Test::In(set(values)));
    }
    if let Some((key, value)) = text.split_once("!=") {
        return made(key, Test::NotIn(vec![value.trim().into()]));
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return made(key, Test::In(vec![value.trim().into()]));
    }
    match text.strip_prefix('!') {
        Some(key) => made(key, Test::Absent),
        None if text.contains(' ') => Err(Status::bad_request(format!("unable to parse requirement: {text}"))),
        None => made(text, Test::Exists),
    }
}

fn field(text: &str) -> Result<(String, bool, String), Status> {
    let (path, equal, value) = match (text.split_once("!="), text.split_once('=')) {
        (Some((path, value)), _) => (path, false, value),
        (None, Some((path, value))) => (path, true, value.trim_start_matches('=')),
        (None, None) => {
            return Err(Status::bad_request(format!("invalid selector: '{text}'; can't understand '{text}'")));
        }
    };
    match path {
        // What every kind has, and what our kinds declare as selectable.
        "metadata.name" | "metadata.namespace" | "spec.release" => Ok((path.into(), equal, value.into())),
        _ => Err(Status::bad_request(format!("field label not supported: {path}"))),
    }
}

/// Whether a label selector within an object selects these labels; an empty one selects nothing.
pub fn selects(selector: &Value, labels: &Value) -> bool {
    let wanted = selector["matchLabels"].as_object();
    let expressions = list(&selector["matchExpressions"]);
    let any = wanted.is_some_and(|wanted| !wanted.is_empty()) || !expressions.is_empty();
    any && wanted.into_iter().flatten().all(|(key, value)| labels[key] == *value)
        && expressions.iter().all(|expression| {
            let values = || list(&expression["values"]).iter().map(|value| text(value).to_owned()).collect();
            let test = match text(&expression["operator"]) {
                "In" => Test::In(values()),
                "NotIn" => Test::NotIn(values()),
                "Exists" => Test::Exists,
                "DoesNotExist" => Test::Absent,
                _ => return false,
            };
            Requirement { key: text(&expression["key"]).into(), test }.holds(labels)
        })
}

/// A label selector within an object, as requests have it.
pub fn written(selector: &Value) -> String {
    let equal = selector["matchLabels"].as_object().into_iter().flatten();
    let equal = equal.map(|(key, value)| (key.clone(), format!("{key}={}", text(value))));
    let expressed = list(&selector["matchExpressions"]).iter().map(|expression| {
        let key = text(&expression["key"]).to_owned();
        let mut values: Vec<&str> = list(&expression["values"]).iter().map(text).collect();
        values.sort_unstable();
        let values = values.join(",");
        let test = match text(&expression["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.clone(),
        };
        (key, test)
    });
    let mut all: Vec<(String, String)> = equal.chain(expressed).collect();
    all.sort();
    all.into_iter().map(|(_, test)| test).collect::<Vec<_>>().join(",")
}

/// Whether a Service's selector, which is a plain map, selects these labels; an empty one selects nothing.
pub fn selects_plain(selector: &Value, labels: &Value) -> bool {
    let (Some(wanted), Some(labels)) = (selector.as_object(), labels.as_object()) else { return false };
    !wanted.is_empty() && wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_are_read_as_the_api_server_reads_them() {
        let object = json!({"metadata": {"name": "web", "labels": {"app": "web", "tier": "front"}}});
        let labels = |text: &str| Selector::parse(text, "").unwrap().matches(&object);
        for yes in ["", "app", "app=web", "app==web", "tier in (front, back)", "!nope", "nope!=x", "app,tier=front"] {
            assert!(labels(yes), "{yes}");
        }
        for no in ["nope", "app=x", "tier notin (front)", "!app", "app!=web", "app,tier=back"] {
            assert!(!labels(no), "{no}");
        }
        let fields = |text: &str| Selector::parse("", text).unwrap().matches(&object);
        assert!(fields("metadata.name=web") && !fields("metadata.name!=web"));
        assert_eq!(Selector::parse("", "spec.paused=true").unwrap_err().code, 400);
    }

    #[test]
    fn an_empty_selector_of_a_workload_selects_nothing() {
        assert!(!selects(&json!({}), &json!({"app": "web"})));
        let both =
            json!({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]});
        assert!(selects(&both, &json!({"app": "web"})));
        assert!(!selects(&both, &json!({"app": "web", "tier": "x"})));
    }
}
