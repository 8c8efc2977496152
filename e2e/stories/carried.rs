//! The Deployment carries the version, and its template changes again mid-way.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::api::ListParams;
use lockkeeper_api::decision::Verdict;
use lockkeeper_api::release::Phase;
use lockkeeper_e2e::User;

use crate::harness::{App, Story, none_failed, without_images};

fn spec() -> String {
    without_images("{setWeight: 40}, {pause: {}}")
}

/// Git asks for 2.0.0, and it gets 40 %.
async fn half_way(app: &App<'_>) -> Result<()> {
    app.story.release(&spec()).await?;
    app.story.await_rest("1.0.0").await?;
    app.sync("2.0.0").await?;
    app.story.await_confirmed(40).await.map(drop)
}

/// Back to the stable template: the release is over at once, nothing is blocked, no pod of it was touched.
pub async fn withdrawn(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    let (before, pods) = (app.specs().await?, app.pods("1.0.0").await?);
    let traffic = app.traffic();
    half_way(&app).await?;
    app.sync("1.0.0").await?;
    let status = story.await_rest("1.0.0").await?;
    ensure!(status.blocked.is_empty(), "{:?}", status.blocked);
    ensure!(status.candidate.is_none(), "{:?}", status.candidate);
    app.given_back("1.0.0").await?;
    none_failed(&traffic.stop().await)?;
    ensure!(app.pods("1.0.0").await? == pods, "pods of the stable version have changed");
    app.at_rest(&before).await?;
    let sets = story.api::<ReplicaSet>().list(&ListParams::default()).await?;
    ensure!(sets.items.len() == 1, "{} ReplicaSets are left", sets.items.len());
    Ok(())
}

/// A newer template replaces one on its way: that one's traffic and pods go first, and the newer one starts anew.
pub async fn superseded(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    let before = app.specs().await?;
    let exposure = app.exposure().await?;
    let traffic = app.traffic();
    half_way(&app).await?;
    app.sync("2.1.0").await?;
    let status = story
        .await_status("show the newer version to 40 %", |status| {
            let newer = status.candidate.as_ref().is_some_and(|candidate| candidate.version == "2.1.0");
            newer && status.phase == Phase::Paused && status.weight.is_some_and(|weight| weight.confirmed == 40)
        })
        .await?;
    ensure!(status.blocked.is_empty(), "{:?}", status.blocked);
    ensure!(app.pods("2.0.0").await?.is_empty(), "pods of the version that was replaced are left");
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("2.1.0").await?;
    none_failed(&traffic.stop().await)?;
    exposure.never_above_the_step()?;
    app.at_rest(&before.with_version("2.1.0")).await
}
