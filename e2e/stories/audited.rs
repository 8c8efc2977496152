//! What a release costs the API server, and that an idle one costs nothing: from its audit log.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use lockkeeper_api::release::{Phase, ReleaseStatus};
use lockkeeper_api::{DeploymentWindow, RollbackPolicy, scalar};
use lockkeeper_e2e::{AuditEntry, User, wait};

use crate::harness::{Diary, LIMIT, Story, is_event, with_images};

const POLICY: &str = "
apiVersion: lockkeeper.dev/v1alpha1
kind: RollbackPolicy
metadata: {name: slo, namespace: NAMESPACE}
spec: {checks: [{name: always, query: vector(1), min: 1, interval: 1s}], bake: 5s}
---
apiVersion: lockkeeper.dev/v1alpha1
kind: DeploymentWindow
metadata: {name: always, namespace: NAMESPACE}
spec: {action: Allow, schedule: {from: \"2001-01-01T00:00:00\", until: \"2999-01-01T00:00:00\", timeZone: UTC}}
";

fn spec() -> String {
    with_images("2.0.0", "STEPS") + "rollbackPolicy: slo\n"
}

/// How long nothing may happen: `LOCKKEEPER_QUIET`, like `10m`, else a minute.
fn quiet_time() -> Result<Duration> {
    let asked = std::env::var("LOCKKEEPER_QUIET").ok().filter(|text| !text.is_empty());
    let Some(asked) = asked else { return Ok(Duration::from_secs(60)) };
    let time: scalar::Duration = asked.parse().with_context(|| format!("LOCKKEEPER_QUIET={asked}"))?;
    Ok(time.into())
}

/// A release that is over is asked about by nobody and written by nobody, with its policy, its window and its history.
pub async fn quiet_at_rest(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    let before = app.specs().await?;
    story.apply(POLICY).await?;
    story.release(&spec().replace("STEPS", "{setWeight: 50}")).await?;
    story.await_rest("2.0.0").await?;
    managed(story).await?;
    app.at_rest(&before.clone().with_version("2.0.0")).await?;
    let history = story.kubectl(User::Admin, &["rollout", "history", "deployment/web"]).await?;
    let revisions = history.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).count();
    ensure!(revisions == 2, "kubectl rollout history has {revisions} revisions of two:\n{history}");
    let (since, time) = (Timestamp::now(), quiet_time()?);
    // Here the time itself is the promise.
    tokio::time::sleep(time).await;
    let asked = story.asked_by_operator(since)?;
    ensure!(asked.is_empty(), "{} requests in {} s at rest: {}", asked.len(), time.as_secs(), counted(asked.iter()));
    println!("quiet for {} s: no request of the operator in the namespace", time.as_secs());
    Ok(())
}

/// Five steps within the budget: each step costs 3 writes, or 4 where it waits; all together 26 to objects, 2 more for each
/// ReplicaSet of the history, and 2 of the status for each step; no reads.
pub async fn within_the_budget(story: &Story<'_>) -> Result<()> {
    let app = story.app(4).await?;
    for version in ["1.1.0", "1.2.0"] {
        app.set_version(version).await?;
        app.available().await?;
    }
    let before = app.specs().await?;
    story.apply(POLICY).await?;
    story.release(&spec().replace("STEPS", "{setWeight: 1}").replace("demo:2.0.0", "demo:1.2.0")).await?;
    story.await_rest("1.2.0").await?;
    managed(story).await?;
    let diary = story.diary().await?;
    let since = Timestamp::now();
    let steps = "{setWeight: 10}, {setWeight: 25}, {pause: {duration: 3s}}, {setWeight: 50}, {setWeight: 100}";
    story.release(&spec().replace("STEPS", steps)).await?;
    story.await_rest("2.0.0").await?;
    app.at_rest(&before.with_version("2.0.0")).await?;
    let asked = story.asked_by_operator(since)?;
    diary.caught_up(story).await?;
    let (events, asked): (Vec<_>, Vec<_>) = asked.into_iter().partition(is_event);
    let parts = parts(&asked, &diary)?;
    for (part, entries) in &parts {
        println!("{part}: {}", counted(entries.iter().copied()));
    }
    for status in diary.statuses().iter().skip(1) {
        println!("published: {} {}", status.phase, status.message);
    }
    let told = story.kubectl(User::Admin, &["events", "--for", "release/web", "-o", EVENT_REASONS]).await?;
    println!(
        "together {} writes, {} events ({told})",
        asked.iter().filter(|entry| entry.is_write()).count(),
        events.len()
    );
    // A list begins the watch of the candidate's pods.
    let reads = asked.iter().filter(|entry| !entry.is_write() && entry.verb != "watch");
    let reads: Vec<&AuditEntry> = reads.filter(|entry| !is_pod_list(entry)).collect();
    ensure!(reads.is_empty(), "it has read: {}", counted(reads.into_iter()));
    let lists = asked.iter().filter(|entry| is_pod_list(entry)).count();
    ensure!(lists <= 1, "the candidate's pods were listed {lists} times");
    ensure!(events.len() <= 8, "{} events: {told}", events.len());
    for (part, entries) in &parts {
        // A step that waits may write once more: that it waits.
        let most = match part.as_str() {
            "step 3/5" => 4,
            step if step.starts_with("step ") => 3,
            _ => continue,
        };
        ensure!(
            entries.len() <= most,
            "{part} costs {} writes of {most}: {}",
            entries.len(),
            counted(entries.iter().copied())
        );
    }
    let is_status =
        |entry: &&AuditEntry| entry.object_ref.as_ref().is_some_and(|o| o.subresource.as_deref() == Some("status"));
    let (statuses, objects): (Vec<_>, Vec<_>) = asked.iter().filter(|entry| entry.is_write()).partition(is_status);
    // Two versions lie in the history. One write may be refused, because others have written meanwhile.
    ensure!(objects.len() <= 26 + 2 * 2, "{} writes to objects: {}", objects.len(), counted(asked.iter()));
    ensure!(statuses.len() <= 2 * 5, "{} writes of the status: {}", statuses.len(), counted(asked.iter()));
    Ok(())
}

const EVENT_REASONS: &str = "jsonpath={range .items[*]}{.reason} {end}";

fn is_pod_list(entry: &AuditEntry) -> bool {
    entry.verb == "list" && entry.object_ref.as_ref().is_some_and(|object| object.resource == "pods")
}

/// Waits until the Deployment is marked as managed, and until window and policy count the release: the last that is written
/// about a version that was found.
async fn managed(story: &Story<'_>) -> Result<()> {
    wait::object(&story.api::<Deployment>(), "web", "be managed", LIMIT, |deployment| {
        deployment.is_some_and(|deployment| deployment.annotations().contains_key("lockkeeper.dev/release"))
    })
    .await?;
    wait::object(&story.api::<RollbackPolicy>(), "slo", "count its user", LIMIT, |policy| {
        policy.is_some_and(|policy| policy.status.as_ref().is_some_and(|status| status.used_by == 1))
    })
    .await?;
    wait::object(&story.api::<DeploymentWindow>(), "always", "count its release", LIMIT, |window| {
        window.is_some_and(|window| window.status.as_ref().is_some_and(|status| status.releases == 1))
    })
    .await?;
    Ok(())
}

/// The requests by what the release was doing: each belongs to the status that was published last. What prepares a release
/// once, before the first weight, is apart.
fn parts<'a>(asked: &'a [AuditEntry], diary: &Diary) -> Result<BTreeMap<String, Vec<&'a AuditEntry>>> {
    let statuses = diary.statuses();
    // The first is that of the rest before.
    let mut told = statuses.iter().skip(1);
    let mut parts: BTreeMap<String, Vec<&AuditEntry>> = BTreeMap::new();
    let mut part = "0 before".to_owned();
    let mut weighed = false;
    for entry in asked {
        let Some(object) = &entry.object_ref else { continue };
        let published = object.resource == "releases" && object.subresource.as_deref() == Some("status");
        if published && entry.code() == Some(200) {
            let Some(status) = told.next() else { bail!("more statuses were published than the watch has told of") };
            part = part_of(status);
        }
        weighed |= object.resource == "httproutes";
        let preparing = part == "step 1/5" && !weighed;
        parts.entry(if preparing { "0 preparations".to_owned() } else { part.clone() }).or_default().push(entry);
    }
    ensure!(told.next().is_none(), "fewer statuses were published than the watch has told of");
    Ok(parts)
}

fn part_of(status: &ReleaseStatus) -> String {
    match (status.phase, &status.step) {
        (Phase::Progressing | Phase::Paused, Some(step)) => format!("step {}", step.position),
        (Phase::Promoting, _) => "the handover".to_owned(),
        (Phase::Baking, _) => "the bake".to_owned(),
        (phase, _) => format!("the phase {phase}"),
    }
}

/// How many of each verb and resource.
fn counted<'a>(entries: impl Iterator<Item = &'a AuditEntry>) -> String {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut all = 0;
    for entry in entries {
        let object = entry.object_ref.clone().unwrap_or_default();
        let subresource = object.subresource.map(|name| format!("/{name}")).unwrap_or_default();
        let code =
            entry.code().filter(|code| *code >= 300).map(|code| format!(" refused with {code}")).unwrap_or_default();
        *counts.entry(format!("{} {}{subresource}{code}", entry.verb, object.resource)).or_default() += 1;
        all += 1;
    }
    let counts: Vec<String> = counts.into_iter().map(|(what, count)| format!("{count} {what}")).collect();
    format!("{all} ({})", counts.join(", "))
}
