//! Several operators, and operators that end between two writes.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::ResourceExt;
use lockkeeper_api::decision::Verdict;
use lockkeeper_e2e::{AuditEntry, Operator, User, http_get, wait};

use crate::harness::{LIMIT, Story, none_failed, with_images};

fn spec() -> String {
    with_images("2.0.0", "{setWeight: 20}, {setWeight: 40}, {pause: {}}")
}

/// An operator's series that are not 0, with their labels.
async fn series(operator: &Operator) -> Result<BTreeMap<String, f64>> {
    let answer = http_get(&format!("{}/metrics", operator.url)).await?;
    let page = String::from_utf8_lossy(&answer.body);
    let samples = page.lines().filter_map(|line| line.rsplit_once(' '));
    let values = samples.filter_map(|(series, value)| Some((series.to_owned(), value.parse().ok()?)));
    Ok(values.filter(|(_, value)| *value != 0.0).collect())
}

async fn leads(operator: &Operator) -> Result<bool> {
    Ok(series(operator).await?.contains_key("lockkeeper_leader"))
}

/// Its requests that were to change something, apart from its Lease and from asking who it is.
async fn writes(operator: &Operator) -> Result<BTreeMap<String, f64>> {
    let mut series = series(operator).await?;
    series.retain(|series, _| {
        let write =
            ["create", "update", "patch", "delete"].iter().any(|verb| series.contains(&format!("verb=\"{verb}\"")));
        let apart = ["leases", "selfsubjectreviews"].iter().any(|of| series.contains(&format!("resource=\"{of}\"")));
        series.starts_with("lockkeeper_api_requests_total{") && write && !apart
    });
    Ok(series)
}

/// Of two that stand for election one acts, and the other when that one has died.
pub async fn one_leads(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    let before = app.specs().await?;
    let first = story.operator().await?;
    // A new Lease is nobody's at first: whoever comes meanwhile may win it.
    wait::answer("the first operator to lead", LIMIT, async || {
        ensure!(leads(&first).await?, "it does not lead");
        Ok(())
    })
    .await?;
    let second = story.operator().await?;
    let traffic = app.traffic();
    story.own_release(&spec()).await?;
    story.await_confirmed(40).await?;
    ensure!(leads(&first).await?, "the first operator does not lead");
    ensure!(!leads(&second).await?, "the second operator leads beside the first");
    ensure!(!writes(&first).await?.is_empty(), "the leader has not written anything");
    let written = writes(&second).await?;
    ensure!(written.is_empty(), "the one that does not lead has written: {written:?}");
    first.process.kill().await?;
    story.decide(User::Alice, Verdict::Resume, None).await?;
    story.await_rest("2.0.0").await?;
    ensure!(leads(&second).await?, "the second operator does not lead");
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before.with_version("2.0.0")).await?;
    second.process.kill().await
}

/// What was done to objects, apart from statuses and events: how often by verb and object.
fn done(entries: &[AuditEntry]) -> BTreeMap<String, u32> {
    let mut done = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.is_write() && entry.code().is_some_and(|code| code < 300)) {
        let Some(object) = &entry.object_ref else { continue };
        if object.subresource.is_none() && object.resource != "events" {
            let name = object.name.as_deref().unwrap_or("one without a name");
            *done.entry(format!("{} {} {name}", entry.verb, object.resource)).or_default() += 1;
        }
    }
    done
}

/// Two that each take themselves for the leader, because their Leases have different names: every write is guarded by what it
/// was decided on, so that nothing is made or deleted twice, no Decision counts twice, and no user notices.
pub async fn election_defeated(story: &Story<'_>) -> Result<()> {
    let app = story.app(3).await?;
    let before = app.specs().await?;
    let since = Timestamp::now();
    let operators = [
        story.operator_electing(&format!("{}-a", story.namespace)).await?,
        story.operator_electing(&format!("{}-b", story.namespace)).await?,
    ];
    wait::answer("both to lead", LIMIT, async || {
        for operator in &operators {
            ensure!(leads(operator).await?, "{} does not lead", operator.url);
        }
        Ok(())
    })
    .await?;
    let traffic = app.traffic();
    story.own_release(&spec()).await?;
    let status = story.await_confirmed(40).await?;
    ensure!(status.decisions.is_empty(), "{:?}", status.decisions);
    story.decide(User::Alice, Verdict::Resume, None).await?;
    let status = story.await_rest("2.0.0").await?;
    ensure!(status.decisions.len() <= 1, "a Decision has counted twice: {:?}", status.decisions);
    none_failed(&traffic.stop().await)?;
    app.at_rest(&before.with_version("2.0.0")).await?;
    let entries = story.asked_by_operator(since)?;
    let done = done(&entries);
    // A weight or a pin that one of them sets again, having seen less, does no harm: the other takes it back.
    let once = done.iter().filter(|(what, _)| !what.starts_with("patch "));
    let again: Vec<_> = once.filter(|(_, times)| **times > 1).collect();
    ensure!(again.is_empty(), "done again: {again:?}; all: {done:?}");
    for operator in operators {
        ensure!(!writes(&operator).await?.is_empty(), "one of the two has not tried to act");
        operator.process.kill().await?;
    }
    Ok(())
}

/// The operator is killed when one of two Deployments controls the new version and the other does not yet.
pub async fn killed_between_two_handovers(story: &Story<'_>) -> Result<()> {
    let (web, api) = (story.app(2).await?, story.app_named("api", 2).await?);
    let (web_before, api_before) = (web.specs().await?, api.specs().await?);
    let operator = story.operator().await?;
    let traffic = [web.traffic(), api.traffic()];
    let spec = "
version: v2
workloads:
- ref: {kind: Deployment, name: web}
  images: {app: \"demo:2.0.0\"}
  service: web
  routes: [{kind: HTTPRoute, name: web}]
- ref: {kind: Deployment, name: api}
  images: {app: \"demo:2.0.0-slowstart8s\"}
  service: api
  routes: [{kind: HTTPRoute, name: api}]
strategy: {canary: {steps: [{setWeight: 50}]}}
";
    story.own_release(spec).await?;
    // The pods that the other one still needs for all of the traffic start slowly.
    let sets = wait::list(&story.api::<ReplicaSet>(), "", "have one adopted of two candidates", LIMIT, |sets| {
        adopted(sets, "web-", "demo:2.0.0") && !adopted(sets, "api-", "demo:2.0.0-slowstart8s")
    })
    .await?;
    operator.process.kill().await?;
    ensure!(sets.len() == 4, "{} ReplicaSets of two Deployments and two versions", sets.len());
    // Nobody notices, however long it takes until another one is there.
    let pods = api.pods("2.0.0-slowstart8s").await?;
    let operator = story.operator().await?;
    story.await_rest("v2").await?;
    for traffic in traffic {
        none_failed(&traffic.stop().await)?;
    }
    let now = api.pods("2.0.0-slowstart8s").await?;
    ensure!(pods.iter().all(|(name, uid)| now.get(name) == Some(uid)), "pods were lost: {pods:?}, now {now:?}");
    web.at_rest(&web_before.with_version("2.0.0")).await?;
    api.at_rest(&api_before.with_version("2.0.0-slowstart8s")).await?;
    operator.process.kill().await
}

/// Whether a Deployment controls the ReplicaSet of this image.
fn adopted(sets: &[ReplicaSet], prefix: &str, image: &str) -> bool {
    sets.iter().filter(|set| set.name_any().starts_with(prefix)).any(|set| {
        let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref()?.spec.as_ref());
        let of_image = template.is_some_and(|spec| spec.containers.iter().any(|c| c.image.as_deref() == Some(image)));
        of_image && set.owner_references().iter().any(|owner| owner.controller == Some(true))
    })
}
