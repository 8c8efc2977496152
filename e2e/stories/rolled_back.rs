//! A bad version goes back by itself; what cannot be judged goes nowhere.

use anyhow::{Result, ensure};
use lockkeeper_api::decision::Verdict;
use lockkeeper_api::release::{GoingBackCause, Phase, ReleaseStatus};
use lockkeeper_e2e::User;

use crate::harness::{App, Specs, Story, condition, none_failed, with_images};

/// Goes back when more than 1 % of the candidate's requests fail.
const POLICY: &str = r#"
apiVersion: lockkeeper.dev/v1alpha1
kind: RollbackPolicy
metadata: {name: slo, namespace: NAMESPACE}
spec:
  checks:
  - name: error-rate
    query: >-
      (sum(rate(http_requests_total{namespace="{{ namespace }}",pod=~"{{ candidate.pods }}",code=~"5.."}[10s])) or vector(0))
      / sum(rate(http_requests_total{namespace="{{ namespace }}",pod=~"{{ candidate.pods }}"}[10s]))
    max: 0.01
    interval: 1s
    minimumSamples:
      query: sum(increase(http_requests_total{namespace="{{ namespace }}",pod=~"{{ candidate.pods }}"}[10s]))
      atLeast: 5
"#;

/// The stable version runs as before, and the version that failed is blocked.
async fn back(app: &App<'_>, before: &Specs, cause: GoingBackCause) -> Result<ReleaseStatus> {
    let story = app.story;
    let status = story
        .await_status("have gone back", |status| {
            let finished = status.going_back.as_ref().is_some_and(|back| back.finished.is_some());
            status.phase == Phase::RolledBack && finished
        })
        .await?;
    let found = status.going_back.as_ref().map(|back| back.cause);
    ensure!(found == Some(cause), "it went back for {found:?}, not for {cause:?}");
    condition(&status, "Stalled", "True")?;
    condition(&status, "Ready", "False")?;
    ensure!(status.blocked.len() == 1, "blocked: {:?}", status.blocked);
    story.await_given_back().await?;
    app.at_rest(before).await?;
    Ok(status)
}

pub async fn by_metrics(story: &Story<'_>) -> Result<()> {
    let app = story.app(4).await?;
    let (before, pods) = (app.specs().await?, app.pods("1.0.0").await?);
    story.apply(POLICY).await?;
    let traffic = app.traffic();
    let steps = "{setWeight: 20}, {analysis: {policy: slo, duration: 60s}}, {setWeight: 100}";
    story.release(&(with_images("3.0.0-errors20", steps) + "rollbackPolicy: slo\n")).await?;
    let status = back(&app, &before, GoingBackCause::CheckFailed).await?;
    let totals = traffic.stop().await;
    let others = totals.failures.iter().filter(|failure| failure.version.as_deref() != Some("3.0.0-errors20")).count();
    ensure!(others == 0, "requests failed that the bad version did not answer: {:?}", totals.failures);
    let back_since = status.going_back.and_then(|back| back.finished).map(|time| time.0);
    let late = totals.failures.iter().filter(|failure| back_since.is_some_and(|since| failure.sent > since)).count();
    ensure!(late == 0, "{late} requests failed after the rollback");
    ensure!(app.pods("1.0.0").await? == pods, "the rollback has changed the pods of the stable version");
    Ok(())
}

/// Without traffic there are no numbers, and without numbers nothing is promoted.
pub async fn no_data(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    story.apply(POLICY).await?;
    let steps = "{setWeight: 20}, {analysis: {policy: slo, duration: 5s}}";
    story.release(&(with_images("2.0.0", steps) + "rollbackPolicy: slo\n")).await?;
    let status = story
        .await_status("be inconclusive", |status| {
            status.hold.as_ref().is_some_and(|hold| hold.reason == "Inconclusive")
        })
        .await?;
    ensure!(status.phase == Phase::Paused, "it is {}", status.phase);
    ensure!(status.weight.is_some_and(|weight| weight.desired == 20), "{:?}", status.weight);
    // People decide, and can see why they have to.
    ensure!(status.message.contains("error-rate") || status.message.contains("slo"), "{}", status.message);
    story.decide(User::Alice, Verdict::Abort, None).await?;
    story.await_phase(Phase::Aborted).await?;
    drop(app);
    Ok(())
}

pub async fn crash_loop(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    let before = app.specs().await?;
    let traffic = app.traffic();
    let steps = "{setWeight: 30}, {pause: {}}";
    story.release(&with_images("2.0.0-crash", steps)).await?;
    back(&app, &before, GoingBackCause::CrashLoop).await?;
    none_failed(&traffic.stop().await)
}

pub async fn never_ready(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    let before = app.specs().await?;
    let traffic = app.traffic();
    let steps = "{setWeight: 30}, {pause: {}}";
    story.release(&(with_images("2.0.0-neverready", steps) + "progressDeadline: 10s\n")).await?;
    back(&app, &before, GoingBackCause::ProgressDeadlineExceeded).await?;
    none_failed(&traffic.stop().await)
}
