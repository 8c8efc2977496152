//! How a version gets to production from Git, and what a sync does afterwards.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use lockkeeper_api::decision::Verdict;
use lockkeeper_api::release::Phase;
use lockkeeper_e2e::{User, wait};
use serde_json::json;

use super::sync::{application, argocd, flux, is, kustomization};
use crate::harness::{App, LIMIT, Story, none_failed, with_images, without_images};

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

async fn has_image(app: &App<'_>, version: &str) -> Result<()> {
    let image = format!("demo:{version}");
    wait::object(&app.story.api::<Deployment>(), "web", "have the image of the Release", LIMIT, |deployment| {
        let pod = deployment.and_then(|deployment| deployment.spec.as_ref()?.template.spec.as_ref());
        pod.is_some_and(|pod| pod.containers.iter().all(|container| container.image.as_ref() == Some(&image)))
    })
    .await?;
    Ok(())
}

async fn resumed(story: &Story<'_>) -> Result<()> {
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("2.0.0").await.map(drop)
}

/// Git's Deployment still has the old image: each sync by Flux brings it, it is put back, and no pod is touched.
pub async fn in_release_flux(story: &Story<'_>) -> Result<()> {
    let app = asked_by_the_release(story).await?;
    let traffic = app.traffic();
    let pods = app.pods("2.0.0").await?;
    for _ in 0..2 {
        flux(&app, "1.0.0", &kustomization()?)?;
        has_image(&app, "2.0.0").await?;
        story.await_confirmed(50).await?;
    }
    is(story, "Release", "Suspended", "Current").await?;
    resumed(story).await?;
    flux(&app, "1.0.0", &kustomization()?)?;
    app.given_back("2.0.0").await?;
    story.await_rest("2.0.0").await?;
    is(story, "Release", "Healthy", "Current").await?;
    let now = app.pods("2.0.0").await?;
    ensure!(pods.iter().all(|(name, uid)| now.get(name) == Some(uid)), "pods of the new version have changed");
    none_failed(&traffic.stop().await)
}

/// Argo CD leaves the image alone, during the release and after it.
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
        ensure!(differs.iter().all(|kind| kind == "HTTPRoute"), "{moment} OutOfSync: {differs:?}");
    }
    story.await_confirmed(50).await?;
    resumed(story).await?;
    argocd(&app, "1.0.0", &application).await?;
    let differs = argocd(&app, "1.0.0", &application).await?;
    ensure!(differs.is_empty(), "at rest OutOfSync: {differs:?}");
    story.await_rest("2.0.0").await?;
    none_failed(&traffic.stop().await)
}

/// Another change of the template than the image is a version, too, where the Release carries it.
pub async fn in_release_by_template(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    story.release(&with_images("1.0.0", STEPS)).await?;
    story.await_rest("1.0.0").await?;
    let pods = app.pods("1.0.0").await?;
    story.kubectl(User::Admin, &["set", "env", "deployment/web", "COLOUR=green"]).await?;
    story.await_confirmed(50).await?;
    let now = app.pods("1.0.0").await?;
    ensure!(pods.iter().all(|(name, uid)| now.get(name) == Some(uid)), "pods of the stable version have changed");
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("1.0.0").await.map(drop)
}

/// One commit changes both: applied in the order that hurts most, it is one release. When it is aborted, what Flux brings is held and put
/// back.
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
    flux(&app, "3.0.0", &kustomization()?)?;
    story.release(&with_images("3.0.0", STEPS)).await?;
    story.await_confirmed(50).await?;
    story.decide(User::Alice, Verdict::Abort, None).await?;
    story.await_phase(Phase::Aborted).await?;
    for _ in 0..2 {
        flux(&app, "3.0.0", &kustomization()?)?;
        app.given_back("2.0.0").await?;
    }
    story.await_phase(Phase::Aborted).await?;
    app.gone("3.0.0").await?;
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
    app.gone("2.0.0").await?;
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
