//! Whole releases, with the operator's own code in both worlds: as a process, and in the simulator.

use anyhow::Result;
use lockkeeper_e2e::User;
use lockkeeper_simulator::api::Kind::{Decision, Deployment, HTTPRoute, Release, Service};
use serde_json::{Value, json};

use super::objects::{deployment, release, route, service, version, with};
use crate::play::{Ask, Form, Play};
use crate::world::OPERATED;

/// An application that runs in version 1.
async fn application(play: &mut Play<'_>, replicas: u32) -> Result<()> {
    play.create(Deployment, deployment("1", replicas)).await?;
    play.create(Service, service("web")).await?;
    play.create(HTTPRoute, route("web", &play.namespace)).await?;
    play.settle().await
}

/// A Release that the operator looks at.
async fn operated(play: &mut Play<'_>, steps: Value) -> Result<()> {
    let labels = json!({OPERATED: "yes"});
    play.create(Release, with(release(steps), "/metadata/labels", labels)).await?;
    play.settle().await
}

async fn set_version(play: &mut Play<'_>, to: &str) -> Result<()> {
    play.ask(Ask::patch(Deployment, "web", Form::Strategic, version(to))).await?;
    play.settle().await
}

/// A Decision of Alice's about the version on its way.
async fn decide(play: &mut Play<'_>, verdict: &str) -> Result<()> {
    let status = play.peek(Release, "web").await?["status"].clone();
    let revision = &status["candidate"]["revision"];
    play.act_as(User::Alice);
    let decision = json!({"metadata": {"name": verdict.to_lowercase()}, "spec": {"release": "web", "revision": revision,
        "verdict": verdict, "by": {"username": "alice", "groups": ["sre"]}}});
    play.ask(Ask::create(Decision, decision)).await?;
    play.act_as(User::Admin);
    play.settle().await
}

/// A running Deployment is taken over, and a good version becomes the stable one by steps.
pub async fn good(play: &mut Play<'_>) -> Result<()> {
    application(play, 3).await?;
    operated(play, json!([{"setWeight": 34}, {"pause": {}}, {"setWeight": 100}])).await?;
    set_version(play, "2").await?;
    decide(play, "Resume").await
}

/// A version that crashes goes back by itself.
pub async fn rolled_back(play: &mut Play<'_>) -> Result<()> {
    application(play, 2).await?;
    operated(play, json!([{"setWeight": 50}, {"pause": {}}])).await?;
    set_version(play, "2-crash").await?;
    set_version(play, "1").await
}

/// Somebody aborts half-way.
pub async fn aborted(play: &mut Play<'_>) -> Result<()> {
    application(play, 2).await?;
    operated(play, json!([{"setWeight": 50}, {"pause": {}}])).await?;
    set_version(play, "2").await?;
    decide(play, "Abort").await
}

/// The Release carries the version; an autoscaler acts half-way, and the Release is deleted.
pub async fn carried(play: &mut Play<'_>) -> Result<()> {
    application(play, 2).await?;
    let labels = json!({OPERATED: "yes"});
    let web = with(release(json!([{"setWeight": 50}, {"pause": {}}])), "/metadata/labels", labels);
    play.create(Release, with(web, "/spec/workloads/0/images", json!({"app": "demo:2"}))).await?;
    play.settle().await?;
    let scale = Ask::patch(Deployment, "web", Form::Merge, json!({"spec": {"replicas": 4}})).of("scale");
    play.ask(scale).await?;
    play.settle().await?;
    play.delete(Release, "web").await?;
    play.settle().await
}
