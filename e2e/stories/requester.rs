//! Who has asked for a version has no say in it where a gate excludes them.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use lockkeeper_api::decision::Verdict;
use lockkeeper_api::release::{GateStatus, Phase, Release, ReleaseStatus};
use lockkeeper_e2e::User;
use serde_json::json;

use crate::harness::{App, Specs, Story, with_images, without_images};

const STEPS: &str = "{setWeight: 50}";

const GATES: &str = "
gates:
  approvals: [{name: peer, before: Start, from: {groups: [sre]}, excludeRequester: true}]
  MORE
";

fn spec(version: &str) -> String {
    with_images(version, STEPS) + GATES
}

/// Alice releases too; and so does the account of a GitOps tool, for the release below.
const RELEASERS: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: alice-releases, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: lockkeeper-releaser}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: alice}
- {kind: ServiceAccount, name: flux, namespace: NAMESPACE}
";

/// 1.0.0 runs, and its gate is asked about whatever comes next.
async fn begun<'a>(story: &'a Story<'a>) -> Result<(App<'a>, Specs)> {
    let app = story.app(1).await?;
    let before = app.specs().await?;
    story.apply(RELEASERS).await?;
    story.release(&spec("1.0.0").replace("MORE", "")).await?;
    story.await_rest("1.0.0").await?;
    Ok((app, before))
}

/// Whoever the client is asks for 2.0.0.
async fn asked_by(story: &Story<'_>, client: Client) -> Result<ReleaseStatus> {
    let patch = json!([{"op": "replace", "path": "/spec/workloads/0/images/app", "value": "demo:2.0.0"}]);
    let patch: Patch<()> = Patch::Json(serde_json::from_value(patch)?);
    Api::<Release>::namespaced(client, &story.namespace).patch("web", &PatchParams::default(), &patch).await?;
    story.await_phase(Phase::Waiting).await
}

fn peer(status: &ReleaseStatus) -> Option<&GateStatus> {
    status.gates.iter().find(|gate| gate.name == "peer")
}

fn closed_for(status: &ReleaseStatus, reason: &str) -> bool {
    status.phase == Phase::Waiting && peer(status).is_some_and(|gate| gate.reason == reason)
}

/// An approval of one's own version counts for nothing, and it is said why; a colleague's opens the gate.
pub async fn excluded(story: &Story<'_>) -> Result<()> {
    let (app, before) = begun(story).await?;
    let status = asked_by(story, story.cluster().client(User::Alice)).await?;
    let requester = status.candidate.and_then(|candidate| candidate.requested_by);
    ensure!(requester.as_deref() == Some("alice"), "it was asked for by {requester:?}");
    story.decide(User::Alice, Verdict::Approve, Some("peer")).await?;
    let status = story.await_status("have counted the Decision", |status| status.decisions.len() == 1).await?;
    let refused = status.decisions.first().and_then(|counted| counted.refused.clone()).unwrap_or_default();
    ensure!(refused.contains("alice asked for this version"), "why it does not count is not said: {refused:?}");
    ensure!(closed_for(&status, "ApprovalNeeded"), "{:?}", status.gates);
    story.decide(User::Bob, Verdict::Approve, Some("peer")).await?;
    story.await_rest("2.0.0").await?;
    app.at_rest(&before.with_version("2.0.0")).await
}

/// Where the Deployment carries the version, whoever changed its template has asked, whatever annotation they wrote.
pub async fn of_the_deployment(story: &Story<'_>) -> Result<()> {
    let app = story.app(1).await?;
    let before = app.specs().await?;
    story.apply(EDITOR).await?;
    story.release(&(without_images(STEPS) + GATES).replace("MORE", "")).await?;
    story.await_rest("1.0.0").await?;
    let patch = json!({
        "metadata": {"annotations": {"lockkeeper.dev/requested-by": "bob"}},
        "spec": {"template": {"spec": {"containers": [{"name": "app", "image": "demo:2.0.0"}]}}},
    });
    let deployments: Api<Deployment> = Api::namespaced(story.cluster().client(User::Alice), &story.namespace);
    deployments.patch("web", &PatchParams::default(), &Patch::Strategic(patch)).await?;
    let status = story.await_phase(Phase::Waiting).await?;
    let requester = status.candidate.and_then(|candidate| candidate.requested_by);
    ensure!(requester.as_deref() == Some("alice"), "it was asked for by {requester:?}");
    story.decide(User::Alice, Verdict::Approve, Some("peer")).await?;
    let status = story.await_status("have counted the Decision", |status| status.decisions.len() == 1).await?;
    ensure!(closed_for(&status, "ApprovalNeeded"), "{:?}", status.gates);
    story.decide(User::Bob, Verdict::Approve, Some("peer")).await?;
    story.await_rest("2.0.0").await?;
    app.at_rest(&before.with_version("2.0.0")).await
}

/// Alice may edit Deployments.
const EDITOR: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: alice-edits, namespace: NAMESPACE}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: alice}]
";

/// Where a machine has asked, nobody's approval opens the gate until the person is named; that person's does not.
pub async fn unknown(story: &Story<'_>) -> Result<()> {
    let (app, before) = begun(story).await?;
    let kubeconfig = story.cluster().service_account(&story.namespace, "flux").await?;
    let status = asked_by(story, story.cluster().client_of(&kubeconfig).await?).await?;
    ensure!(closed_for(&status, "RequesterUnknown"), "{:?}", status.gates);
    let message = peer(&status).map_or("", |gate| &gate.message);
    ensure!(message.contains("spec.gates.requester"), "the mend is not named: {message}");
    story.decide(User::Bob, Verdict::Approve, Some("peer")).await?;
    let status = story.await_status("have counted the Decision", |status| status.decisions.len() == 1).await?;
    ensure!(closed_for(&status, "RequesterUnknown"), "{:?}", status.gates);
    story.release(&spec("2.0.0").replace("MORE", "requester: bob")).await?;
    story.await_status("not count bob's approval", |status| closed_for(status, "ApprovalNeeded")).await?;
    app.at_rest(&before).await?;
    story.decide(User::Alice, Verdict::Approve, Some("peer")).await?;
    story.await_rest("2.0.0").await?;
    app.at_rest(&before.with_version("2.0.0")).await
}
