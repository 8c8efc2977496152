//! Our admission policies: what they let people do, what they change, and in which words they refuse.

use anyhow::Result;
use lockkeeper_e2e::User;
use lockkeeper_simulator::api::Kind::{Decision, Deployment, Release, Service};
use serde_json::{Value, json};

use super::objects::{deployment, release, service, version, with};
use crate::play::{Ask, Form, Play};

fn decision(name: &str, verdict: &str, by: &str, groups: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"release": "web", "revision": "r", "verdict": verdict,
        "by": {"username": by, "groups": groups}}})
}

/// Who may decide what, and only as themselves.
pub async fn decisions(play: &mut Play<'_>) -> Result<()> {
    play.create(Release, release(json!([{"setWeight": 5}]))).await?;
    for (user, name, verdict, by, groups) in [
        (User::Alice, "own", "Pause", "alice", json!(["sre"])),
        (User::Alice, "forged", "Pause", "bob", json!([])),
        (User::Alice, "foreign", "Pause", "alice", json!(["sre", "change-board", "boss"])),
        (User::Erin, "promote", "Promote", "erin", json!([])),
        (User::Erin, "abort", "Abort", "erin", json!(["releasers"])),
        (User::Erin, "rollback", "Rollback", "erin", json!([])),
        (User::Carol, "skip", "Skip", "carol", json!(["change-board"])),
    ] {
        play.act_as(user);
        play.create(Decision, decision(name, verdict, by, groups)).await?;
    }
    let gated = |decision: Value| with(with(decision, "/spec/gate", json!("go")), "/spec/reason", json!("because"));
    for (user, name, verdict) in
        [(User::Erin, "approve", "Approve"), (User::Carol, "reject", "Reject"), (User::Erin, "override", "Override")]
    {
        play.act_as(user);
        play.create(Decision, gated(decision(name, verdict, user.name(), json!([])))).await?;
    }
    play.act_as(User::Admin);
    play.merge(Decision, "own", json!({"spec": {"revision": "other"}})).await?;
    play.merge(Decision, "own", json!({"metadata": {"labels": {"a": "b"}}})).await?;
    play.delete(Decision, "own").await?;
    play.settle().await
}

/// Gates, strategy and policy need a verb of their own; the rest does not.
pub async fn governed(play: &mut Play<'_>) -> Result<()> {
    play.create(Release, release(json!([{"setWeight": 5}]))).await?;
    play.act_as(User::Erin);
    for spec in [
        json!({"suspend": true}),
        json!({"version": "2"}),
        json!({"strategy": {"canary": {"steps": [{"setWeight": 100}]}}}),
        json!({"gates": {"approvals": [{"name": "go", "before": "Start"}]}}),
        json!({"rollbackPolicy": "slo"}),
    ] {
        play.merge(Release, "web", json!({"spec": spec})).await?;
    }
    play.act_as(User::Admin);
    play.merge(Release, "web", json!({"spec": {"rollbackPolicy": "slo"}})).await?;
    play.settle().await
}

/// A managed Deployment is held, and nobody forges who asked.
pub async fn held(play: &mut Play<'_>) -> Result<()> {
    releases(play).await?;
    play.create(Deployment, deployment("1", 1)).await?;
    play.settle().await?;
    play.act_as(User::Erin);
    for metadata in [
        json!({"annotations": {"lockkeeper.dev/requested-by": "carol"}}),
        json!({"annotations": {"lockkeeper.dev/release": "web"}}),
    ] {
        play.merge(Deployment, "web", json!({"metadata": metadata})).await?;
        play.settle().await?;
    }
    let restarted = json!({"kubectl.kubernetes.io/restartedAt": "2026-01-01T10:00:00Z"});
    play.merge(Deployment, "web", json!({"spec": {"template": {"metadata": {"annotations": restarted}}}})).await?;
    play.settle().await?;
    play.ask(Ask::patch(Deployment, "web", Form::Strategic, version("2"))).await?;
    play.settle().await?;
    for patch in [
        json!({"spec": {"paused": false}}),
        json!({"metadata": {"annotations": {"lockkeeper.dev/paused-by": null, "lockkeeper.dev/hold": "r"}}}),
        json!({"metadata": {"annotations": {"lockkeeper.dev/release": null}}}),
        json!({"spec": {"replicas": 2}}),
    ] {
        play.merge(Deployment, "web", patch).await?;
        play.settle().await?;
    }
    play.act_as(User::Admin);
    play.merge(Deployment, "web", json!({"metadata": {"annotations": {"lockkeeper.dev/release": null}}})).await?;
    play.settle().await?;
    play.create(Deployment, managed()).await?;
    play.settle().await
}

/// Those that the annotations name: without them the real cluster's operator would clear the marks.
async fn releases(play: &mut Play<'_>) -> Result<()> {
    for name in ["web", "new"] {
        play.create(Release, with(release(json!([{"setWeight": 5}])), "/metadata/name", json!(name))).await?;
    }
    Ok(())
}

fn managed() -> Value {
    let named = with(deployment("1", 1), "/metadata/name", json!("new"));
    with(named, "/metadata/annotations", json!({"lockkeeper.dev/release": "new"}))
}

/// A person's own pause stays theirs.
pub async fn paused(play: &mut Play<'_>) -> Result<()> {
    releases(play).await?;
    play.create(
        Deployment,
        with(
            with(managed(), "/metadata/name", json!("web")),
            "/metadata/annotations",
            json!({"lockkeeper.dev/release": "web"}),
        ),
    )
    .await?;
    play.settle().await?;
    play.merge(Deployment, "web", json!({"spec": {"paused": true}})).await?;
    play.ask(Ask::patch(Deployment, "web", Form::Strategic, version("2"))).await?;
    play.merge(Deployment, "web", json!({"spec": {"paused": null}})).await?;
    play.settle().await
}

/// Who asked for a version that a Release carries.
pub async fn authored(play: &mut Play<'_>) -> Result<()> {
    let forged = with(
        release(json!([{"setWeight": 5}])),
        "/metadata/annotations",
        json!({"lockkeeper.dev/requested-by": "carol"}),
    );
    play.create(Release, forged).await?;
    play.act_as(User::Erin);
    for patch in [
        json!({"metadata": {"annotations": {"lockkeeper.dev/requested-by": "carol"}}}),
        json!({"spec": {"suspend": true}}),
        json!({"spec": {"version": "2"}}),
        json!({"metadata": {"annotations": null}}),
    ] {
        play.merge(Release, "web", patch).await?;
        play.settle().await?;
    }
    Ok(())
}

/// Nobody but the operator pins a Service, or copies a pin.
pub async fn pinned(play: &mut Play<'_>) -> Result<()> {
    play.create(Service, service("web")).await?;
    let pin = json!({"metadata": {"annotations": {"lockkeeper.dev/pin": "abc"}}, "spec": {"selector": {"pod-template-hash": "abc"}}});
    play.merge(Service, "web", pin).await?;
    let copy = with(
        with(service("copy"), "/metadata/annotations", json!({"lockkeeper.dev/pin": "abc"})),
        "/spec/selector/pod-template-hash",
        json!("abc"),
    );
    play.create(Service, copy).await?;
    play.settle().await
}
