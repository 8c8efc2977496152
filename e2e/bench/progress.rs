//! Watches many objects until each of them is done.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::{StreamExt, pin_mut};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::timeout_at;

/// Objects named in an error.
const NAMED: usize = 5;

/// How many objects came to their end, and on which way.
#[derive(Debug)]
pub struct Progress<S> {
    /// What was seen of each object, in the order of time, without repetitions: seconds since the beginning.
    pub seen: BTreeMap<String, Vec<(f64, S)>>,
    /// When each object was done for the last time, in seconds since the beginning, ascending.
    pub done: Vec<f64>,
}

/// Waits until `count` objects are done at the same time.
///
/// `what` completes the sentence "waited 60 s for ..." of the error.
///
/// # Errors
/// After `within`, with some of those that are not done.
pub async fn all<K, S>(
    api: Api<K>,
    count: usize,
    what: &str,
    within: Duration,
    done: impl Fn(&K) -> Option<bool>,
    look: impl Fn(&K) -> S,
) -> Result<Progress<S>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    S: PartialEq + Debug,
{
    let started = Instant::now();
    let deadline = tokio::time::Instant::from_std(started + within);
    let stream = watcher(api, watcher::Config::default()).default_backoff();
    pin_mut!(stream);
    let mut seen: BTreeMap<String, Vec<(f64, S)>> = BTreeMap::new();
    let mut ends: BTreeMap<String, Option<f64>> = BTreeMap::new();
    let mut finished = 0;
    while let Ok(Some(event)) = timeout_at(deadline, stream.next()).await {
        // A broken watch starts again by itself.
        let Ok(Event::Apply(object) | Event::InitApply(object)) = event else { continue };
        let at = started.elapsed().as_secs_f64();
        let name = format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any());
        let looks = seen.entry(name.clone()).or_default();
        let look = look(&object);
        if looks.last().is_none_or(|(_, before)| *before != look) {
            looks.push((at, look));
        }
        let end = ends.entry(name).or_default();
        let is_done = done(&object).unwrap_or(false);
        match (&end, is_done) {
            (None, true) => finished += 1,
            (Some(_), false) => finished -= 1,
            (Some(_), true) | (None, false) => continue,
        }
        *end = is_done.then_some(at);
        if finished >= count {
            let mut done: Vec<f64> = ends.into_values().flatten().collect();
            done.sort_by(f64::total_cmp);
            return Ok(Progress { seen, done });
        }
    }
    let open = ends.iter().filter(|(_, end)| end.is_none()).take(NAMED);
    let open: Vec<String> = open.map(|(name, _)| format!("{name}: {:?}", seen[name].last())).collect();
    bail!("waited {} s for {count} {what}: {finished} are; not so, for example: {open:?}", within.as_secs())
}
