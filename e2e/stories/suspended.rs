//! `spec.suspend`: exposure does not grow while it is true; going back stays possible.

use anyhow::{Result, ensure};
use kube::Api;
use kube::api::{Patch, PatchParams};
use lockkeeper_api::decision::Verdict;
use lockkeeper_api::release::{GateKind, GateState, Phase, Release, ReleaseStatus};
use lockkeeper_e2e::User;
use serde_json::json;

use crate::harness::{Story, condition, none_failed, with_images};

fn spec() -> String {
    with_images(
        "2.0.0",
        "{setWeight: 30}, {pause: {duration: 15s}}, {setWeight: 60}, {pause: {}}, {setWeight: 80}, {pause: {}}",
    ) + "suspend: SUSPEND\n"
}

/// Who releases may hold their release so.
async fn suspend(story: &Story<'_>, suspend: bool) -> Result<()> {
    let releases: Api<Release> = Api::namespaced(story.cluster().client(User::Erin), &story.namespace);
    let patch = Patch::Merge(json!({"spec": {"suspend": suspend}}));
    releases.patch("web", &PatchParams::default(), &patch).await?;
    Ok(())
}

fn closed(status: &ReleaseStatus) -> bool {
    status.gates.iter().any(|gate| gate.kind == GateKind::Suspend && gate.state == GateState::Closed)
}

/// Nothing begins, and nothing is touched.
pub async fn before_start(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    story.release(&spec().replace("SUSPEND", "true")).await?;
    let status = story.await_status("wait", |status| status.phase == Phase::Waiting && closed(status)).await?;
    ensure!(status.message.contains("spec.suspend"), "the mend is not named: {}", status.message);
    condition(&status, "Ready", "True")?;
    app.at_rest(&before).await?;
    suspend(story, false).await?;
    for weight in [60, 80] {
        story.await_confirmed(weight).await?;
        story.decide(User::Erin, Verdict::Resume, None).await?;
    }
    story.await_rest("2.0.0").await?;
    app.at_rest(&before.with_version("2.0.0")).await
}

/// The weight stays where it is, although its pause is over, until suspend is false; and Abort works meanwhile.
pub async fn midway(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    let traffic = app.traffic();
    story.release(&spec().replace("SUSPEND", "false")).await?;
    story.await_confirmed(30).await?;
    suspend(story, true).await?;
    let status = story.await_status("be suspended", |status| status.phase == Phase::Paused && closed(status)).await?;
    ensure!(status.weight.is_some_and(|weight| weight.desired == 30), "{:?}", status.weight);
    suspend(story, false).await?;
    story.await_confirmed(60).await?;
    suspend(story, true).await?;
    story.decide(User::Erin, Verdict::Resume, None).await?;
    let status = story.await_status("be suspended", |status| status.phase == Phase::Paused && closed(status)).await?;
    ensure!(status.weight.is_some_and(|weight| weight.desired == 60), "{:?}", status.weight);
    // The Resume counts as soon as it may.
    suspend(story, false).await?;
    story.await_confirmed(80).await?;
    suspend(story, true).await?;
    story.decide(User::Erin, Verdict::Abort, None).await?;
    story.await_phase(Phase::Aborted).await?;
    story.await_given_back().await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before).await
}
