//! Windows decide when exposure may grow.

use anyhow::{Result, ensure};
use lockkeeper_api::release::{GateKind, GateState, GateStatus, Phase, ReleaseStatus};
use lockkeeper_e2e::User;

use crate::harness::{Story, with_images};

fn spec() -> String {
    with_images("2.0.0", "{setWeight: 30}, {pause: {duration: 15s}}, {setWeight: 60}")
}

fn window(name: &str, action: &str, from: &str, until: &str) -> String {
    format!(
        "
apiVersion: lockkeeper.dev/v1alpha1
kind: DeploymentWindow
metadata: {{name: {name}, namespace: NAMESPACE}}
spec:
  action: {action}
  schedule: {{from: \"{from}\", until: \"{until}\", timeZone: UTC}}
  reason: the story of {name}
"
    )
}

const PAST: (&str, &str) = ("2001-01-01T00:00:00", "2001-01-02T00:00:00");
const NOW: (&str, &str) = ("2001-01-01T00:00:00", "2999-01-01T00:00:00");

fn windows(status: &ReleaseStatus) -> Option<&GateStatus> {
    status.gates.iter().find(|gate| gate.kind == GateKind::Windows)
}

fn closed(status: &ReleaseStatus) -> bool {
    windows(status).is_some_and(|gate| gate.state == GateState::Closed)
}

/// The window closes while the release runs, which then keeps its weight, and goes on when it opens again.
pub async fn closed_and_opened(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    story.apply(&window("office", "Allow", PAST.0, PAST.1)).await?;
    story.release(&spec()).await?;
    story.await_status("wait for the window", |status| status.phase == Phase::Waiting && closed(status)).await?;
    story.apply(&window("office", "Allow", NOW.0, NOW.1)).await?;
    story.await_confirmed(30).await?;
    story.apply(&window("office", "Allow", PAST.0, PAST.1)).await?;
    let status =
        story.await_status("pause for the window", |status| status.phase == Phase::Paused && closed(status)).await?;
    ensure!(status.weight.is_some_and(|weight| weight.desired == 30), "{:?}", status.weight);
    story.apply(&window("office", "Allow", NOW.0, NOW.1)).await?;
    story.await_rest("2.0.0").await?;
    app.at_rest(&before.with_version("2.0.0")).await
}

/// A freeze closes the gate although an Allow window is open, and says why.
pub async fn freeze(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    story.apply(&window("office", "Allow", NOW.0, NOW.1)).await?;
    story.apply(&window("christmas", "Freeze", NOW.0, NOW.1)).await?;
    story.release(&spec()).await?;
    let status =
        story.await_status("wait for the freeze", |status| status.phase == Phase::Waiting && closed(status)).await?;
    let message = windows(&status).map_or("", |gate| &gate.message);
    ensure!(message.contains("the story of christmas"), "the reason is not shown: {message}");
    app.at_rest(&before).await?;
    story.kubectl(User::Admin, &["delete", "deploymentwindow", "christmas"]).await?;
    story.await_rest("2.0.0").await?;
    app.at_rest(&before.with_version("2.0.0")).await
}
