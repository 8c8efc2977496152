//! Who may decide, and who may say who decides.

use anyhow::{Context, Result, ensure};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use lockkeeper_api::decision::{Decision, Verdict};
use lockkeeper_api::release::{GateState, Phase, Release, ReleaseStatus};
use lockkeeper_e2e::User;
use serde_json::{Value, json};

use crate::harness::{Story, decision, refused};

const SPEC: &str = "
workloads:
- ref: {kind: Deployment, name: web}
  images: {app: \"demo:2.0.0\"}
  service: web
  routes: [{kind: HTTPRoute, name: web}]
strategy: {canary: {steps: [{setWeight: 50}, {pause: {}}]}}
gates:
  approvals: [APPROVALS]
";

fn spec(approvals: &str) -> String {
    SPEC.replace("APPROVALS", approvals)
}

/// The revision of a release that waits for the gate `board` before Start.
async fn waiting(story: &Story<'_>) -> Result<String> {
    story.release(&spec("{name: board, before: Start, from: {groups: [change-board]}}")).await?;
    let status = story.await_phase(Phase::Waiting).await?;
    Ok(status.candidate.context("there is no candidate")?.revision)
}

/// No Decision has come into being, and none was counted.
async fn nothing_was_decided(story: &Story<'_>) -> Result<()> {
    let decisions = story.api::<Decision>().list(&ListParams::default()).await?;
    ensure!(decisions.items.is_empty(), "{:?}", decisions.items);
    let status = story.status().await?;
    ensure!(status.phase == Phase::Waiting && status.decisions.is_empty(), "{status:?}");
    Ok(())
}

/// The API server refuses whoever does not hold the verb, speaks in another's name, or claims a group of others.
pub async fn wrong_user(story: &Story<'_>) -> Result<()> {
    let app = story.app(1).await?;
    let revision = waiting(story).await?;
    let board = Some("board");
    let propose = |user, spec| story.propose(story.cluster().client(user), spec);
    let by = |user| decision(user, Verdict::Approve, board, &revision);
    refused(propose(User::Mallory, by(User::Mallory)).await, "forbidden")?;
    refused(propose(User::Erin, by(User::Erin)).await, "Approve needs the verb approve")?;
    refused(propose(User::Carol, decision(User::Carol, Verdict::Abort, None, &revision)).await, "verb abort")?;
    refused(propose(User::Carol, decision(User::Carol, Verdict::Override, board, &revision)).await, "verb override")?;
    refused(propose(User::Alice, by(User::Carol)).await, "you decide as yourself only: set spec.by.username to alice")?;
    let mut in_another_group = by(User::Alice);
    in_another_group.by.groups.push("change-board".to_owned());
    refused(propose(User::Alice, in_another_group).await, "you are not in change-board")?;
    nothing_was_decided(story).await?;
    story.decide(User::Carol, Verdict::Approve, board).await?;
    story.await_confirmed(50).await?;
    drop(app);
    Ok(())
}

/// A Git sync that contains an approval approves nothing, whatever its account may do.
pub async fn service_account(story: &Story<'_>) -> Result<()> {
    let app = story.app(1).await?;
    let before = app.specs().await?;
    story.apply(FLUX).await?;
    let kubeconfig = story.cluster().service_account(&story.namespace, "flux").await?;
    let flux = story.cluster().client_of(&kubeconfig).await?;
    let revision = waiting(story).await?;
    let mut approval = decision(User::Carol, Verdict::Approve, Some("board"), &revision);
    refused(story.propose(flux.clone(), approval.clone()).await, "you decide as yourself only")?;
    approval.by.username = format!("system:serviceaccount:{}:flux", story.namespace);
    approval.by.groups = vec![format!("system:serviceaccounts:{}", story.namespace)];
    refused(story.propose(flux, approval).await, "service accounts do not decide")?;
    nothing_was_decided(story).await?;
    app.at_rest(&before).await
}

/// The account of a GitOps tool, which holds every verb of ours.
const FLUX: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: flux, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: flux, namespace: NAMESPACE}]
";

/// Who releases changes versions, not who must agree: gates, steps, rollback policy, or the Release as a whole.
pub async fn releaser(story: &Story<'_>) -> Result<()> {
    let app = story.app(1).await?;
    waiting(story).await?;
    let before = app.specs().await?;
    let releases: Api<Release> = Api::namespaced(story.cluster().client(User::Erin), &story.namespace);
    let patch = async |patch: Value| releases.patch("web", &PatchParams::default(), &Patch::Merge(patch)).await;
    let words = "erin does not hold: ask for ClusterRole lockkeeper-governor";
    refused(patch(json!({"spec": {"gates": null}})).await, words)?;
    refused(patch(json!({"spec": {"gates": {"approvals": []}}})).await, words)?;
    refused(patch(json!({"spec": {"strategy": {"canary": {"steps": [{"setWeight": 100}]}}}})).await, words)?;
    refused(patch(json!({"spec": {"rollbackPolicy": "lenient"}})).await, words)?;
    refused(story.kubectl(User::Erin, &["delete", "release", "web"]).await, "forbidden")?;
    // Who asked for the version is the API server's to say.
    let forged = ["annotate", "--overwrite", "release", "web", "lockkeeper.dev/requested-by=carol"];
    story.kubectl(User::Erin, &forged).await?;
    let author = releases.get("web").await?.annotations().get("lockkeeper.dev/requested-by").cloned();
    ensure!(author.as_deref() == Some("admin"), "{author:?} is now said to have asked for it");
    nothing_was_decided(story).await?;
    app.at_rest(&before).await?;
    // A version is theirs to change, and the gate is asked about it too.
    let version = json!({"spec": {"workloads": [{
        "ref": {"kind": "Deployment", "name": "web"}, "images": {"app": "demo:2.1.0"},
        "service": "web", "routes": [{"kind": "HTTPRoute", "name": "web"}],
    }]}});
    patch(version).await?;
    let status = story
        .await_status("wait with the newer version", |status| {
            status.phase == Phase::Waiting && status.version.as_deref() == Some("2.1.0")
        })
        .await?;
    let requester = status.candidate.and_then(|candidate| candidate.requested_by);
    ensure!(requester.as_deref() == Some("erin"), "it was asked for by {requester:?}");
    Ok(())
}

const BOARD: &str = "{name: board, before: Promotion, required: 2, from: {groups: [change-board]}}";
const EASIER: &str = "{name: board, before: Promotion, required: 1, from: {groups: [change-board]}}";
const SECOND: &str = "{name: ops, before: Promotion, from: {groups: [sre]}}";

fn gate(status: &ReleaseStatus, name: &str) -> Option<GateState> {
    status.gates.iter().find(|gate| gate.name == name).map(|gate| gate.state)
}

/// A release that runs keeps the stricter of the gates that it started with and those of the spec.
pub async fn stricter_gates(story: &Story<'_>) -> Result<()> {
    let app = story.app(1).await?;
    let before = app.specs().await?;
    story.release(&spec(BOARD)).await?;
    story.await_confirmed(50).await?;
    // One approval instead of two would do; and another gate is new.
    story.release(&spec(&format!("{EASIER}, {SECOND}"))).await?;
    story.await_confirmed(50).await?;
    story.decide(User::Alice, Verdict::Resume, None).await?;
    let both = |status: &ReleaseStatus| {
        [gate(status, "board"), gate(status, "ops")].iter().all(|state| *state == Some(GateState::Closed))
    };
    story.await_status("ask both gates", both).await?;
    story.decide(User::Carol, Verdict::Approve, Some("board")).await?;
    story.decide(User::Alice, Verdict::Approve, Some("ops")).await?;
    let status =
        story.await_status("open the gate that is new", |status| gate(status, "ops") == Some(GateState::Open)).await?;
    ensure!(gate(&status, "board") == Some(GateState::Closed), "one approval of two has opened it: {:?}", status.gates);
    // Without the gate in the spec, the one of the start is still asked.
    story.release(&spec(SECOND)).await?;
    let status = story.await_status("ask", |status| status.phase == Phase::Paused && !status.gates.is_empty()).await?;
    ensure!(gate(&status, "board") == Some(GateState::Closed), "the gate has gone: {:?}", status.gates);
    story.decide(User::Dave, Verdict::Approve, Some("board")).await?;
    story.await_rest("2.0.0").await?;
    app.at_rest(&before.with_version("2.0.0")).await
}
