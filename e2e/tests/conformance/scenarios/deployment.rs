//! The Deployment controller, one Deployment at a time.

use anyhow::Result;
use lockkeeper_simulator::api::Kind::{Deployment, ReplicaSet};
use serde_json::{Value, json};

use super::objects::{deployment, version, with};
use crate::play::{Ask, Form, Play};

/// Sets the image as `kubectl set image` does, and waits.
async fn set_version(play: &mut Play<'_>, to: &str) -> Result<()> {
    play.ask(Ask::patch(Deployment, "web", Form::Strategic, version(to))).await?;
    play.settle().await
}

async fn set(play: &mut Play<'_>, spec: Value) -> Result<()> {
    play.merge(Deployment, "web", json!({"spec": spec})).await?;
    play.settle().await
}

async fn begin(play: &mut Play<'_>, deployment: Value) -> Result<()> {
    play.create(Deployment, deployment).await?;
    play.settle().await
}

/// Through the scale subresource, as autoscalers do.
async fn scale(play: &mut Play<'_>, replicas: u32) -> Result<()> {
    let ask = Ask::patch(Deployment, "web", Form::Merge, json!({"spec": {"replicas": replicas}})).of("scale");
    play.ask(ask).await?;
    play.settle().await
}

/// Created, given another version, scaled; a restart.
pub async fn rolled_out(play: &mut Play<'_>) -> Result<()> {
    begin(play, deployment("1", 3)).await?;
    set_version(play, "2").await?;
    set(play, json!({"replicas": 5})).await?;
    let restarted = json!({"annotations": {"kubectl.kubernetes.io/restartedAt": "2026-01-01T10:00:00Z"}});
    set(play, json!({"template": {"metadata": restarted}})).await
}

/// What a paused Deployment does: scale, and nothing else.
pub async fn paused(play: &mut Play<'_>) -> Result<()> {
    begin(play, deployment("1", 2)).await?;
    set(play, json!({"paused": true})).await?;
    set_version(play, "2").await?;
    scale(play, 4).await?;
    set_version(play, "3").await?;
    set(play, json!({"paused": false})).await
}

/// Created paused: there is no ReplicaSet before it goes on.
pub async fn created_paused(play: &mut Play<'_>) -> Result<()> {
    begin(play, with(deployment("1", 2), "/spec/paused", json!(true))).await?;
    set_version(play, "2").await?;
    set(play, json!({"paused": null})).await
}

/// The annotations of revisions, the limit of the history, and the way back to an earlier template.
pub async fn history(play: &mut Play<'_>) -> Result<()> {
    begin(play, with(deployment("1", 1), "/spec/revisionHistoryLimit", json!(2))).await?;
    for next in ["2", "3", "4"] {
        set_version(play, next).await?;
    }
    set_version(play, "3").await?;
    set_version(play, "5").await?;
    set_version(play, "3").await?;
    set(play, json!({"revisionHistoryLimit": 0})).await
}

/// While paused the history is cut, too.
pub async fn history_while_paused(play: &mut Play<'_>) -> Result<()> {
    begin(play, deployment("1", 1)).await?;
    set_version(play, "2").await?;
    set_version(play, "3").await?;
    set(play, json!({"paused": true})).await?;
    set(play, json!({"revisionHistoryLimit": 1})).await?;
    set_version(play, "2").await?;
    set(play, json!({"paused": false})).await
}

/// What the Deployment's annotations become on its ReplicaSets.
pub async fn annotated(play: &mut Play<'_>) -> Result<()> {
    let annotations = json!({"team": "shop", "kubernetes.io/change-cause": "first"});
    begin(play, with(deployment("1", 1), "/metadata/annotations", annotations)).await?;
    let annotations = json!({"metadata": {"annotations": {"team": "web", "more": "x"}}});
    play.merge(Deployment, "web", annotations).await?;
    play.settle().await?;
    set_version(play, "2").await?;
    play.merge(Deployment, "web", json!({"metadata": {"annotations": {"team": null}}})).await?;
    play.settle().await?;
    set_version(play, "1").await
}

/// A version that never gets ready stops half-way; scaled there, up and down, and given up.
pub async fn scaled_midway(play: &mut Play<'_>) -> Result<()> {
    begin(play, deployment("1", 10)).await?;
    set_version(play, "2-neverready").await?;
    scale(play, 16).await?;
    scale(play, 5).await?;
    scale(play, 0).await?;
    scale(play, 4).await?;
    set_version(play, "1").await
}

/// Three versions at once.
pub async fn scaled_between_three(play: &mut Play<'_>) -> Result<()> {
    begin(play, deployment("1", 8)).await?;
    set_version(play, "2-neverready").await?;
    set_version(play, "3-neverready").await?;
    scale(play, 12).await?;
    scale(play, 7).await?;
    set(play, json!({"paused": true})).await?;
    scale(play, 10).await?;
    set(play, json!({"paused": false})).await?;
    set_version(play, "4").await
}

/// How much more, and how much less.
pub async fn room(play: &mut Play<'_>) -> Result<()> {
    let strategy = |surge: Value, unavailable: Value| json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}});
    begin(play, deployment("1", 7)).await?;
    set(play, strategy(json!("30%"), json!("30%"))).await?;
    set_version(play, "2-neverready").await?;
    set_version(play, "1").await?;
    set(play, strategy(json!(0), json!(1))).await?;
    set_version(play, "3-neverready").await?;
    set_version(play, "1").await?;
    set(play, strategy(json!("0%"), json!("1%"))).await?;
    set_version(play, "4-neverready").await?;
    set_version(play, "1").await?;
    set(play, strategy(json!("100%"), json!(0))).await?;
    set_version(play, "5-neverready").await
}

/// One version after the other, never two. (What becomes of condition Progressing while the next one is not ready depends on which of
/// its own writes the real controller has seen already.)
pub async fn recreated(play: &mut Play<'_>) -> Result<()> {
    begin(play, with(deployment("1", 3), "/spec/strategy", json!({"type": "Recreate"}))).await?;
    set_version(play, "2").await?;
    set_version(play, "3").await?;
    scale(play, 2).await?;
    set_version(play, "1").await
}

/// Pods are ready late, and have to be for a while.
pub async fn ready_late(play: &mut Play<'_>) -> Result<()> {
    begin(play, with(deployment("1-slowstart1s", 2), "/spec/minReadySeconds", json!(2))).await?;
    set_version(play, "2-slowstart2s").await?;
    set(play, json!({"minReadySeconds": 1})).await
}

/// Pods crash after they were ready, or from the start. (A version that crashes in the midst of a rollout would end as chance has it.)
pub async fn crashes(play: &mut Play<'_>) -> Result<()> {
    begin(play, deployment("0-crashafter12s", 4)).await?;
    set_version(play, "1").await?;
    set_version(play, "2-crash").await?;
    set_version(play, "1").await
}

/// Too late, and what ends that.
pub async fn deadline(play: &mut Play<'_>) -> Result<()> {
    begin(play, with(deployment("1", 2), "/spec/progressDeadlineSeconds", json!(3))).await?;
    set_version(play, "2-neverready").await?;
    scale(play, 3).await?;
    set(play, json!({"paused": true})).await?;
    set(play, json!({"paused": false})).await?;
    set_version(play, "1").await
}

/// The first version never gets ready.
pub async fn deadline_of_the_first(play: &mut Play<'_>) -> Result<()> {
    begin(play, with(deployment("1-neverready", 2), "/spec/progressDeadlineSeconds", json!(2))).await?;
    set_version(play, "2").await
}

/// An autoscaler, at rest and to nothing.
pub async fn autoscaled(play: &mut Play<'_>) -> Result<()> {
    begin(play, deployment("1", 3)).await?;
    scale(play, 6).await?;
    play.ask(Ask::get(Deployment, "web").of("scale")).await?;
    scale(play, 0).await?;
    set_version(play, "2").await?;
    scale(play, 2).await?;
    set(play, json!({"paused": true})).await?;
    set_version(play, "3").await?;
    scale(play, 0).await?;
    scale(play, 3).await?;
    set(play, json!({"paused": false})).await
}

/// A ReplicaSet that somebody scales or deletes by hand.
pub async fn meddled_with(play: &mut Play<'_>) -> Result<()> {
    begin(play, deployment("1", 2)).await?;
    set_version(play, "2").await?;
    let [first, second] = [play.set_of("1").await?, play.set_of("2").await?];
    for name in [&first, &second] {
        play.merge(ReplicaSet, name, json!({"spec": {"replicas": 4}})).await?;
        play.settle().await?;
    }
    play.delete(ReplicaSet, &second).await?;
    play.settle().await?;
    set(play, json!({"paused": true})).await?;
    let second = play.set_of("2").await?;
    play.delete(ReplicaSet, &second).await?;
    play.settle().await?;
    set(play, json!({"paused": false})).await
}

/// A Deployment is deleted, and what it controls with it.
pub async fn deleted(play: &mut Play<'_>) -> Result<()> {
    begin(play, deployment("1", 2)).await?;
    set_version(play, "2").await?;
    play.delete(Deployment, "web").await?;
    play.settle().await?;
    begin(play, deployment("2", 1)).await
}
