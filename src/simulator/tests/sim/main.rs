//! Many seeds, each a whole release in random weather, and many plans, each one fault at one request of a calm release.
//!
//! Which seeds is said by [`PLOTS`], which plans by `LOCKKEEPER_PLANS=from..to`; `LOCKKEEPER_THREADS` on how many threads (2). Of two releases every request
//! meets every fault: all of them with `LOCKKEEPER_SIM_ALL`, else each 41st; `LOCKKEEPER_WHOLE=from..to` are those to look at. One seed or plan alone
//! is told with its trace. `traces` is one digest of all that has happened in the runs: equal code gives an equal one. The last line is `plans=N seeds=N failures=N`.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod act;
mod before;
#[path = "../common/mod.rs"]
mod common;
mod end;
mod gale;
mod gone;
mod plan;
mod sky;
mod storm;
mod swell;

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Range,
    process::ExitCode,
    time::Instant,
};

use lockkeeper_simulator::run::{Failure, many};
use parking_lot::Mutex;

/// What a run was like.
#[derive(Debug, Default)]
pub struct Told {
    /// The phases of the Release, one after the other.
    pub phases: Vec<String>,
    /// Writes of the operator.
    pub writes: u64,
    /// The digest of the trace.
    pub trace: u64,
}

#[derive(Default)]
struct Summary {
    transitions: BTreeMap<(String, String), u64>,
    writes: Vec<u64>,
    /// The digests of all traces in one, whatever the order in which the runs end.
    traces: u64,
}

/// What is played with each seed.
struct Seeds {
    /// `LOCKKEEPER_` and this is `from..to`.
    name: &'static str,
    /// In `found.tsv`.
    plot: &'static str,
    /// Those that are played when nobody says which.
    usual: &'static str,
    play: fn(u64, bool) -> Result<Told, String>,
}

/// All that counts as seeds.
const PLOTS: [Seeds; 5] = [
    Seeds { name: "SEEDS", plot: "storm", usual: "0..100", play: storm::play },
    // Storms in a small shop, where a release takes less time.
    Seeds { name: "BREEZES", plot: "breeze", usual: "0..50", play: storm::breeze },
    // The same in one that runs already.
    Seeds { name: "AIRS", plot: "air", usual: "0..50", play: storm::air },
    // Storms with more of everything (see gale.rs).
    Seeds { name: "GALES", plot: "gale", usual: "0..50", play: storm::gale },
    // Storms with more about operators and watches (see swell.rs).
    Seeds { name: "SWELLS", plot: "swell", usual: "0..50", play: storm::swell },
];

/// One in so many is played twice, and must be the same to the byte.
const AGAIN: u64 = 200;

fn range(name: &str, default: &str) -> Range<u64> {
    let text = std::env::var(name).unwrap_or_else(|_| default.into());
    let (from, to) = text.split_once("..").unwrap();
    from.parse().unwrap()..to.parse().unwrap()
}

fn all(
    what: &str,
    numbers: Range<u64>,
    threads: usize,
    summary: &Mutex<Summary>,
    play: impl Fn(u64, bool) -> Result<Told, String> + Sync,
) -> Vec<Failure> {
    let lines = numbers.end - numbers.start == 1;
    let failures = many(numbers, threads, |number| {
        let told = play(number, lines)?;
        if number % AGAIN == 0 {
            let again = play(number, lines)?;
            if again.trace != told.trace {
                return Err("it goes another way when it is played again".into());
            }
        }
        let mut summary = summary.lock();
        summary.writes.push(told.writes);
        let mut run = DefaultHasher::new();
        (what, number, told.trace).hash(&mut run);
        summary.traces = summary.traces.wrapping_add(run.finish());
        for pair in told.phases.windows(2) {
            *summary.transitions.entry((pair[0].clone(), pair[1].clone())).or_default() += 1;
        }
        Ok(())
    });
    for Failure { seed, why } in &failures {
        println!("LOCKKEEPER_{what}={seed}..{}: {why}", seed + 1);
    }
    failures
}

/// Seeds of such a plot of storm.rs that have found faults of our own code.
fn found(plot: &str) -> impl Iterator<Item = u64> {
    let rows = include_str!("../found.tsv").lines().filter_map(move |line| line.strip_prefix(plot)?.strip_prefix('\t'));
    rows.map(|row| row.split('\t').next().unwrap().parse().unwrap())
}

fn main() -> ExitCode {
    // Whoever names seeds means just these.
    let mut names = PLOTS.iter().map(|seeds| seeds.name).chain(["PLANS"]);
    let only = names.any(|name| std::env::var_os(format!("LOCKKEEPER_{name}")).is_some());
    let usual = |usual: &'static str| if only { "0..0" } else { usual };
    let plans = range("LOCKKEEPER_PLANS", usual("0..100"));
    let threads = std::env::var("LOCKKEEPER_THREADS").map_or(2, |threads| threads.parse().unwrap());
    let (summary, started) = (Mutex::new(Summary::default()), Instant::now());
    let count = |range: &Range<u64>| range.end.saturating_sub(range.start);
    let mut failures = Vec::new();
    let mut many_seeds = 0;
    for Seeds { name, usual: all_of, play, .. } in &PLOTS {
        let seeds = range(&format!("LOCKKEEPER_{name}"), usual(all_of));
        many_seeds += count(&seeds);
        failures.extend(all(name, seeds, threads, &summary, play));
    }
    let many_plans = count(&plans);
    if many_seeds > 1 {
        for Seeds { name, plot, play, .. } in &PLOTS {
            for seed in found(plot) {
                failures.extend(all(name, seed..seed + 1, threads, &summary, |seed, _| play(seed, false)));
            }
        }
    }
    let calm = plan::Calm::default();
    failures.extend(all("PLANS", plans, threads, &summary, |number, lines| plan::play(&calm, number, lines)));
    let every = if std::env::var_os("LOCKKEEPER_SIM_ALL").is_some() { 1 } else { 41 };
    let whole = if many_plans < 2 { "0..0".into() } else { format!("0..{}", plan::every(&calm).unwrap() / every) };
    let whole = range("LOCKKEEPER_WHOLE", &whole);
    let many_plans = many_plans + count(&whole);
    let step = if count(&whole) == 1 { 1 } else { every };
    failures.extend(all("WHOLE", whole, threads, &summary, |at, lines| {
        let plan = at * step;
        plan::play_every(&calm, plan, lines).map_err(|why| format!("LOCKKEEPER_WHOLE={plan}..{}: {why}", plan + 1))
    }));
    let Summary { transitions, mut writes, traces } = summary.into_inner();
    writes.sort_unstable();
    let states: std::collections::BTreeSet<&String> = transitions.keys().flat_map(|(from, to)| [from, to]).collect();
    println!("states: {}", states.into_iter().map(String::as_str).collect::<Vec<_>>().join(" "));
    for ((from, to), count) in &transitions {
        println!("{count:8} {from} -> {to}");
    }
    println!(
        "median writes: {}; traces: {traces:016x}; {:.1?} on {threads} threads",
        writes.get(writes.len() / 2).copied().unwrap_or_default(),
        started.elapsed()
    );
    println!("plans={many_plans} seeds={many_seeds} failures={}", failures.len());
    ExitCode::from(u8::from(!failures.is_empty()))
}
