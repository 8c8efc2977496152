//! What the operator tells Prometheus: series named `lockkeeper_*`, in base units, with a help text each.
//!
//! Cardinality is bounded: labels are names of live objects, words of our own, or kinds of requests. What belongs to an object goes
//! with it ([`Metrics::forget`]).

mod releases;
mod requests;

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
        info::Info,
    },
    registry::{Registry, Unit},
};

use self::{releases::Releases, requests::Requests};
pub use self::{
    releases::{CheckSample, GateSample, ReleaseSample},
    requests::{CountRequests, CountRequestsLayer},
};
use crate::build_info;

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All series of this process. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    releases: Arc<Releases>,
    requests: Arc<Requests>,
    reconciles: Family<Controller, Histogram, Buckets>,
    reconcile_errors: Family<ReconcileError, Counter>,
    queued: Family<Controller, Gauge>,
    throttled: Family<Resource, Counter>,
    policies: Family<Admission, Gauge>,
    leader: Gauge,
    queries: Family<Query, Histogram, Buckets>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Controller {
    controller: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReconcileError {
    controller: &'static str,
    category: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Resource {
    resource: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Admission {
    policy: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Query {
    provider: &'static str,
    outcome: &'static str,
}

/// Upper bounds in seconds, around the budgets: 50 ms from an answer to a patched route, 10 s as the longest request.
#[derive(Clone, Debug)]
struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new([0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A registry of its own, with nothing observed yet.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("lockkeeper");
        let releases = Arc::new(Releases::default());
        registry.register_collector(Box::new(releases.clone()));
        let requests = Arc::new(Requests::register(&mut registry));

        let build = Info::new([("version", build_info::VERSION), ("commit", build_info::COMMIT)]);
        registry.register("build", "The version that is running, and the commit it was built from", build);
        let reconciles = Family::new_with_constructor(Buckets);
        let help = "Time from the start of a reconcile to its end, successful or not";
        registry.register_with_unit("reconcile_duration", help, Unit::Seconds, reconciles.clone());
        let reconcile_errors = Family::default();
        let help = "Reconciles that failed and are tried again later, by what went wrong";
        registry.register("reconcile_errors", help, reconcile_errors.clone());
        let queued = Family::default();
        let help =
            "Objects that are due and wait for a free worker; lasting numbers above 0 ask for more --concurrency";
        registry.register("queue_depth", help, queued.clone());
        let throttled = Family::default();
        let help = "Writes that were put off because the same object had been written too often; above 0, something undoes what is done";
        registry.register("writes_throttled", help, throttled.clone());
        let policies = Family::default();
        let help = "1 while the API server has the admission policy and its binding as they were written, 0 while one is missing or altered";
        registry.register("admission_policy_intact", help, policies.clone());
        let leader = Gauge::default();
        registry.register("leader", "1 while this process is the one that acts, 0 while it follows", leader.clone());
        let queries = Family::new_with_constructor(Buckets);
        let help = "Time that queries of a metrics provider took, by what came of them";
        registry.register_with_unit("metric_query_duration", help, Unit::Seconds, queries.clone());

        let registry = Arc::new(registry);
        Self {
            registry,
            releases,
            requests,
            reconciles,
            reconcile_errors,
            queued,
            throttled,
            policies,
            leader,
            queries,
        }
    }

    /// Replaces all that was said of a release.
    pub fn release(&self, sample: ReleaseSample) {
        self.releases.put(sample);
    }

    /// Removes every series of a release that is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.releases.remove(namespace, name);
    }

    /// Counts a release that has ended, by the outcome of its record.
    pub fn finished(&self, namespace: &str, outcome: &'static str) {
        self.releases.count_finished(namespace, outcome);
    }

    /// Counts a release that went back, by the cause: one word of a fixed set, never a sentence.
    pub fn rolled_back(&self, namespace: &str, cause: &'static str) {
        self.releases.count_rollback(namespace, cause);
    }

    /// Counts a reconcile. The error is a category: one word of a fixed set.
    pub fn reconciled(&self, controller: &'static str, took: Duration, result: Result<(), &'static str>) {
        self.reconciles.get_or_create(&Controller { controller }).observe(took.as_secs_f64());
        if let Err(category) = result {
            self.reconcile_errors.get_or_create(&ReconcileError { controller, category }).inc();
        }
    }

    /// Counts an object as waiting for a worker, until the guard is dropped.
    pub fn queued(&self, controller: &'static str) -> Queued {
        let gauge = self.queued.get_or_create_owned(&Controller { controller });
        gauge.inc();
        Queued(gauge)
    }

    /// Counts a write that was put off, by the plural of the kind.
    pub fn write_throttled(&self, resource: String) {
        self.throttled.get_or_create(&Resource { resource }).inc();
    }

    /// Says whether an admission policy is in force as it was written.
    pub fn policy_intact(&self, policy: &str, intact: bool) {
        self.policies.get_or_create(&Admission { policy: policy.to_owned() }).set(i64::from(intact));
    }

    /// Says whether this process acts.
    pub fn leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Counts one query of a metrics provider. The outcome is a word of a fixed set.
    pub fn metric_query(&self, provider: &'static str, outcome: &'static str, took: Duration) {
        self.queries.get_or_create(&Query { provider, outcome }).observe(took.as_secs_f64());
    }

    /// A layer for [`kube::client::ClientBuilder`] that counts and times every request to the API server.
    pub fn requests(&self) -> CountRequestsLayer {
        CountRequestsLayer::new(self.requests.clone())
    }

    /// The exposition in the OpenMetrics text format ([`CONTENT_TYPE`]).
    ///
    /// # Errors
    /// When a value cannot be written as text, which none of ours can cause.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

/// An object that waits for a worker.
#[derive(Debug)]
pub struct Queued(Gauge);

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_has_a_help_text_and_base_units() {
        let metrics = Metrics::new();
        metrics.reconciled("release", Duration::from_millis(30), Err("Conflict"));
        metrics.metric_query("prometheus", "Success", Duration::from_millis(3));
        metrics.write_throttled("deployments".into());
        metrics.policy_intact("lockkeeper-hold", false);
        let page = metrics.encode().unwrap();
        for expected in [
            "# HELP lockkeeper_reconcile_duration_seconds Time from",
            "lockkeeper_reconcile_duration_seconds_bucket{le=\"0.05\",controller=\"release\"} 1",
            "lockkeeper_reconcile_duration_seconds_bucket{le=\"0.025\",controller=\"release\"} 0",
            "lockkeeper_reconcile_errors_total{controller=\"release\",category=\"Conflict\"} 1",
            "lockkeeper_metric_query_duration_seconds_count{provider=\"prometheus\",outcome=\"Success\"} 1",
            &format!(
                "lockkeeper_build_info{{version=\"{}\",commit=\"{}\"}} 1",
                build_info::VERSION,
                build_info::COMMIT
            ),
            "lockkeeper_writes_throttled_total{resource=\"deployments\"} 1",
            "lockkeeper_admission_policy_intact{policy=\"lockkeeper-hold\"} 0",
        ] {
            assert!(page.contains(expected), "{expected} is missing in\n{page}");
        }
        let types = page.lines().filter(|line| line.starts_with("# TYPE")).count();
        let helps = page.lines().filter(|line| line.starts_with("# HELP lockkeeper_")).count();
        assert_eq!(types, helps, "{page}");
        assert!(page.ends_with("# EOF\n"));
    }

    #[test]
    fn a_reconcile_that_succeeds_counts_no_error() {
        let metrics = Metrics::new();
        metrics.reconciled("release", Duration::from_millis(30), Ok(()));
        assert!(!metrics.encode().unwrap().contains("lockkeeper_reconcile_errors_total"));
    }

    #[test]
    fn the_queue_is_as_deep_as_guards_are_held() {
        let metrics = Metrics::new();
        let depth = |expected: u8| {
            let page = metrics.encode().unwrap();
            assert!(page.contains(&format!("lockkeeper_queue_depth{{controller=\"release\"}} {expected}\n")), "{page}");
        };
        let first = metrics.queued("release");
        let second = metrics.queued("release");
        depth(2);
        drop(first);
        depth(1);
        drop(second);
        depth(0);
    }

    #[test]
    fn the_leader_says_so() {
        let metrics = Metrics::new();
        assert!(metrics.encode().unwrap().contains("lockkeeper_leader 0\n"));
        metrics.leader(true);
        assert!(metrics.encode().unwrap().contains("lockkeeper_leader 1\n"));
    }
}
