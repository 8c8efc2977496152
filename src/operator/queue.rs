//! What is due when: each object at most once in the queue, and at most once at work.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    future::Future,
    num::NonZeroU16,
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::metrics::{Metrics, Queued};

/// Objects that are to be looked at, by time.
#[derive(Debug)]
pub struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
    metrics: Metrics,
    name: &'static str,
    /// Before anything was due.
    began: Instant,
}

#[derive(Debug)]
struct State<K> {
    due: BTreeMap<K, Instant>,
    order: BTreeSet<(Instant, K)>,
    working: BTreeSet<K>,
    /// Counted as waiting for a worker.
    ready: BTreeMap<K, Queued>,
}

impl<K: Ord + Clone + Debug + Send + Sync + 'static> Queue<K> {
    /// An empty queue, of this name in metrics.
    pub fn new(name: &'static str, metrics: Metrics) -> Arc<Self> {
        let state =
            State { due: BTreeMap::new(), order: BTreeSet::new(), working: BTreeSet::new(), ready: BTreeMap::new() };
        Arc::new(Self { state: Mutex::new(state), changed: Notify::new(), metrics, name, began: Instant::now() })
    }

    /// To be looked at now.
    pub fn add(&self, key: K) {
        self.add_at(key, Instant::now());
    }

    /// To be looked at now, before whatever else is due.
    pub fn add_first(&self, key: K) {
        self.add_at(key, self.began);
    }

    /// To be looked at then, or earlier where that has been asked for.
    pub fn add_at(&self, key: K, at: Instant) {
        let mut state = self.state.lock();
        match state.due.get(&key).copied() {
            Some(before) if before <= at => return,
            Some(before) => {
                state.order.remove(&(before, key.clone()));
            }
            None => {}
        }
        state.due.insert(key.clone(), at);
        if at <= Instant::now() {
            state.ready.insert(key.clone(), self.metrics.queued(self.name));
        }
        state.order.insert((at, key));
        drop(state);
        self.changed.notify_one();
    }

    /// Takes what is due, unless it is at work; otherwise the time at which something is.
    fn take(&self) -> Result<K, Option<Instant>> {
        let now = Instant::now();
        let mut state = self.state.lock();
        let next = state.order.iter().find(|(_, key)| !state.working.contains(key)).cloned();
        match next {
            Some((at, key)) if at <= now => {
                state.order.remove(&(at, key.clone()));
                state.due.remove(&key);
                state.ready.remove(&key);
                state.working.insert(key.clone());
                Ok(key)
            }
            Some((at, _)) => Err(Some(at)),
            None => Err(None),
        }
    }

    fn done(&self, key: &K) {
        self.state.lock().working.remove(key);
        self.changed.notify_one();
    }

    /// Works on what is due, on so many at the same time, for ever. Dropping it ends the work at its next await.
    pub async fn run<F>(self: Arc<Self>, concurrency: NonZeroU16, work: impl Fn(K) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut workers = JoinSet::new();
        loop {
            while workers.try_join_next().is_some() {}
            let next = if workers.len() < usize::from(concurrency.get()) { self.take() } else { Err(None) };
            match next {
                Ok(key) => {
                    // Boxed, because what it takes to look at a Release is large, and a task is moved several times.
                    let (queue, work) = (Done { queue: self.clone(), key: key.clone() }, Box::pin(work(key)));
                    workers.spawn(async move {
                        let _done = queue;
                        work.await;
                    });
                }
                Err(at) => tokio::select! {
                    // Always in this order, so that a run can be repeated.
                    biased;
                    () = self.changed.notified() => {}
                    Some(_) = workers.join_next() => {}
                    () = until(at) => {}
                },
            }
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Frees the object also when its work has panicked.
struct Done<K: Ord + Clone + Debug + Send + Sync + 'static> {
    queue: Arc<Queue<K>>,
    key: K,
}

impl<K: Ord + Clone + Debug + Send + Sync + 'static> Drop for Done<K> {
    fn drop(&mut self) {
        self.queue.done(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc;

    use super::*;

    const TWO: NonZeroU16 = NonZeroU16::new(2).unwrap();

    #[tokio::test(start_paused = true)]
    async fn the_earliest_time_asked_for_counts_and_an_object_is_due_once() {
        let queue = Queue::new("release", Metrics::new());
        let start = Instant::now();
        queue.add_at("a", start + Duration::from_secs(60));
        queue.add_at("a", start + Duration::from_secs(5));
        queue.add_at("a", start + Duration::from_secs(9));
        let (sender, mut done) = mpsc::unbounded_channel();
        tokio::spawn(queue.clone().run(TWO, move |key| {
            let sender = sender.clone();
            async move { sender.send((key, Instant::now())).unwrap() }
        }));
        assert_eq!(done.recv().await.unwrap(), ("a", start + Duration::from_secs(5)));
        queue.add_at("b", start + Duration::from_secs(70));
        assert_eq!(done.recv().await.unwrap().0, "b", "nothing was left of the other times");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_urgent_is_taken_before_what_has_waited_longer() {
        let queue = Queue::new("release", Metrics::new());
        for key in ["a", "b", "c"] {
            tokio::time::advance(Duration::from_secs(1)).await;
            queue.add(key);
        }
        queue.add_first("d");
        queue.add_first("c");
        let taken: Vec<_> = std::iter::from_fn(|| queue.take().ok()).collect();
        assert_eq!(taken, ["c", "d", "a", "b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_object_is_never_worked_on_twice_at_once_and_what_came_meanwhile_is_not_lost() {
        let queue = Queue::new("release", Metrics::new());
        let (started, mut starts) = mpsc::unbounded_channel();
        let (release, gate) = tokio::sync::watch::channel(false);
        tokio::spawn(queue.clone().run(TWO, move |key: &'static str| {
            let (started, mut gate) = (started.clone(), gate.clone());
            async move {
                started.send(key).unwrap();
                gate.wait_for(|open| *open).await.unwrap();
            }
        }));
        queue.add("a");
        assert_eq!(starts.recv().await, Some("a"));
        queue.add("a");
        queue.add("b");
        assert_eq!(starts.recv().await, Some("b"), "a is at work");
        release.send(true).unwrap();
        assert_eq!(starts.recv().await, Some("a"));
    }
}
