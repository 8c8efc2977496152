//! Verdicts of a Decision, and their limits.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lockkeeper_api::decision::{Decision, DecisionSpec, Verdict};
use lockkeeper_api::release::{CountedDecision, GateState, GateStatus, GoingBackCause, Phase, ReleaseStatus};
use lockkeeper_e2e::{Behaviour, User};

use crate::harness::{Story, bake, condition, decision, none_failed, refused, with_images};

fn gate<'a>(status: &'a ReleaseStatus, name: &str) -> Option<&'a GateStatus> {
    status.gates.iter().find(|gate| gate.name == name)
}

const FREEZE: &str = "
apiVersion: lockkeeper.dev/v1alpha1
kind: DeploymentWindow
metadata: {name: freeze, namespace: NAMESPACE}
spec: {action: Freeze, schedule: {from: \"2001-01-01T00:00:00\", until: \"2999-01-01T00:00:00\", timeZone: UTC}}
";

/// What the Release has written down of a Decision.
fn counted<'a>(status: &'a ReleaseStatus, decision: &Decision) -> Result<&'a CountedDecision> {
    let found = status.decisions.iter().find(|counted| Some(&counted.uid) == decision.metadata.uid.as_ref());
    found.context("the Decision is not counted")
}

/// Override passes one closed gate, of any kind and for a reason, until it expires: then the release goes no further.
pub async fn override_expires(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    story.apply(FREEZE).await?;
    story.release(&with_images("2.0.0", "{setWeight: 30}, {pause: {duration: 40s}}, {setWeight: 60}")).await?;
    let status = story.await_phase(Phase::Waiting).await?;
    let revision = status.candidate.context("there is no candidate")?.revision;
    let alice = || story.cluster().client(User::Alice);
    let lasting = decision(User::Alice, Verdict::Override, Some("windows"), &revision);
    let without_reason = DecisionSpec { reason: None, ..lasting.clone() };
    refused(story.propose(alice(), without_reason).await, "Override needs a reason")?;
    let expires_after = Some(lockkeeper_api::scalar::Duration::from_secs(30));
    let passing = story.propose(alice(), DecisionSpec { expires_after, ..lasting.clone() }).await?;
    let status = story
        .await_status("pass the gate", |status| gate(status, "windows").is_some_and(|gate| gate.reason == "Overridden"))
        .await?;
    let message = gate(&status, "windows").map_or("", |gate| &gate.message);
    ensure!(message.contains("alice"), "who has passed the gate is not said: {message}");
    ensure!(lasts(counted(&status, &passing)?) == Some(Duration::from_secs(30)), "{:?}", status.decisions);
    let status = story
        .await_status("meet the gate again", |status| {
            let closed = gate(status, "windows").is_some_and(|gate| gate.state == GateState::Closed);
            status.phase == Phase::Paused && closed
        })
        .await?;
    ensure!(status.weight.is_some_and(|weight| weight.desired == 30), "{:?}", status.weight);
    let hour = story.propose(alice(), lasting).await?;
    let status = story.await_status("count it", |status| counted(status, &hour).is_ok()).await?;
    ensure!(lasts(counted(&status, &hour)?) == Some(Duration::from_secs(3600)), "{:?}", status.decisions);
    story.await_rest("2.0.0").await?;
    app.at_rest(&before.with_version("2.0.0")).await
}

/// How long a Decision counts.
fn lasts(counted: &CountedDecision) -> Option<Duration> {
    counted.until.as_ref().and_then(|until| until.0.duration_since(counted.at.0).try_into().ok())
}

/// Once a release has started, Reject holds it where it is: nobody is sent back, and no approval or Resume gets past it.
pub async fn reject_later(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    let traffic = app.traffic();
    let gates = "gates: {approvals: [{name: go, from: {groups: [sre]}}]}";
    story.release(&(with_images("2.0.0", "{setWeight: 40}, {approval: {name: go}}, {setWeight: 80}") + gates)).await?;
    story.await_status("ask for approval", |status| gate(status, "go").is_some()).await?;
    story.decide(User::Alice, Verdict::Reject, Some("go")).await?;
    let held = |status: &ReleaseStatus| status.hold.as_ref().is_some_and(|hold| hold.reason == "Rejected");
    let status = story.await_status("be held", held).await?;
    ensure!(status.phase == Phase::Paused, "it is {}", status.phase);
    ensure!(status.message.contains("alice"), "who has rejected it is not said: {}", status.message);
    condition(&status, "Ready", "True")?;
    story.decide(User::Bob, Verdict::Approve, Some("go")).await?;
    story.decide(User::Bob, Verdict::Resume, None).await?;
    let status = story.await_status("have resumed", |status| status.hold.is_none()).await?;
    ensure!(status.phase == Phase::Paused, "it is {}", status.phase);
    ensure!(status.weight.is_some_and(|weight| weight.desired == 40), "{:?}", status.weight);
    let reason = gate(&status, "go").map(|gate| (gate.state, gate.reason.as_str()));
    ensure!(reason == Some((GateState::Closed, "Rejected")), "{:?}", status.gates);
    story.decide(User::Alice, Verdict::Abort, None).await?;
    story.await_phase(Phase::Aborted).await?;
    story.await_given_back().await?;
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before).await
}

/// A pause without duration ends by Resume and by nothing else: it says so, and names no time.
pub async fn resume(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    story.release(&with_images("2.0.0", "{setWeight: 40}, {pause: {}}, {setWeight: 80}, {pause: {}}")).await?;
    let status = story.await_status("pause", |status| status.message.contains("pause without duration")).await?;
    ensure!(status.phase == Phase::Paused, "it is {}", status.phase);
    ensure!(status.next_transition_time.is_none(), "it goes on by itself at {:?}", status.next_transition_time);
    ensure!(status.message.contains("Resume"), "what ends the pause is not said: {}", status.message);
    story.decide(User::Erin, Verdict::Resume, None).await?;
    // One Resume ends one pause.
    let status = story.await_confirmed(80).await?;
    ensure!(status.step.is_some_and(|step| step.position == "4/4"), "{:?}", status.message);
    story.decide(User::Erin, Verdict::Resume, None).await?;
    story.await_rest("2.0.0").await?;
    app.at_rest(&before.with_version("2.0.0")).await
}

const POLICY: &str = r#"
apiVersion: lockkeeper.dev/v1alpha1
kind: RollbackPolicy
metadata: {name: no-errors, namespace: NAMESPACE}
spec:
  checks:
  - name: errors
    query: sum(rate(http_requests_total{namespace="{{ namespace }}",pod=~"{{ candidate.pods }}",code=~"5.."}[5s])) or vector(0)
    max: 0
    interval: 1s
    # Longer than the query looks back: what the first attempt did is not held against the second.
    initialDelay: 6s
"#;

/// A version that went back gets no traffic, until Retry lets it start from the beginning.
pub async fn retry_after_rollback(story: &Story<'_>) -> Result<()> {
    let app = story.app(2).await?;
    let before = app.specs().await?;
    story.apply(POLICY).await?;
    let traffic = app.traffic();
    let (version, steps) = ("2.0.0-errors50", "{setWeight: 30}, {pause: {}}");
    story.release(&(with_images(version, steps) + "rollbackPolicy: no-errors\n")).await?;
    let status = story.await_phase(Phase::RolledBack).await?;
    let cause = status.going_back.map(|back| back.cause);
    ensure!(cause == Some(GoingBackCause::CheckFailed), "it went back for {cause:?}");
    story.await_given_back().await?;
    app.at_rest(&before).await?;
    traffic.stop().await;
    // What it depended on works again.
    story.cluster().demo()?.change_behaviour(&story.namespace, version, Behaviour::default());
    let traffic = app.traffic();
    story.decide(User::Erin, Verdict::Retry, None).await?;
    let status = story.await_confirmed(30).await?;
    ensure!(status.blocked.iter().all(|blocked| blocked.retried), "{:?}", status.blocked);
    let failures: u32 = status.checks.iter().map(|check| check.failures).sum();
    ensure!(failures == 0, "failures of the first attempt count in the second: {:?}", status.checks);
    story.decide(User::Erin, Verdict::Resume, None).await?;
    let status = story.await_rest(version).await?;
    ensure!(status.blocked.is_empty(), "the version that runs is blocked: {:?}", status.blocked);
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before.with_version(version)).await
}

/// An approval is for one revision, and stays counted when its object is deleted.
pub async fn approval_of_one_revision(story: &Story<'_>) -> Result<()> {
    let app = story.app(1).await?;
    let before = app.specs().await?;
    let gates = "gates: {approvals: [{name: board, before: Start, required: 2, from: {groups: [change-board]}}]}";
    let steps = "{setWeight: 50}";
    let approve = async |user, version: &str| {
        let decision = story.decide(user, Verdict::Approve, Some("board")).await?;
        let counted = |status: &ReleaseStatus| {
            status.version.as_deref() == Some(version) && counted(status, &decision).is_ok_and(|counted| !counted.spent)
        };
        story.await_status("have counted the approval", counted).await
    };
    story.release(&(with_images("2.0.0", steps) + gates)).await?;
    story.await_phase(Phase::Waiting).await?;
    let one_of_two = |status: &ReleaseStatus| gate(status, "board").is_some_and(|gate| gate.message.contains("1 of 2"));
    ensure!(one_of_two(&approve(User::Carol, "2.0.0").await?), "one approval of two is not said");
    // The version that Dave looks at is another one than Carol did.
    story.release(&(with_images("2.1.0", steps) + gates)).await?;
    story.await_status("wait with the newer version", |status| status.version.as_deref() == Some("2.1.0")).await?;
    let status = approve(User::Dave, "2.1.0").await?;
    ensure!(status.phase == Phase::Waiting && one_of_two(&status), "an approval of 2.0.0 counts: {:?}", status.gates);
    story.kubectl(User::Admin, &["delete", "decisions", "--all"]).await?;
    approve(User::Carol, "2.1.0").await?;
    story.await_rest("2.1.0").await?;
    app.at_rest(&before.with_version("2.1.0")).await
}

/// A version that was rejected, or aborted, before it started has touched nothing; after Retry its gates are asked anew.
pub async fn retry_before_start(story: &Story<'_>) -> Result<()> {
    let app = story.app(1).await?;
    let before = app.specs().await?;
    let gates = "gates: {approvals: [{name: board, before: Start, required: 2, from: {groups: [change-board]}}]}";
    story.release(&(with_images("2.0.0", "{setWeight: 50}") + gates)).await?;
    for (user, verdict, gate, phase) in [
        (User::Dave, Verdict::Reject, Some("board"), Phase::Rejected),
        (User::Erin, Verdict::Abort, None, Phase::Aborted),
    ] {
        story.await_phase(Phase::Waiting).await?;
        story.decide(User::Carol, Verdict::Approve, Some("board")).await?;
        story.decide(user, verdict, gate).await?;
        let status = story.await_phase(phase).await?;
        condition(&status, "Stalled", "True")?;
        ensure!(status.message.contains(user.name()), "who ended it is not said: {}", status.message);
        app.at_rest(&before).await?;
        story.decide(User::Erin, Verdict::Retry, None).await?;
    }
    let status = story.await_phase(Phase::Waiting).await?;
    ensure!(gate(&status, "board").is_some_and(|gate| gate.message.contains("0 of 2")), "{:?}", status.gates);
    for user in [User::Carol, User::Dave] {
        story.decide(user, Verdict::Approve, Some("board")).await?;
    }
    story.await_rest("2.0.0").await?;
    app.at_rest(&before.with_version("2.0.0")).await
}

/// Abort is not too late while the new version takes over.
pub async fn abort_while_promoting(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    let (before, pods) = (app.specs().await?, app.pods("1.0.0").await?);
    let traffic = app.traffic();
    // Taking over lasts as long as the pods that are still missing take to start.
    let version = "2.0.0-slowstart5s";
    story.release(&with_images(version, "{setWeight: 50}")).await?;
    story.await_phase(Phase::Promoting).await?;
    story.decide(User::Erin, Verdict::Abort, None).await?;
    let status = story.await_phase(Phase::Aborted).await?;
    ensure!(status.blocked.iter().any(|blocked| blocked.version == version), "{:?}", status.blocked);
    story.await_given_back().await?;
    none_failed(&traffic.stop().await)?;
    ensure!(app.pods("1.0.0").await? == pods, "pods of the stable version have changed");
    ensure!(app.pods(version).await?.is_empty(), "pods of the new version are left");
    app.at_rest(&before).await
}

/// While the new version bakes, the old one runs beside it: Rollback finds its pods as they were, and asks no gate.
pub async fn rollback_while_baking(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    let (before, pods) = (app.specs().await?, app.pods("1.0.0").await?);
    story.apply(&bake("1h")).await?;
    let traffic = app.traffic();
    story.release(&(with_images("2.0.0", "{setWeight: 50}") + "rollbackPolicy: bake\n")).await?;
    let status = story.await_status("bake", |status| status.message.contains("baking until")).await?;
    condition(&status, "Ready", "True")?;
    ensure!(app.pods("2.0.0").await?.len() == 3, "the new version is not whole");
    // Nothing holds a way back.
    story.apply(FREEZE).await?;
    story.decide(User::Alice, Verdict::Rollback, None).await?;
    let status = story.await_phase(Phase::RolledBack).await?;
    let cause = status.going_back.map(|back| back.cause);
    ensure!(cause == Some(GoingBackCause::RollbackRequested), "it went back for {cause:?}");
    story.await_given_back().await?;
    none_failed(&traffic.stop().await)?;
    ensure!(app.pods("1.0.0").await? == pods, "the pods of the version before have not run on");
    app.at_rest(&before).await
}
