//! What is parsed, given anything: each target reads bytes and asserts what must hold whatever they are. More than that nothing panics:
//! what is written is read again, what admission lets in can be read, a state's end lies ahead, no data is no success.
//!
//! Two use them: the fuzzer (`targets/`, one program each) and a test that replays the corpus (`src/simulator/tests/corpus.rs`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "an assertion is the purpose")]

mod answer;
mod files;
mod kind;
mod policy;
mod route;
mod schedule;
mod watched;
mod world;

pub use self::{
    answer::{metric_answer, recording},
    files::{manifest, scenario},
    kind::{duration, kind},
    policy::{condition, query},
    route::route,
    schedule::{cron, recurrence, time_zone},
    watched::watched,
    world::decide,
};

/// A target and what it is called.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 14] = [
    ("condition", condition),
    ("cron", cron),
    ("decide", decide),
    ("duration", duration),
    ("kind", kind),
    ("manifest", manifest),
    ("metric_answer", metric_answer),
    ("query", query),
    ("recording", recording),
    ("recurrence", recurrence),
    ("route", route),
    ("scenario", scenario),
    ("time_zone", time_zone),
    ("watched", watched),
];
