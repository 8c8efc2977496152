//! `kubectl rollout restart` is no new version: it passes as it always did.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use lockkeeper_api::decision::Verdict;
use lockkeeper_api::release::Phase;
use lockkeeper_e2e::User;
use serde_json::json;

use crate::harness::{Story, none_failed, with_images, without_images};

const STEPS: &str = "{setWeight: 50}";

/// Every pod is new, nobody paused the Deployment, and the Release has stayed at rest.
async fn restarted(story: &Story<'_>, spec: &str) -> Result<()> {
    let app = story.app(3).await?;
    story.release(spec).await?;
    let rest = story.await_rest("1.0.0").await?;
    let old = app.pods("1.0.0").await?;
    let before = story.api::<Deployment>().get("web").await?;
    let traffic = app.traffic();
    story.kubectl(User::Erin, &["rollout", "restart", "deployment/web"]).await?;
    story.kubectl(User::Erin, &["rollout", "status", "deployment/web", "--timeout=120s"]).await?;
    app.available().await?;
    let new = app.pods("1.0.0").await?;
    ensure!(new.len() == 3 && new.keys().all(|pod| !old.contains_key(pod)), "{old:?} have become {new:?}");
    let after = story.api::<Deployment>().get("web").await?;
    // Whoever pauses and resumes changes the spec twice more.
    let changes = after.metadata.generation.zip(before.metadata.generation).map(|(after, before)| after - before);
    ensure!(changes == Some(1), "the spec has changed {changes:?} times");
    let marks = after.annotations().keys().filter(|mark| mark.starts_with("lockkeeper.dev/"));
    let was: Vec<&String> = before.annotations().keys().filter(|mark| mark.starts_with("lockkeeper.dev/")).collect();
    ensure!(marks.eq(was.iter().copied()), "our annotations were {was:?}, now {:?}", after.annotations());
    let status = story.await_status("follow the restart", |status| {
        let hash = |status: &lockkeeper_api::release::ReleaseStatus| {
            status.stable.as_ref().and_then(|stable| stable.workloads.first().map(|workload| workload.hash.clone()))
        };
        status.phase == Phase::Stable && hash(status) != hash(&rest)
    });
    let status = status.await?;
    ensure!(
        status.since == rest.since,
        "it has not been Stable all the time: {:?}, then {:?}",
        rest.since,
        status.since
    );
    // A release goes on from there.
    let expected = app.specs().await?.with_version("2.0.0");
    match spec.contains("images") {
        true => story.release(&with_images("2.0.0", STEPS)).await?,
        false => app.set_version("2.0.0").await?,
    }
    story.await_rest("2.0.0").await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&expected).await
}

pub async fn images_in_release(story: &Story<'_>) -> Result<()> {
    restarted(story, &with_images("1.0.0", STEPS)).await
}

pub async fn deployment(story: &Story<'_>) -> Result<()> {
    restarted(story, &without_images(STEPS)).await
}

/// Mid-way, a restart is no new version either: the release goes on, and its new version restarts when it has the Deployment.
pub async fn midway(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    let before = app.specs().await?;
    story.release(&with_images("2.0.0", "{setWeight: 50}, {pause: {}}")).await?;
    let status = story.await_confirmed(50).await?;
    let (old, new) = (app.pods("1.0.0").await?, app.pods("2.0.0").await?);
    let (exposure, traffic) = (app.exposure().await?, app.traffic());
    // kubectl does not restart what is paused; others do.
    let at = "2026-01-06T09:00:00Z";
    let restarted = json!({"kubectl.kubernetes.io/restartedAt": at});
    let patch = Patch::Merge(json!({"spec": {"template": {"metadata": {"annotations": restarted}}}}));
    story.api::<Deployment>().patch("web", &PatchParams::default(), &patch).await?;
    story.decide(User::Alice, Verdict::Resume, None).await?;
    let promoted = story
        .await_status("be promoted", |status| {
            status.phase == Phase::Stable && status.stable.as_ref().is_some_and(|stable| stable.version == "2.0.0")
        })
        .await?;
    let revisions = [status.candidate, promoted.stable].map(|revision| revision.map(|revision| revision.revision));
    ensure!(revisions[0] == revisions[1], "the restart has made another version of it: {revisions:?}");
    app.given_back("2.0.0").await?;
    story.await_rest("2.0.0").await?;
    let restarted = app.pods("2.0.0").await?;
    ensure!(restarted.len() == 3 && restarted.keys().all(|pod| !new.contains_key(pod)), "{new:?}, now {restarted:?}");
    ensure!(app.pods("1.0.0").await?.is_empty(), "pods of the old version are left of {old:?}");
    none_failed(&traffic.stop().await)?;
    exposure.never_above_the_step()?;
    app.at_rest(&before.with_version("2.0.0").with_restart(at)).await
}
