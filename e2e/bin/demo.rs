//! The demo: under live traffic a good version becomes the stable one and a bad one goes back by itself, on a real control
//! plane. Ends with a table and `report.json`; exit code 0 only if all came as promised.

#[path = "../demo_run/report.rs"]
mod report;
#[path = "../demo_run/run.rs"]
mod run;
#[path = "../demo_run/shop.rs"]
mod shop;
#[path = "../demo_run/view.rs"]
mod view;

use std::process::ExitCode;

use anyhow::{Context, Result};
use lockkeeper_e2e::{Cluster, Installation, Load, Options, Traffic, reexec_in_network_namespace};

use report::{Outcome, Report};
use shop::Shop;

/// Requests a second, all the time.
const PER_SECOND: u32 = 50;

fn main() -> ExitCode {
    reexec_in_network_namespace();
    let outcome = tokio::runtime::Runtime::new().context("no runtime").and_then(|runtime| runtime.block_on(demo()));
    match outcome {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            eprintln!("not as promised:\n- {}", faults.join("\n- "));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What was not as promised.
async fn demo() -> Result<Vec<String>> {
    let bad = match std::env::var("BAD_ERRORS").ok().filter(|percent| !percent.is_empty()) {
        Some(percent) => {
            percent.parse::<u8>().ok().filter(|p| *p <= 100).context("BAD_ERRORS is a per cent, 0 to 100")?
        }
        None => 10,
    };
    println!("starting a control plane, a gateway and Prometheus");
    let cluster = Cluster::start(Options::default()).await?;
    let outcome = releases(&cluster, bad).await;
    if !outcome.as_ref().is_ok_and(Vec::is_empty) {
        cluster.keep_logs();
        eprintln!("logs: {}", cluster.logs().display());
    }
    cluster.stop().await?;
    outcome
}

async fn releases(cluster: &Cluster, bad: u8) -> Result<Vec<String>> {
    let installation = Installation::install(cluster, Options::default().mutating_policies).await?;
    let operator = installation.operator(cluster, "operator", &[]).await?;
    let shop = Shop::open(cluster, installation.binary()).await?;
    let traffic = Traffic::start(cluster.gateway_url(), &Load::new(shop::HOST, PER_SECOND));
    let good = run::release(&shop, &traffic, "2.0.0", "2.0.0").await?;
    let bad_tag = if bad == 0 { "3.0.0".to_owned() } else { format!("3.0.0-errors{bad}") };
    let bad = run::release(&shop, &traffic, "3.0.0", &bad_tag).await?;
    let totals = traffic.stop().await;
    let logged = cluster.access_log()?.read(shop::HOST)?;
    let logged = logged.iter().filter(|entry| entry.request_path == "/").count() as u64;
    operator.process.terminate(shop::LIMIT).await?;
    let report = Report { releases: vec![good, bad] };
    report.print(&report.write()?);
    let mut faults = report.faults(&[Outcome::Succeeded, Outcome::RolledBack]);
    if logged != totals.requests {
        faults.push(format!("{} requests were sent, and the gateway's access log has {logged}", totals.requests));
    }
    Ok(faults)
}
