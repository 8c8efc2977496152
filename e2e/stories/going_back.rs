//! The wish changes mid-way.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::api::ListParams;
use lockkeeper_api::decision::Verdict;
use lockkeeper_api::release::Phase;
use lockkeeper_e2e::User;

use crate::harness::{Story, none_failed, with_images};

fn spec(version: &str) -> String {
    with_images(version, "{setWeight: 40}, {pause: {}}")
}

/// A newer version replaces one that is on its way; that one's pods go, and the newer one starts from the beginning.
pub async fn superseded(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    let before = app.specs().await?;
    let traffic = app.traffic();
    story.release(&spec("2.0.0")).await?;
    story.await_confirmed(40).await?;
    let first = story.status().await?.candidate.map(|candidate| candidate.revision);
    story.release(&spec("2.1.0")).await?;
    story
        .await_status("show the newer version to 40 %", |status| {
            let newer = status.candidate.as_ref().is_some_and(|candidate| Some(&candidate.revision) != first.as_ref());
            newer && status.phase == Phase::Paused && status.weight.is_some_and(|weight| weight.confirmed == 40)
        })
        .await?;
    ensure!(app.pods("2.0.0").await?.is_empty(), "pods of the version that was replaced are left");
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("2.1.0").await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before.with_version("2.1.0")).await
}

/// Back to the stable version mid-way: the release is over at once, nothing is blocked, nothing was restarted.
pub async fn withdrawn(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    let (before, pods) = (app.specs().await?, app.pods("1.0.0").await?);
    let traffic = app.traffic();
    story.release(&spec("2.0.0")).await?;
    story.await_confirmed(40).await?;
    story.release(&spec("1.0.0")).await?;
    let status = story.await_rest("1.0.0").await?;
    ensure!(status.blocked.is_empty(), "{:?}", status.blocked);
    none_failed(&traffic.stop().await)?;
    ensure!(app.pods("1.0.0").await? == pods, "pods of the stable version have changed");
    app.at_rest(&before).await?;
    let sets = story.api::<ReplicaSet>().list(&ListParams::default()).await?;
    ensure!(sets.items.len() == 1, "{} ReplicaSets are left", sets.items.len());
    Ok(())
}
