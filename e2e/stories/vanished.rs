//! Somebody deletes something mid-way.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::ResourceExt;
use lockkeeper_api::decision::Verdict;
use lockkeeper_api::release::{Phase, Release};
use lockkeeper_e2e::{User, wait};

use crate::harness::{App, LIMIT, Specs, Story, none_failed, with_images, without_images};

fn spec() -> String {
    with_images("2.0.0", "{setWeight: 40}, {pause: {}}")
}

/// With 40 % of the traffic on the new version; and the specs as they were before.
async fn half_way<'a>(story: &'a Story<'a>) -> Result<(App<'a>, Specs)> {
    let app = story.app(3).await?;
    let before = app.specs().await?;
    story.release(&spec()).await?;
    story.await_confirmed(40).await?;
    Ok((app, before))
}

/// Somebody deletes the stable version's ReplicaSet: it is made again, with so many pods.
async fn made_again(app: &App<'_>, pods: i32) -> Result<()> {
    let story = app.story;
    let hash = story.status().await?.stable.and_then(|stable| stable.workloads.first().map(|w| w.hash.clone()));
    let sets = story.api::<ReplicaSet>();
    let name = format!("web-{}", hash.unwrap_or_default());
    let uid = sets.get(&name).await?.uid();
    story.kubectl(User::Admin, &["delete", "replicaset", &name]).await?;
    wait::object(&sets, &name, "be there again with its pods", LIMIT, |set| {
        let ready = set.and_then(|set| set.status.as_ref()).and_then(|status| status.ready_replicas);
        set.is_some_and(|set| set.uid() != uid) && ready.is_some_and(|ready| ready >= pods)
    })
    .await?;
    wait::served(story.cluster().gateway_url(), &app.host, LIMIT).await
}

/// A paused Deployment does not make its ReplicaSet again; we do.
pub async fn stable_replica_set(story: &Story<'_>) -> Result<()> {
    let (app, before) = half_way(story).await?;
    made_again(&app, 2).await?;
    story.await_confirmed(40).await?;
    let traffic = app.traffic();
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("2.0.0").await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before.with_version("2.0.0")).await
}

/// Also while the version that it is paused for waits at a gate, and after that has gone back.
pub async fn behind_a_gate(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    let gates = "gates: {approvals: [{name: go, before: Start}]}\n";
    story.release(&(without_images("{setWeight: 50}, {pause: {}}") + gates)).await?;
    story.await_rest("1.0.0").await?;
    app.set_version("2.0.0").await?;
    story.await_phase(Phase::Waiting).await?;
    made_again(&app, 2).await?;
    ensure!(app.pods("2.0.0").await?.is_empty(), "the version that waits runs");
    story.approved_to(50).await?;
    story.decide(User::Alice, Verdict::Abort, None).await?;
    story.await_phase(Phase::Aborted).await?;
    app.gone("2.0.0").await?;
    made_again(&app, 2).await?;
    app.set_version("1.0.0").await?;
    story.await_rest("1.0.0").await?;
    app.at_rest(&before).await
}

/// The Deployment has the version that went back in its history, and asks for it: with nothing else left it gives that pods, paused as it is.
pub async fn after_going_back(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    story.release(&without_images("{setWeight: 50}")).await?;
    story.await_rest("1.0.0").await?;
    app.set_version("2.0.0").await?;
    story.await_rest("2.0.0").await?;
    story.decide(User::Alice, Verdict::Rollback, None).await?;
    story.await_phase(Phase::RolledBack).await?;
    app.gone("2.0.0").await?;
    made_again(&app, 2).await?;
    app.gone("2.0.0").await?;
    app.set_version("1.0.0").await?;
    story.await_rest("1.0.0").await?;
    app.at_rest(&before).await
}

/// Without its route nothing can be shifted, and the release says so; when it is there again it goes on.
pub async fn route(story: &Story<'_>) -> Result<()> {
    let (app, before) = half_way(story).await?;
    story.kubectl(User::Admin, &["delete", "httproute", "web"]).await?;
    story.await_status("speak of the missing route", |status| status.message.contains("HTTPRoute")).await?;
    app.route_again().await?;
    wait::served(story.cluster().gateway_url(), &app.host, LIMIT).await?;
    story.await_confirmed(40).await?;
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("2.0.0").await?;
    app.at_rest(&before.with_version("2.0.0")).await
}

pub async fn service(story: &Story<'_>) -> Result<()> {
    let (app, before) = half_way(story).await?;
    story.kubectl(User::Admin, &["delete", "service", "web"]).await?;
    story.await_status("speak of the missing Service", |status| status.message.contains("Service")).await?;
    app.route_again().await?;
    story.await_confirmed(40).await?;
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("2.0.0").await?;
    app.at_rest(&before.with_version("2.0.0")).await
}

/// Traffic goes back first; an unproven version is not rolled out.
pub async fn release(story: &Story<'_>) -> Result<()> {
    let (app, before) = half_way(story).await?;
    let traffic = app.traffic();
    story.kubectl(User::Admin, &["delete", "release", "web"]).await?;
    let gone = story.api::<Release>().get_opt("web").await?;
    ensure!(gone.is_none(), "the Release is still there");
    none_failed(&traffic.stop().await)?;
    ensure!(app.pods("1.0.0").await?.len() == 3, "the stable version is not whole");
    ensure!(app.pods("2.0.0").await?.is_empty(), "the unproven version runs");
    app.at_rest(&before).await
}

/// The candidate's pods must not outlive their Deployment, and nothing of the old one is in the way of a new one.
pub async fn deployment(story: &Story<'_>) -> Result<()> {
    let (app, before) = half_way(story).await?;
    story.kubectl(User::Admin, &["delete", "deployment", "web"]).await?;
    wait::list(&story.api::<ReplicaSet>(), "", "be gone", LIMIT, |sets| sets.is_empty()).await?;
    app.sync("1.0.0").await?;
    story.await_confirmed(40).await?;
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("2.0.0").await?;
    wait::served(story.cluster().gateway_url(), &app.host, LIMIT).await?;
    app.at_rest(&before.with_version("2.0.0")).await
}
