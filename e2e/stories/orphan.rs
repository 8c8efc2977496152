//! A Release at rest is deleted, and the Deployment goes on without it.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use lockkeeper_e2e::{User, wait};

use crate::harness::{LIMIT, Story, without_images};

fn spec() -> String {
    without_images("{setWeight: 50}")
}

/// Waits until the Release, at rest, manages the Deployment.
async fn await_managed(story: &Story<'_>) -> Result<()> {
    story.await_rest("1.0.0").await?;
    wait::object(&story.api::<Deployment>(), "web", "be managed", LIMIT, |deployment| {
        deployment.is_some_and(|deployment| !ours(deployment).is_empty())
    })
    .await?;
    Ok(())
}

fn ours(deployment: &Deployment) -> Vec<&String> {
    deployment.annotations().keys().filter(|key| key.starts_with("lockkeeper.dev/")).collect()
}

async fn await_unmarked(story: &Story<'_>) -> Result<Option<Deployment>> {
    wait::object(&story.api::<Deployment>(), "web", "lose our marks", LIMIT, |deployment| {
        deployment.is_some_and(|deployment| ours(deployment).is_empty())
    })
    .await
}

fn paused(deployment: Option<&Deployment>) -> bool {
    deployment.and_then(|deployment| deployment.spec.as_ref()).is_some_and(|spec| spec.paused == Some(true))
}

/// The next version rolls out natively: nobody holds it any more.
pub async fn given_back(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    story.release(&spec()).await?;
    await_managed(story).await?;
    story.kubectl(User::Admin, &["delete", "release", "web"]).await?;
    let deployment = await_unmarked(story).await?;
    ensure!(!paused(deployment.as_ref()), "it is paused");
    app.set_version("2.0.0").await?;
    app.available().await?;
    ensure!(app.pods("2.0.0").await?.len() == 2, "the new version does not run");
    Ok(())
}

/// A version that was held, and not begun, when its Release went is not rolled out by us.
pub async fn unproven_stays_paused(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let operator = story.operator().await?;
    story.own_release(&spec()).await?;
    await_managed(story).await?;
    // Nobody begins the version. The operator of all stories leaves this Release alone, but sees that it is gone.
    operator.process.kill().await?;
    app.set_version("2.0.0").await?;
    story.kubectl(User::Admin, &["delete", "release", "web"]).await?;
    let deployment = await_unmarked(story).await?;
    ensure!(paused(deployment.as_ref()), "it is not paused");
    ensure!(app.pods("2.0.0").await?.is_empty(), "the unproven version runs");
    wait::list(&story.api::<Event>(), "", "tell that it stays paused", LIMIT, |events| {
        events.iter().any(|event| event.reason.as_deref() == Some("StaysPaused"))
    })
    .await?;
    // What the event says to do.
    story.kubectl(User::Admin, &["rollout", "resume", "deployment/web"]).await?;
    app.available().await?;
    ensure!(app.pods("2.0.0").await?.len() == 2, "the new version does not run");
    Ok(())
}
