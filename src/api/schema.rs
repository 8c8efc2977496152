//! What the generated schemas are turned into, so that an API server takes them without a warning and refuses with the mend.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};

/// The definition as it is installed: see [`reflow`], [`integer`] and [`sum_type`] for what changes.
pub(crate) fn finish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let validations = crd.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut());
    validations.filter_map(|validation| validation.open_api_v3_schema.as_mut()).for_each(walk);
    crd
}

fn walk(schema: &mut JSONSchemaProps) {
    reflow(schema);
    integer(schema);
    sum_type(schema);
    schema.properties.iter_mut().flat_map(|properties| properties.values_mut()).for_each(walk);
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => walk(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(walk),
        None => {}
    }
    match &mut schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(values)) => walk(values),
        Some(JSONSchemaPropsOrBool::Bool(_)) | None => {}
    }
}

/// Comments are wrapped for readers of the code; `kubectl explain` wraps by itself. Paragraphs stay.
fn reflow(schema: &mut JSONSchemaProps) {
    if let Some(description) = &mut schema.description {
        *description = description.split("\n\n").map(|part| part.replace('\n', " ")).collect::<Vec<_>>().join("\n\n");
    }
}

/// Kubernetes knows no unsigned formats and warns of them. What a `u32` could hold and an `i32` cannot is refused then; our
/// numbers are far smaller.
fn integer(schema: &mut JSONSchemaProps) {
    if matches!(schema.format.as_deref(), Some("uint8" | "uint16" | "uint32")) {
        schema.format = Some("int32".into());
    }
}

/// A sum type is an object with exactly one of some fields. The `oneOf` that says so is refused without a hint at the mend,
/// and keeps the API server from looking at rules: one rule says it instead.
fn sum_type(schema: &mut JSONSchemaProps) {
    let variants: Option<Vec<String>> = schema.one_of.iter().flatten().map(only_required).collect();
    let Some(variants) = variants.filter(|variants| !variants.is_empty()) else { return };
    let given: Vec<String> = variants.iter().map(|name| format!("has(self.{name})")).collect();
    schema.one_of = None;
    schema.x_kubernetes_validations.get_or_insert_default().push(ValidationRule {
        rule: format!("[{}].exists_one(given, given)", given.join(", ")),
        message: Some(match &variants[..] {
            [only] => format!("give {only}"),
            several => format!("give exactly one of {}", several.join(", ")),
        }),
        ..ValidationRule::default()
    });
}

/// The field that a branch of a `oneOf` asks for, if that is all it does.
fn only_required(branch: &JSONSchemaProps) -> Option<String> {
    match branch.required.as_deref() {
        Some([name]) => {
            let bare = JSONSchemaProps { required: Some(vec![name.clone()]), ..JSONSchemaProps::default() };
            (*branch == bare).then(|| name.clone())
        }
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    /// Every object of the definitions that is a schema, with those that hold it.
    fn schemas(value: &Value) -> Vec<&Value> {
        match value {
            Value::Object(fields) => [value].into_iter().chain(fields.values().flat_map(schemas)).collect(),
            Value::Array(items) => items.iter().flat_map(schemas).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        }
    }

    fn definitions() -> Value {
        serde_json::to_value(crate::crds()).unwrap()
    }

    #[test]
    fn every_number_has_a_format_that_kubernetes_knows() {
        let definitions = definitions();
        let formats: Vec<&str> =
            schemas(&definitions).into_iter().filter_map(|schema| schema.get("format")?.as_str()).collect();
        assert!(formats.contains(&"int32"));
        let unknown: Vec<_> =
            formats.into_iter().filter(|format| !["int32", "int64", "double", "date-time"].contains(format)).collect();
        assert_eq!(unknown, Vec::<&str>::new());
    }

    #[test]
    fn every_field_that_people_write_is_described() {
        for definition in definitions().as_array().unwrap() {
            let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
            let objects = schemas(spec).into_iter().filter_map(|schema| schema.get("properties")?.as_object());
            for (name, field) in objects.flatten() {
                let description = field["description"].as_str().unwrap_or_default();
                let wrapped = description.split("\n\n").any(|part| part.contains('\n'));
                assert!(!description.is_empty() && !wrapped, "{name} of {}", definition["metadata"]["name"]);
            }
        }
    }

    #[test]
    fn sum_types_are_told_by_a_rule_with_the_mend() {
        let definitions = definitions();
        let all = schemas(&definitions);
        assert!(all.iter().all(|schema| schema.get("oneOf").is_none()));
        let step = json!({
            "rule": "[has(self.setWeight), has(self.setCanaryScale), has(self.pause), has(self.analysis), \
                      has(self.approval)].exists_one(given, given)",
            "message": "give exactly one of setWeight, setCanaryScale, pause, analysis, approval",
        });
        assert!(all.contains(&&step));
    }
}
