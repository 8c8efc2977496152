//! How healthy the tools call windows and policies, good ones and faulty ones: those have the condition Ready alone.

use anyhow::{Result, ensure};
use lockkeeper_e2e::wait;
use serde_json::Value;

use super::sync::{is, live};
use crate::harness::{LIMIT, Story};

const HEAD: &str = "apiVersion: lockkeeper.dev/v1alpha1\nmetadata: {name: web, namespace: NAMESPACE}\n";

/// Waits until the object's status speaks of it as it is now, and Ready has this value.
async fn await_ready(story: &Story<'_>, kind: &str, value: &str) -> Result<()> {
    wait::answer(&format!("{kind} web to be Ready {value}"), LIMIT, async || {
        let object = live(story, kind, "web").await?;
        let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
        let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        let ready: Vec<&Value> = conditions.filter(|condition| condition["type"] == "Ready").collect();
        ensure!(current && ready.iter().any(|ready| ready["status"] == value), "{}", object["status"]);
        Ok(())
    })
    .await
}

async fn told(story: &Story<'_>, kind: &str, good: &str, bad: &str) -> Result<()> {
    story.apply(&format!("{HEAD}kind: {kind}\nspec: {good}\n")).await?;
    await_ready(story, kind, "True").await?;
    is(story, kind, "Healthy", "Current").await?;
    story.apply(&format!("{HEAD}kind: {kind}\nspec: {bad}\n")).await?;
    await_ready(story, kind, "False").await?;
    is(story, kind, "Degraded", "InProgress").await
}

pub async fn policy(story: &Story<'_>) -> Result<()> {
    let with = |query: &str| format!("{{checks: [{{name: one, max: 1, query: '{query}'}}]}}");
    told(story, "RollbackPolicy", &with("vector(1)"), &with("sum(")).await
}

pub async fn window(story: &Story<'_>) -> Result<()> {
    let schedule = "action: Freeze, schedule: {cron: \"0 9 * * 1\", timeZone: Europe/Berlin, duration: 1h}";
    // Only the platform's windows speak of namespaces.
    let bad = format!("{{{schedule}, namespaceSelector: {{matchLabels: {{tier: web}}}}}}");
    told(story, "DeploymentWindow", &format!("{{{schedule}}}"), &bad).await
}
