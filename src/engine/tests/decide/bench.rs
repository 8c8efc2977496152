//! How long one decision takes: a release through all of its phases before the model of a cluster that the tests use, each
//! decision timed on its own. Prints a table and writes `bench/decide.json` into Cargo's target directory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    missing_docs,
    reason = "shared with tests"
)]

mod check;
mod cluster;
mod controllers;
mod fixture;
mod happening;
mod lab;
mod view;

use std::{collections::BTreeMap, env, fs, hint::black_box, path::Path, time::Instant};

use jiff::SignedDuration;
use lockkeeper_api::decision::Verdict;
use lockkeeper_engine::decide;
use serde_json::json;

use fixture::{POLICY, Work, policy};
use happening::Happening;
use lab::Lab;

/// Repetitions of each decision, of which the median counts.
const TIMES: usize = 101;

/// Microseconds by phase, one number a decision.
#[derive(Default)]
struct Times {
    decide: BTreeMap<String, Vec<f64>>,
    plan: Vec<f64>,
}

fn main() {
    let mut times = Times::default();
    let works = [Work::web(), Work { name: "api", ..Work::web() }];
    let steps = json!([{"setWeight": 5}, {"pause": {"duration": "5m"}}, {"setWeight": 50},
        {"analysis": {"policy": POLICY, "duration": "10m"}}, {"setWeight": 100}]);
    let gates = json!({"approvals": [{"name": "board", "before": "Start", "from": {"groups": ["team"]}}]});
    let mut lab = fixture::lab(&works, steps, json!({"rollbackPolicy": POLICY, "gates": gates}));
    lab.policies.insert(POLICY.into(), policy(json!({}), json!({"bake": "10m"})));
    run(&mut lab, 5, &mut times);
    lab.happen(&Happening::Version("2"));
    run(&mut lab, 5, &mut times);
    lab.decide(Verdict::Approve, Some("board"), "ann");
    run(&mut lab, 60, &mut times);
    lab.happen(&Happening::Version("3"));
    run(&mut lab, 5, &mut times);
    lab.decide(Verdict::Approve, Some("board"), "ann");
    run(&mut lab, 2, &mut times);
    lab.answer = lab::Answer::Bad;
    run(&mut lab, 60, &mut times);
    report(times);
}

/// As the operator would run for so long, with each of its decisions timed.
fn run(lab: &mut Lab, minutes: i64, times: &mut Times) {
    let until = lab.now() + SignedDuration::from_mins(minutes);
    loop {
        time(lab, times);
        let acted = lab.round();
        if lab.pass() || acted {
            continue;
        }
        let wake = lab.outcome.wake.filter(|wake| *wake > lab.now());
        match wake.into_iter().chain(controllers::next(&lab.cluster)).min() {
            Some(next) if next <= until => {
                lab.cluster.now = next;
                lab.pass();
            }
            Some(_) | None => break,
        }
    }
    lab.cluster.now = until;
}

fn time(lab: &Lab, times: &mut Times) {
    let release = lab.release().expect("the Release is there");
    let plan = lab.plan(&release);
    let world = lab.world(&plan);
    let status = release.status.clone().unwrap_or_default();
    let phase = decide(&plan, &world, &status, lab.now()).status.phase.to_string();
    let decided = median((0..TIMES).map(|_| micros(|| decide(&plan, &world, &status, lab.now()))).collect());
    times.decide.entry(phase).or_default().push(decided);
    times.plan.push(median((0..TIMES).map(|_| micros(|| lab.plan(&release))).collect()));
}

fn micros<T>(work: impl FnOnce() -> T) -> f64 {
    let started = Instant::now();
    black_box(work());
    started.elapsed().as_secs_f64() * 1e6
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn report(times: Times) {
    let mut rows = Vec::new();
    println!("{:<12} {:>9} {:>10} {:>10}", "phase", "decisions", "median µs", "worst µs");
    let plan = ("(plan)".to_owned(), times.plan);
    for (situation, values) in times.decide.into_iter().chain([plan]) {
        let (count, worst) = (values.len(), values.iter().copied().fold(0.0, f64::max));
        let median = median(values);
        println!("{situation:<12} {count:>9} {median:>10.1} {worst:>10.1}");
        rows.push(json!({"situation": situation, "decisions": count, "medianMicroseconds": median, "worstMicroseconds": worst}));
    }
    let program = env::current_exe().unwrap();
    let target = program.ancestors().find(|directory| directory.join("CACHEDIR.TAG").is_file());
    let directory = target.unwrap_or(Path::new("target")).join("bench");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("decide.json"), serde_json::to_string_pretty(&rows).unwrap()).unwrap();
}
