//! A RollbackPolicy of the platform's is used where the platform admits it, and nowhere else.

use anyhow::{Result, ensure};
use lockkeeper_api::release::{GoingBackCause, Phase};
use lockkeeper_api::rollback_policy::RollbackPolicy;
use lockkeeper_e2e::{SYSTEM_NAMESPACE, User, wait};

use crate::harness::{LIMIT, Story, condition};

/// Nobody else names it.
const POLICY: &str = "shared-policy-slo";

const SPEC: &str = "
workloads:
- ref: {kind: Deployment, name: web}
  images: {app: \"demo:2.0.0\"}
  service: web
  routes: [{kind: HTTPRoute, name: web}]
strategy: {canary: {steps: [{setWeight: 50}, {pause: {}}]}}
rollbackPolicy: shared-policy-slo
";

/// The policy for namespaces that carry this story's name as a label, with a check that holds or fails whatever is released.
fn policy(namespace: &str, value: u8) -> String {
    let head = "apiVersion: lockkeeper.dev/v1alpha1\nkind: RollbackPolicy";
    let allow = "allowNamespaces: {matchLabels: {slo: NAMESPACE}}";
    let allow = if namespace == SYSTEM_NAMESPACE { allow } else { "bake: 0s" };
    format!(
        "{head}\nmetadata: {{name: {POLICY}, namespace: {namespace}}}\nspec:\n  {allow}\n  checks: [{{name: always, \
         query: vector({value}), min: 1, interval: 1s}}]\n"
    )
}

async fn used_by(story: &Story<'_>, expected: u32) -> Result<()> {
    let api = kube::Api::<RollbackPolicy>::namespaced(story.cluster().client(User::Admin), SYSTEM_NAMESPACE);
    wait::object(&api, POLICY, &format!("be used by {expected}"), LIMIT, |policy| {
        policy.and_then(|policy| policy.status.as_ref()).is_some_and(|status| status.used_by == expected)
    })
    .await?;
    Ok(())
}

/// Not admitted at first; the label of the namespace lets it in at once; a change of the platform's policy then sends the
/// release back; the team's own policy of that name comes before it.
pub async fn admitted_by_label(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    story.apply(&policy(SYSTEM_NAMESPACE, 1)).await?;
    story.release(SPEC).await?;
    let status = story.await_phase(Phase::Invalid).await?;
    let namespace = &story.namespace;
    for part in [
        format!("RollbackPolicy {POLICY} in namespace {SYSTEM_NAMESPACE} does not admit namespace {namespace}"),
        format!("label the namespace so that it matches slo={namespace}"),
    ] {
        ensure!(status.message.contains(&part), "it does not say “{part}”: {}", status.message);
    }
    condition(&status, "Stalled", "True")?;
    used_by(story, 0).await?;
    app.at_rest(&before).await?;

    story.cluster().kubectl(User::Admin, ["label", "namespace", namespace, &format!("slo={namespace}")]).await?;
    story.await_confirmed(50).await?;
    used_by(story, 1).await?;
    story.apply(&policy(SYSTEM_NAMESPACE, 0)).await?;
    let status = story.await_phase(Phase::RolledBack).await?;
    let cause = status.going_back.map(|back| back.cause);
    ensure!(cause == Some(GoingBackCause::CheckFailed), "it went back because of {cause:?}");

    story.apply(&policy("NAMESPACE", 1)).await?;
    used_by(story, 0).await?;
    story.kubectl(User::Admin, &["delete", "rollbackpolicy", POLICY]).await?;
    used_by(story, 1).await?;
    story.cluster().kubectl(User::Admin, ["-n", SYSTEM_NAMESPACE, "delete", "rollbackpolicy", POLICY]).await?;
    story.await_given_back().await
}
