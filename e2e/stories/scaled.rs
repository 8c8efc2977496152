//! An autoscaler changes the number of replicas while a release runs, as the HPA does: through the scale subresource.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, ensure};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::api::{Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt};
use lockkeeper_api::decision::Verdict;
use lockkeeper_api::release::Phase;
use lockkeeper_e2e::{User, wait};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::harness::{App, GATE_AND_BAKE, LIMIT, Story, bake, none_failed, with_images};

fn spec(version: &str) -> String {
    with_images(version, "{setWeight: 40}, {pause: {}}") + GATE_AND_BAKE
}

/// In every phase somebody needs more pods and gets them, of each version as many as it should have; promotion kills none.
pub async fn at_every_phase(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    let before = app.specs().await?;
    story.apply(&bake("15s")).await?;
    let deaths = app.deaths().await?;
    let traffic = app.traffic();
    story.release(&spec("2.0.0")).await?;
    story.await_phase(Phase::Waiting).await?;
    grown(&app, 4, &[("1.0.0", 4)]).await?;
    story.decide(User::Alice, Verdict::Approve, Some("go")).await?;
    story.await_phase(Phase::Progressing).await?;
    grown(&app, 5, &[("1.0.0", 5), ("2.0.0", 2)]).await?;
    story.await_confirmed(40).await?;
    grown(&app, 8, &[("1.0.0", 8), ("2.0.0", 4)]).await?;
    story.await_confirmed(40).await?;
    // Who looks only afterwards may come too late for the phase.
    tokio::try_join!(story.await_phase(Phase::Promoting), story.decide(User::Alice, Verdict::Resume, None))?;
    app.scale(9).await?;
    story.await_phase(Phase::Baking).await?;
    grown(&app, 10, &[("1.0.0", 10), ("2.0.0", 10)]).await?;
    story.await_rest("2.0.0").await?;
    ensure!(deaths.of("2.0.0").is_empty(), "pods of the new version were killed: {:?}", deaths.of("2.0.0"));
    app.at_rest(&before.clone().with_version("2.0.0").with_replicas(10)).await?;

    let pods = app.pods("2.0.0").await?;
    story.release(&spec("3.0.0")).await?;
    story.approved_to(40).await?;
    tokio::try_join!(story.await_phase(Phase::RollingBack), story.decide(User::Alice, Verdict::Abort, None))?;
    grown(&app, 11, &[("2.0.0", 11)]).await?;
    story.await_phase(Phase::Aborted).await?;
    story.await_given_back().await?;
    none_failed(&traffic.stop().await)?;
    let now = app.pods("2.0.0").await?;
    ensure!(
        pods.iter().all(|(name, uid)| now.get(name) == Some(uid)),
        "the way back has cost pods: {pods:?}, now {now:?}"
    );
    app.at_rest(&before.with_version("2.0.0").with_replicas(11)).await
}

/// Scales, and waits until each of these versions has so many pods ready.
async fn grown(app: &App<'_>, replicas: u32, wanted: &[(&str, i32)]) -> Result<()> {
    app.scale(replicas).await?;
    let what = format!("have {wanted:?} pods ready");
    wait::list(&app.story.api::<ReplicaSet>(), "", &what, LIMIT, |sets| {
        wanted.iter().all(|(version, pods)| {
            let image = format!("demo:{version}");
            let ready = sets
                .iter()
                .filter(|set| images(set).any(|i| i == image))
                .filter_map(|set| set.status.as_ref()?.ready_replicas);
            ready.sum::<i32>() == *pods
        })
    })
    .await?;
    Ok(())
}

fn images(set: &ReplicaSet) -> impl Iterator<Item = &str> {
    let template =
        set.spec.as_ref().and_then(|spec| spec.template.as_ref()).and_then(|template| template.spec.as_ref());
    template.into_iter().flat_map(|spec| &spec.containers).filter_map(|container| container.image.as_deref())
}

/// Flips the replicas between two numbers whenever a ReplicaSet has changed hands or labels: between every two writes of
/// a handover.
struct Autoscaler {
    flips: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

const FEW: u32 = 3;
const MANY: u32 = 6;

impl Autoscaler {
    fn start(app: &App<'_>) -> Autoscaler {
        let flips = Arc::new(AtomicU32::new(0));
        let (deployments, sets) = (app.story.api::<Deployment>(), app.story.api::<ReplicaSet>());
        let task = tokio::spawn(flip(deployments, sets, app.name.clone(), flips.clone()));
        Autoscaler { flips, task }
    }

    /// Ends it. Gives how often it has flipped.
    fn stop(self) -> u32 {
        self.task.abort();
        self.flips.load(Ordering::Relaxed)
    }
}

async fn flip(deployments: Api<Deployment>, sets: Api<ReplicaSet>, name: String, flips: Arc<AtomicU32>) {
    let mut hands = BTreeMap::new();
    let mut stream = Box::pin(watcher(sets, watcher::Config::default()).default_backoff());
    while let Some(event) = stream.next().await {
        let Ok(Event::Apply(set) | Event::InitApply(set)) = event else { continue };
        let now = (set.labels().clone(), set.owner_references().to_vec());
        if hands.insert(set.name_any(), now.clone()) == Some(now) {
            continue;
        }
        let count = flips.fetch_add(1, Ordering::Relaxed);
        let replicas = if count.is_multiple_of(2) { MANY } else { FEW };
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        // A conflict is the autoscaler's own trouble; it looks again at the next change.
        let _ = deployments.patch_scale(&name, &PatchParams::default(), &patch).await;
    }
}

/// The handover, with history to detach, while each of its writes meets an autoscaler that wants something else.
pub async fn between_the_writes_of_the_handover(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    for version in ["1.1.0", "1.2.0"] {
        app.set_version(version).await?;
        app.available().await?;
    }
    let before = app.specs().await?;
    story.apply(&bake("15s")).await?;
    let traffic = app.traffic();
    story.release(&spec("2.0.0")).await?;
    story.approved_to(40).await?;
    let autoscaler = Autoscaler::start(&app);
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_phase(Phase::Baking).await?;
    let flips = autoscaler.stop();
    // Three ReplicaSets were there at first; two of history, one released, one adopted.
    ensure!(flips >= 7, "the autoscaler has changed its mind only {flips} times");
    app.scale(5).await?;
    story.await_rest("2.0.0").await?;
    app.available().await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before.with_version("2.0.0").with_replicas(5)).await
}

/// The handover in reverse, from the bake back to the version before.
pub async fn between_the_writes_of_the_way_back(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    let before = app.specs().await?;
    story.apply(&bake("10m")).await?;
    let traffic = app.traffic();
    story.release(&spec("2.0.0")).await?;
    story.approved_to(40).await?;
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_phase(Phase::Baking).await?;
    let autoscaler = Autoscaler::start(&app);
    story.decide(User::Alice, Verdict::Rollback, None).await?;
    story.await_phase(Phase::RolledBack).await?;
    let flips = autoscaler.stop();
    ensure!(flips >= 4, "the autoscaler has changed its mind only {flips} times");
    app.scale(4).await?;
    story.await_given_back().await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before.with_replicas(4)).await?;
    ensure!(app.pods("2.0.0").await?.is_empty(), "pods of the version that was left still run");
    Ok(())
}
