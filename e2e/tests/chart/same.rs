//! The chart with its default values, and `config/default`, are one installation.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use kube::api::DynamicObject;
use kube::{Resource, ResourceExt};
use lockkeeper_e2e::{Cluster, User};
use serde_json::Value;

use super::rendered::{Rendered, directory};

/// What tools get that apply the output of `helm template`: each object once.
pub async fn each_once(cluster: &Cluster) -> Result<()> {
    for mode in ["Mutating", "Validating"] {
        let rendered = Rendered::of(cluster, &[&format!("policies.mode={mode}")]).await?;
        let hook = rendered.0.iter().find(|object| object.annotations().contains_key("helm.sh/hook"));
        ensure!(hook.is_none(), "{mode}: {hook:?}");
        let count = rendered.0.len();
        ensure!(comparable(rendered.0)?.len() == count, "{mode}: an object is there twice");
    }
    Ok(())
}

/// By kind and name; without labels, and without the annotations that are Helm's.
fn comparable(objects: Vec<DynamicObject>) -> Result<BTreeMap<String, Value>> {
    let named = objects.into_iter().map(|mut object| {
        let kind = object.types.as_ref().context("an object without a kind")?.kind.clone();
        let metadata = object.meta_mut();
        // Those by which roles become part of others do something.
        let labels = metadata.labels.iter_mut();
        labels.for_each(|labels| labels.retain(|name, _| name.contains("aggregate-to-")));
        metadata.labels = metadata.labels.take().filter(|labels| !labels.is_empty());
        metadata.annotations.iter_mut().for_each(|all| all.retain(|name, _| !name.starts_with("helm.sh/")));
        metadata.annotations = metadata.annotations.take().filter(|annotations| !annotations.is_empty());
        let mut value = serde_json::to_value(&object)?;
        fold(&mut value);
        Ok((format!("{kind} {}", object.name_any()), value))
    });
    named.collect()
}

/// Kustomize adds blank lines to folded strings. The operator does not mind either.
fn fold(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.split_whitespace().collect::<Vec<_>>().join(" "),
        Value::Array(items) => items.iter_mut().for_each(fold),
        Value::Object(fields) => fields.values_mut().for_each(fold),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

pub async fn as_kustomize(cluster: &Cluster) -> Result<()> {
    for (mode, path) in [("Mutating", "config/default"), ("Validating", "config/default/validating")] {
        let rendered = Rendered::of(cluster, &[&format!("policies.mode={mode}")]).await?;
        let helm = comparable(rendered.0)?;
        let path = directory(path).display().to_string();
        let text = cluster.kubectl(User::Admin, ["create", "--dry-run=client", "-o", "json", "-k", &path]).await?;
        let objects = serde_json::Deserializer::from_str(&text).into_iter().collect::<Result<_, _>>()?;
        let mut kustomize = comparable(objects)?;
        // Helm makes it by --create-namespace.
        ensure!(kustomize.remove("Namespace lockkeeper-system").is_some(), "{path} has no namespace");
        let names = |objects: &BTreeMap<String, Value>| objects.keys().cloned().collect::<Vec<_>>();
        ensure!(
            names(&helm) == names(&kustomize),
            "{path}: {:?}\nbut the chart: {:?}",
            names(&kustomize),
            names(&helm)
        );
        for (name, object) in &helm {
            let other = &kustomize[name];
            ensure!(object == other, "{name} differs. The chart:\n{object:#}\n{path}:\n{other:#}");
        }
    }
    Ok(())
}

pub async fn kinds(cluster: &Cluster) -> Result<()> {
    let rendered = Rendered::of(cluster, &[]).await?;
    let kinds: Vec<&DynamicObject> = rendered.all("CustomResourceDefinition").collect();
    ensure!(kinds.len() == lockkeeper_api::crds().len(), "{} kinds", kinds.len());
    for kind in kinds {
        let policy = kind.annotations().get("helm.sh/resource-policy");
        ensure!(policy.is_some_and(|policy| policy == "keep"), "{} would be deleted with the chart", kind.name_any());
    }
    let without = Rendered::of(cluster, &["crds.install=false"]).await?;
    ensure!(without.all("CustomResourceDefinition").next().is_none(), "they are rendered all the same");
    Ok(())
}
