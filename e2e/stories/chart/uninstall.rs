//! The product goes, and may come back.

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::api::ListParams;
use lockkeeper_api::decision::Verdict;
use lockkeeper_e2e::{AuditEntry, AuditFilter, User};

use super::{Chart, Midway, Values, midway, updated};
use crate::harness::{LIMIT, Story, none_failed};

/// Uninstalls, and sees that no policy was in force any more when the operator was told to go.
async fn uninstall(story: &Story<'_>, chart: &Chart<'_>) -> Result<()> {
    let since = Timestamp::now();
    chart.uninstall().await?;
    let filter = AuditFilter { since: Some(since), writes: true, ..AuditFilter::default() };
    let entries = story.cluster().audit_log()?.read(&filter)?;
    let deleted = |entry: &&AuditEntry| entry.verb == "delete" && entry.code() == Some(200);
    let of = |entry: &AuditEntry, resource: &str| entry.object_ref.as_ref().is_some_and(|o| o.resource == resource);
    let operator = entries.iter().filter(deleted).find(|entry| of(entry, "deployments"));
    let operator = operator.context("nobody deleted the operator's Deployment")?.request_received_timestamp;
    let bindings = ["mutatingadmissionpolicybindings", "validatingadmissionpolicybindings"];
    let mut seen = 0;
    for entry in entries.iter().filter(deleted).filter(|entry| bindings.iter().any(|kind| of(entry, kind))) {
        ensure!(entry.stage_timestamp < operator, "{} came after the operator had gone", entry.request_uri);
        seen += 1;
    }
    ensure!(seen >= 5, "{seen} deletions of bindings");
    let kinds = "mutatingadmissionpolicies,mutatingadmissionpolicybindings,validatingadmissionpolicies,\
        validatingadmissionpolicybindings";
    let left = story.cluster().kubectl(User::Admin, ["get", kinds, "-o", "name"]).await?;
    ensure!(!left.contains("lockkeeper"), "policies are left:\n{left}");
    Ok(())
}

/// At rest the Deployment is an ordinary one; what was rolled out meanwhile is the stable version afterwards.
pub async fn uninstalled_at_rest(story: &Story<'_>) -> Result<()> {
    let chart = Chart::prepare(story.cluster(), Values::default()).await?;
    chart.install().await?;
    let app = updated(story).await?;
    let traffic = app.traffic();
    uninstall(story, &chart).await?;
    story.kubectl(User::Admin, &["set", "image", "deployment/web", "app=demo:3.0.0"]).await?;
    story.kubectl(User::Admin, &["rollout", "status", "deployment/web", "--timeout=60s"]).await?;
    let pods = app.pods("3.0.0").await?;
    ensure!(pods.len() == 3, "the Deployment did not roll out by itself");
    chart.install().await?;
    story.await_rest("3.0.0").await?;
    ensure!(app.pods("3.0.0").await? == pods, "what ran was replaced when the operator came back");
    app.set_version("4.0.0").await?;
    story.await_rest("4.0.0").await?;
    none_failed(&traffic.stop().await)
}

/// Everything keeps serving as it was, nothing hangs, and the release goes on when the product is back.
pub async fn uninstalled_midway(story: &Story<'_>) -> Result<()> {
    let chart = Chart::prepare(story.cluster(), Values::default()).await?;
    chart.install().await?;
    let Midway { app, before, traffic } = midway(story).await?;
    let exposure = app.exposure().await?;
    let from = Timestamp::now();
    uninstall(story, &chart).await?;
    let pods = (app.pods("1.0.0").await?, app.pods("2.0.0").await?);
    // A Git sync of the route and the Service would end the canary; people may do so now.
    let sets = story.api::<ReplicaSet>().list(&ListParams::default()).await?;
    ensure!(sets.items.len() == 2, "both versions were to stay");
    lockkeeper_e2e::wait::answer("a hundred requests without the operator", LIMIT, async || {
        let totals = traffic.between(from, Timestamp::now());
        ensure!(totals.requests >= 100, "{} requests", totals.requests);
        Ok(())
    })
    .await?;
    exposure.always(40)?;
    chart.install().await?;
    ensure!(pods == (app.pods("1.0.0").await?, app.pods("2.0.0").await?), "pods have changed meanwhile");
    story.await_confirmed(40).await?;
    exposure.always(40)?;
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("2.0.0").await?;
    exposure.never_above_the_step()?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before.with_version("2.0.0")).await
}
