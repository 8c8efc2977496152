//! The first version of a workload: nothing to compare with, nothing to shift from.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::api::ListParams;
use lockkeeper_api::decision::Verdict;
use lockkeeper_api::release::{Phase, ReleaseStatus};
use lockkeeper_e2e::{User, wait};

use crate::harness::{App, LIMIT, Story, condition};

const SPEC: &str = "
workloads:
- ref: {kind: Deployment, name: web}
  IMAGES
  service: web
  routes: [{kind: HTTPRoute, name: web}]
strategy: {canary: {steps: [{setWeight: 50}, {pause: {duration: 2s}}]}}
";

const IMAGES: &str = "images: {app: \"demo:1.0.0\"}";
const GATE: &str = "gates: {approvals: [{name: go, before: Start}]}\n";

/// The version runs, served, alone, and nothing of ours is on it.
async fn runs(app: &App<'_>, status: &ReleaseStatus) -> Result<()> {
    let story = app.story;
    condition(status, "Ready", "True")?;
    ensure!(status.candidate.is_none() && status.step.is_none(), "{status:?}");
    app.available().await?;
    wait::served(story.cluster().gateway_url(), &app.host, LIMIT).await?;
    ensure!(!app.held().await?, "the Deployment is held");
    let sets = story.api::<ReplicaSet>().list(&ListParams::default()).await?;
    ensure!(sets.items.len() == 1, "{} ReplicaSets are there of one version", sets.items.len());
    app.at_rest(&app.specs().await?).await
}

async fn together(story: &Story<'_>, images: &str, release_first: bool) -> Result<()> {
    let app = story.unborn("web", 2);
    let spec = SPEC.replace("IMAGES", images);
    if release_first {
        story.release(&spec).await?;
        // It has been looked at before there is anything.
        let status = story.await_phase(Phase::Invalid).await?;
        ensure!(status.message.contains("Deployment web does not exist"), "{}", status.message);
        app.sync("1.0.0").await?;
    } else {
        app.sync("1.0.0").await?;
        story.release(&spec).await?;
    }
    runs(&app, &story.await_rest("1.0.0").await?).await?;
    // What comes next is a canary.
    if images.is_empty() {
        app.set_version("2.0.0").await?;
    } else {
        story.release(&SPEC.replace("IMAGES", &images.replace("1.0.0", "2.0.0"))).await?;
    }
    story.await_confirmed(50).await?;
    story.await_rest("2.0.0").await.map(drop)
}

pub async fn deployment_then_release(story: &Story<'_>) -> Result<()> {
    together(story, "", false).await
}

pub async fn release_then_deployment(story: &Story<'_>) -> Result<()> {
    together(story, "", true).await
}

pub async fn deployment_then_release_with_images(story: &Story<'_>) -> Result<()> {
    together(story, IMAGES, false).await
}

pub async fn release_then_deployment_with_images(story: &Story<'_>) -> Result<()> {
    together(story, IMAGES, true).await
}

/// A Deployment that is created as managed starts no pod before the gates before Start are open.
pub async fn behind_a_gate(story: &Story<'_>) -> Result<()> {
    let app = story.unborn("web", 2);
    story.release(&(SPEC.replace("IMAGES", "") + GATE)).await?;
    story.await_phase(Phase::Invalid).await?;
    app.sync_managed("1.0.0").await?;
    let status = story.await_phase(Phase::Waiting).await?;
    condition(&status, "Ready", "True")?;
    ensure!(status.message.contains("gate go"), "it does not say what it waits for: {}", status.message);
    // Its controller has seen it, and has made nothing.
    wait::object(&story.api::<Deployment>(), "web", "be observed", LIMIT, |deployment| {
        deployment.is_some_and(|d| d.status.as_ref().is_some_and(|s| s.observed_generation == d.metadata.generation))
    })
    .await?;
    ensure!(app.pods("1.0.0").await?.is_empty(), "pods have started before anybody has approved");
    story.decide(User::Alice, Verdict::Approve, Some("go")).await?;
    runs(&app, &story.await_rest("1.0.0").await?).await
}

/// A first version that nobody wants does not start.
pub async fn rejected(story: &Story<'_>) -> Result<()> {
    let app = story.unborn("web", 2);
    app.sync_managed("1.0.0").await?;
    story.release(&(SPEC.replace("IMAGES", "") + GATE)).await?;
    story.await_phase(Phase::Waiting).await?;
    story.decide(User::Alice, Verdict::Reject, Some("go")).await?;
    let status = story
        .await_status("say that it was rejected", |status| {
            status.phase == Phase::Rejected || status.gates.iter().any(|gate| gate.reason == "Rejected")
        })
        .await?;
    ensure!(status.message.contains("reject"), "{}", status.message);
    ensure!(app.pods("1.0.0").await?.is_empty(), "pods of a rejected version have started");
    Ok(())
}
