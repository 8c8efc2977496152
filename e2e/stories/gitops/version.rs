//! How a version gets to production from Git, and what a sync does afterwards.

use anyhow::{Result, ensure};
use lockkeeper_api::decision::Verdict;
use lockkeeper_api::release::Phase;
use lockkeeper_e2e::User;
use serde_json::json;

use super::sync::{application, argocd, flux, is, kustomization};
use crate::harness::{App, Story, none_failed, with_images, without_images};

const STEPS: &str = "{setWeight: 50}, {pause: {}}";

/// The Release is at 1.0.0, as Git has it, and then a commit asks for 2.0.0 in the Release alone.
async fn asked_by_the_release<'a>(story: &'a Story<'a>) -> Result<App<'a>> {
    let app = story.app(2).await?;
    story.release(&with_images("1.0.0", STEPS)).await?;
    story.await_rest("1.0.0").await?;
    story.release(&with_images("2.0.0", STEPS)).await?;
    story.await_confirmed(50).await?;
    Ok(app)
}

async fn resumed(story: &Story<'_>) -> Result<()> {
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("2.0.0").await.map(drop)
}

/// Git's Deployment still has the old image; Flux leaves the image alone, during the release and after it.
pub async fn in_release_flux(story: &Story<'_>) -> Result<()> {
    let app = asked_by_the_release(story).await?;
    let traffic = app.traffic();
    let mut kustomization = kustomization()?;
    kustomization["spec"]["ignore"] = json!([
        {"paths": ["/spec/template/spec/containers/0/image"], "target": {"kind": "Deployment"}},
    ]);
    let done = flux(&app, "1.0.0", &kustomization)?;
    ensure!(done["Deployment"] == "configured", "Flux takes the Deployment over: {done}");
    let done = flux(&app, "1.0.0", &kustomization)?;
    ensure!(done["Deployment"] == "unchanged", "during the release: {done}");
    is(story, "Release", "Suspended", "Current").await?;
    story.await_confirmed(50).await?;
    resumed(story).await?;
    let done = flux(&app, "1.0.0", &kustomization)?;
    ensure!(done["Deployment"] == "unchanged", "at rest: {done}");
    is(story, "Release", "Healthy", "Current").await?;
    none_failed(&traffic.stop().await)
}

/// The same by Argo CD.
pub async fn in_release_argocd(story: &Story<'_>) -> Result<()> {
    let app = asked_by_the_release(story).await?;
    let traffic = app.traffic();
    let mut application = application()?;
    let rules = application["spec"]["ignoreDifferences"].as_array_mut();
    rules.into_iter().for_each(|rules| {
        rules.push(json!({
            "group": "apps", "kind": "Deployment",
            "jqPathExpressions": [".spec.template.spec.containers[] | select(.name == \"app\") | .image"],
        }));
    });
    for moment in ["during the release", "again"] {
        let differs = argocd(&app, "1.0.0", &application).await?;
        ensure!(differs.is_empty(), "{moment} OutOfSync: {differs:?}");
    }
    story.await_confirmed(50).await?;
    resumed(story).await?;
    let differs = argocd(&app, "1.0.0", &application).await?;
    ensure!(differs.is_empty(), "at rest OutOfSync: {differs:?}");
    story.await_rest("2.0.0").await?;
    none_failed(&traffic.stop().await)
}

/// One commit changes both: whichever object is applied first, it is one release.
pub async fn in_both(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    story.release(&with_images("1.0.0", STEPS)).await?;
    story.await_rest("1.0.0").await?;
    let traffic = app.traffic();
    flux(&app, "2.0.0", &kustomization()?)?;
    story.release(&with_images("2.0.0", STEPS)).await?;
    story.await_confirmed(50).await?;
    resumed(story).await?;
    let done = flux(&app, "2.0.0", &kustomization()?)?;
    ensure!(done["Deployment"] == "unchanged", "at rest: {done}");
    let pods = app.pods("2.0.0").await?;
    ensure!(pods.len() == 2, "{} pods", pods.len());
    none_failed(&traffic.stop().await)
}

/// Git's Deployment carries the version. What went back stays back however often Flux brings it, until somebody decides Retry or
/// Git is reverted, which ends it without asking anybody.
pub async fn in_deployment_flux(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    story.release(&without_images(STEPS)).await?;
    story.await_rest("1.0.0").await?;
    let (exposure, traffic) = (app.exposure().await?, app.traffic());
    flux(&app, "2.0.0", &kustomization()?)?;
    story.await_confirmed(50).await?;
    story.decide(User::Alice, Verdict::Abort, None).await?;
    story.await_phase(Phase::Aborted).await?;
    story.await_given_back().await?;
    for _ in 0..2 {
        let done = flux(&app, "2.0.0", &kustomization()?)?;
        ensure!(done["Deployment"] == "unchanged", "Flux fights: {done}");
    }
    is(story, "Release", "Degraded", "Failed").await?;
    ensure!(app.pods("2.0.0").await?.is_empty(), "the aborted version runs");
    story.decide(User::Alice, Verdict::Retry, None).await?;
    story.await_confirmed(50).await?;
    flux(&app, "1.0.0", &kustomization()?)?;
    story.await_rest("1.0.0").await?;
    is(story, "Release", "Healthy", "Current").await?;
    exposure.never_above_the_step()?;
    none_failed(&traffic.stop().await)?;
    app.given_back("1.0.0").await?;
    app.at_rest(&before).await
}
