//! What people and tools are told: conditions as kstatus reads them, columns, and sentences.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use lockkeeper_api::decision::Verdict;
use lockkeeper_api::release::{Phase, ReleaseStatus};
use lockkeeper_e2e::User;

use crate::harness::{Diary, GATE_AND_BAKE, Story, bake, condition, with_images};

fn spec(version: &str) -> String {
    with_images(version, "{setWeight: 40}, {pause: {}}") + GATE_AND_BAKE
}

/// Every phase there is, and in each of them, whenever a status was published, the conditions of the table.
pub async fn of_every_phase(story: &Story<'_>) -> Result<()> {
    let _app = story.app(2).await?;
    let diary = story.diary().await?;
    story.release(&spec("2.0.0")).await?;
    story.await_phase(Phase::Invalid).await?;
    story.apply(&bake("5s")).await?;
    story.release(&spec("2.0.0")).await?;
    story.approved_to(40).await?;
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_phase(Phase::Baking).await?;
    story.await_rest("2.0.0").await?;
    story.decide(User::Alice, Verdict::Rollback, None).await?;
    story.await_phase(Phase::RolledBack).await?;
    story.await_given_back().await?;
    story.release(&spec("3.0.0")).await?;
    story.approved_to(40).await?;
    story.decide(User::Alice, Verdict::Abort, None).await?;
    story.await_phase(Phase::Aborted).await?;
    story.await_given_back().await?;
    story.release(&spec("4.0.0")).await?;
    story.await_phase(Phase::Waiting).await?;
    story.decide(User::Alice, Verdict::Reject, Some("go")).await?;
    story.await_phase(Phase::Rejected).await?;
    diary.caught_up(story).await?;
    as_in_the_table(&diary)
}

fn as_in_the_table(diary: &Diary) -> Result<()> {
    let statuses = diary.statuses();
    let phases: BTreeSet<Phase> = statuses.iter().map(|status| status.phase).collect();
    let all = [
        Phase::Stable,
        Phase::Waiting,
        Phase::Progressing,
        Phase::Paused,
        Phase::Promoting,
        Phase::Baking,
        Phase::RollingBack,
        Phase::RolledBack,
        Phase::Aborted,
        Phase::Rejected,
        Phase::Invalid,
    ];
    let missed: Vec<Phase> = all.into_iter().filter(|phase| !phases.contains(phase)).collect();
    ensure!(missed.is_empty(), "phases that were not seen: {missed:?}");
    let wrong: Vec<String> =
        statuses.iter().filter_map(|status| wrong(status).err()).map(|e| format!("{e:#}")).collect();
    ensure!(wrong.is_empty(), "{} of {} statuses: {}", wrong.len(), statuses.len(), wrong.join("\n"));
    Ok(())
}

fn wrong(status: &ReleaseStatus) -> Result<()> {
    let phase = status.phase;
    let (ready, reconciling, stalled) = match phase {
        Phase::Stable | Phase::Baking | Phase::Waiting | Phase::Paused => ("True", "False", "False"),
        Phase::Progressing | Phase::Promoting | Phase::RollingBack => ("False", "True", "False"),
        Phase::RolledBack | Phase::Aborted | Phase::Rejected | Phase::Invalid => ("False", "False", "True"),
    };
    for (kind, value) in [("Ready", ready), ("Reconciling", reconciling), ("Stalled", stalled)] {
        condition(status, kind, value).map_err(|error| error.context(format!("{phase} ({})", status.message)))?;
    }
    let reason = status.conditions.iter().find(|c| c.type_ == "Ready").map_or("", |c| c.reason.as_str());
    if matches!(phase, Phase::Waiting | Phase::Paused) {
        ensure!(reason == "Waiting", "{phase}: the reason of Ready is {reason}");
    }
    ensure!(!status.message.is_empty(), "{phase}: there is no message");
    ensure!(status.since.is_some(), "{phase}: since when is not said");
    ensure!(
        status.conditions.iter().all(|condition| condition.observed_generation == status.observed_generation),
        "{phase}: conditions speak of another generation than the status"
    );
    Ok(())
}

/// kubectl alone says what it does, what it waits for, since when and until when.
pub async fn shown_by_kubectl(story: &Story<'_>) -> Result<()> {
    let _app = story.app(2).await?;
    story.apply(&bake("5s")).await?;
    story.release(&spec("2.0.0").replace("{pause: {}}", "{pause: {duration: 10m}}")).await?;
    story.await_phase(Phase::Waiting).await?;
    shows(story, &["web", "2.0.0", "Waiting", "True"], "gate go is closed: 0 of 1 approvals").await?;
    story.decide(User::Alice, Verdict::Approve, Some("go")).await?;
    let status = story.await_confirmed(40).await?;
    shows(story, &["web", "2.0.0", "Paused", "2/2", "40", "True"], "pause until").await?;
    let described = story.kubectl(User::Erin, &["describe", "release", "web"]).await?;

    let until = status.next_transition_time.map(|time| time.0.to_string()).unwrap_or_default();
    for wanted in
        ["Phase:", "Since:", "Next Transition Time:", "Message:", "Confirmed:", "Position:", "WeightIncreased"]
    {
        ensure!(described.contains(wanted), "kubectl describe has no {wanted}\n{described}");
    }
    let second = until.get(..19).unwrap_or("a time");
    ensure!(described.contains(second), "kubectl describe does not say until {second}\n{described}");
    story.decide(User::Alice, Verdict::Abort, None).await?;
    // For a moment it says that it clears up.
    story
        .await_status("say who has aborted it", |status| {
            status.phase == Phase::Aborted && status.message.contains("aborted by alice")
        })
        .await?;
    shows(story, &["web", "2.0.0", "Aborted", "0", "False"], "aborted by alice").await
}

/// The columns of `kubectl get releases`, and with `-o wide` the message.
async fn shows(story: &Story<'_>, cells: &[&str], message: &str) -> Result<()> {
    let table = story.kubectl(User::Bob, &["get", "releases"]).await?;
    let header: Vec<&str> = table.lines().next().unwrap_or_default().split_whitespace().collect();
    ensure!(header == ["NAME", "VERSION", "PHASE", "STEP", "WEIGHT", "READY", "AGE"], "the columns are {header:?}");
    let row: Vec<&str> = table.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    ensure!(row.len() == cells.len() + 1 && row.starts_with(cells), "the row is {row:?}, not {cells:?} and an age");
    let wide = story.kubectl(User::Bob, &["get", "rel", "-o", "wide"]).await?;
    ensure!(wide.contains("MESSAGE") && wide.contains(message), "it does not say “{message}”:\n{wide}");
    Ok(())
}
