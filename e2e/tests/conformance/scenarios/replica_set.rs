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

/// Between release and adoption the Deployment has nobody: its scale changes, and whoever is adopted gets it.
pub async fn scaled_in_the_gap(play: &mut Play<'_>) -> Result<()> {
    side_by_side(play, 3).await?;
    let old = play.set_of("1").await?;
    patch(play, &old, json!({"labels": {"app": null, "pod-template-hash": null}})).await?;
    play.merge(Deployment, "web", json!({"spec": {"replicas": 5}})).await?;
    play.settle().await?;
    patch(play, NAME, json!({"labels": own()})).await?;
    play.merge(Deployment, "web", json!({"spec": {"replicas": 2}})).await?;
    play.settle().await?;
    unpause(play).await
}

/// The same without room for one more, and to nothing in between.
pub async fn scaled_to_nothing_in_the_gap(play: &mut Play<'_>) -> Result<()> {
    side_by_side(play, 2).await?;
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}});
    play.merge(Deployment, "web", json!({"spec": {"strategy": strategy}})).await?;
    play.settle().await?;
    let old = play.set_of("1").await?;
    patch(play, &old, json!({"labels": {"app": null, "pod-template-hash": null}})).await?;
    for replicas in [0, 4] {
        play.merge(Deployment, "web", json!({"spec": {"replicas": replicas}})).await?;
        play.settle().await?;
    }
    patch(play, NAME, json!({"labels": own()})).await?;
    unpause(play).await
}

/// Adopted while the history has an equal template: the Deployment rolls into the older one.
pub async fn adopted_beside_its_twin(play: &mut Play<'_>) -> Result<()> {
    play.create(Deployment, deployment("2", 2)).await?;
    play.settle().await?;
    play.ask(Ask::patch(Deployment, "web", Form::Strategic, version("1"))).await?;
    play.settle().await?;
    play.merge(Deployment, "web", json!({"spec": {"paused": true}})).await?;
    play.ask(Ask::patch(Deployment, "web", Form::Strategic, version("2"))).await?;
    play.settle().await?;
    play.create(ReplicaSet, set("2", 2, foreign())).await?;
    play.settle().await?;
    let old = play.set_of("1").await?;
    patch(play, &old, json!({"labels": {"app": null}})).await?;
    patch(play, NAME, json!({"labels": own()})).await?;
    unpause(play).await
}

/// One of the history is borrowed instead: released, scaled, and adopted again as the new one.
pub async fn borrowed(play: &mut Play<'_>) -> Result<()> {
    play.create(Deployment, deployment("2", 2)).await?;
    play.settle().await?;
    play.ask(Ask::patch(Deployment, "web", Form::Strategic, version("1"))).await?;
    play.settle().await?;
    play.merge(Deployment, "web", json!({"spec": {"paused": true}})).await?;
    play.ask(Ask::patch(Deployment, "web", Form::Strategic, version("2"))).await?;
    play.settle().await?;
    let [old, new] = [play.set_of("1").await?, play.set_of("2").await?];
    patch(play, &new, json!({"labels": {"app": null}})).await?;
    play.merge(ReplicaSet, &new, json!({"spec": {"replicas": 2}})).await?;
    play.settle().await?;
    patch(play, &old, json!({"labels": {"app": null}})).await?;
    patch(play, &new, json!({"labels": {"app": "web"}})).await?;
    unpause(play).await?;
    play.merge(ReplicaSet, &old, json!({"spec": {"replicas": 0}})).await?;
    play.settle().await?;
    patch(play, &old, json!({"labels": {"app": "web"}})).await
}

/// Owned but not controlled: it goes with its Deployment, and its pods with it; one that is released stays.
pub async fn orphaned(play: &mut Play<'_>) -> Result<()> {
    side_by_side(play, 2).await?;
    let old = play.set_of("1").await?;
    patch(play, &old, json!({"labels": {"app": null}})).await?;
    play.delete(Deployment, "web").await?;
    play.settle().await?;
    // The next Deployment of the name takes what matches.
    patch(play, &old, json!({"labels": {"app": "web"}})).await?;
    play.create(Deployment, deployment("2", 2)).await?;
    play.settle().await
}

/// A finalizer of somebody keeps a ReplicaSet that is deleted: nobody adopts it, and a new one takes its place.
pub async fn kept(play: &mut Play<'_>) -> Result<()> {
    play.create(Deployment, deployment("1", 2)).await?;
    play.settle().await?;
    let old = play.set_of("1").await?;
    patch(play, &old, json!({"finalizers": ["example.com/mine"]})).await?;
    play.delete(ReplicaSet, &old).await?;
    play.settle().await?;
    patch(play, &old, json!({"finalizers": null})).await
}

/// By expressions instead of labels; two Deployments that select the same pods let each other be.
pub async fn selected_by_expressions(play: &mut Play<'_>) -> Result<()> {
    let expressions = json!({"matchExpressions": [
        {"key": "app", "operator": "In", "values": ["web", "shop"]}, {"key": "tier", "operator": "DoesNotExist"}]});
    let selecting = |name: &str, version: &str| {
        let named = with(deployment(version, 1), "/metadata/name", json!(name));
        with(named, "/spec/selector", expressions.clone())
    };
    play.create(Deployment, selecting("web", "1")).await?;
    play.settle().await?;
    play.create(Deployment, selecting("other", "2")).await?;
    play.settle().await?;
    play.ask(Ask::patch(Deployment, "web", Form::Strategic, version("3"))).await?;
    play.settle().await?;
    let first = play.set_of("1").await?;
    patch(play, &first, json!({"labels": {"tier": "front"}})).await?;
    // Both would take it, and which of them does is chance.
    play.delete(Deployment, "other").await?;
    play.settle().await?;
    patch(play, &first, json!({"labels": {"tier": null, "app": "shop"}})).await
}
