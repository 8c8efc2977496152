//! On an API server without mutating admission policies managed Deployments stay paused between releases, so that no new template
//! rolls out by itself. These stories have a cluster of that kind.

use std::fs;

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use lockkeeper_api::decision::Verdict;
use lockkeeper_api::release::{GoingBackCause, Phase};
use lockkeeper_e2e::{User, wait};

use crate::harness::{App, LIMIT, Specs, Story, none_failed};

const SPEC: &str = "
workloads:
- ref: {kind: Deployment, name: web}
  IMAGES
  service: web
  routes: [{kind: HTTPRoute, name: web}]
strategy: {canary: {steps: [{setWeight: 50}, {pause: {}}]}}
";

/// The application, managed, at rest; and its specs as they were before.
async fn managed<'a>(story: &'a Story<'a>, images: &str) -> Result<(App<'a>, Specs)> {
    let app = story.app(3).await?;
    let before = app.specs().await?;
    story.release(&SPEC.replace("IMAGES", images)).await?;
    story.await_rest("1.0.0").await?;
    paused(story).await?;
    app.at_rest(&before.clone().paused()).await?;
    Ok((app, before))
}

async fn paused(story: &Story<'_>) -> Result<()> {
    wait::object(&story.api::<Deployment>(), "web", "be paused", LIMIT, |deployment| {
        deployment.and_then(|d| d.spec.as_ref()).is_some_and(|spec| spec.paused == Some(true))
    })
    .await?;
    Ok(())
}

/// From 50 % to the end: in place, without a failure, and paused again.
async fn promoted(app: &App<'_>, before: &Specs, version: &str) -> Result<()> {
    let story = app.story;
    story.await_confirmed(50).await?;
    let deaths = app.deaths().await?;
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest(version).await?;
    ensure!(deaths.of(version).is_empty(), "pods of the new version were killed: {:?}", deaths.of(version));
    app.at_rest(&before.clone().with_version(version).paused()).await
}

/// The Deployment carries the version: its new template waits, paused, for the release. The operator says which mode it is in.
pub async fn deployment_carries_the_version(story: &Story<'_>) -> Result<()> {
    let (app, before) = managed(story, "").await?;
    let traffic = app.traffic();
    app.set_version("2.0.0").await?;
    promoted(&app, &before, "2.0.0").await?;
    app.sync("3.0.0").await?;
    promoted(&app, &before, "3.0.0").await?;
    none_failed(&traffic.stop().await)?;
    let logs = story.stage.operator_logs();
    let said = logs.iter().any(|log| fs::read_to_string(log).is_ok_and(|text| text.contains("PausedAtRest")));
    ensure!(said, "the operator does not say that it keeps Deployments paused at rest");
    Ok(())
}

pub async fn release_carries_the_version(story: &Story<'_>) -> Result<()> {
    let (app, before) = managed(story, "images: {app: \"demo:1.0.0\"}").await?;
    let traffic = app.traffic();
    story.release(&SPEC.replace("IMAGES", "images: {app: \"demo:2.0.0\"}")).await?;
    promoted(&app, &before, "2.0.0").await?;
    none_failed(&traffic.stop().await)
}

/// Nobody can resume it: that would roll out the next template without a release. Scaling passes.
pub async fn resume_is_refused(story: &Story<'_>) -> Result<()> {
    let (app, before) = managed(story, "").await?;
    let refusal = story.kubectl(User::Erin, &["rollout", "resume", "deployment/web"]).await;
    let refusal = refusal.err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(refusal.contains("lockkeeper"), "it was not refused with the way out: {refusal:?}");
    app.scale(4).await?;
    wait::object(&story.api::<Deployment>(), "web", "have four pods", LIMIT, |deployment| {
        deployment.and_then(|d| d.status.as_ref()).is_some_and(|status| status.available_replicas == Some(4))
    })
    .await?;
    app.at_rest(&before.with_replicas(4).paused()).await
}

/// `lockkeeper rollback`, as a Decision, does what `kubectl rollout undo` cannot do here.
pub async fn rollback(story: &Story<'_>) -> Result<()> {
    let (app, before) = managed(story, "images: {app: \"demo:1.0.0\"}").await?;
    let traffic = app.traffic();
    story.release(&SPEC.replace("IMAGES", "images: {app: \"demo:2.0.0\"}")).await?;
    promoted(&app, &before, "2.0.0").await?;
    story.decide(User::Alice, Verdict::Rollback, None).await?;
    let status = story.await_phase(Phase::RolledBack).await?;
    let cause = status.going_back.map(|back| back.cause);
    ensure!(cause == Some(GoingBackCause::RollbackRequested), "it went back for {cause:?}");
    story.await_given_back().await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before.paused()).await
}
