//! API servers without mutating admission policies: nothing keeps the pin in writes by others, so the tools are told to.

use anyhow::{Result, ensure};
use lockkeeper_api::decision::Verdict;
use lockkeeper_e2e::User;
use serde_json::{Value, json};

use super::sync::{application, applying_server_side, argocd, argocd_applies, flux, in_git, is, kustomization, live};
use crate::harness::{App, Story, none_failed, without_images};

fn spec() -> String {
    without_images("{setWeight: 50}, {pause: {}}")
}

/// Git asks for 2.0.0 through Flux, and it stands at 50 %.
async fn half_way<'a>(story: &'a Story<'a>) -> Result<App<'a>> {
    let app = story.app(2).await?;
    story.release(&spec()).await?;
    story.await_rest("1.0.0").await?;
    flux(&app, "2.0.0", &kustomization()?)?;
    story.await_confirmed(50).await?;
    Ok(app)
}

async fn selector(story: &Story<'_>) -> Result<Value> {
    Ok(live(story, "Service", "web").await?["spec"]["selector"].clone())
}

/// From 50 % to the end, without a failure.
async fn to_the_end(app: &App<'_>) -> Result<()> {
    app.story.decide(User::Alice, Verdict::Resume, None).await?;
    app.story.await_rest("2.0.0").await.map(drop)
}

/// With the rule of the example Flux leaves the Service alone; without it the pin goes.
pub async fn flux_keeps_the_pin(story: &Story<'_>) -> Result<()> {
    let app = half_way(story).await?;
    let (exposure, traffic) = (app.exposure().await?, app.traffic());
    let pinned = selector(story).await?;
    ensure!(pinned["pod-template-hash"].is_string(), "the Service is not pinned: {pinned}");
    for _ in 0..3 {
        let done = flux(&app, "2.0.0", &kustomization()?)?;
        ensure!(done["Service"] == "unchanged", "Flux has written the Service: {done}");
        ensure!(selector(story).await? == pinned, "the pin is gone");
    }
    story.await_confirmed(50).await?;
    exposure.never_above_the_step()?;
    let mut without = kustomization()?;
    without["spec"]["ignore"] = json!([]);
    let done = flux(&app, "2.0.0", &without)?;
    ensure!(done["Service"] == "configured", "the rule is of no use: {done}");
    story.await_confirmed(50).await?;
    to_the_end(&app).await?;
    let done = flux(&app, "2.0.0", &kustomization()?)?;
    ensure!(["Service", "HTTPRoute", "Deployment"].iter().all(|kind| done[kind] == "unchanged"), "at rest: {done}");
    none_failed(&traffic.stop().await)
}

/// With the rules of the example neither pin nor weights go, however it applies; without them both go.
pub async fn argocd_keeps_pin_and_weights(story: &Story<'_>) -> Result<()> {
    let app = half_way(story).await?;
    let (exposure, traffic) = (app.exposure().await?, app.traffic());
    let before = app.specs().await?;
    for _ in 0..3 {
        let differs = argocd(&app, "2.0.0", &application()?).await?;
        ensure!(differs.iter().all(|kind| kind == "HTTPRoute"), "OutOfSync: {differs:?}");
        app.specs().await?.same_as(&before)?;
    }
    // It may find the route OutOfSync meanwhile, by what it applied last or by schema, and keeps it all the same.
    for _ in 0..2 {
        let differs = argocd(&app, "2.0.0", &applying_server_side(application()?)).await?;
        ensure!(differs.iter().all(|kind| kind == "HTTPRoute"), "on the server's side OutOfSync: {differs:?}");
        app.specs().await?.same_as(&before)?;
    }
    exposure.never_above_the_step()?;
    let mut without = applying_server_side(application()?);
    without["spec"]["ignoreDifferences"] = json!([]);
    let lost = app.exposure().await?;
    argocd(&app, "2.0.0", &without).await?;
    story.await_confirmed(50).await?;
    to_the_end(&app).await?;
    ensure!(lost.never_above_the_step().is_err(), "the rules are of no use: without them the pin stays as well");
    argocd(&app, "2.0.0", &application()?).await?;
    let differs = argocd(&app, "2.0.0", &application()?).await?;
    ensure!(differs.is_empty(), "at rest OutOfSync: {differs:?}");
    let mut changed = in_git(&app, "2.0.0")?;
    for manifest in changed.iter_mut().filter(|manifest| manifest["kind"] == "HTTPRoute") {
        manifest["spec"]["rules"][0]["backendRefs"][0]["weight"] = json!(7);
    }
    let differs = argocd_applies(&app, changed, &application()?).await?;
    let weight = live(story, "HTTPRoute", "web").await?["spec"]["rules"][0]["backendRefs"][0]["weight"].clone();
    ensure!(differs == ["HTTPRoute"] && weight == 7, "at rest the rules hide a change in Git: {differs:?}, {weight}");
    none_failed(&traffic.stop().await)
}

/// A Deployment that is paused at rest is never Current or Healthy, which is why the Release is asked. No sync resumes it.
pub async fn paused_at_rest(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    story.release(&spec()).await?;
    story.await_rest("1.0.0").await?;
    flux(&app, "1.0.0", &kustomization()?)?;
    argocd(&app, "1.0.0", &application()?).await?;
    ensure!(app.paused().await?, "a sync has resumed it");
    is(story, "Release", "Healthy", "Current").await?;
    is(story, "Deployment", "Suspended", "InProgress").await
}
