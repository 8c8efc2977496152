//! A rollout that somebody pauses half-way, and what the controller scales when one of its ReplicaSets leaves then, or is scaled by hand.
//!
//! History 1 and 2; version 3 never gets ready, so that where the rollout stands is no matter of time: of 4 replicas, 3 in version 2
//! and 2 in version 3.

use anyhow::Result;
use lockkeeper_simulator::api::Kind::{Deployment, ReplicaSet};
use serde_json::{Value, json};

use super::objects::{deployment, version};
use crate::play::{Ask, Form, Play};

const OLD: &str = "2";
const NEW: &str = "3-neverready";

async fn set_version(play: &mut Play<'_>, to: &str) -> Result<()> {
    play.demand(Ask::patch(Deployment, "web", Form::Strategic, version(to))).await?;
    play.settle().await
}

async fn set(play: &mut Play<'_>, spec: Value) -> Result<()> {
    play.demand(Ask::patch(Deployment, "web", Form::Merge, json!({"spec": spec}))).await?;
    play.settle().await
}

/// Half-way, and not paused.
async fn half_way(play: &mut Play<'_>) -> Result<()> {
    play.demand(Ask::create(Deployment, deployment("1", 4))).await?;
    play.settle().await?;
    set_version(play, OLD).await?;
    set_version(play, NEW).await
}

/// Half-way, and paused there.
async fn stopped(play: &mut Play<'_>) -> Result<()> {
    half_way(play).await?;
    set(play, json!({"paused": true})).await
}

async fn patch(play: &mut Play<'_>, version: &str, patch: Value) -> Result<()> {
    let name = play.set_of(version).await?;
    play.demand(Ask::patch(ReplicaSet, &name, Form::Merge, patch)).await?;
    play.settle().await
}

/// It is the controller's no more: its labels do not match.
async fn release(play: &mut Play<'_>, version: &str) -> Result<()> {
    patch(play, version, json!({"metadata": {"labels": {"app": null}}})).await
}

async fn give_back(play: &mut Play<'_>, version: &str) -> Result<()> {
    patch(play, version, json!({"metadata": {"labels": {"app": "web"}}})).await
}

async fn scale(play: &mut Play<'_>, version: &str, replicas: u32) -> Result<()> {
    patch(play, version, json!({"spec": {"replicas": replicas}})).await
}

async fn resume(play: &mut Play<'_>) -> Result<()> {
    set(play, json!({"paused": false})).await
}

/// Without its owner, but with its labels: it is adopted again at once, and nothing is scaled.
pub async fn disowned(play: &mut Play<'_>) -> Result<()> {
    stopped(play).await?;
    for version in ["1", OLD, NEW] {
        patch(play, version, json!({"metadata": {"ownerReferences": null}})).await?;
    }
    resume(play).await
}

/// The old one leaves: the new one is the only active one, and gets everything. Then it comes back.
pub async fn old_released(play: &mut Play<'_>) -> Result<()> {
    stopped(play).await?;
    release(play, OLD).await?;
    give_back(play, OLD).await?;
    resume(play).await
}

/// The same without an owner from the beginning: both in one write.
pub async fn old_released_at_once(play: &mut Play<'_>) -> Result<()> {
    stopped(play).await?;
    patch(play, OLD, json!({"metadata": {"ownerReferences": null, "labels": {"app": null}}})).await?;
    resume(play).await
}

/// The new one leaves: the old one gets everything.
pub async fn new_released(play: &mut Play<'_>) -> Result<()> {
    stopped(play).await?;
    release(play, NEW).await?;
    give_back(play, NEW).await?;
    set_version(play, OLD).await?;
    resume(play).await
}

/// Both leave, the new one first or last: somebody of the history gets everything.
pub async fn both_released(play: &mut Play<'_>) -> Result<()> {
    stopped(play).await?;
    release(play, NEW).await?;
    release(play, OLD).await?;
    give_back(play, OLD).await?;
    give_back(play, NEW).await
}

pub async fn both_released_the_old_one_first(play: &mut Play<'_>) -> Result<()> {
    stopped(play).await?;
    release(play, OLD).await?;
    release(play, NEW).await?;
    give_back(play, NEW).await?;
    give_back(play, OLD).await
}

/// One of the history leaves: nothing moves.
pub async fn history_released(play: &mut Play<'_>) -> Result<()> {
    stopped(play).await?;
    release(play, "1").await?;
    give_back(play, "1").await?;
    resume(play).await
}

/// By hand, down and up: each time the controller shares what is missing, or too much, among the active ones.
pub async fn scaled_by_hand(play: &mut Play<'_>) -> Result<()> {
    stopped(play).await?;
    scale(play, OLD, 1).await?;
    scale(play, OLD, 7).await?;
    scale(play, NEW, 1).await?;
    scale(play, "1", 2).await?;
    resume(play).await
}

/// To nothing: the other one is the only active one then.
pub async fn scaled_to_nothing_by_hand(play: &mut Play<'_>) -> Result<()> {
    stopped(play).await?;
    scale(play, NEW, 0).await?;
    scale(play, OLD, 0).await?;
    scale(play, NEW, 2).await?;
    scale(play, NEW, 0).await?;
    resume(play).await
}

/// A ReplicaSet is deleted there, the new one and the old one.
pub async fn set_deleted(play: &mut Play<'_>) -> Result<()> {
    stopped(play).await?;
    let new = play.set_of(NEW).await?;
    play.delete(ReplicaSet, &new).await?;
    play.settle().await?;
    let old = play.set_of(OLD).await?;
    play.delete(ReplicaSet, &old).await?;
    play.settle().await
}

/// The same while the Deployment goes on.
pub async fn released_while_rolling(play: &mut Play<'_>) -> Result<()> {
    half_way(play).await?;
    release(play, OLD).await?;
    give_back(play, OLD).await?;
    scale(play, OLD, 1).await?;
    scale(play, NEW, 0).await
}

/// At rest in version 2, paused: the only active one leaves, and the newest of those that are left gets everything. (With the
/// template that it has, or with one that is not rolled out yet.)
pub async fn newest_released(play: &mut Play<'_>) -> Result<()> {
    play.demand(Ask::create(Deployment, deployment("0", 2))).await?;
    play.settle().await?;
    for version in ["1", "2"] {
        set_version(play, version).await?;
    }
    set(play, json!({"paused": true})).await?;
    release(play, "2").await?;
    give_back(play, "2").await?;
    set_version(play, "3").await?;
    release(play, "2").await?;
    release(play, "1").await?;
    release(play, "0").await?;
    resume(play).await
}

/// The newest by age is not the template's: that one gets everything, however old it is, unless another is active.
pub async fn template_released(play: &mut Play<'_>) -> Result<()> {
    play.demand(Ask::create(Deployment, deployment("1", 2))).await?;
    play.settle().await?;
    set_version(play, "2").await?;
    set(play, json!({"paused": true})).await?;
    // Back to the first template, which is not rolled out.
    set_version(play, "1").await?;
    release(play, "2").await?;
    give_back(play, "2").await?;
    resume(play).await
}
