//! Back to an earlier version after promotion, and what becomes of the version that was left.

use anyhow::{Context, Result, ensure};
use lockkeeper_api::decision::Verdict;
use lockkeeper_api::release::{GoingBackCause, Phase, ReleaseStatus};
use lockkeeper_e2e::{Traffic, User};

use crate::harness::{App, Exposure, Specs, Story, condition, none_failed, with_images, without_images};

const STEPS: &str = "{setWeight: 50}";
const GATE: &str = "gates: {approvals: [{name: go, before: Start}]}\n";

fn images(version: &str) -> String {
    with_images(version, STEPS) + GATE
}

async fn approved(story: &Story<'_>) -> Result<()> {
    story.await_phase(Phase::Waiting).await?;
    story.decide(User::Alice, Verdict::Approve, Some("go")).await?;
    story.await_rest("2.0.0").await.map(drop)
}

/// 1.0.0 runs again, though nobody has approved that, and 2.0.0 is blocked.
async fn back(app: &App<'_>, before: &Specs) -> Result<()> {
    let status = app.story.await_rest("1.0.0").await?;
    let back = status.going_back.context("it does not say why")?;
    ensure!(back.cause == GoingBackCause::ReturnedToEarlierVersion, "{back:?}");
    let blocked: Vec<&str> = status.blocked.iter().map(|blocked| blocked.version.as_str()).collect();
    ensure!(blocked == ["2.0.0"], "{blocked:?} are blocked");
    app.given_back("1.0.0").await?;
    app.at_rest(before).await
}

/// 2.0.0 is asked for again, and stays out.
async fn blocked(app: &App<'_>) -> Result<ReleaseStatus> {
    let mend_is_named = |status: &ReleaseStatus| status.phase == Phase::RolledBack && status.message.contains("Retry");
    let status = app.story.await_status("wait for Retry", mend_is_named).await?;
    condition(&status, "Stalled", "True")?;
    condition(&status, "Ready", "False")?;
    app.gone("2.0.0").await?;
    Ok(status)
}

/// It had no traffic since then, and after Retry it goes through its gate again.
async fn retried(app: &App<'_>, before: Specs, exposure: &Exposure, traffic: Traffic) -> Result<()> {
    ensure!(exposure.never_above_the_step()? == 0, "the blocked version had traffic");
    app.story.decide(User::Alice, Verdict::Retry, None).await?;
    approved(app.story).await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before.with_version("2.0.0")).await
}

/// Git has brought 2.0.0, which was promoted.
struct Promoted<'a> {
    app: App<'a>,
    before: Specs,
    traffic: Traffic,
}

async fn promoted<'a>(story: &'a Story<'a>) -> Result<Promoted<'a>> {
    let app = story.app(3).await?;
    let before = app.specs().await?;
    let traffic = app.traffic();
    story.release(&(without_images(STEPS) + GATE)).await?;
    story.await_rest("1.0.0").await?;
    app.sync("2.0.0").await?;
    approved(story).await?;
    Ok(Promoted { app, before, traffic })
}

async fn undo(story: &Story<'_>) -> Result<()> {
    story.kubectl(User::Admin, &["rollout", "undo", "deployment/web"]).await.map(drop)
}

/// `kubectl rollout undo` is a rollback without gates; when Git brings the bad version back, it waits for Retry.
pub async fn rollout_undo(story: &Story<'_>) -> Result<()> {
    let Promoted { app, before, traffic } = promoted(story).await?;
    undo(story).await?;
    back(&app, &before).await?;
    let exposure = app.exposure().await?;
    app.sync("2.0.0").await?;
    blocked(&app).await?;
    ensure!(app.paused().await?, "the Deployment rolls the blocked version out by itself");
    ensure!(app.pods("1.0.0").await?.len() == 3, "the stable version is not whole");
    retried(&app, before, &exposure, traffic).await
}

/// Git heals the Deployment while `kubectl rollout undo` is still on its way back: that goes on, and Git's version is blocked.
pub async fn healed_on_the_way(story: &Story<'_>) -> Result<()> {
    let Promoted { app, before, traffic } = promoted(story).await?;
    // Who looks only afterwards may come too late for the phase.
    tokio::try_join!(story.await_phase(Phase::RollingBack), undo(story))?;
    app.sync("2.0.0").await?;
    blocked(&app).await?;
    ensure!(app.paused().await?, "the Deployment rolls the blocked version out by itself");
    ensure!(app.pods("1.0.0").await?.len() == 3, "the version before is not whole");
    app.sync("1.0.0").await?;
    story.await_rest("1.0.0").await?;
    app.given_back("1.0.0").await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before).await
}

/// As `rollout_undo`, where the Release carries the version.
pub async fn images_brought_back(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    let before = app.specs().await?;
    let traffic = app.traffic();
    story.release(&images("2.0.0")).await?;
    approved(story).await?;
    story.release(&images("1.0.0")).await?;
    back(&app, &before).await?;
    let exposure = app.exposure().await?;
    story.release(&images("2.0.0")).await?;
    blocked(&app).await?;
    app.at_rest(&before).await?;
    retried(&app, before, &exposure, traffic).await
}
