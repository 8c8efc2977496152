//! Who controls which ReplicaSet, and which pods: the ground on which the handover stands.

use anyhow::{Context, Result};
use lockkeeper_simulator::api::Kind::{Deployment, Pod, ReplicaSet};
use lockkeeper_simulator::api::object::name;
use serde_json::{Value, json};

use super::objects::{deployment, image, version, with};
use crate::play::{Ask, Form, Play};

/// What the operator takes, or anything else that the controllers did not make up.
const HASH: &str = "c0ffee1234";
const NAME: &str = "web-c0ffee1234";

/// A ReplicaSet of this version and these own labels, whose pods are told from others by our hash.
fn set(version: &str, replicas: u32, labels: Value) -> Value {
    json!({
        "metadata": {"name": NAME, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web", "pod-template-hash": HASH}},
            "template": {
                "metadata": {"labels": {"app": "web", "pod-template-hash": HASH}},
                "spec": {"containers": [{"name": "app", "image": image(version), "ports": [{"containerPort": 8080}]}]},
            },
        },
    })
}

fn own() -> Value {
    json!({"app": "web", "pod-template-hash": HASH})
}

fn foreign() -> Value {
    json!({"lockkeeper.dev/role": "candidate"})
}

async fn patch(play: &mut Play<'_>, name: &str, metadata: Value) -> Result<()> {
    play.merge(ReplicaSet, name, json!({"metadata": metadata})).await?;
    play.settle().await
}

/// The Deployment in version 1, paused, with the template of version 2, and a ReplicaSet of version 2 beside it.
async fn side_by_side(play: &mut Play<'_>, replicas: u32) -> Result<()> {
    play.create(Deployment, deployment("1", replicas)).await?;
    play.settle().await?;
    play.merge(Deployment, "web", json!({"spec": {"paused": true}})).await?;
    play.ask(Ask::patch(Deployment, "web", Form::Strategic, version("2"))).await?;
    play.settle().await?;
    let uid = play.peek(Deployment, "web").await?["metadata"]["uid"].clone();
    let owner = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": uid});
    let mut candidate = set("2", replicas, foreign());
    candidate["metadata"]["ownerReferences"] = json!([owner]);
    play.create(ReplicaSet, candidate).await?;
    play.settle().await
}

async fn unpause(play: &mut Play<'_>) -> Result<()> {
    play.merge(Deployment, "web", json!({"spec": {"paused": false}})).await?;
    play.settle().await
}

/// The swap as the operator does it, but for history: release, adopt, go on.
pub async fn handed_over(play: &mut Play<'_>) -> Result<()> {
    side_by_side(play, 3).await?;
    let old = play.set_of("1").await?;
    patch(play, &old, json!({"labels": {"app": null, "pod-template-hash": null}})).await?;
    patch(play, NAME, json!({"labels": own()})).await?;
    unpause(play).await?;
    play.merge(ReplicaSet, &old, json!({"spec": {"replicas": 0}})).await?;
    play.settle().await?;
    let hash = play.peek(ReplicaSet, &old).await?["spec"]["selector"]["matchLabels"]["pod-template-hash"].clone();
    patch(play, &old, json!({"labels": {"app": "web", "pod-template-hash": hash}})).await?;
    // The way back is one of its own history.
    play.ask(Ask::patch(Deployment, "web", Form::Strategic, version("1"))).await?;
    play.settle().await
}

/// The wrong order: two active ones share the Deployment's scale.
pub async fn adopted_first(play: &mut Play<'_>) -> Result<()> {
    side_by_side(play, 6).await?;
    patch(play, NAME, json!({"labels": own()})).await?;
    play.merge(Deployment, "web", json!({"spec": {"replicas": 8}})).await?;
    play.settle().await?;
    unpause(play).await
}

/// The other wrong order: the paused controller, without an active one, takes the newest of its history.
pub async fn released_with_history(play: &mut Play<'_>) -> Result<()> {
    play.create(Deployment, deployment("0", 2)).await?;
    play.settle().await?;
    play.ask(Ask::patch(Deployment, "web", Form::Strategic, version("1"))).await?;
    play.settle().await?;
    play.merge(Deployment, "web", json!({"spec": {"paused": true}})).await?;
    play.ask(Ask::patch(Deployment, "web", Form::Strategic, version("2"))).await?;
    play.settle().await?;
    let old = play.set_of("1").await?;
    patch(play, &old, json!({"labels": {"app": null}})).await?;
    unpause(play).await
}

/// A Deployment that runs adopts what matches: of another template, and then of the one it is given.
pub async fn adopted(play: &mut Play<'_>) -> Result<()> {
    play.create(Deployment, deployment("1", 2)).await?;
    play.settle().await?;
    play.create(ReplicaSet, set("2", 1, foreign())).await?;
    play.settle().await?;
    patch(play, NAME, json!({"labels": own()})).await?;
    play.ask(Ask::patch(Deployment, "web", Form::Strategic, version("2"))).await?;
    play.settle().await
}

/// Two of equal template: the older one is the Deployment's.
pub async fn twins(play: &mut Play<'_>) -> Result<()> {
    play.create(Deployment, deployment("1", 2)).await?;
    play.settle().await?;
    play.create(ReplicaSet, set("1", 2, own())).await?;
    play.settle().await?;
    play.merge(Deployment, "web", json!({"spec": {"replicas": 3}})).await?;
    play.settle().await
}

/// An orphan that is there before its Deployment.
pub async fn found(play: &mut Play<'_>) -> Result<()> {
    play.create(ReplicaSet, set("1", 2, own())).await?;
    play.settle().await?;
    play.create(Deployment, deployment("1", 3)).await?;
    play.settle().await
}

/// A Deployment that runs releases what matches no more, and makes another one: the name is taken.
pub async fn released(play: &mut Play<'_>) -> Result<()> {
    play.create(Deployment, deployment("1", 2)).await?;
    play.settle().await?;
    let old = play.set_of("1").await?;
    patch(play, &old, json!({"labels": {"app": null}})).await?;
    patch(play, &old, json!({"labels": {"app": "web"}})).await
}

/// A ReplicaSet of nobody: its pods are counted, replaced, released and adopted.
pub async fn pods(play: &mut Play<'_>) -> Result<()> {
    play.create(ReplicaSet, set("1", 2, foreign())).await?;
    play.settle().await?;
    for act in ["deleted", "relabelled"] {
        let pods = play.peek_all(Pod).await?;
        let pod = name(pods.first().context("there is no pod")?).to_owned();
        let ask = match act {
            "deleted" => Ask::delete(Pod, &pod, Value::Null),
            _ => Ask::patch(Pod, &pod, Form::Merge, json!({"metadata": {"labels": {"app": "other"}}})),
        };
        play.ask(ask.called("(one of the pods)")).await?;
        play.settle().await?;
    }
    let pod = json!({"metadata": {"name": "stray", "labels": own()}, "spec": {"containers": [{"name": "app", "image": image("1")}]}});
    play.create(Pod, pod).await?;
    play.settle().await?;
    play.merge(ReplicaSet, NAME, json!({"spec": {"replicas": 0}})).await?;
    play.settle().await
}

/// The controlling reference of somebody else keeps a Deployment away.
pub async fn of_somebody_else(play: &mut Play<'_>) -> Result<()> {
    play.create(Deployment, deployment("1", 1)).await?;
    play.create(
        Deployment,
        with(with(deployment("1", 1), "/metadata/name", json!("other")), "/spec/paused", json!(true)),
    )
    .await?;
    play.settle().await?;
    let old = play.set_of("1").await?;
    patch(play, &old, json!({"annotations": {"seen": "yes"}})).await?;
    play.merge(Deployment, "other", json!({"spec": {"replicas": 3}})).await?;
    play.settle().await
}
