//! Every version of every Release, played.

use std::thread;

use jiff::Timestamp;
use serde::Serialize;

use super::{
    Case, Manifest, PlayError, Recording, Rehearsal, Scenario,
    advice::{self, Warning},
    outline,
    scenario::{End, Played},
};

/// What came of everything.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// When the new versions were asked for.
    pub start: Timestamp,
    /// By Release.
    pub releases: Vec<Sheet>,
    /// What is likely to surprise, about the files as a whole.
    pub warnings: Vec<Warning>,
}

/// What came of one Release.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sheet {
    /// Namespace and name.
    pub release: String,
    /// What was made up or taken for granted.
    pub assumed: Vec<String>,
    /// What is likely to surprise, whichever version is played.
    pub warnings: Vec<Warning>,
    /// Each version.
    pub rehearsals: Vec<Rehearsal>,
}

/// What is to be played.
#[derive(Clone, Debug)]
pub struct Selection<'a> {
    /// Only this Release, by `namespace/name` or name.
    pub release: Option<&'a str>,
    /// Only this version.
    pub version: Option<&'a str>,
}

/// Why nothing can be played.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// There is no such Release.
    #[error("there is no Release {asked} in the files: there are {known}")]
    NoRelease {
        /// What was asked for.
        asked: String,
        /// Those that there are.
        known: String,
    },
    /// There is no such version.
    #[error("there is no version {asked} in the scenario: there are {known}")]
    NoVersion {
        /// What was asked for.
        asked: String,
        /// Those that there are.
        known: String,
    },
    /// A gate that the scenario names.
    #[error("the scenario names gate {0}, which no Release of the files has: correct people.approvals")]
    NoGate(String),
    /// A check that the scenario or a recording names.
    #[error(
        "the scenario or the recorded metrics name check {asked}, which no policy of the files has: there are {known}"
    )]
    NoCheck {
        /// What was asked for.
        asked: String,
        /// Those that there are.
        known: String,
    },
    /// It cannot be set up.
    #[error(transparent)]
    Play(#[from] PlayError),
    /// A thread has ended early.
    #[error("a rehearsal of {0} has broken off: this is a fault of lockkeeper, please report it")]
    Broken(String),
}

impl Report {
    /// Plays all that is selected, each on a thread of its own.
    ///
    /// # Errors
    /// If something is not there that is named, or a rehearsal cannot be set up.
    pub fn play(
        manifest: &Manifest,
        scenario: &Scenario,
        recording: &Recording,
        start: Timestamp,
        selection: &Selection<'_>,
    ) -> Result<Self, ReportError> {
        let all = Case::all(manifest);
        let cases = selected_cases(&all, selection)?;
        let versions = selected_versions(scenario, selection)?;
        check_names(&cases, scenario, recording)?;
        let played: Result<Vec<Vec<Rehearsal>>, ReportError> = thread::scope(|scope| {
            let running: Vec<Vec<_>> = cases
                .iter()
                .map(|case| {
                    let play =
                        |version| scope.spawn(move || super::play(manifest, case, scenario, recording, version, start));
                    versions.iter().map(play).collect()
                })
                .collect();
            let wait = |(case, runs): (&&Case, Vec<thread::ScopedJoinHandle<'_, Result<Rehearsal, PlayError>>>)| {
                let done =
                    runs.into_iter().map(|run| Ok(run.join().map_err(|_| ReportError::Broken(case.title()))??));
                done.collect()
            };
            cases.iter().zip(running).map(wait).collect()
        });
        let load = advice::least(&scenario.load());
        let sheets = cases.iter().zip(played?).map(|(case, mut rehearsals)| {
            let assumed = rehearsals.iter_mut().map(|rehearsal| std::mem::take(&mut rehearsal.assumed)).next();
            rehearsals.iter_mut().for_each(|rehearsal| rehearsal.assumed.clear());
            let mut assumed = assumed.unwrap_or_default();
            if scenario.traffic.is_empty() {
                assumed.push(format!("{} requests a second", super::scenario::DEFAULT_LOAD));
            }
            Sheet { release: case.title(), assumed, warnings: advice::of_case(case, load, start), rehearsals }
        });
        Ok(Self { start, releases: sheets.collect(), warnings: outline::idle_windows(manifest, &all) })
    }

    /// The first rehearsal that did not end as it should.
    pub fn first_surprise(&self) -> Option<&Rehearsal> {
        self.releases.iter().flat_map(|sheet| &sheet.rehearsals).find(|rehearsal| !rehearsal.as_expected())
    }

    /// The exit code that tells of it.
    pub fn exit_code(&self) -> u8 {
        match self.first_surprise().map(|rehearsal| rehearsal.end.end) {
            None => 0,
            Some(End::RolledBack) => 20,
            Some(End::Aborted) => 21,
            Some(End::Rejected) => 22,
            Some(End::Invalid) => 23,
            Some(End::Unfinished) => 24,
            Some(End::Succeeded) => 25,
        }
    }
}

fn selected_cases<'a>(all: &'a [Case], selection: &Selection<'_>) -> Result<Vec<&'a Case>, ReportError> {
    let Some(asked) = selection.release else { return Ok(all.iter().collect()) };
    let found: Vec<&Case> = all.iter().filter(|case| case.title() == asked || case.plan.name == asked).collect();
    if found.is_empty() {
        let known = all.iter().map(Case::title).collect::<Vec<_>>().join(", ");
        return Err(ReportError::NoRelease { asked: asked.into(), known });
    }
    Ok(found)
}

fn selected_versions<'a>(scenario: &'a Scenario, selection: &Selection<'_>) -> Result<Vec<Played<'a>>, ReportError> {
    let all: Vec<Played<'a>> = scenario.versions_played().collect();
    let Some(asked) = selection.version else { return Ok(all) };
    let known = all.iter().map(|version| version.name).collect::<Vec<_>>().join(", ");
    let found: Vec<Played<'a>> = all.into_iter().filter(|version| version.name == asked).collect();
    if found.is_empty() { Err(ReportError::NoVersion { asked: asked.into(), known }) } else { Ok(found) }
}

/// What a scenario names must be there: a name that is misspelt would do nothing.
fn check_names(cases: &[&Case], scenario: &Scenario, recording: &Recording) -> Result<(), ReportError> {
    let has_gate = |name: &str| cases.iter().any(|case| case.plan.gates.approvals.iter().any(|gate| gate.name == name));
    if let Some(approval) = scenario.people.approvals.iter().find(|approval| !has_gate(&approval.gate)) {
        return Err(ReportError::NoGate(approval.gate.clone()));
    }
    let policies = cases.iter().flat_map(|case| &case.policies);
    let mut checks: Vec<String> = policies
        .flat_map(|(policy, spec)| spec.checks.iter().map(move |check| format!("{policy}/{}", check.name)))
        .collect();
    checks.sort();
    checks.dedup();
    let known = |asked: &str| {
        let asked = asked.strip_suffix(":samples").unwrap_or(asked);
        checks.iter().any(|check| check == asked || check.rsplit('/').next() == Some(asked))
    };
    match scenario.checks.keys().map(String::as_str).chain(recording.checks()).find(|asked| !known(asked)) {
        Some(asked) => Err(ReportError::NoCheck { asked: asked.into(), known: checks.join(", ") }),
        None => Ok(()),
    }
}
