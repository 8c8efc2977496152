//! The benchmarks: the operator as users run it, with default settings and its own rights, on a local cluster.
//!
//! `lockkeeper-bench [--quick] [row...]` measures all rows, or those named, prints a table and writes a report with plots into Cargo's
//! target directory. Exit code 0 means that every scenario came to its end, however long it took.

mod acceptor;
mod at_once;
mod at_rest;
mod decide;
mod fleet;
mod killed;
mod metric_source;
mod plot;
mod progress;
mod report;
mod requests;
mod scenario;
mod stage;
mod table;
mod usage;
mod verdict;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use lockkeeper_e2e::reexec_in_network_namespace;
use report::{Machine, Report, Row};
use scenario::Scenario;

fn main() -> ExitCode {
    reexec_in_network_namespace();
    let outcome = tokio::runtime::Runtime::new().context("no runtime").and_then(|runtime| runtime.block_on(bench()));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn bench() -> Result<ExitCode> {
    let (flags, names): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(|a| a.starts_with("--"));
    let quick = match flags.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--quick"] => true,
        _ => bail!("usage: lockkeeper-bench [--quick] [row...]"),
    };
    let scenarios = Scenario::select(quick, &names)?;
    let mut report = Report { machine: Machine::this(), rows: Vec::new() };
    let mut code = ExitCode::SUCCESS;
    for (number, scenario) in scenarios.iter().enumerate() {
        let name = scenario.name();
        eprintln!("{} of {}: {name}", number + 1, scenarios.len());
        let started = Instant::now();
        match scenario.measure().await {
            Ok(measured) => report.rows.push(Row { name, seconds: started.elapsed().as_secs_f64(), measured }),
            Err(error) => {
                eprintln!("error: {error:#}");
                code = ExitCode::FAILURE;
            }
        }
    }
    let Machine { cores, processor, memory_gib, load } = &report.machine;
    println!("{}", table::markdown(&report));
    println!("{cores} cores ({processor}), {memory_gib} GiB, load at the beginning {load}");
    println!("report.json, report.md and plots: {}", report.write()?.display());
    Ok(code)
}
