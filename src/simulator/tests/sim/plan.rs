//! One fault at one request of a calm release: it ends as the run without faults, and then nothing is written.

use std::{collections::BTreeMap, time::Duration};

use lockkeeper_simulator::{
    api::{Call, Disposition},
    run::{Plot, Sim},
};
use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    Told,
    act::{FAULTS, fault},
    common::{Result, STEPS, ask_for, at, end_state, plot},
    end,
};
use lockkeeper_simulator::world::{Script, When};

/// What a run without faults is like.
struct Known {
    state: BTreeMap<String, Value>,
    changes: BTreeMap<String, usize>,
    requests: u64,
}

/// The runs without faults, by seed.
#[derive(Default)]
pub struct Calm(Mutex<BTreeMap<u64, std::sync::Arc<Known>>>);

/// The most requests that a release is taken to have; plans beyond those of their release strike later ones again.
const REQUESTS: u64 = 64;

/// A bad version in each fourth seed.
fn version(seed: u64) -> &'static str {
    if seed % 4 == 3 { "2.0.0-errors10" } else { "2.0.0" }
}

fn release_of(seed: u64, lines: bool) -> Plot {
    let mut plot = Plot { lines, ..plot(seed, STEPS) };
    let first = When::Once(Box::new(|objects| at(objects, "Stable", "1.0.0")));
    plot.actors = vec![Box::new(Script::default().then(first, ask_for(version(seed))))];
    plot
}

async fn whole(sim: &mut Sim, seed: u64) -> Result {
    sim.start()?;
    let limit = Duration::from_secs(3600);
    sim.until("1.0.0 stable", limit, |objects| at(objects, "Stable", "1.0.0")).await?;
    let candidate = version(seed);
    let gone = move |objects: &lockkeeper_simulator::api::Snapshot| {
        let status = &crate::common::release(objects)["status"];
        end::settled(objects) && (at(objects, "Stable", candidate) || status["phase"] == "RolledBack")
    };
    sim.until("ended", limit, gone).await?;
    // A request that is held up, and its answer, take half a minute longer each.
    sim.pass(Duration::from_secs(90)).await
}

fn known(calm: &Calm, seed: u64) -> std::result::Result<std::sync::Arc<Known>, String> {
    if let Some(known) = calm.0.lock().get(&seed) {
        return Ok(known.clone());
    }
    let known = Sim::play(release_of(seed, false), async |sim: &mut Sim| {
        whole(sim, seed).await?;
        let requests = sim.operator(0).map_or(0, |operator| operator.link().requests());
        Ok(Known { state: end_state(sim), changes: end::changes(sim), requests })
    });
    let known = std::sync::Arc::new(known.map_err(|error| format!("without faults: {error}"))?);
    calm.0.lock().insert(seed, known.clone());
    Ok(known)
}

/// Plays a plan: its number says which fault, at which request, of which seed.
pub fn play(calm: &Calm, number: u64, lines: bool) -> std::result::Result<Told, String> {
    let (which, rest) = (number % FAULTS, number / FAULTS);
    let (request, seed) = (rest % REQUESTS, rest / REQUESTS);
    // Spread over all of the requests of this release.
    let strikes = request * known(calm, seed)?.requests / REQUESTS;
    strike(calm, seed, (which, strikes), end::rest(number), lines)
}

/// The releases of which every request meets every fault: a good version, and a bad one.
const WHOLE: [u64; 2] = [0, 3];

/// How many plans that is.
pub fn every(calm: &Calm) -> std::result::Result<u64, String> {
    WHOLE.iter().map(|seed| Ok(known(calm, *seed)?.requests * FAULTS)).sum()
}

/// Plays one of them; after each hundredth nothing may be written for a week.
pub fn play_every(calm: &Calm, mut number: u64, lines: bool) -> std::result::Result<Told, String> {
    for seed in WHOLE {
        let plans = known(calm, seed)?.requests * FAULTS;
        if number < plans {
            let rest = Duration::from_secs(if number.is_multiple_of(100) { 7 * 24 * 3600 } else { 330 });
            return strike(calm, seed, (number % FAULTS, number / FAULTS), rest, lines);
        }
        number -= plans;
    }
    Err("there are not so many".into())
}

fn strike(
    calm: &Calm,
    seed: u64,
    (which, strikes): (u64, u64),
    rest: Duration,
    lines: bool,
) -> std::result::Result<Told, String> {
    let known = known(calm, seed)?;
    let result = Sim::play(release_of(seed, lines), async |sim: &mut Sim| {
        let mut struck = false;
        sim.next_fault(move |call: &Call, at: u64, _: u64| {
            if struck || at < strikes {
                return Disposition::Pass;
            }
            let disposition = fault(which, call, Duration::from_secs(30));
            struck = disposition != Disposition::Pass;
            disposition
        });
        let mut wrong: Vec<String> = Vec::new();
        if let Err(error) = whole(sim, seed).await {
            wrong.push(error.to_string());
        }
        wrong.extend(sim.report.violations().iter().map(|violation| format!("{violation:?}")));
        let state = end_state(sim);
        let parts = known.state.keys().chain(state.keys()).collect::<std::collections::BTreeSet<_>>();
        for part in parts.into_iter().filter(|part| known.state.get(*part) != state.get(*part)) {
            wrong.push(format!("{part} ends as {:?} and not as {:?}", state.get(part), known.state.get(part)));
        }
        wrong.extend(end::untrue(sim, false));
        let changes = end::changes(sim);
        if changes != known.changes {
            wrong.push(format!("it has written {changes:?} and not {:?}", known.changes));
        }
        let writes = sim.writes();
        sim.pass(rest).await?;
        if sim.writes() != writes {
            wrong.push(format!("S12: {} writes at rest", sim.writes() - writes));
        }
        if wrong.is_empty() {
            return Ok(end::told(sim));
        }
        let trace = if lines { sim.shared.trace().lines().join("\n") } else { String::new() };
        Err(format!("fault {which} at request {strikes} of seed {seed}: {}\n{trace}", wrong.join("\n  ")).into())
    });
    result.map_err(|error| error.to_string())
}
