//! One pod: what it is called, how it behaves, what it has counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use super::behaviour::{Behaviour, tag};

const BUCKETS_SECONDS: [f64; 9] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];

/// Where a pod is in its life, as far as its connections are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Serving,
    /// Nothing listens, for now.
    Crashed,
    /// Told to end: still answers, and asks clients to come back on another connection.
    Ending,
    /// Nothing listens any more.
    Ended,
}

impl Life {
    pub fn listens(self) -> bool {
        match self {
            Life::Serving | Life::Ending => true,
            Life::Crashed | Life::Ended => false,
        }
    }
}

/// What a pod has answered so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodCount {
    /// Name of the pod.
    pub pod: String,
    /// Tag of its image.
    pub version: String,
    /// Requests answered.
    pub requests: u64,
    /// Of these, with a status of 500 or above.
    pub errors: u64,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    code: u16,
    method: String,
}

/// A pod as its process would be.
#[derive(Debug)]
pub(super) struct Pod {
    pub namespace: String,
    pub name: String,
    pub version: String,
    /// Whether it is annotated with `prometheus.io/scrape: "true"`.
    pub scraped: bool,
    pub life: watch::Sender<Life>,
    behaviour: Mutex<Behaviour>,
    requests: AtomicU64,
    errors: AtomicU64,
    registry: Registry,
    by_code: Family<RequestLabels, Counter>,
    duration: Histogram,
}

impl Pod {
    pub fn new(pod: &core::Pod) -> Pod {
        let image = pod.spec.as_ref().and_then(|spec| spec.containers.first()).and_then(|first| first.image.as_deref());
        let version = tag(image.unwrap_or_default()).to_owned();
        let annotations = pod.metadata.annotations.as_ref();
        let by_code = Family::<RequestLabels, Counter>::default();
        let duration = Histogram::new(BUCKETS_SECONDS);
        let mut registry = Registry::default();
        registry.register("http_requests", "Requests answered", by_code.clone());
        registry.register("http_request_duration_seconds", "Time from request to answer", duration.clone());
        registry.register("build", "The version of this pod", Info::new([("version", version.clone())]));
        Pod {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            life: watch::Sender::new(Life::Crashed),
            behaviour: Mutex::new(Behaviour::of_tag(&version)),
            version,
            scraped: annotations.and_then(|all| all.get("prometheus.io/scrape")).is_some_and(|value| value == "true"),
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            registry,
            by_code,
            duration,
        }
    }

    pub fn life(&self) -> Life {
        *self.life.borrow()
    }

    /// How the next request is to be answered: after which wait, and whether with an error.
    pub fn next_answer(&self) -> (Duration, bool) {
        let behaviour = *self.behaviour.lock();
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        (behaviour.latency, behaviour.fails(number))
    }

    pub fn count(&self, code: u16, method: &str, took: Duration) {
        if code >= 500 {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        self.by_code.get_or_create(&RequestLabels { code, method: method.to_owned() }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    pub fn set_behaviour(&self, behaviour: Behaviour) {
        *self.behaviour.lock() = behaviour;
    }

    /// In the text format that Prometheus reads.
    pub fn metrics(&self) -> Result<String, std::fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }

    pub fn so_far(&self) -> PodCount {
        PodCount {
            pod: self.name.clone(),
            version: self.version.clone(),
            requests: self.requests.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
        }
    }
}
