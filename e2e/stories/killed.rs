//! The operator is killed in a phase and another one takes over: nobody notices, and the release ends as it would have.

use anyhow::Result;
use lockkeeper_api::decision::Verdict;
use lockkeeper_api::release::Phase;
use lockkeeper_e2e::User;

use crate::harness::{GATE_AND_BAKE, Story, bake, none_failed, with_images};

fn spec() -> String {
    with_images("2.0.0", "{setWeight: 40}, {pause: {}}, {setWeight: 80}") + GATE_AND_BAKE
}

/// The phases of a release that ends with promotion.
const PHASES: [Phase; 5] = [Phase::Waiting, Phase::Progressing, Phase::Paused, Phase::Promoting, Phase::Baking];

/// The operator is killed as soon as the release is in this phase; what the phase waits for, people do while no operator runs.
async fn killed_in(story: &Story<'_>, phase: Phase) -> Result<()> {
    let app = story.app(3).await?;
    let before = app.specs().await?;
    story.apply(&bake("10s")).await?;
    let operator = story.operator().await?;
    let traffic = app.traffic();
    story.own_release(&spec()).await?;
    for earlier in PHASES.into_iter().take_while(|earlier| *earlier != phase) {
        reached(story, earlier).await?;
        helped_on(story, earlier).await?;
    }
    reached(story, phase).await?;
    operator.process.kill().await?;
    helped_on(story, phase).await?;
    let operator = story.operator().await?;
    if matches!(phase, Phase::Waiting | Phase::Progressing) {
        reached(story, Phase::Paused).await?;
        helped_on(story, Phase::Paused).await?;
    }
    story.await_rest("2.0.0").await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before.with_version("2.0.0")).await?;
    operator.process.kill().await
}

async fn reached(story: &Story<'_>, phase: Phase) -> Result<()> {
    // Paused is also what a release may be between two steps.
    let reached = if phase == Phase::Paused { story.await_confirmed(40).await } else { story.await_phase(phase).await };
    reached.map(drop)
}

/// People do what the phase waits for.
async fn helped_on(story: &Story<'_>, phase: Phase) -> Result<()> {
    if phase == Phase::Waiting {
        story.decide(User::Alice, Verdict::Approve, Some("go")).await?;
    }
    if phase == Phase::Paused {
        story.decide(User::Alice, Verdict::Resume, None).await?;
    }
    Ok(())
}

pub async fn waiting(story: &Story<'_>) -> Result<()> {
    killed_in(story, Phase::Waiting).await
}

pub async fn progressing(story: &Story<'_>) -> Result<()> {
    killed_in(story, Phase::Progressing).await
}

pub async fn paused(story: &Story<'_>) -> Result<()> {
    killed_in(story, Phase::Paused).await
}

pub async fn promoting(story: &Story<'_>) -> Result<()> {
    killed_in(story, Phase::Promoting).await
}

pub async fn baking(story: &Story<'_>) -> Result<()> {
    killed_in(story, Phase::Baking).await
}

pub async fn rolling_back(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    let before = app.specs().await?;
    story.apply(&bake("10s")).await?;
    let operator = story.operator().await?;
    let traffic = app.traffic();
    story.own_release(&spec()).await?;
    story.approved_to(40).await?;
    // Who looks only afterwards may come too late for the phase.
    tokio::try_join!(story.await_phase(Phase::RollingBack), story.decide(User::Alice, Verdict::Abort, None))?;
    operator.process.kill().await?;
    let operator = story.operator().await?;
    story.await_phase(Phase::Aborted).await?;
    story.await_given_back().await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before).await?;
    operator.process.kill().await
}
