//! How objects go: under which conditions, when, and who goes with them.

use anyhow::Result;
use lockkeeper_simulator::api::Kind::{ControllerRevision, Deployment, Release, Service};
use serde_json::{Value, json};

use super::api::{revision, steps};
use super::objects::{deployment, release, service, with};
use crate::play::{Ask, Play};

/// Conditions of deletions, and finalizers.
pub async fn deleted(play: &mut Play<'_>) -> Result<()> {
    play.note_versions();
    let web = play
        .create(Release, with(release(steps()), "/metadata/finalizers", json!(["lockkeeper.dev/handback"])))
        .await?;
    let delete = |conditions: Value| Ask::delete(Release, "web", json!({"preconditions": conditions}));
    play.ask(delete(json!({"uid": "00000000-0000-4000-8000-00000000abcd"}))).await?;
    play.merge(Release, "web", json!({"metadata": {"labels": {"a": "b"}}})).await?;
    play.ask(delete(json!({"resourceVersion": web["metadata"]["resourceVersion"]}))).await?;
    play.ask(delete(json!({"uid": web["metadata"]["uid"]}))).await?;
    play.delete(Release, "web").await?;
    play.create(Release, release(steps())).await?;
    play.merge(Release, "web", json!({"spec": {"suspend": true}})).await?;
    play.merge(Release, "web", json!({"metadata": {"finalizers": ["lockkeeper.dev/handback", "example.com/more"]}}))
        .await?;
    play.merge(Release, "web", json!({"metadata": {"deletionTimestamp": null}})).await?;
    play.settle().await?;
    play.merge(Release, "web", json!({"metadata": {"finalizers": null}})).await?;
    play.ask(Ask::get(Release, "web")).await?;
    play.create(Service, service("web")).await?;
    play.delete(Service, "web").await?;
    play.delete(Service, "web").await?;
    play.settle().await
}

/// Who goes with whom.
pub async fn collected(play: &mut Play<'_>) -> Result<()> {
    let owner = |object: &Value, kind: &str| {
        json!({"apiVersion": object["apiVersion"], "kind": kind,
        "name": object["metadata"]["name"], "uid": object["metadata"]["uid"]})
    };
    let first = owner(&play.create(Release, release(steps())).await?, "Release");
    let service = play.create(Service, service("web")).await?;
    let second = owner(&with(service, "/apiVersion", json!("v1")), "Service");
    let owned = |name: &str, owners: Value| with(revision(name, json!({})), "/metadata/ownerReferences", owners);
    let stranger = with(first.clone(), "/uid", json!("00000000-0000-4000-8000-00000000abcd"));
    play.create(ControllerRevision, owned("of-the-first", json!([first]))).await?;
    play.create(ControllerRevision, owned("of-both", json!([first, second]))).await?;
    play.create(ControllerRevision, owned("of-nobody", json!([stranger]))).await?;
    play.create(ControllerRevision, owned("of-one-and-nobody", json!([second, stranger]))).await?;
    let held = with(owned("held", json!([first])), "/metadata/finalizers", json!(["example.com/mine"]));
    play.create(ControllerRevision, held).await?;
    play.settle().await?;
    play.delete(Release, "web").await?;
    play.settle().await?;
    play.merge(ControllerRevision, "held", json!({"metadata": {"finalizers": null}})).await?;
    play.delete(Service, "web").await?;
    play.settle().await
}

/// How a Deployment goes: its ReplicaSets stay, or go first.
pub async fn propagated(play: &mut Play<'_>) -> Result<()> {
    play.create(Deployment, deployment("1", 2)).await?;
    play.settle().await?;
    for policy in ["Orphan", "Foreground"] {
        play.ask(Ask::delete(Deployment, "web", json!({"propagationPolicy": policy}))).await?;
        play.settle().await?;
        play.create(Deployment, deployment("1", 2)).await?;
        play.settle().await?;
    }
    Ok(())
}
