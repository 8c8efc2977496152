//! Counting what became of requests.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub sent: Timestamp,
    pub took: Duration,
    pub outcome: Outcome,
}

#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Answered(Answered),
    /// No whole answer came, and why.
    Unanswered(String),
}

/// An answer; from whom is unknown when it is the gateway's own.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub status: u16,
    pub from: Option<Origin>,
}

/// Who answered, as the demo app tells.
#[derive(Clone, Debug, serde::Deserialize)]
pub(crate) struct Origin {
    pub pod: String,
    pub version: String,
}

/// What became of a number of requests.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// All of them.
    pub requests: u64,
    /// By status code; what got no answer is only in `failures`.
    pub by_status: BTreeMap<u16, u64>,
    /// By the version that answered, errors included.
    pub by_version: BTreeMap<String, u64>,
    /// By the pod that answered, errors included.
    pub by_pod: BTreeMap<String, u64>,
    /// Each that got no answer, or one with a status other than 2xx, in the order of their ends.
    pub failures: Vec<Failure>,
    /// The slowest.
    pub slowest: Duration,
}

/// A request that did not succeed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// When it was sent.
    pub sent: Timestamp,
    /// Until it failed.
    pub took: Duration,
    /// The status code, or why there was none.
    pub reason: String,
    /// The version that answered; none if it was the gateway, or nobody.
    pub version: Option<String>,
}

impl Totals {
    /// How many did not succeed.
    pub fn failed(&self) -> u64 {
        self.failures.len() as u64
    }

    /// Per cent of the answers that came from this version; 0 without answers.
    pub fn share_percent(&self, version: &str) -> f64 {
        let all: u64 = self.by_version.values().sum();
        let of_version = self.by_version.get(version).copied().unwrap_or(0);
        if all == 0 { 0.0 } else { of_version as f64 * 100.0 / all as f64 }
    }
}

pub(super) fn totals<'a>(records: impl Iterator<Item = &'a Record>) -> Totals {
    records.fold(Totals::default(), |mut totals, record| {
        totals.requests += 1;
        totals.slowest = totals.slowest.max(record.took);
        let failed = |reason, version| Failure { sent: record.sent, took: record.took, reason, version };
        match &record.outcome {
            Outcome::Answered(Answered { status, from }) => {
                *totals.by_status.entry(*status).or_default() += 1;
                if let Some(Origin { pod, version }) = from {
                    *totals.by_version.entry(version.clone()).or_default() += 1;
                    *totals.by_pod.entry(pod.clone()).or_default() += 1;
                }
                if !(200..300).contains(status) {
                    totals.failures.push(failed(status.to_string(), from.as_ref().map(|from| from.version.clone())));
                }
            }
            Outcome::Unanswered(reason) => totals.failures.push(failed(reason.clone(), None)),
        }
        totals
    })
}
