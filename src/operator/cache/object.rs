//! Objects as the API server sends them, read in one pass.

use std::{borrow::Cow, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Resource,
    api::{ApiResource, DynamicObject, TypeMeta},
    core::DynamicResourceScope,
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Map, Value};

/// A [`DynamicObject`] that is cheap to read: watches bring thousands of them at once, and a release some hundred more. The
/// derived way of reading one gathers all of its fields first, to hand them out afterwards.
#[derive(Clone, Debug)]
pub struct Object(pub DynamicObject);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Object, A::Error> {
        let mut metadata = ObjectMeta::default();
        let (mut api_version, mut kind) = (None, None);
        let mut data = Map::new();
        while let Some(field) = fields.next_key::<String>()? {
            match field.as_str() {
                "apiVersion" => api_version = Some(fields.next_value()?),
                "kind" => kind = Some(fields.next_value()?),
                "metadata" => metadata = fields.next_value()?,
                _ => drop(data.insert(field, fields.next_value()?)),
            }
        }
        let types = api_version.zip(kind).map(|(api_version, kind)| TypeMeta { api_version, kind });
        Ok(Object(DynamicObject { types, metadata, data: Value::Object(data) }))
    }
}

impl Resource for Object {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::kind(resource)
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::group(resource)
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::version(resource)
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::plural(resource)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.0.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.0.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str) {
        let expected: DynamicObject = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::from_str::<Object>(text).unwrap().0, expected);
    }

    #[test]
    fn an_object_reads_as_the_dynamic_one_does() {
        check(
            r#"{"kind": "A", "apiVersion": "b/v1", "metadata": {"name": "n", "labels": {"l": "v"}}, "spec": {"x": [1, null]}, "status": {}}"#,
        );
        check(
            r#"{"spec": null, "metadata": {"resourceVersion": "1", "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}}]}}"#,
        );
        check(r#"{"apiVersion": "v1", "kind": "List"}"#);
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        assert!(serde_json::from_str::<Object>("[]").is_err());
        assert!(serde_json::from_str::<Object>(r#"{"metadata": 1}"#).is_err());
    }
}
