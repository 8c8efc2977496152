//! A good version becomes the stable one, in place, and no user notices.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::api::ListParams;
use lockkeeper_api::decision::Verdict;
use lockkeeper_api::release::Phase;
use lockkeeper_e2e::User;

use crate::harness::{App, Story, condition, none_failed};

/// Stops at 100 %, so that the pods can be looked at before the handover.
const SPEC: &str = "
version: 2.0.0
workloads:
- ref: {kind: Deployment, name: web}
  IMAGES
  service: web
  routes: [{kind: HTTPRoute, name: web}]
strategy: {canary: {steps: [{setWeight: 10}, {setWeight: 50}, {setWeight: 100}, {pause: {}}]}}
";

fn spec(images: &str) -> String {
    SPEC.replace("IMAGES", images)
}

pub async fn images_under_traffic(story: &Story<'_>) -> Result<()> {
    let app = story.app(4).await?;
    let before = app.specs().await?.with_version("2.0.0");
    let traffic = app.traffic();
    story.release(&spec("images: {app: \"demo:2.0.0\"}")).await?;
    let pods = at_full_weight(story, &app).await?;
    story.decide(User::Alice, Verdict::Resume, None).await?;
    let status = story.await_rest("2.0.0").await?;
    condition(&status, "Ready", "True")?;
    none_failed(&traffic.stop().await)?;
    same_pods(&app, &pods).await?;
    app.at_rest(&before).await
}

pub async fn deployment_under_traffic(story: &Story<'_>) -> Result<()> {
    let app = story.app(4).await?;
    let before = app.specs().await?.with_version("2.0.0");
    story.release(&spec("").replace("version: 2.0.0\n", "")).await?;
    story.await_rest("1.0.0").await?;
    let traffic = app.traffic();
    app.set_version("2.0.0").await?;
    let pods = at_full_weight(story, &app).await?;
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("2.0.0").await?;
    none_failed(&traffic.stop().await)?;
    same_pods(&app, &pods).await?;
    app.at_rest(&before).await
}

/// The Deployment has five old ReplicaSets, each of which its controller would like to scale up in the gap of the handover.
pub async fn long_history(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    for version in ["1.1.0", "1.2.0", "1.3.0", "1.4.0", "1.5.0"] {
        app.set_version(version).await?;
        app.available().await?;
    }
    let before = app.specs().await?.with_version("2.0.0");
    let traffic = app.traffic();
    story.release(&spec("images: {app: \"demo:2.0.0\"}")).await?;
    let pods = at_full_weight(story, &app).await?;
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("2.0.0").await?;
    none_failed(&traffic.stop().await)?;
    same_pods(&app, &pods).await?;
    app.at_rest(&before).await?;
    let sets = story.api::<ReplicaSet>().list(&ListParams::default()).await?;
    ensure!(sets.items.len() == 7, "{} ReplicaSets are left of seven versions", sets.items.len());
    let history = story.kubectl(User::Admin, &["rollout", "history", "deployment/web"]).await?;
    let revisions = history.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).count();
    ensure!(revisions == 7, "kubectl rollout history has {revisions} revisions of seven:\n{history}");
    story.kubectl(User::Admin, &["rollout", "status", "deployment/web", "--timeout=10s"]).await.map(drop)
}

/// Waits until the new version has all the traffic and the release waits for somebody; the pods it then has.
async fn at_full_weight(story: &Story<'_>, app: &App<'_>) -> Result<BTreeMap<String, String>> {
    story
        .await_status("wait at 100 %", |status| {
            let full = status.weight.is_some_and(|weight| weight.desired == 100 && weight.confirmed == 100);
            status.phase == Phase::Paused && full
        })
        .await?;
    app.pods("2.0.0").await
}

/// Neither the handover nor anything else has started a pod of the new version again.
async fn same_pods(app: &App<'_>, pods: &BTreeMap<String, String>) -> Result<()> {
    let now = app.pods("2.0.0").await?;
    ensure!(&now == pods, "the handover has changed the pods from {pods:?} to {now:?}");
    let counts = app.story.cluster().demo()?.counts(&app.story.namespace);
    let answered = counts.iter().filter(|count| count.version == "2.0.0").count();
    ensure!(answered <= pods.len(), "{answered} pods of 2.0.0 have answered, {} are there", pods.len());
    Ok(())
}
