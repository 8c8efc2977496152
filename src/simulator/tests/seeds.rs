//! Many seeds: each is two releases, and no promise is broken. `LOCKKEEPER_SEEDS=from..to` says which.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::{STEPS, play, plot};
use lockkeeper_simulator::run::{Plot, Sim, many};

#[test]
fn no_promise_is_broken_for_any_seed() {
    let seeds = std::env::var("LOCKKEEPER_SEEDS").unwrap_or_else(|_| "0..10".into());
    let (from, to) = seeds.split_once("..").unwrap();
    let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
    let threads = std::env::var("LOCKKEEPER_THREADS").map_or(2, |threads| threads.parse().unwrap());
    let started = std::time::Instant::now();
    let failures = many(from..to, threads, |seed| {
        let plot = Plot { lines: false, ..plot(seed, STEPS) };
        Sim::play(plot, async |sim: &mut Sim| play(sim).await).map_err(|error| error.to_string())
    });
    println!("{} seeds in {:?}", to - from, started.elapsed());
    assert!(failures.is_empty(), "{failures:#?}");
}
