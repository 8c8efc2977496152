//! How long to wait before an object that failed is tried again: per object, exponential, with full jitter.
//!
//! One object that keeps failing is asked less and less often and never slows the others; many objects that fail together
//! (an API server that is down) come back spread out rather than all at once.

use std::{collections::HashMap, fmt, hash::Hash, time::Duration};

use parking_lot::Mutex;

/// The longest delay after the first failure.
pub const FIRST: Duration = Duration::from_secs(1);
/// The longest delay after any number of failures.
pub const LONGEST: Duration = Duration::from_secs(300);

/// The delay after `failures` failures in a row: `random` (in 0..1) times a ceiling that starts at [`FIRST`], doubles with
/// each further failure and ends at [`LONGEST`].
pub fn delay(failures: u32, random: f64) -> Duration {
    ceiling(failures).mul_f64(random.clamp(0.0, 1.0))
}

fn ceiling(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1);
    2u32.checked_pow(doublings)
        .and_then(|factor| FIRST.checked_mul(factor))
        .map_or(LONGEST, |ceiling| ceiling.min(LONGEST))
}

type Random = Box<dyn FnMut() -> f64 + Send>;

/// The failures in a row of each object that failed last time. Objects that are fine take no memory.
pub struct Backoff<K> {
    state: Mutex<State<K>>,
}

struct State<K> {
    failures: HashMap<K, u32>,
    random: Random,
}

impl<K: Eq + Hash + Clone> Backoff<K> {
    /// No failures yet. `random` gives numbers in 0..1: `fastrand::f64` in production, a seeded source where a run has to be
    /// repeatable.
    pub fn new(random: impl FnMut() -> f64 + Send + 'static) -> Self {
        Self { state: Mutex::new(State { failures: HashMap::new(), random: Box::new(random) }) }
    }

    /// Counts a failure and says how long to wait before the next try.
    pub fn failed(&self, key: &K) -> Duration {
        let mut state = self.state.lock();
        let failures = match state.failures.get_mut(key) {
            Some(failures) => {
                *failures = failures.saturating_add(1);
                *failures
            }
            None => {
                state.failures.insert(key.clone(), 1);
                1
            }
        };
        delay(failures, (state.random)())
    }

    /// Forgets the object's failures: it succeeded, or it is gone.
    pub fn reset(&self, key: &K) {
        self.state.lock().failures.remove(key);
    }

    /// How often in a row the object has failed.
    pub fn failures(&self, key: &K) -> u32 {
        self.state.lock().failures.get(key).copied().unwrap_or_default()
    }

    /// How many objects failed when they were last tried.
    pub fn failing(&self) -> usize {
        self.state.lock().failures.len()
    }
}

impl<K> fmt::Debug for Backoff<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backoff").field("failing", &self.state.lock().failures.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without_jitter() -> Backoff<&'static str> {
        Backoff::new(|| 1.0)
    }

    #[test]
    fn the_delay_doubles_from_one_second_and_ends_at_five_minutes() {
        let backoff = without_jitter();
        let delays: Vec<u64> = (0..12).map(|_| backoff.failed(&"shop/checkout").as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    }

    #[test]
    fn any_number_of_failures_is_bounded() {
        for failures in [0, 1, 32, 33, 64, u32::MAX] {
            assert!(delay(failures, 1.0) <= LONGEST, "{failures}");
        }
        assert_eq!(delay(u32::MAX, 1.0), LONGEST);
    }

    #[test]
    fn full_jitter_spreads_over_the_whole_ceiling() {
        for (random, expected) in [(0.0, 0), (0.25, 4_000), (0.5, 8_000), (1.0, 16_000)] {
            assert_eq!(delay(5, random).as_millis(), expected, "{random}");
        }
    }

    #[test]
    fn a_random_source_out_of_bounds_cannot_stretch_the_delay() {
        assert_eq!(delay(3, 7.0), delay(3, 1.0));
        assert_eq!(delay(3, -7.0), Duration::ZERO);
    }

    #[test]
    fn success_starts_again_at_the_beginning_and_frees_the_entry() {
        let backoff = without_jitter();
        backoff.failed(&"a");
        backoff.failed(&"a");
        backoff.reset(&"a");
        assert_eq!(backoff.failing(), 0);
        assert_eq!(backoff.failed(&"a"), FIRST);
    }

    #[test]
    fn objects_do_not_slow_each_other() {
        let backoff = without_jitter();
        for _ in 0..6 {
            backoff.failed(&"bad");
        }
        assert_eq!(backoff.failed(&"good"), FIRST);
        assert_eq!(backoff.failing(), 2);
    }

    #[test]
    fn the_same_seed_gives_the_same_delays() {
        let run = |seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            let backoff = Backoff::new(move || random.f64());
            (0..8).map(|_| backoff.failed(&"a")).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }
}
