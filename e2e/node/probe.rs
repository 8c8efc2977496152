//! HTTP probes, as the kubelet sends them.

use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;
use tokio::time::{sleep, timeout};

use crate::http_get::http_get;

/// What a probe has told, after as many answers in a row as its thresholds want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Succeeded,
    Failed,
}

/// Asks until the probe has succeeded.
///
/// Returns [`Outcome::Failed`] instead when it has failed too often.
pub(super) async fn until_success(probe: &Probe, address: &str) -> Outcome {
    until(probe, address, None).await
}

/// Asks until the outcome is another than this.
pub(super) async fn until_not(outcome: Outcome, probe: &Probe, address: &str) {
    until(probe, address, Some(outcome)).await;
}

async fn until(probe: &Probe, address: &str, ignored: Option<Outcome>) -> Outcome {
    let seconds =
        |value: Option<i32>, default: u32| Duration::from_secs(value.map_or(default, i32::unsigned_abs).into());
    let path = probe.http_get.as_ref().and_then(|get| get.path.as_deref()).unwrap_or("/");
    let url = format!("http://{address}{path}");
    sleep(seconds(probe.initial_delay_seconds, 0)).await;
    let (mut successes, mut failures) = (0, 0);
    loop {
        let answer = timeout(seconds(probe.timeout_seconds, 1), http_get(&url)).await;
        // As the kubelet: redirects count as success.
        let succeeded = answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status.as_u16() < 400));
        (successes, failures) = if succeeded { (successes + 1, 0) } else { (0, failures + 1) };
        if successes >= probe.success_threshold.unwrap_or(1) && ignored != Some(Outcome::Succeeded) {
            return Outcome::Succeeded;
        }
        if failures >= probe.failure_threshold.unwrap_or(3) && ignored != Some(Outcome::Failed) {
            return Outcome::Failed;
        }
        sleep(seconds(probe.period_seconds, 10)).await;
    }
}
