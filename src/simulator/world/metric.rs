//! The truth behind a metrics source: what pods of a version would show.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use lockkeeper_adapters::{
    endpoint::Endpoint,
    error::{Error, Fault},
    metric::{Measurement, MetricSource, NoData, Pending, Prometheus, Sample},
};
use tokio::time::sleep;

use super::{Behaviour, replica_set::image};
use crate::api::{
    Kind, Shared, Snapshot,
    object::{name, number},
};

/// What a query is answered, from the cluster as it is.
pub trait Truth: Send + Sync {
    /// The answer.
    fn answer(&self, objects: &Snapshot, query: &str) -> Spoken;
}

impl<F: Fn(&Snapshot, &str) -> A + Send + Sync, A: Into<Spoken>> Truth for F {
    fn answer(&self, objects: &Snapshot, query: &str) -> Spoken {
        self(objects, query).into()
    }
}

/// An answer on its way.
#[derive(Clone, Debug, PartialEq)]
pub enum Spoken {
    /// Understood already.
    Sample(Sample),
    /// As a server sends it: the operator's own adapter for Prometheus has to make something of it.
    Http {
        /// Its status.
        status: u16,
        /// Its content type.
        content_type: &'static str,
        /// Its body.
        body: String,
    },
    /// None at all: the client gives up after this time.
    Silence(Duration),
}

impl From<Sample> for Spoken {
    fn from(sample: Sample) -> Self {
        Self::Sample(sample)
    }
}

impl Spoken {
    /// JSON with status 200.
    pub fn json(body: impl Into<String>) -> Self {
        Self::Http { status: 200, content_type: "application/json", body: body.into() }
    }
}

/// What the images of the pods say: the worst version among those whose ReplicaSet the query names. A query that begins with
/// `latency` is answered in seconds, one with `samples` by a number of requests, others by the part of the requests that fail.
pub fn by_image(objects: &Snapshot, query: &str) -> Sample {
    let named = objects.of(Kind::ReplicaSet).filter(|set| query.contains(name(set)));
    let serving = named.filter(|set| number(&set["status"]["readyReplicas"]) > 0);
    let values = serving.map(|set| {
        let behaviour = Behaviour::of(image(&set["spec"]["template"]["spec"]));
        match query {
            _ if query.starts_with("latency") => behaviour.latency.as_secs_f64(),
            _ if query.starts_with("samples") => 1000.0,
            _ => behaviour.errors / 100.0,
        }
    });
    values.reduce(f64::max).map_or(Sample::NoData { reason: NoData::Empty }, Sample::Value)
}

/// A metrics source that knows the truth.
pub struct Source {
    shared: Shared,
    truth: Arc<dyn Truth>,
    endpoint: Endpoint,
    random: parking_lot::Mutex<fastrand::Rng>,
}

impl Source {
    /// A source at this address before this cluster.
    pub fn new(shared: Shared, truth: Arc<dyn Truth>, endpoint: Endpoint) -> Self {
        let random = parking_lot::Mutex::new(shared.fork_random());
        Self { shared, truth, endpoint, random }
    }
}

impl MetricSource for Source {
    fn measure<'a>(&'a self, query: &'a str) -> Pending<'a, Measurement> {
        async move {
            let millis = self.random.lock().u64(2..50);
            sleep(Duration::from_millis(millis)).await;
            let spoken = self.truth.answer(self.shared.lock().store().objects(), query);
            let now = self.shared.clock().now();
            let told = format!("{spoken:?}");
            self.shared.trace().note((now, query, &told), format_args!("{now} query {query} -> {told}"));
            match spoken {
                Spoken::Sample(sample) => Ok(Measurement { sample, warnings: 0 }),
                Spoken::Http { status, content_type, body } => {
                    Prometheus::understand(&self.endpoint, status, content_type, body.as_bytes())
                }
                Spoken::Silence(limit) => {
                    sleep(limit).await;
                    Err(Error::new(&self.endpoint, Fault::TimedOut { limit }))
                }
            }
        }
        .boxed()
    }

    fn probe(&self) -> Pending<'_, ()> {
        async { Ok(()) }.boxed()
    }
}
