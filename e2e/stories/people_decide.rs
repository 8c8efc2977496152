//! Each verdict of a Decision.

use anyhow::{Context, Result, ensure};
use lockkeeper_api::decision::Verdict;
use lockkeeper_api::release::{GoingBackCause, Phase};
use lockkeeper_e2e::User;

use crate::harness::{Story, none_failed, with_images};

/// Pause holds a release although no step says so, until Resume.
pub async fn pause_resume(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    story.release(&with_images("2.0.0", "{setWeight: 25}, {pause: {duration: 15s}}, {setWeight: 75}")).await?;
    story.await_confirmed(25).await?;
    story.decide(User::Erin, Verdict::Pause, None).await?;
    let held = story
        .await_status("be held", |status| status.hold.as_ref().is_some_and(|hold| hold.reason == "PausedByPerson"))
        .await?;
    ensure!(held.message.contains("erin"), "who holds it is not said: {}", held.message);
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_status("go on", |status| status.weight.is_some_and(|weight| weight.desired == 75)).await?;
    story.await_rest("2.0.0").await?;
    app.at_rest(&before.with_version("2.0.0")).await
}

/// Skip ends a step, but not the approval that comes after it.
pub async fn skip(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    let steps = "{setWeight: 25}, {pause: {}}, {approval: {name: go}}, {setWeight: 75}";
    let gates = "gates: {approvals: [{name: go}]}\n";
    story.release(&(with_images("2.0.0", steps) + gates)).await?;
    story.await_confirmed(25).await?;
    story.decide(User::Erin, Verdict::Skip, None).await?;
    story.await_status("wait for approval", |status| status.step.as_ref().is_some_and(|step| step.index == 2)).await?;
    story.decide(User::Erin, Verdict::Skip, None).await?;
    let status = story.await_status("have counted both", |status| status.decisions.len() == 2).await?;
    ensure!(status.step.is_some_and(|step| step.index == 2), "Skip has opened a gate");
    story.decide(User::Bob, Verdict::Approve, Some("go")).await?;
    story.await_rest("2.0.0").await?;
    app.at_rest(&before.with_version("2.0.0")).await
}

/// Promote goes through a pause and a gate that nobody has opened.
pub async fn promote(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    let traffic = app.traffic();
    let gates = "gates: {approvals: [{name: go, before: Promotion}]}\n";
    story.release(&(with_images("2.0.0", "{setWeight: 25}, {pause: {}}") + gates)).await?;
    story.await_confirmed(25).await?;
    story.decide(User::Alice, Verdict::Promote, None).await?;
    story.await_rest("2.0.0").await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before.with_version("2.0.0")).await
}

/// Abort goes back and blocks the version until Retry.
pub async fn abort_retry(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    let traffic = app.traffic();
    story.release(&with_images("2.0.0", "{setWeight: 25}, {pause: {}}")).await?;
    story.await_confirmed(25).await?;
    story.decide(User::Alice, Verdict::Abort, None).await?;
    story.await_phase(Phase::Aborted).await?;
    story.await_given_back().await?;
    app.at_rest(&before).await?;
    story.decide(User::Alice, Verdict::Retry, None).await?;
    story.await_confirmed(25).await?;
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("2.0.0").await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before.with_version("2.0.0")).await
}

/// Rollback after promotion: the version before runs again, and the one left stays blocked although the spec names it.
pub async fn rollback(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    let traffic = app.traffic();
    story.release(&with_images("2.0.0", "{setWeight: 50}")).await?;
    story.await_rest("2.0.0").await?;
    story.decide(User::Alice, Verdict::Rollback, None).await?;
    let status = story.await_phase(Phase::RolledBack).await?;
    let back = status.going_back.context("it does not say why")?;
    ensure!(back.cause == GoingBackCause::RollbackRequested, "{back:?}");
    story.await_given_back().await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before).await
}
