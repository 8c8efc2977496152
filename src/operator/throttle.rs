//! A brake on write loops: two parts that undo each other, or a decision that never finds its wish fulfilled, would otherwise
//! write as fast as the API server answers.
//!
//! Each object that is written has a bucket of its own, so that a release of many workloads is not slowed, only one that writes
//! the same object again and again. Going back is under the brake as well, because a loop there hurts no less; but the buckets are full
//! again with each new phase, so that nothing that went on before delays it, and after its burst it goes on once a second: it is never
//! blocked.

use std::{collections::HashMap, time::Duration};

use lockkeeper_api::release::Phase;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    act::Actor,
    cache::{Key, Resource},
};

/// Writes to one object at once. A phase of an ordinary release writes none more than ten times, one of 64 quick steps 64 times,
/// in more than a minute.
const BURST: u32 = 40;
/// What a write costs, in time until the bucket is as full as before.
const PERIOD: Duration = Duration::from_secs(1);

/// Writes that have been done lately, by whoever wrote and what was written.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<HashMap<(Resource, Key), Writer>>);

#[derive(Debug, Default)]
struct Writer {
    phase: Option<Phase>,
    told: bool,
    /// When the bucket of each object will be full.
    full_at: HashMap<(Resource, String), Instant>,
}

/// A write that is put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delayed {
    /// Until when.
    pub until: Instant,
    /// Whether it is the first in this phase.
    pub first: bool,
}

impl Throttle {
    /// Takes a write out of the object's bucket.
    ///
    /// # Errors
    /// When the bucket is empty.
    pub fn take(&self, actor: Actor<'_>, resource: Resource, name: &str, now: Instant) -> Result<(), Delayed> {
        let mut writers = self.0.lock();
        let writer = writers.entry((actor.resource, actor.key.clone())).or_default();
        if writer.phase != actor.phase {
            *writer = Writer { phase: actor.phase, ..Writer::default() };
        }
        let full_at = writer.full_at.entry((resource, name.to_owned())).or_insert(now);
        let spent = full_at.saturating_duration_since(now);
        if spent > PERIOD * (BURST - 1) {
            let until = now + (spent - PERIOD * (BURST - 1));
            return Err(Delayed { until, first: !std::mem::replace(&mut writer.told, true) });
        }
        *full_at = (*full_at).max(now) + PERIOD;
        Ok(())
    }

    /// Forgets a writer that is gone.
    pub fn forget(&self, resource: Resource, key: &Key) {
        self.0.lock().remove(&(resource, key.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        throttle: Throttle,
        key: Key,
    }

    impl Bench {
        fn new() -> Self {
            Self { throttle: Throttle::default(), key: Key::new("shop", "web") }
        }

        fn write(&self, phase: Phase, name: &str, now: Instant) -> Result<(), Delayed> {
            let actor = Actor { resource: Resource::Release, key: &self.key, phase: Some(phase) };
            self.throttle.take(actor, Resource::Deployment, name, now)
        }

        /// Writes until it is told to wait; how many there were.
        fn burst(&self, phase: Phase, name: &str, now: Instant) -> u32 {
            (0..1000).take_while(|_| self.write(phase, name, now).is_ok()).count().try_into().unwrap()
        }
    }

    #[test]
    fn a_loop_is_slowed_to_one_write_a_second_and_told_of_once() {
        let (bench, now) = (Bench::new(), Instant::now());
        for _ in 0..BURST {
            assert_eq!(bench.write(Phase::Progressing, "web", now), Ok(()));
        }
        let delayed = bench.write(Phase::Progressing, "web", now).unwrap_err();
        assert_eq!(delayed, Delayed { until: now + PERIOD, first: true });
        assert!(!bench.write(Phase::Progressing, "web", now).unwrap_err().first);
        assert_eq!(bench.burst(Phase::Progressing, "web", now + PERIOD), 1);
        assert_eq!(bench.burst(Phase::Progressing, "web", now + PERIOD * 6), 5);
    }

    #[test]
    fn going_back_begins_with_full_buckets_whatever_a_loop_has_used_up() {
        let (bench, now) = (Bench::new(), Instant::now());
        assert_eq!(bench.burst(Phase::Promoting, "web", now), BURST);
        assert_eq!(bench.burst(Phase::RollingBack, "web", now), BURST);
    }

    #[test]
    fn objects_and_releases_do_not_slow_each_other() {
        let (mut bench, now) = (Bench::new(), Instant::now());
        for name in ["web", "api", "worker"] {
            assert_eq!(bench.burst(Phase::Progressing, name, now), BURST);
        }
        bench.key = Key::new("shop", "other");
        assert_eq!(bench.burst(Phase::Progressing, "web", now), BURST);
    }

    #[test]
    fn an_object_that_is_written_once_a_second_never_waits() {
        let (bench, mut now) = (Bench::new(), Instant::now());
        for _ in 0..1000 {
            now += PERIOD;
            assert_eq!(bench.write(Phase::RollingBack, "web", now), Ok(()));
        }
    }
}
