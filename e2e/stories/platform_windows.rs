//! A team cannot open what the platform has closed.

use anyhow::{Result, ensure};
use lockkeeper_api::release::{GateKind, GateState, Phase, ReleaseStatus};
use lockkeeper_e2e::{SYSTEM_NAMESPACE, User};

use crate::harness::{Story, with_images};

fn spec() -> String {
    with_images("2.0.0", "{setWeight: 50}")
}

/// The platform's window of this story's namespace, named after it, and the team's own, which is open.
fn windows(action: &str, from: &str, until: &str) -> String {
    let window = |name: &str, namespace: &str, action: &str, (from, until): (&str, &str), more: &str| {
        format!(
            "
apiVersion: lockkeeper.dev/v1alpha1
kind: DeploymentWindow
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  action: {action}
  schedule: {{from: \"{from}\", until: \"{until}\", timeZone: UTC}}
{more}"
        )
    };
    let always = ("2001-01-01T00:00:00", "2999-01-01T00:00:00");
    let selector = "  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}\n  reason: the platform says so\n";
    let platform = window("NAMESPACE", SYSTEM_NAMESPACE, action, (from, until), selector);
    let team = window("team", "NAMESPACE", "Allow", always, "  reason: the team is there\n");
    format!("{platform}---{team}")
}

async fn closed(story: &Story<'_>) -> Result<ReleaseStatus> {
    let is_closed = |status: &ReleaseStatus| {
        status.gates.iter().any(|gate| gate.kind == GateKind::Windows && gate.state == GateState::Closed)
    };
    story.await_status("wait for the platform", |status| status.phase == Phase::Waiting && is_closed(status)).await
}

/// Waits while the platform's window closes the gate; the team's Allow window is open all the time.
async fn closed_until_taken_away(story: &Story<'_>, windows: &str, reason: &str) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    story.apply(windows).await?;
    story.release(&spec()).await?;
    let status = closed(story).await?;
    let gate = status.gates.iter().find(|gate| gate.kind == GateKind::Windows);
    let (found, message) = gate.map_or(("", ""), |gate| (&gate.reason, &gate.message));
    ensure!(found == reason, "the gate's reason is {found}, not {reason}");
    let window = format!("{SYSTEM_NAMESPACE}/{}", story.namespace);
    ensure!(message.contains(&window), "the window {window} is not named: {message}");
    app.at_rest(&before).await?;
    let window = ["-n", SYSTEM_NAMESPACE, "delete", "deploymentwindow", &story.namespace];
    story.cluster().kubectl(User::Admin, window).await?;
    story.await_rest("2.0.0").await?;
    app.at_rest(&before.with_version("2.0.0")).await
}

/// A Freeze of the platform closes the gate.
pub async fn frozen(story: &Story<'_>) -> Result<()> {
    let freeze = windows("Freeze", "2001-01-01T00:00:00", "2999-01-01T00:00:00");
    closed_until_taken_away(story, &freeze, "Frozen").await
}

/// Outside of the platform's Allow window an open window of the team's opens nothing.
pub async fn outside(story: &Story<'_>) -> Result<()> {
    let past = windows("Allow", "2001-01-01T00:00:00", "2001-01-02T00:00:00");
    closed_until_taken_away(story, &past, "OutsideWindow").await
}
