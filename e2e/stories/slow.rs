//! Pods that take their time: no traffic before they are available, and no hurry after.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use lockkeeper_api::release::Phase;
use lockkeeper_e2e::wait;
use serde_json::json;

use crate::harness::{App, LIMIT, Story, none_failed, with_images};

fn spec(version: &str) -> String {
    with_images(version, "{setWeight: 50}, {pause: {duration: 3s}}")
}

const MIN_READY_SECONDS: i64 = 8;

/// A candidate's pod counts from `minReadySeconds` after it got ready: for its first traffic and for promotion.
pub async fn min_ready_seconds(story: &Story<'_>) -> Result<()> {
    let app = story.app(4).await?;
    let patch = Patch::Merge(json!({"spec": {"minReadySeconds": MIN_READY_SECONDS}}));
    story.api::<Deployment>().patch("web", &PatchParams::default(), &patch).await?;
    app.available().await?;
    let before = app.specs().await?;
    let traffic = app.traffic();
    story.release(&spec("2.0.0")).await?;
    let weighed = |weight| {
        move |status: &lockkeeper_api::release::ReleaseStatus| status.weight.is_some_and(|now| now.confirmed == weight)
    };
    story.await_status("have 50 % confirmed", weighed(50)).await?;
    available_by(&app, "2.0.0", 2, Timestamp::now()).await?;
    let hash = story.status().await?.candidate.and_then(|c| Some(c.workloads.first()?.hash.clone()));
    let name = format!("web-{}", hash.context("there is no candidate")?);
    let set = wait::object(&story.api::<ReplicaSet>(), &name, "be adopted", LIMIT, |set| {
        set.is_some_and(|set| set.owner_references().iter().any(|owner| owner.controller == Some(true)))
    })
    .await?;
    available_by(&app, "2.0.0", 4, Timestamp::now()).await?;
    let seconds = set.and_then(|set| set.spec?.min_ready_seconds);
    ensure!(seconds == Some(MIN_READY_SECONDS as i32), "the candidate has minReadySeconds {seconds:?}");
    story.await_rest("2.0.0").await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before.with_version("2.0.0")).await
}

/// At least so many pods of the version were ready for long enough at this time, and all of those that there are.
async fn available_by(app: &App<'_>, version: &str, at_least: usize, at: Timestamp) -> Result<()> {
    let ready = ready_since(app, version).await?;
    ensure!(ready.len() >= at_least, "{} pods of {version} are there, not {at_least}", ready.len());
    // Times in the API are of whole seconds.
    let needed = SignedDuration::from_secs(MIN_READY_SECONDS - 1);
    for (pod, since) in &ready {
        let since = since.with_context(|| format!("pod {pod} is not ready"))?;
        ensure!(at.duration_since(since) >= needed, "pod {pod} is ready only since {since}, and it is {at}");
    }
    Ok(())
}

async fn ready_since(app: &App<'_>, version: &str) -> Result<BTreeMap<String, Option<Timestamp>>> {
    let of_version = app.pods(version).await?;
    let pods = app.story.api::<Pod>().list(&ListParams::default()).await?;
    let pods = pods.into_iter().filter(|pod| of_version.contains_key(&pod.name_any()));
    Ok(pods
        .map(|pod| {
            let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
            let ready = conditions.into_iter().find(|c| c.type_ == "Ready" && c.status == "True");
            let since = ready.and_then(|condition| condition.last_transition_time.as_ref()).map(|time| time.0);
            (pod.name_any(), since)
        })
        .collect())
}

/// A candidate that starts slowly is waited for, by name, and then the release goes on.
pub async fn start(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    let traffic = app.traffic();
    story.release(&spec("2.0.0-slowstart10s")).await?;
    story
        .await_status("say what it waits for", |status| {
            status.phase == Phase::Progressing && status.message.contains("50 %")
        })
        .await?;
    let confirmed =
        story.await_status("confirm 50 %", |status| status.weight.is_some_and(|w| w.confirmed == 50)).await?;
    ensure!(confirmed.phase != Phase::RollingBack, "it goes back: {}", confirmed.message);
    let ready = ready_since(&app, "2.0.0-slowstart10s").await?;
    ensure!(ready.values().any(Option::is_some), "no pod is ready, and half of the traffic goes there: {ready:?}");
    story.await_rest("2.0.0-slowstart10s").await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before.with_version("2.0.0-slowstart10s")).await
}
