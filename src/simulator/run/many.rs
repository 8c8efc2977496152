//! Many seeds on several threads, each run on one of them.

use std::{
    any::Any,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use parking_lot::Mutex;

/// A seed whose run has failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// Why.
    pub why: String,
}

/// Runs every seed, on so many threads. Gives the failures by seed; a panic is one, too.
pub fn many(seeds: Range<u64>, threads: usize, run: impl Fn(u64) -> Result<(), String> + Sync) -> Vec<Failure> {
    let next = AtomicU64::new(seeds.start);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let result =
                        catch_unwind(AssertUnwindSafe(|| run(seed))).unwrap_or_else(|panic| Err(said(&*panic)));
                    if let Err(why) = result {
                        failures.lock().push(Failure { seed, why });
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner();
    failures.sort();
    failures
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_else(|| "panicked".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_runs_once_and_failures_are_told_by_seed() {
        let sum = AtomicU64::new(0);
        let failures = many(1..101, 3, |seed| {
            sum.fetch_add(seed, Relaxed);
            assert!(seed != 40, "forty");
            if seed == 7 { Err("seven".into()) } else { Ok(()) }
        });
        assert_eq!(sum.into_inner(), 5050);
        let told: Vec<_> = failures.iter().map(|failure| (failure.seed, failure.why.as_str())).collect();
        assert_eq!(told, [(7, "seven"), (40, "forty")]);
    }
}
