//! What `helm template` makes of values.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kube::ResourceExt;
use kube::api::DynamicObject;
use lockkeeper_e2e::Cluster;

pub fn directory(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

pub fn chart() -> String {
    directory("charts/lockkeeper").display().to_string()
}

/// The objects of an installation in this namespace, as Helm renders them without a cluster.
pub struct Rendered(pub Vec<DynamicObject>);

impl Rendered {
    /// With values of `--set`; policies are the mutating ones unless these say otherwise.
    pub async fn of(cluster: &Cluster, settings: &[&str]) -> Result<Rendered> {
        Rendered::within(cluster, "lockkeeper-system", settings).await
    }

    pub async fn within(cluster: &Cluster, namespace: &str, settings: &[&str]) -> Result<Rendered> {
        let text = template(cluster, namespace, settings).await?;
        let objects: Vec<DynamicObject> = serde_saphyr::from_multiple(&text).with_context(|| text.clone())?;
        Ok(Rendered(objects))
    }

    /// The objects of this kind.
    pub fn all(&self, kind: &str) -> impl Iterator<Item = &DynamicObject> {
        self.0.iter().filter(move |object| object.types.as_ref().is_some_and(|types| types.kind == kind))
    }

    pub fn find(&self, kind: &str, name: &str) -> Option<&DynamicObject> {
        self.all(kind).find(|object| object.name_any() == name)
    }

    pub fn one(&self, kind: &str, name: &str) -> Result<&DynamicObject> {
        self.find(kind, name).with_context(|| format!("there is no {kind} {name}"))
    }

    /// The arguments of the container.
    pub fn arguments(&self) -> Result<Vec<String>> {
        let deployment = self.one("Deployment", "lockkeeper")?;
        let arguments = &deployment.data["spec"]["template"]["spec"]["containers"][0]["args"];
        Ok(serde_json::from_value(arguments.clone())?)
    }
}

/// The text that Helm renders.
///
/// # Errors
/// If Helm refuses the values, with its words.
pub async fn template(cluster: &Cluster, namespace: &str, settings: &[&str]) -> Result<String> {
    let chart = chart();
    let mut arguments = vec!["template", "lockkeeper", &chart, "--namespace", namespace];
    arguments.extend(["--set", "policies.mode=Mutating"]);
    for setting in settings {
        arguments.extend(["--set", setting]);
    }
    cluster.helm(arguments).await
}
