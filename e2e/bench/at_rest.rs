//! Many Releases at rest: a process that starts among them and has one thing to do, and what it costs when there is nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;
use lockkeeper_e2e::AuditEntry;
use serde::Serialize;
use tokio::time::sleep;

use crate::fleet::{App, FIRST, Fleet, Strategy};
use crate::requests::{self, Requests};
use crate::stage::{Gateway, Stage, usage};
use crate::usage::{Recorder, Sample};

/// For any one part of it.
const LIMIT: Duration = Duration::from_secs(900);

/// What was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AtRest {
    pub releases: usize,
    /// From the start of the process until its first write to the Release that was waiting for one.
    pub start_to_action_seconds: f64,
    /// Most memory since the start of the process.
    pub peak_mib: f64,
    /// How long nothing happened.
    pub rest_seconds: f64,
    /// Requests in that time.
    pub requests: Requests,
    /// Processor time in that time.
    pub cpu_seconds: f64,
    /// Memory at its end.
    pub rss_mib: f64,
    /// From the start of the process on.
    pub memory: Vec<Sample>,
}

/// Measures so many, at rest for so long.
///
/// # Errors
/// If a Release does not become Stable in time, or the operator does not act.
pub async fn run(stage: &Stage, count: usize, rest: Duration) -> Result<AtRest> {
    let fleet = Fleet::create(&stage.cluster, Gateway::Acceptor.name(), count, LIMIT).await?;
    let first = stage.operator("first", LIMIT).await?;
    fleet.manage(Strategy::FiveWeights).await?;
    fleet.stable(FIRST, LIMIT).await?;
    first.process.terminate(LIMIT).await?;

    let app = fleet.apps().last().context("there is no application")?;
    fleet.release_one(app, "2.0.0").await?;
    let since = Timestamp::now();
    let operator = stage.operator("operator", LIMIT).await?;
    let used = usage(&operator)?;
    let recorder = Recorder::start(&used);
    fleet.stable_one(app, "2.0.0", LIMIT).await?;
    let entries = requests::entries(&stage.cluster, since, None)?;
    let first = entries.iter().find(|entry| is_about(entry, app)).context("the operator has not written")?;
    let start_to_action_seconds = first.request_received_timestamp.duration_since(since).as_secs_f64();

    requests::over(&stage.cluster, LIMIT).await?;
    let (since, cpu_before, started) = (Timestamp::now(), used.cpu_seconds()?, Instant::now());
    sleep(rest).await;
    let cpu_seconds = used.cpu_seconds()? - cpu_before;
    Ok(AtRest {
        releases: count,
        start_to_action_seconds,
        peak_mib: used.peak_mib()?,
        rest_seconds: started.elapsed().as_secs_f64(),
        requests: requests::count(&requests::entries(&stage.cluster, since, None)?),
        cpu_seconds,
        rss_mib: used.rss_mib()?,
        memory: recorder.stop(),
    })
}

/// Whether it is the first write of a release: of the intent, into the status.
fn is_about(entry: &AuditEntry, app: &App) -> bool {
    let object = entry.object_ref.as_ref();
    let named = object.is_some_and(|object| object.resource == "releases" && object.name.as_ref() == Some(&app.name));
    entry.is_write() && named
}
