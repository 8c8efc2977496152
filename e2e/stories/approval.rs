//! People agree, or do not.

use anyhow::{Result, ensure};
use lockkeeper_api::decision::Verdict;
use lockkeeper_api::release::{GateState, Phase, ReleaseStatus};
use lockkeeper_e2e::User;

use crate::harness::{Story, condition, with_images};

const GATES: &str = "
gates:
  approvals: [{name: change-board, before: Start, required: 2, from: {groups: [change-board]}}]
";

fn spec() -> String {
    with_images("2.0.0", "{setWeight: 50}") + GATES
}

async fn waiting(story: &Story<'_>) -> Result<ReleaseStatus> {
    let status = story.await_phase(Phase::Waiting).await?;
    let closed = status.gates.iter().any(|gate| gate.name == "change-board" && gate.state == GateState::Closed);
    ensure!(closed, "{:?}", status.gates);
    condition(&status, "Ready", "True")?;
    Ok(status)
}

/// One person who approves twice is one; a person of another group counts for nothing.
pub async fn two_people(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    story.release(&spec()).await?;
    waiting(story).await?;
    for user in [User::Carol, User::Carol, User::Alice] {
        story.decide(user, Verdict::Approve, Some("change-board")).await?;
    }
    let status = story.await_status("have counted three Decisions", |status| status.decisions.len() == 3).await?;
    ensure!(status.phase == Phase::Waiting, "it is {} after one approval of two", status.phase);
    app.at_rest(&before).await?;
    story.decide(User::Dave, Verdict::Approve, Some("change-board")).await?;
    story.await_rest("2.0.0").await?;
    app.at_rest(&before.with_version("2.0.0")).await
}

pub async fn rejection(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    story.release(&spec()).await?;
    waiting(story).await?;
    story.decide(User::Carol, Verdict::Reject, Some("change-board")).await?;
    let status = story.await_phase(Phase::Rejected).await?;
    condition(&status, "Stalled", "True")?;
    // Too late: the revision is blocked.
    for user in [User::Carol, User::Dave] {
        let blocked = status.blocked.first().map(|blocked| blocked.revision.clone()).unwrap_or_default();
        story.decide_about(user, Verdict::Approve, Some("change-board"), &blocked).await?;
    }
    story.await_given_back().await?;
    app.at_rest(&before).await
}
