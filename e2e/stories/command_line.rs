//! People decide by the command `lockkeeper`, each with a kubeconfig of their own.

use anyhow::{Context, Result, ensure};
use lockkeeper_api::release::{GateState, Phase};
use lockkeeper_e2e::User;
use serde_json::Value;
use tokio::process::Command;

use crate::harness::{Story, none_failed, with_images};

const GATES: &str = "
gates:
  approvals:
  - {name: board, before: Start, from: {groups: [change-board]}}
  - {name: go, from: {groups: [sre]}}
";

fn spec() -> String {
    with_images("2.0.0", "{setWeight: 40}, {pause: {}}, {approval: {name: go}}, {setWeight: 80}, {pause: {}}") + GATES
}

/// Exit codes, as `lockkeeper --help` lists them.
const DONE: i32 = 0;
const FAILED: i32 = 1;
const WRONG_ARGUMENTS: i32 = 2;
const NOT_NOW: i32 = 3;
const COUNTED_FOR_NOTHING: i32 = 4;

/// A person at a terminal.
struct Terminal<'a> {
    story: &'a Story<'a>,
    user: User,
}

impl Terminal<'_> {
    /// Types the command, which must end with this code and say these words; what it has printed.
    async fn types(&self, line: &str, code: i32, words: &[&str]) -> Result<String> {
        let output = Command::new(self.story.stage.installation()?.binary())
            .args(line.split_whitespace())
            .args(["--namespace", &self.story.namespace])
            .env("KUBECONFIG", self.story.cluster().kubeconfig(self.user))
            .kill_on_drop(true)
            .output()
            .await?;
        let (out, err) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        let said = format!("{} types `lockkeeper {line}`: {}\n{out}{err}", self.user.name(), output.status);
        ensure!(output.status.code() == Some(code), "not code {code}: {said}");
        // What went wrong is nothing that a pipe should read.
        ensure!((code == DONE) == err.is_empty(), "standard error is for errors: {said}");
        for words in words {
            ensure!(out.contains(words) || err.contains(words), "it does not say {words:?}: {said}");
        }
        Ok(out)
    }
}

/// A release from its first gate to its end, with an Abort, a Rollback and mistakes on the way.
pub async fn whole_release(story: &Story<'_>) -> Result<()> {
    let [alice, bob, carol, dave, erin, mallory] =
        [User::Alice, User::Bob, User::Carol, User::Dave, User::Erin, User::Mallory]
            .map(|user| Terminal { story, user });
    let app = story.app(2).await?;
    let before = app.specs().await?;
    let traffic = app.traffic();
    story.release(&spec()).await?;
    story.await_phase(Phase::Waiting).await?;

    alice.types("get", DONE, &["NAME", "web", "2.0.0", "Waiting"]).await?;
    mallory.types("get", FAILED, &["ClusterRole lockkeeper-viewer"]).await?;
    mallory.types("abort web", FAILED, &["ClusterRole lockkeeper-viewer"]).await?;
    alice.types("get wob", FAILED, &["there is no Release wob"]).await?;
    erin.types("promote web", NOT_NOW, &["open its gates first"]).await?;
    erin.types("approve web --gate board", FAILED, &["refused by policy: Approve needs the verb approve"]).await?;
    carol.types("approve web --gate bord", NOT_NOW, &["no approval gate bord", "board, go"]).await?;
    carol.types("abort web", FAILED, &["refused by policy: Abort needs the verb abort"]).await?;
    let not_asked = "alice is not among those who may approve board";
    alice.types("approve web --gate board --wait", COUNTED_FOR_NOTHING, &[not_asked]).await?;
    let approved = "Approve of gate board for web 2.0.0 (revision";
    carol.types("approve web --gate board --wait", DONE, &[approved, "by carol", "counted; the release is"]).await?;
    story.await_confirmed(40).await?;
    alice.types("get web", DONE, &["40 % asked for, 40 % confirmed", "Paused since", "pause without duration"]).await?;

    erin.types("abort web --wait --reason early", DONE, &["Abort for web 2.0.0", "by erin", "counted"]).await?;
    story.await_phase(Phase::Aborted).await?;
    story.await_given_back().await?;
    app.at_rest(&before).await?;
    alice.types("get web", DONE, &["Blocked until retry", "aborted by erin (early)"]).await?;
    erin.types("resume web", NOT_NOW, &["use retry"]).await?;
    erin.types("retry web --wait", DONE, &["Retry for web 2.0.0", "counted"]).await?;

    story.await_phase(Phase::Waiting).await?;
    alice.types("override web --gate board", WRONG_ARGUMENTS, &["--reason"]).await?;
    erin.types("override web --gate board --reason urgent", FAILED, &["verb override"]).await?;
    let passed = "override web --gate board --reason urgent --expires-after 10m --wait";
    alice.types(passed, DONE, &["Override of gate board", "counted"]).await?;
    story.await_confirmed(40).await?;
    erin.types("resume web --wait", DONE, &["Resume for web 2.0.0"]).await?;
    let at_go = |status: &lockkeeper_api::release::ReleaseStatus| {
        status.gates.iter().any(|gate| gate.name == "go" && gate.state == GateState::Closed)
    };
    story.await_status("ask for approval", at_go).await?;
    erin.types("skip web", NOT_NOW, &["Skip never opens a gate", "approve gate go"]).await?;
    erin.types("promote web --wait", DONE, &["Promote for web 2.0.0"]).await?;
    story.await_rest("2.0.0").await?;
    app.at_rest(&before.clone().with_version("2.0.0")).await?;

    erin.types("abort web", NOT_NOW, &["use rollback"]).await?;
    carol.types("rollback web", FAILED, &["verb abort"]).await?;
    alice.types("rollback web --wait", DONE, &["Rollback for web 2.0.0", "counted"]).await?;
    story.await_phase(Phase::RolledBack).await?;
    story.await_given_back().await?;
    app.at_rest(&before).await?;

    erin.types("retry web --revision 0123456789", NOT_NOW, &["which blocked revision"]).await?;
    erin.types("retry web", DONE, &["Retry for web 2.0.0"]).await?;
    story.await_phase(Phase::Waiting).await?;
    let stale = ["you have looked at revision 0123456789", "look again"];
    dave.types("approve web --gate board --revision 0123456789", NOT_NOW, &stale).await?;
    dave.types("approve web --gate board --wait", DONE, &["by dave"]).await?;
    story.await_confirmed(40).await?;
    erin.types("resume web --wait", DONE, &[]).await?;
    story.await_status("ask for approval", at_go).await?;
    bob.types("approve web --gate go --wait", DONE, &["by bob"]).await?;
    story.await_confirmed(80).await?;
    erin.types("resume web --wait", DONE, &[]).await?;
    story.await_rest("2.0.0").await?;

    alice.types("get -o wide", DONE, &["MESSAGE", "version 2.0.0 runs"]).await?;
    let json: Value = serde_json::from_str(&alice.types("get web -o json", DONE, &[]).await?).context("no JSON")?;
    ensure!(json["status"]["phase"] == "Stable" && json["kind"] == "Release", "{json}");
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before.with_version("2.0.0")).await
}
