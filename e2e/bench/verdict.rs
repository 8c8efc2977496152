//! Releases at 50 % whose metric turns bad: from the answer that decides until the route says 0.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use lockkeeper_api::release::{Phase, Release};
use lockkeeper_e2e::{AuditEntry, wait};
use serde::Serialize;

use crate::fleet::{FIRST, Fleet, Strategy, policy};
use crate::progress::all;
use crate::requests;
use crate::stage::{Gateway, Stage};

/// For any one part of it.
const LIMIT: Duration = Duration::from_secs(300);

/// What was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    pub releases: usize,
    /// From the answer until the API server had stored the route with weight 0, ascending, in milliseconds.
    pub milliseconds: Vec<f64>,
    /// The part of it until the request arrived at the API server, ascending, in milliseconds.
    pub until_sent_milliseconds: Vec<f64>,
    /// The part of it in which no request of this release was at the API server, ascending, in milliseconds: the operator's own.
    pub own_milliseconds: Vec<f64>,
}

/// What one release took on its way back, in milliseconds.
struct Times {
    stored: f64,
    sent: f64,
    own: f64,
}

/// Measures so many that go back at the same time.
///
/// # Errors
/// If one of them does not go back in time.
pub async fn run(stage: &Stage, count: usize) -> Result<Verdict> {
    let fleet = Fleet::create(&stage.cluster, Gateway::Acceptor.name(), count, LIMIT).await?;
    stage.cluster.apply(&policy().to_string()).await?;
    let operator = stage.operator("operator", LIMIT).await?;
    fleet.manage(Strategy::HalfAndHold).await?;
    fleet.stable(FIRST, LIMIT).await?;
    let since = Timestamp::now();
    let half = |release: &Release| {
        let status = release.status.as_ref()?;
        Some(status.phase == Phase::Paused && status.weight?.confirmed == 50)
    };
    let what = "Releases to hold at 50 %";
    let held = all(fleet.releases(), count, what, LIMIT, half, message);
    let (asked, held) = futures::join!(fleet.release("2.0.0"), held);
    asked?;
    held.with_context(|| format!("the operator's log: {}", operator.process.log().display()))?;
    let names = || fleet.apps().iter().map(|app| &app.name);
    wait::answer("each Release to have asked for its metric", LIMIT, async || {
        let answers = stage.metrics.answers();
        let missing = names().find(|name| answers.get(*name).is_none_or(|answers| answers.good == 0));
        missing.map_or(Ok(()), |name| Err(anyhow::anyhow!("{name} has not asked")))
    })
    .await?;
    stage.metrics.turn_bad();
    let back = |release: &Release| Some(release.status.as_ref()?.phase == Phase::RolledBack);
    all(fleet.releases(), count, "Releases to be RolledBack", LIMIT, back, message).await?;

    let entries = requests::entries(&stage.cluster, since, None)?;
    let (answers, mut written) = (stage.metrics.answers(), written(&entries));
    let mut times = Vec::new();
    for name in names() {
        let decided = answers.get(name).and_then(|answers| answers.first_bad);
        let decided = decided.with_context(|| format!("{name} went back without a bad answer"))?;
        let writes = written.remove(name.as_str()).unwrap_or_default();
        let back = times_of(&writes, decided);
        times.push(back.with_context(|| format!("the route of {name} was not changed after the bad answer"))?);
    }
    let sorted = |part: fn(&Times) -> f64| {
        let mut values: Vec<f64> = times.iter().map(part).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    Ok(Verdict {
        releases: count,
        milliseconds: sorted(|times| times.stored),
        until_sent_milliseconds: sorted(|times| times.sent),
        own_milliseconds: sorted(|times| times.own),
    })
}

/// From the answer that decided to the change of the route. What a release does to its route next, after it has been held, is to go back.
fn times_of(writes: &[&AuditEntry], decided: Timestamp) -> Option<Times> {
    let since = writes.iter().filter(|entry| entry.request_received_timestamp >= decided);
    let is_route = |entry: &&&AuditEntry| entry.object_ref.as_ref().is_some_and(|object| object.resource == ROUTES);
    let route = since.clone().find(is_route)?;
    let milliseconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64() * 1000.0;
    let asked = since.filter(|entry| entry.request_received_timestamp <= route.request_received_timestamp);
    let asked: f64 = asked.map(|entry| milliseconds(entry.request_received_timestamp, entry.stage_timestamp)).sum();
    let stored = milliseconds(decided, route.stage_timestamp);
    Some(Times { stored, sent: milliseconds(decided, route.request_received_timestamp), own: stored - asked })
}

const ROUTES: &str = "httproutes";

/// Writes to routes and to statuses of Releases by their common name, in the order of time.
fn written(entries: &[AuditEntry]) -> HashMap<&str, Vec<&AuditEntry>> {
    let mut written: HashMap<&str, Vec<&AuditEntry>> = HashMap::new();
    for entry in entries.iter().filter(|entry| entry.is_write()) {
        let Some(object) = &entry.object_ref else { continue };
        if [ROUTES, "releases"].contains(&object.resource.as_str()) {
            written.entry(object.name.as_deref().unwrap_or_default()).or_default().push(entry);
        }
    }
    written.values_mut().for_each(|entries| entries.sort_by_key(|entry| entry.request_received_timestamp));
    written
}

fn message(release: &Release) -> String {
    release.status.as_ref().map(|status| status.message.clone()).unwrap_or_default()
}
