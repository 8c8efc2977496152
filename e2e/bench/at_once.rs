//! All applications get a new version at the same moment: first as plain Deployments, then by releases of five weights.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;

use crate::fleet::{FIRST, Fleet, Strategy};
use crate::progress::Progress;
use crate::requests::{self, Requests};
use crate::stage::{Gateway, Stage, usage};
use crate::usage::{Recorder, Sample};

/// For any one part of it.
const LIMIT: Duration = Duration::from_secs(600);

/// What was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AtOnce {
    pub releases: usize,
    pub gateway: &'static str,
    /// From the first change until the last plain Deployment had rolled out.
    pub plain_seconds: f64,
    /// From the first change until the last Release was Stable at the new version.
    pub seconds: f64,
    /// Of all releases together, in that time.
    pub requests: Requests,
    pub cpu_seconds: f64,
    pub peak_mib: f64,
    /// When each plain Deployment was done, ascending.
    pub plain_done: Vec<f64>,
    /// When each Release was done, ascending.
    pub done: Vec<f64>,
    pub memory: Vec<Sample>,
    /// Confirmed weights by time: the least, the middle and the greatest of all releases.
    pub weights: Vec<WeightsAt>,
}

/// Confirmed weights at a time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WeightsAt {
    pub seconds: f64,
    pub least: u8,
    pub middle: u8,
    pub greatest: u8,
}

/// Measures so many.
///
/// # Errors
/// If a release does not end as it should, or not in time.
pub async fn run(stage: &Stage, gateway: Gateway, count: usize) -> Result<AtOnce> {
    let fleet = Fleet::create(&stage.cluster, gateway.name(), count, LIMIT).await?;
    let started = Instant::now();
    let (asked, plain) = futures::join!(fleet.roll_out("1.1.0"), fleet.rolled_out("1.1.0", LIMIT));
    asked?;
    let plain = plain?;
    let plain_seconds = started.elapsed().as_secs_f64();
    fleet.roll_out(FIRST).await?;
    fleet.rolled_out(FIRST, LIMIT).await?;

    let operator = stage.operator("operator", LIMIT).await?;
    let used = usage(&operator)?;
    fleet.manage(Strategy::FiveWeights).await?;
    fleet.stable(FIRST, LIMIT).await?;

    requests::over(&stage.cluster, LIMIT).await?;
    let recorder = Recorder::start(&used);
    let (since, cpu_before, started) = (Timestamp::now(), used.cpu_seconds()?, Instant::now());
    let (asked, progress) = futures::join!(fleet.release("2.0.0"), fleet.stable("2.0.0", LIMIT));
    asked?;
    let seconds = started.elapsed().as_secs_f64();
    let progress = progress.with_context(|| format!("the operator's log: {}", operator.process.log().display()))?;
    let cpu_seconds = used.cpu_seconds()? - cpu_before;
    requests::over(&stage.cluster, LIMIT).await?;
    let requests = requests::count(&requests::entries(&stage.cluster, since, None)?);
    Ok(AtOnce {
        releases: count,
        gateway: gateway.name(),
        plain_seconds,
        seconds,
        requests,
        cpu_seconds,
        peak_mib: used.peak_mib()?,
        plain_done: plain.done,
        memory: recorder.stop(),
        weights: weights(&progress),
        done: progress.done,
    })
}

/// At each moment at which a weight changed.
fn weights(progress: &Progress<u8>) -> Vec<WeightsAt> {
    let mut changes: Vec<(f64, usize, u8)> = Vec::new();
    for (release, (_, seen)) in progress.seen.iter().enumerate() {
        changes.extend(seen.iter().map(|(at, weight)| (*at, release, *weight)));
    }
    changes.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut now = vec![0; progress.seen.len()];
    let mut all: Vec<WeightsAt> = Vec::new();
    for (seconds, release, weight) in changes {
        now[release] = weight;
        let mut sorted = now.clone();
        sorted.sort_unstable();
        let (Some(least), Some(greatest)) = (sorted.first(), sorted.last()) else { continue };
        let at = WeightsAt { seconds, least: *least, middle: sorted[sorted.len() / 2], greatest: *greatest };
        if all.last().is_none_or(|before| WeightsAt { seconds, ..*before } != at) {
            all.push(at);
        }
    }
    all
}
