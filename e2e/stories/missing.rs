//! What a Release names is not there, or cannot work: it says so, touches nothing, and goes on when that is mended.

use anyhow::{Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use lockkeeper_api::release::{Phase, ReleaseStatus};
use lockkeeper_e2e::{User, wait};
use serde_json::json;

use crate::harness::{App, LIMIT, Specs, Story, condition, is_event, with_images};

fn spec() -> String {
    with_images("2.0.0", "{setWeight: 50}")
}

const POLICY: &str = "
apiVersion: lockkeeper.dev/v1alpha1
kind: RollbackPolicy
metadata: {name: slo, namespace: NAMESPACE}
spec: {checks: [{name: always, query: vector(1), min: 1, interval: 1s}]}
";

/// Invalid, with all of these faults, and with no write but that of the status.
async fn invalid(story: &Story<'_>, since: Timestamp, faults: &[&str]) -> Result<ReleaseStatus> {
    let status = story.await_phase(Phase::Invalid).await?;
    for fault in faults {
        ensure!(status.message.contains(fault), "it does not say “{fault}”: {}", status.message);
    }
    let listed = status.message.split("; ").count();
    ensure!(listed == faults.len(), "{listed} faults are listed, not {}: {}", faults.len(), status.message);
    condition(&status, "Stalled", "True")?;
    condition(&status, "Ready", "False")?;
    condition(&status, "Reconciling", "False")?;
    for entry in story.asked_by_operator(since)?.iter().filter(|entry| entry.is_write() && !is_event(entry)) {
        let status = entry
            .object_ref
            .as_ref()
            .is_some_and(|object| object.resource == "releases" && object.subresource.as_deref() == Some("status"));
        ensure!(status, "it has touched {:?}", entry.object_ref);
    }
    Ok(status)
}

async fn goes_on(app: &App<'_>, before: Specs) -> Result<()> {
    app.story.await_rest("2.0.0").await?;
    wait::served(app.story.cluster().gateway_url(), &app.host, LIMIT).await?;
    app.at_rest(&before.with_version("2.0.0")).await
}

pub async fn service(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    story.kubectl(User::Admin, &["delete", "service", "web"]).await?;
    let since = Timestamp::now();
    story.release(&spec()).await?;
    invalid(story, since, &["Service web does not exist: create it"]).await?;
    app.route_again().await?;
    goes_on(&app, before).await
}

pub async fn route(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    story.kubectl(User::Admin, &["delete", "httproute", "web"]).await?;
    let since = Timestamp::now();
    story.release(&spec()).await?;
    invalid(story, since, &["HTTPRoute web does not exist: create it"]).await?;
    app.route_again().await?;
    goes_on(&app, before).await
}

pub async fn rollback_policy(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    let since = Timestamp::now();
    story.release(&(spec() + "rollbackPolicy: slo\n")).await?;
    let fault =
        "rollbackPolicy: RollbackPolicy slo does not exist in this namespace or in lockkeeper-system: create it";
    invalid(story, since, &[fault]).await?;
    story.apply(POLICY).await?;
    goes_on(&app, before).await
}

/// Everything that is wrong, at once; and each fault leaves the list when it is mended.
pub async fn everything(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let recreate = Patch::Merge(json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}}));
    let deployments = story.api::<Deployment>();
    deployments.patch("web", &PatchParams::default(), &recreate).await?;
    app.available().await?;
    let before = app.specs().await?;
    let since = Timestamp::now();
    let bad = spec()
        .replace("app: \"demo:2.0.0\"", "app: \"demo:2.0.0\", sidecar: \"proxy:2\"")
        .replace(
            "routes: [{kind: HTTPRoute, name: web}]",
            "routes: [{kind: HTTPRoute, name: web}, {kind: HTTPRoute, name: other}]\n  pin: [internal]",
        )
        .replace("service: web\n", "service: front\n")
        .replace("{setWeight: 50}", "{setWeight: 50}, {analysis: {policy: numbers, duration: 5s}}");
    story.release(&format!("{bad}rollbackPolicy: slo\n")).await?;
    invalid(
        story,
        since,
        &[
            "has strategy Recreate",
            "has no container sidecar",
            "Service front does not exist",
            "Service internal does not exist",
            "HTTPRoute web sends nothing to Service front",
            "HTTPRoute other does not exist",
            "steps[1].analysis: RollbackPolicy numbers does not exist",
            "rollbackPolicy: RollbackPolicy slo does not exist",
        ],
    )
    .await?;
    app.at_rest(&before).await?;
    // All but the strategy is mended in the Release.
    story.release(&spec()).await?;
    let status = story.await_status("have one fault left", |status| !status.message.contains(';')).await?;
    ensure!(status.phase == Phase::Invalid && status.message.contains("Recreate"), "{}", status.message);
    app.at_rest(&before).await?;
    let rolling = Patch::Merge(json!({"spec": {"strategy": {"type": "RollingUpdate"}}}));
    deployments.patch("web", &PatchParams::default(), &rolling).await?;
    let mended = app.specs().await?;
    goes_on(&app, mended).await
}

/// A Service of the canary's name that is somebody else's is neither used nor deleted.
pub async fn name_taken(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    let foreign = "
apiVersion: v1
kind: Service
metadata: {name: web-canary, namespace: NAMESPACE}
spec: {selector: {app: somebody-else}, ports: [{port: 80}]}
";
    story.apply(foreign).await?;
    let since = Timestamp::now();
    story.release(&spec()).await?;
    invalid(story, since, &["Service web-canary exists and is not Lockkeeper's: delete it or set canaryService"])
        .await?;
    story.release(&spec().replace("service: web\n", "service: web\n  canaryService: web-next\n")).await?;
    story.await_rest("2.0.0").await?;
    let selector =
        story.kubectl(User::Admin, &["get", "service", "web-canary", "-o", "jsonpath={.spec.selector}"]).await?;
    ensure!(selector == r#"{"app":"somebody-else"}"#, "somebody else's Service has changed: {selector}");
    app.has(&before.with_version("2.0.0")).await
}
