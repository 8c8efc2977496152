//! What users wrote, before a release and at rest.

use anyhow::{Result, ensure};
use kube::Api;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use lockkeeper_e2e::User;
use serde_json::{Value, json};

use super::App;

/// The specs of an application's Deployment, Service and HTTPRoute.
#[derive(Clone, Debug, PartialEq)]
pub struct Specs {
    deployment: Value,
    service: Value,
    route: Value,
}

impl Specs {
    pub async fn of(app: &App<'_>) -> Result<Specs> {
        Ok(Specs {
            deployment: spec(app, "apps", "v1", "Deployment").await?,
            service: spec(app, "", "v1", "Service").await?,
            route: spec(app, "gateway.networking.k8s.io", "v1", "HTTPRoute").await?,
        })
    }

    /// The same but for the image.
    pub fn with_version(mut self, version: &str) -> Specs {
        self.deployment["template"]["spec"]["containers"][0]["image"] = json!(format!("demo:{version}"));
        self
    }

    /// The same but for the number of replicas.
    pub fn with_replicas(mut self, replicas: u32) -> Specs {
        self.deployment["replicas"] = json!(replicas);
        self
    }

    /// The same but paused.
    pub fn paused(mut self) -> Specs {
        self.deployment["paused"] = json!(true);
        self
    }

    /// The same but for the annotation that a restart leaves.
    pub fn with_restart(mut self, at: &str) -> Specs {
        self.deployment["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = json!(at);
        self
    }

    /// Fails with the lines that differ.
    pub fn same_as(&self, expected: &Specs) -> Result<()> {
        for (what, found, expected) in [
            ("Deployment", &self.deployment, &expected.deployment),
            ("Service", &self.service, &expected.service),
            ("HTTPRoute", &self.route, &expected.route),
        ] {
            let difference = difference(expected, found)?;
            ensure!(difference.is_empty(), "the spec of the {what} differs:\n{}", difference.join("\n"));
        }
        Ok(())
    }
}

async fn spec(app: &App<'_>, group: &str, version: &str, kind: &str) -> Result<Value> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let client = app.story.stage.cluster.client(User::Admin);
    let api: Api<DynamicObject> = Api::namespaced_with(client, &app.story.namespace, &resource);
    let mut spec = api.get(&app.name).await?.data["spec"].take();
    if let Value::Object(spec) = &mut spec {
        // The API server assigns them, and other ones to a Service that is made again.
        spec.retain(|key, _| !key.starts_with("clusterIP"));
    }
    Ok(spec)
}

/// Lines of one that the other does not have, as `diff` marks them.
fn difference(expected: &Value, found: &Value) -> Result<Vec<String>> {
    let (expected, found) = (serde_json::to_string_pretty(expected)?, serde_json::to_string_pretty(found)?);
    if expected == found {
        return Ok(Vec::new());
    }
    let missing = expected.lines().filter(|line| !found.lines().any(|other| other == *line));
    let added = found.lines().filter(|line| !expected.lines().any(|other| other == *line));
    let mut lines: Vec<String> = missing.map(|line| format!("- {line}")).collect();
    lines.extend(added.map(|line| format!("+ {line}")));
    if lines.is_empty() {
        lines.push(format!("the order of lines: {expected}\nis now: {found}"));
    }
    Ok(lines)
}
