//! Queries that are under way, and what came of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use lockkeeper_adapters::{
    error::Class,
    metric::{MetricSource, NoData, Sample},
};
use lockkeeper_engine::analysis::{Measurement, Reading, Request};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::{cache::Key, context::Context};

/// Queries that a provider is asked at the same time.
const QUERIES_MAX: usize = 64;

/// How long after a measurement of a release its policy's status follows, at most once in this time.
const POLICY_FOLLOWS: Duration = Duration::from_secs(60);

/// What came of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// For the checks.
    pub measurement: Measurement,
    /// Why a query got no answer, the worse where both did not.
    pub trouble: Option<Trouble>,
}

/// Why a query got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// The provider cannot answer now; another time it may.
    Passing,
    /// Somebody has to mend the query, or the operator's flags.
    Lasting,
}

/// Measurements by Release.
#[allow(missing_debug_implementations, reason = "a metrics provider has no Debug")]
pub struct Measures {
    provider: Option<Arc<dyn MetricSource>>,
    free: Semaphore,
    by_release: Mutex<BTreeMap<Key, Run>>,
}

/// The measurements of one candidate.
#[derive(Default)]
struct Run {
    candidate: String,
    under_way: BTreeSet<String>,
    /// By a clock that never jumps.
    results: BTreeMap<String, Measurement>,
}

impl Measures {
    /// Asks this provider.
    pub fn new(provider: Option<Arc<dyn MetricSource>>) -> Self {
        Self { provider, free: Semaphore::new(QUERIES_MAX), by_release: Mutex::default() }
    }

    /// What has been measured for a Release, by a clock that has jumped so far.
    pub fn of(&self, release: &Key, jumped: SignedDuration) -> BTreeMap<String, Measurement> {
        let mut results = self.by_release.lock().get(release).map(|run| run.results.clone()).unwrap_or_default();
        results.values_mut().for_each(|measurement| measurement.taken = moved(measurement.taken, jumped));
        results
    }

    /// Forgets what was measured for another candidate than this; `None` is at rest.
    pub fn only(&self, release: &Key, candidate: Option<&str>) {
        let mut runs = self.by_release.lock();
        match (runs.get(release), candidate) {
            (Some(run), Some(candidate)) if run.candidate == candidate => {}
            (_, None) => {
                runs.remove(release);
            }
            (_, Some(candidate)) => {
                runs.insert(release.clone(), Run { candidate: candidate.into(), ..Run::default() });
            }
        }
    }

    /// Asks, unless the same check is being asked already. The Release is looked at again when the answer is there.
    pub fn ask(&self, context: &Arc<Context>, release: &Key, requests: Vec<Request>) {
        for request in requests {
            let candidate = {
                let mut runs = self.by_release.lock();
                let run = runs.entry(release.clone()).or_default();
                if !run.under_way.insert(request.check.clone()) {
                    continue;
                }
                run.candidate.clone()
            };
            let (context, release) = (context.clone(), release.clone());
            tokio::spawn(async move {
                let jumped = context.jumped();
                let mut measurement = context.measures.measure(&context, &request).await.measurement;
                measurement.taken = moved(measurement.taken, -jumped);
                let policy = request.check.split_once('/').and_then(|(policy, _)| context.policy_of(&release, policy));
                if context.measures.answered(&release, &candidate, request.check, measurement) {
                    // It may be the one that takes traffic away.
                    context.releases.add_first(release);
                    let soon = tokio::time::Instant::now() + POLICY_FOLLOWS;
                    policy.into_iter().for_each(|policy| context.policies.add_at(policy, soon));
                }
            });
        }
    }

    /// Keeps an answer, if it is still about the candidate.
    fn answered(&self, release: &Key, candidate: &str, check: String, measurement: Measurement) -> bool {
        let mut runs = self.by_release.lock();
        let Some(run) = runs.get_mut(release).filter(|run| run.candidate == candidate) else { return false };
        run.under_way.remove(&check);
        run.results.insert(check, measurement);
        true
    }

    /// Asks a query and, where there is one, that for the number of samples.
    pub async fn measure(&self, context: &Context, request: &Request) -> Answer {
        let taken = context.clock.now();
        let samples = async {
            match &request.samples {
                Some(query) => Some(self.query(context, query).await),
                None => None,
            }
        };
        let ((reading, trouble), samples) = tokio::join!(self.query(context, &request.query), samples);
        let (samples, other) = samples.unzip();
        Answer { measurement: Measurement { taken, reading, samples }, trouble: trouble.max(other.flatten()) }
    }

    async fn query(&self, context: &Context, query: &str) -> (Reading, Option<Trouble>) {
        let Some(provider) = &self.provider else {
            return (Reading::Error("the operator has no --prometheus-url to ask".into()), Some(Trouble::Lasting));
        };
        // Never closed, so that this cannot fail.
        let _permit = self.free.acquire().await;
        let started = Instant::now();
        let (outcome, reading, trouble) = match provider.measure(query).await {
            Ok(answer) => match answer.sample {
                Sample::Value(value) => ("Value", Reading::Value(value), None),
                Sample::NoData { reason } => (reason.reason(), Reading::NoData(phrase(reason).into()), None),
            },
            Err(error) => (error.reason(), Reading::Error(error.to_string()), Some(Trouble::of(error.class()))),
        };
        context.metrics.metric_query("prometheus", outcome, started.elapsed());
        (reading, trouble)
    }
}

fn moved(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(at)
}

impl Trouble {
    fn of(class: Class) -> Self {
        match class {
            Class::Retry { .. } | Class::Refused | Class::Unreachable => Self::Passing,
            Class::Misconfigured => Self::Lasting,
        }
    }
}

fn phrase(reason: NoData) -> &'static str {
    match reason {
        NoData::Empty => "no series matched",
        NoData::NotANumber => "the answer is not a number, mostly 0 divided by 0: there was no traffic",
        NoData::Infinite => "the answer is infinite, mostly a number divided by 0",
    }
}
