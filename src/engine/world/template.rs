//! Parts of objects that few decisions look into, as compact text until then.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::is_set_apart;

/// Data that few decisions look into, as compact JSON text until then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Value", into = "Value")]
pub struct Json(Arc<str>);

impl Json {
    /// The data.
    pub fn value(&self) -> Value {
        // It was written from a value, and so can be read.
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl Default for Json {
    fn default() -> Self {
        Self::from(&Value::Null)
    }
}

impl From<&Value> for Json {
    fn from(data: &Value) -> Self {
        // Its `Display` writes the same in many small pieces.
        Self(serde_json::to_string(data).unwrap_or_default().into())
    }
}

impl From<Value> for Json {
    fn from(data: Value) -> Self {
        Self::from(&data)
    }
}

impl From<Json> for Value {
    fn from(data: Json) -> Self {
        data.value()
    }
}

/// A pod template. What every decision asks of it is read once, and the rest only where it is needed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Value", into = "Value")]
pub struct Template(Arc<Written>);

#[derive(Debug)]
struct Written {
    json: Json,
    glance: OnceLock<Box<Glance>>,
}

/// What decisions ask of a template again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// Whether its annotations set it apart from its version: only then the two digests differ.
    pub apart: bool,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// Its containers, and then its init containers.
    pub containers: Vec<ContainerView>,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerView {
    /// Name.
    pub name: String,
    /// Image, where it has one.
    pub image: Option<String>,
    /// Whether it runs before the others.
    pub init: bool,
}

impl Glance {
    fn of(template: &Value) -> Self {
        let labels = template["metadata"]["labels"].as_object().into_iter().flatten();
        let labels = labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        let containers = |list, init| {
            template["spec"][list].as_array().into_iter().flatten().map(move |container| ContainerView {
                name: container["name"].as_str().unwrap_or_default().into(),
                image: container["image"].as_str().map(String::from),
                init,
            })
        };
        Self {
            apart: is_set_apart(template),
            labels: labels.collect(),
            containers: containers("containers", false).chain(containers("initContainers", true)).collect(),
        }
    }

    /// Whether the labels have this value.
    pub fn is_labelled(&self, key: &str, value: &str) -> bool {
        self.labels.iter().any(|(own, is)| own == key && is == value)
    }
}

impl Template {
    /// The template, read.
    pub fn value(&self) -> Value {
        self.0.json.value()
    }

    /// What decisions ask of it again and again.
    pub fn glance(&self) -> &Glance {
        self.0.glance.get_or_init(|| Box::new(Glance::of(&self.value())))
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.json == other.0.json
    }
}

impl Eq for Template {}

impl From<&Value> for Template {
    fn from(template: &Value) -> Self {
        Self(Arc::new(Written { json: template.into(), glance: OnceLock::new() }))
    }
}

impl From<Value> for Template {
    fn from(template: Value) -> Self {
        Self::from(&template)
    }
}

impl From<Template> for Value {
    fn from(template: Template) -> Self {
        template.value()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn templates_are_equal_by_what_they_say() {
        let (one, other) = (|| Template::from(json!({"spec": {"a": 1}})), Template::from(json!({"spec": {"a": 2}})));
        assert_eq!(one(), one());
        assert_ne!(one(), other);
        assert_eq!(other.clone(), other);
    }

    #[test]
    fn a_glance_at_a_template_tells_its_labels_and_containers() {
        let template = Template::from(json!({
            "metadata": {"labels": {"app": "web", "tier": "front"}, "annotations": {"kubectl.kubernetes.io/restartedAt": "now"}},
            "spec": {"initContainers": [{"name": "once"}], "containers": [{"name": "app", "image": "a:1"}]},
        }));
        let glance = template.glance();
        assert!(glance.apart && glance.is_labelled("app", "web"));
        assert!(!glance.is_labelled("app", "front") && !glance.is_labelled("web", "web"));
        let container = |name: &str, image: Option<&str>, init| ContainerView {
            name: name.into(),
            image: image.map(str::to_owned),
            init,
        };
        assert_eq!(glance.containers, [container("app", Some("a:1"), false), container("once", None, true)]);
        assert_eq!(*Template::from(Value::Null).glance(), Glance::default(), "nothing is known of what is not there");
    }
}
