//! The truth behind a metrics source: what pods of a version would show.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use lockkeeper_adapters::metric::{Measurement, MetricSource, NoData, Pending, Sample};
use tokio::time::sleep;

use super::{Behaviour, replica_set::image};
use crate::api::{
    Kind, Shared, Snapshot,
    object::{name, number},
};

/// What a query is answered, from the cluster as it is.
pub trait Truth: Send + Sync {
    /// The answer.
    fn answer(&self, objects: &Snapshot, query: &str) -> Sample;
}

impl<F: Fn(&Snapshot, &str) -> Sample + Send + Sync> Truth for F {
    fn answer(&self, objects: &Snapshot, query: &str) -> Sample {
        self(objects, query)
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
    random: parking_lot::Mutex<fastrand::Rng>,
}

impl Source {
    /// A source before this cluster.
    pub fn new(shared: Shared, truth: Arc<dyn Truth>) -> Self {
        let random = parking_lot::Mutex::new(shared.fork_random());
        Self { shared, truth, random }
    }
}

impl MetricSource for Source {
    fn measure<'a>(&'a self, query: &'a str) -> Pending<'a, Measurement> {
        async move {
            let millis = self.random.lock().u64(2..50);
            sleep(Duration::from_millis(millis)).await;
            let sample = self.truth.answer(self.shared.lock().store().objects(), query);
            let now = self.shared.clock().now();
            self.shared.trace().note(format_args!("{now} query {query} -> {sample:?}"));
            Ok(Measurement { sample, warnings: 0 })
        }
        .boxed()
    }

    fn probe(&self) -> Pending<'_, ()> {
        async { Ok(()) }.boxed()
    }
}
