//! The operator dies at each of its writes in turn, before and after it is done, and another one goes on: everything ends the same.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use common::{Result, STEPS, end_state, play, plot};
use lockkeeper_simulator::run::{Plot, Sim, many};

/// How many writes the operator does in a run without crashes.
fn writes() -> Result<u64> {
    Sim::play(plot(1, STEPS), async |sim: &mut Sim| {
        play(sim).await?;
        Ok(sim.operator(0).map_or(0, |operator| operator.link().writes()))
    })
}

#[test]
fn equal_seeds_give_equal_traces_to_the_byte() {
    let run = |seed| {
        Sim::play(plot(seed, STEPS), async |sim: &mut Sim| {
            play(sim).await?;
            let trace = sim.shared.trace();
            Ok((trace.lines().to_vec(), trace.digest()))
        })
    };
    let (one, again, other) = (run(7).unwrap(), run(7).unwrap(), run(8).unwrap());
    for (at, (one, again)) in one.0.iter().zip(&again.0).enumerate() {
        assert_eq!(one, again, "line {at}");
    }
    assert_eq!(one, again);
    assert_ne!(one.1, other.1);
}

#[test]
fn a_crash_at_any_write_ends_in_the_same_state() {
    let without = Sim::play(plot(1, STEPS), async |sim: &mut Sim| {
        play(sim).await?;
        Ok(end_state(sim))
    })
    .unwrap();
    let writes = writes().unwrap();
    assert!(writes > 50, "{writes}");
    // All of them in `make sim`; here a share.
    let every = if std::env::var_os("LOCKKEEPER_SIM_ALL").is_some() { 1 } else { 11 };
    for write in (0..writes).step_by(every) {
        for done in [false, true] {
            let result = Sim::play(plot(1, STEPS), async |sim: &mut Sim| {
                sim.kill_at_write(write, done);
                let played = play(sim).await;
                let told = || sim.shared.trace().lines().join("\n");
                assert!(played.is_ok(), "write {write}, done {done}: {played:?}\n{}", told());
                assert_eq!(end_state(sim), without, "write {write}, done {done}\n{}", told());
                Ok(())
            });
            result.unwrap();
        }
    }
}

#[test]
fn a_crash_at_any_await_ends_in_the_same_state() {
    let quiet = || Plot { lines: false, ..plot(1, STEPS) };
    let (without, polls) = Sim::play(quiet(), async |sim: &mut Sim| {
        play(sim).await?;
        Ok((end_state(sim), sim.operator(0).map_or(0, |operator| operator.link().polls())))
    })
    .unwrap();
    assert!(polls > 500, "{polls}");
    let every = if std::env::var_os("LOCKKEEPER_SIM_ALL").is_some() { 1 } else { polls / 20 };
    let failures = many(0..polls / every, 2, |number| {
        let played = Sim::play(quiet(), async |sim: &mut Sim| {
            sim.kill_at_poll(number * every);
            play(sim).await?;
            assert_eq!(end_state(sim), without, "poll {}", number * every);
            Ok(())
        });
        played.map_err(|error| format!("poll {}: {error}", number * every))
    });
    assert!(failures.is_empty(), "{failures:#?}");
}
