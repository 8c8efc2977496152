//! Objects as the API server sends them, read in one pass.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta, OwnerReference, Time};
use kube::{
    Resource,
    api::{ApiResource, DynamicObject, TypeMeta},
    core::DynamicResourceScope,
};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};

/// A [`DynamicObject`] that is cheap to read: watches bring thousands of them at once, and a release some hundred more. The
/// derived way of reading one gathers all of its fields first, to hand them out afterwards. Of the metadata, only what is asked for
/// here is read.
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
                "metadata" => metadata = fields.next_value::<Metadata>()?.into(),
                _ => drop(data.insert(field, fields.next_value()?)),
            }
        }
        let types = api_version.zip(kind).map(|(api_version, kind)| TypeMeta { api_version, kind });
        Ok(Object(DynamicObject { types, metadata, data: Value::Object(data) }))
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    annotations: Option<BTreeMap<String, String>>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    finalizers: Option<Vec<String>>,
    generation: Option<i64>,
    labels: Option<BTreeMap<String, String>>,
    managed_fields: Option<Vec<Manager>>,
    name: Option<String>,
    namespace: Option<String>,
    owner_references: Option<Vec<OwnerReference>>,
    resource_version: Option<String>,
    uid: Option<String>,
}

/// Who has written which parts of the spec, one level deep: as a whole tree, these names would take more memory than the object.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Manager {
    manager: Option<String>,
    time: Option<Time>,
    subresource: Option<String>,
    fields_v1: Option<Owned>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Owned {
    #[serde(rename = "f:spec")]
    spec: BTreeMap<String, IgnoredAny>,
}

impl From<Metadata> for ObjectMeta {
    fn from(read: Metadata) -> Self {
        Self {
            annotations: read.annotations,
            creation_timestamp: read.creation_timestamp,
            deletion_timestamp: read.deletion_timestamp,
            finalizers: read.finalizers,
            generation: read.generation,
            labels: read.labels,
            managed_fields: read.managed_fields.map(|all| all.into_iter().map(ManagedFieldsEntry::from).collect()),
            name: read.name,
            namespace: read.namespace,
            owner_references: read.owner_references,
            resource_version: read.resource_version,
            uid: read.uid,
            ..Self::default()
        }
    }
}

impl From<Manager> for ManagedFieldsEntry {
    fn from(Manager { manager, time, subresource, fields_v1 }: Manager) -> Self {
        let names = |owned: Owned| owned.spec.into_keys().map(|name| (name, Value::Object(Map::new()))).collect();
        let fields_v1 = fields_v1.map(|owned| FieldsV1(Map::from_iter([("f:spec".into(), names(owned))]).into()));
        Self { manager, time, subresource, fields_v1, ..Self::default() }
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
        check(
            r#"{"metadata": {
                "name": "n", "namespace": "s", "uid": "u", "generation": 2, "finalizers": ["f"], "annotations": {"a": "v"},
                "creationTimestamp": "2026-11-23T10:00:00Z", "deletionTimestamp": "2026-11-23T11:00:00Z",
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d", "controller": true}]
            }}"#,
        );
        check(r#"{"apiVersion": "v1", "kind": "List"}"#);
    }

    #[test]
    fn of_the_names_of_written_fields_those_of_the_spec_are_kept_one_level_deep() {
        let text = r#"{"metadata": {"managedFields": [{
            "manager": "m", "operation": "Update", "time": "2026-11-23T10:00:00Z",
            "fieldsV1": {"f:metadata": {"f:labels": {}}, "f:spec": {"f:template": {"f:spec": {"f:containers": {}}}, "f:replicas": {}}}
        }]}}"#;
        let Object(read) = serde_json::from_str(text).unwrap();
        let [entry] = &read.metadata.managed_fields.unwrap()[..] else { panic!("one manager") };
        assert_eq!(entry.manager.as_deref(), Some("m"));
        assert_eq!(entry.time.as_ref().unwrap().0, "2026-11-23T10:00:00Z".parse().unwrap());
        let expected = serde_json::json!({"f:spec": {"f:template": {}, "f:replicas": {}}});
        assert_eq!(entry.fields_v1.as_ref().unwrap().0, expected);
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        assert!(serde_json::from_str::<Object>("[]").is_err());
        assert!(serde_json::from_str::<Object>(r#"{"metadata": 1}"#).is_err());
    }
}
