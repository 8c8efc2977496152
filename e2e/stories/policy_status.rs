//! A RollbackPolicy tells whether it can be trusted before any release needs it.

use anyhow::{Context, Result, ensure};
use lockkeeper_api::release::CheckOutcome;
use lockkeeper_api::rollback_policy::{RollbackPolicy, RollbackPolicyStatus};
use lockkeeper_e2e::{http_get, wait};

use crate::harness::{LIMIT, Story};

const RELEASE: &str = r#"
workloads:
- ref: {kind: Deployment, name: web}
  service: web
  routes: [{kind: HTTPRoute, name: web}]
strategy: {canary: {steps: [{setWeight: 50}]}}
rollbackPolicy: slo
"#;

async fn policy(story: &Story<'_>, query: &str) -> Result<()> {
    let check = format!("- {{name: requests, max: 1000000, query: '{query}'}}");
    let head = "apiVersion: lockkeeper.dev/v1alpha1\nkind: RollbackPolicy\nmetadata: {name: slo, namespace: NAMESPACE}";
    story.apply(&format!("{head}\nspec:\n  checks:\n  {check}\n")).await
}

/// The status that speaks of the policy as it is now, once Ready has this reason.
async fn await_reason(story: &Story<'_>, reason: &str) -> Result<RollbackPolicyStatus> {
    let found = wait::object(&story.api::<RollbackPolicy>(), "slo", &format!("be {reason}"), LIMIT, |policy| {
        policy.is_some_and(|policy| {
            policy.status.as_ref().is_some_and(|status| {
                status.observed_generation == policy.metadata.generation
                    && status.conditions.iter().any(|condition| condition.reason == reason)
            })
        })
    })
    .await?;
    found.and_then(|policy| policy.status).context("the policy has no status")
}

/// Waits until Prometheus has numbers of the story's pods.
async fn scraped(story: &Story<'_>) -> Result<()> {
    let query = format!("http_requests_total%7Bnamespace=%22{}%22%7D", story.namespace);
    let url = format!("{}/api/v1/query?query={query}", story.cluster().prometheus_url()?);
    wait::answer("Prometheus to have numbers of the pods", LIMIT, async || {
        let answer = String::from_utf8_lossy(&http_get(&url).await?.body).into_owned();
        ensure!(answer.contains("\"pod\""), "{answer}");
        Ok(())
    })
    .await
}

/// First nothing to match, then a Release with a stable version, then a query that Prometheus refuses and a placeholder
/// that there is not.
pub async fn tried_before_it_is_needed(story: &Story<'_>) -> Result<()> {
    let good = r#"sum(http_requests_total{namespace="{{ namespace }}",pod=~"{{ candidate.pods }}"})"#;
    policy(story, good).await?;
    let status = await_reason(story, "NoRelease").await?;
    ensure!(status.used_by == 0, "used by {}", status.used_by);
    ensure!(status.checks.len() == 1 && status.checks[0].outcome == CheckOutcome::NoData, "{:?}", status.checks);

    let app = story.app(2).await?;
    let traffic = app.traffic();
    scraped(story).await?;
    story.release(RELEASE).await?;
    story.await_rest("1.0.0").await?;
    let status = await_reason(story, "Valid").await?;
    traffic.stop().await;
    ensure!(status.used_by == 1, "used by {}", status.used_by);
    let check = &status.checks[0];
    ensure!(check.outcome == CheckOutcome::Success && check.value.is_some(), "{check:?}");

    policy(story, "sum(").await?;
    let status = await_reason(story, "Invalid").await?;
    ensure!(status.checks.iter().all(|check| check.outcome == CheckOutcome::Error), "{:?}", status.checks);
    ensure!(status.conditions[0].status == "False", "{:?}", status.conditions);

    policy(story, "sum({{ canary }})").await?;
    let status = wait::object(&story.api::<RollbackPolicy>(), "slo", "name the placeholder", LIMIT, |policy| {
        let conditions = policy.and_then(|policy| policy.status.as_ref()).map(|status| &status.conditions);
        conditions.is_some_and(|conditions| conditions.iter().any(|c| c.message.contains("unknown placeholder canary")))
    })
    .await?;
    ensure!(status.is_some(), "no status");
    Ok(())
}
