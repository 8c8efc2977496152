//! Somebody takes the pause off the Deployment mid-way: it stays held, and no user notices.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use lockkeeper_api::decision::Verdict;
use lockkeeper_api::release::Phase;
use lockkeeper_e2e::User;
use serde_json::json;

use crate::harness::{App, Specs, Story, none_failed, with_images, without_images};

const STEPS: &str = "{setWeight: 40}, {pause: {}}, {setWeight: 100}";

/// 2.0.0 has 40 % of the traffic; and the specs as they were before.
async fn half_way<'a>(story: &'a Story<'a>, images: bool) -> Result<(App<'a>, Specs)> {
    let app = story.app(3).await?;
    let before = app.specs().await?;
    if images {
        story.release(&with_images("2.0.0", STEPS)).await?;
    } else {
        story.release(&without_images(STEPS)).await?;
        story.await_rest("1.0.0").await?;
        app.sync("2.0.0").await?;
    }
    story.await_confirmed(40).await?;
    Ok((app, before))
}

async fn unpaused(story: &Story<'_>, images: bool, unpause: impl AsyncFnOnce(&App<'_>) -> Result<()>) -> Result<()> {
    let (app, before) = half_way(story, images).await?;
    let stable = app.pods("1.0.0").await?;
    let (exposure, traffic) = (app.exposure().await?, app.traffic());
    let held = story.api::<Deployment>().get("web").await?;
    unpause(&app).await?;
    let deployment = story.api::<Deployment>().get("web").await?;
    ensure!(app.paused().await?, "the Deployment is not paused any more");
    // Paused again would be another generation, and too late.
    let generations = [held.metadata.generation, deployment.metadata.generation];
    ensure!(generations[0] == generations[1], "its spec has changed for a moment: {generations:?}");
    ensure!(deployment.annotations().contains_key("lockkeeper.dev/hold"), "{:?}", deployment.annotations());
    story.await_confirmed(40).await?;
    ensure!(app.pods("1.0.0").await? == stable, "pods of the stable version have changed");
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("2.0.0").await?;
    none_failed(&traffic.stop().await)?;
    exposure.never_above_the_step()?;
    app.at_rest(&before.with_version("2.0.0")).await
}

/// `kubectl rollout resume`, by somebody who may edit Deployments.
pub async fn by_rollout_resume(story: &Story<'_>) -> Result<()> {
    unpaused(story, false, async |app| {
        app.story.kubectl(User::Erin, &["rollout", "resume", "deployment/web"]).await.map(drop)
    })
    .await
}

/// Takes off every annotation of ours, and the pause, as somebody who may edit Deployments.
async fn patch(app: &App<'_>) -> Result<()> {
    let client = app.story.cluster().client(User::Erin);
    let deployments: Api<Deployment> = Api::namespaced(client, &app.story.namespace);
    let annotations = json!({
        "lockkeeper.dev/release": null, "lockkeeper.dev/hold": null,
        "lockkeeper.dev/paused-by": null, "lockkeeper.dev/requested-by": null,
    });
    let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}, "spec": {"paused": false}}));
    deployments.patch("web", &PatchParams::default(), &patch).await?;
    Ok(())
}

/// A patch that says `paused: false` and takes our annotations off too.
pub async fn by_patch(story: &Story<'_>) -> Result<()> {
    unpaused(story, true, patch).await
}

/// While a version waits for its gates before Start nobody rolls it out past them, not by any of these.
pub async fn before_start(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?.with_version("2.0.0");
    let stable = app.pods("1.0.0").await?;
    let gates = "gates: {approvals: [{name: go, before: Start}]}\n";
    story.release(&(without_images(STEPS) + gates)).await?;
    story.await_rest("1.0.0").await?;
    app.sync("2.0.0").await?;
    story.await_phase(Phase::Waiting).await?;
    story.kubectl(User::Erin, &["rollout", "resume", "deployment/web"]).await?;
    ensure!(app.paused().await?, "rollout resume has passed the gate");
    patch(&app).await?;
    ensure!(app.paused().await?, "a patch has passed the gate");
    app.story.apply(&app.manifests("2.0.0").replacen("  replicas:", "  paused: false\n  replicas:", 1)).await?;
    ensure!(app.paused().await?, "an apply has passed the gate");
    let status = story.status().await?;
    ensure!(status.phase == Phase::Waiting, "it is {}", status.phase);
    ensure!(app.pods("2.0.0").await?.is_empty(), "pods of the new version run");
    ensure!(app.pods("1.0.0").await? == stable, "pods of the stable version have changed");
    story.decide(User::Alice, Verdict::Approve, Some("go")).await?;
    story.await_confirmed(40).await?;
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("2.0.0").await?;
    app.at_rest(&before).await
}

/// What a person had paused before the release, a person resumes: it ends with the new version, paused.
pub async fn paused_by_person(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    story.release(&with_images("1.0.0", STEPS)).await?;
    story.await_rest("1.0.0").await?;
    story.kubectl(User::Erin, &["rollout", "pause", "deployment/web"]).await?;
    let before = app.specs().await?;
    ensure!(app.paused().await?, "the pause did not take");
    let traffic = app.traffic();
    story.release(&with_images("2.0.0", STEPS)).await?;
    story.await_confirmed(40).await?;
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("2.0.0").await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before.with_version("2.0.0")).await
}

/// A forced server-side apply of manifests that say `paused: false`.
pub async fn by_apply(story: &Story<'_>) -> Result<()> {
    unpaused(story, false, async |app| {
        let manifests = app.manifests("2.0.0").replacen("  replicas:", "  paused: false\n  replicas:", 1);
        app.story.apply(&manifests).await
    })
    .await
}
