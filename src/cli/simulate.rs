//! `lockkeeper simulate`: releases as they are in Git, played on a virtual clock.

mod html;
mod junit;
mod text;

use std::{fs, io::Write, path::PathBuf};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use lockkeeper_simulator::rehearse::{Recording, Report, Scenario, Selection};

pub use self::text::{clock, span};
use crate::{error::Error, files};

const HELP: &str = "\
Nothing but the files is read: no cluster, no network. The operator's own code runs before a model of a cluster.
Queries are not evaluated: the answer of a check follows from the form of its query (error or success ratio, latency,
number of requests) and from how the scenario says that versions behave, or is given by it, or recorded (--metrics).

Without --scenario two versions are played: `good`, and `bad`, of whose requests 5 % fail.

Exit codes:
  0   every version ended as expected (good: Succeeded, bad: RolledBack; in a scenario: `expect`, default Succeeded)
  1   a file cannot be read or written
  2   wrong arguments or input
Otherwise the first version that ended differently:
  20  RolledBack
  21  Aborted
  22  Rejected
  23  Invalid: the Release cannot work
  24  did not end: it waits for what never comes
  25  Succeeded, and should not have: a bad version was not caught";

/// What to play.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct Simulate {
    /// YAML files with Releases, RollbackPolicies, DeploymentWindows, Decisions, Deployments, Services, HTTPRoutes; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// What happens: traffic, how versions behave, when people approve, what breaks; see config/samples/scenarios
    #[arg(long, value_name = "FILE")]
    scenario: Option<String>,
    /// Recorded metrics: CSV (time,check,value) or the answer to a Prometheus range query; its first time is the first traffic
    #[arg(long, value_name = "[CHECK=]FILE")]
    metrics: Vec<String>,
    /// Only this Release, by name or namespace/name
    #[arg(long, value_name = "NAME")]
    release: Option<String>,
    /// Only this version of the scenario
    #[arg(long, value_name = "VERSION")]
    only: Option<String>,
    /// When the new version is asked for, like 2026-01-06T09:00:00Z; default: the scenario's start, or now
    #[arg(long, value_name = "TIME")]
    start: Option<Timestamp>,
    /// Namespace of objects that name none
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default")]
    namespace: String,
    /// How to show it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,
    /// Write a page with plots into this file, too
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write JUnit XML for CI into this file, too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// A timeline
    Text,
    /// Everything, as JSON
    Json,
    /// A page with plots
    Html,
}

impl Simulate {
    /// Plays it and says what came of it.
    ///
    /// # Errors
    /// If files cannot be read or written or are wrong, or a version did not end as expected.
    pub fn run(self) -> Result<(), Error> {
        let manifest = files::manifest(&self.files, &self.namespace)?;
        let scenario = self.scenario()?;
        let recording = self.recording()?;
        let start = self.start.or(scenario.start).unwrap_or_else(Timestamp::now);
        let start = Timestamp::from_second(start.as_second()).unwrap_or(start);
        let selection = Selection { release: self.release.as_deref(), version: self.only.as_deref() };
        let report = Report::play(&manifest, &scenario, &recording, start, &selection)
            .map_err(|error| Error::Input(error.to_string()))?;
        if let Some(path) = self.html {
            write(path, &html::page(&report))?;
        }
        if let Some(path) = self.junit {
            write(path, &junit::suites(&report))?;
        }
        let shown = match self.output {
            Output::Text => text::report(&report),
            Output::Json => serde_json::to_string_pretty(&report)? + "\n",
            Output::Html => html::page(&report),
        };
        std::io::stdout().write_all(shown.as_bytes())?;
        match report.first_surprise() {
            None => Ok(()),
            Some(rehearsal) => Err(Error::Surprise {
                code: report.exit_code(),
                message: format!(
                    "{}: version {} ended {:?}, expected {:?}",
                    rehearsal.release, rehearsal.version, rehearsal.end.end, rehearsal.expected
                ),
            }),
        }
    }

    fn scenario(&self) -> Result<Scenario, Error> {
        let Some(file) = &self.scenario else { return Ok(Scenario::default()) };
        Scenario::parse(&files::text(file)?).map_err(|error| Error::Input(format!("{file}: {error}")))
    }

    fn recording(&self) -> Result<Recording, Error> {
        let mut all = Recording::default();
        for given in &self.metrics {
            let (check, file) = match given.split_once('=') {
                Some((check, file)) => (Some(check), file),
                None => (None, given.as_str()),
            };
            let one = Recording::parse(&files::text(file)?, check)
                .map_err(|error| Error::Input(format!("{file}: {error}")))?;
            all.merge(one);
        }
        Ok(all)
    }
}

fn write(path: PathBuf, text: &str) -> Result<(), Error> {
    fs::write(&path, text).map_err(|source| Error::File { path, source })
}

/// Text within markup.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
