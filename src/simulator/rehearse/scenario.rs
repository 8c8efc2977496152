//! The scenario of a rehearsal: a local file, never sent to a cluster.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lockkeeper_api::{decision::Verdict, scalar::Duration};
use serde::{Deserialize, Serialize};

/// What apiVersion and kind a scenario has.
pub const KIND: (&str, &str) = ("lockkeeper.dev/v1alpha1", "Scenario");

/// A scenario file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: Scenario,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    #[serde(default)]
    name: String,
}

/// What happens around a release. Every field has a default; an empty scenario is the one that is played when none is given.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Scenario {
    /// When the new version is asked for; default: now.
    pub start: Option<Timestamp>,
    /// How long after that it is given up; default 336h (14 days).
    pub limit: Duration,
    /// Pods of Deployments that are made up; default 4.
    pub replicas: u32,
    /// The user who asks for the new version; default `requester`.
    pub requested_by: String,
    /// Requests per second, from when on; default 100 throughout.
    pub traffic: Vec<Load>,
    /// How the version that runs behaves.
    pub stable: Conduct,
    /// The new versions, each of which is played by itself; default: `good` and `bad`.
    pub versions: Vec<Version>,
    /// What a check measures, by check (`policy/check`, or `check`) and version, instead of what its query looks like.
    pub checks: BTreeMap<String, BTreeMap<String, f64>>,
    /// What people do.
    pub people: People,
    /// What breaks.
    pub trouble: Vec<Trouble>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            start: None,
            limit: Duration::from_secs(336 * 3600),
            replicas: 4,
            requested_by: "requester".into(),
            traffic: Vec::new(),
            stable: Conduct::default(),
            versions: Vec::new(),
            checks: BTreeMap::new(),
            people: People::default(),
            trouble: Vec::new(),
        }
    }
}

/// Requests per second from a moment on.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Load {
    /// So long after the version was asked for; default 0s.
    #[serde(default)]
    pub after: Duration,
    /// How many, of all workloads together.
    pub requests_per_second: f64,
}

/// How requests go from a moment on.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Conduct {
    /// So long after the version's first traffic; default 0s. Before the first entry it behaves like the stable version.
    pub after: Duration,
    /// Part of the requests that fail, 0 to 1; default 0.
    pub error_rate: f64,
    /// How long the slowest percent takes, in seconds; default 0.05.
    pub latency_seconds: f64,
}

impl Default for Conduct {
    fn default() -> Self {
        Self { after: Duration::default(), error_rate: 0.0, latency_seconds: 0.05 }
    }
}

/// A new version.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Version {
    /// Its name in the report; letters, digits and dashes.
    pub name: String,
    /// How its release should end; default: Succeeded.
    #[serde(default)]
    pub expect: Option<End>,
    /// How its requests go; default: like the stable version's.
    #[serde(default)]
    pub requests: Vec<Conduct>,
    /// How its pods start.
    #[serde(default)]
    pub pods: Pods,
}

/// How pods start, and whether they stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Pods {
    /// From a pod's start until it is ready; default 1s.
    pub ready_after: Option<Duration>,
    /// They never get ready; default false.
    pub never_ready: bool,
    /// From a pod's start until it crashes, again and again; default: never.
    pub crash_after: Option<Duration>,
}

/// How a release can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum End {
    /// The new version is the stable one, and its bake is over.
    Succeeded,
    /// It went back.
    RolledBack,
    /// A person sent it back.
    Aborted,
    /// People rejected it before it started.
    Rejected,
    /// The Release cannot work.
    Invalid,
    /// It still waits, or has not ended within the limit.
    Unfinished,
}

/// What people do.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct People {
    /// What becomes of gates and pauses that nothing below names; default Yes.
    pub otherwise: Otherwise,
    /// How long after they are asked; default 5m.
    pub after: Duration,
    /// Answers at gates.
    pub approvals: Vec<Approval>,
    /// What people do unasked.
    pub acts: Vec<Deed>,
}

impl Default for People {
    fn default() -> Self {
        Self { otherwise: Otherwise::Yes, after: Duration::from_secs(300), approvals: Vec::new(), acts: Vec::new() }
    }
}

/// What becomes of gates and pauses that a scenario does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Otherwise {
    /// As many people as are needed approve, and somebody resumes.
    Yes,
    /// Nobody comes.
    Nobody,
}

/// Answers at a gate. Who is named is taken to be among those who may approve.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approval {
    /// Name of the gate.
    pub gate: String,
    /// User names; empty: nobody comes.
    pub by: Vec<String>,
    /// So long after the gate asks; default 5m.
    #[serde(default = "five_minutes")]
    pub after: Duration,
    /// Whether they reject instead; default false.
    #[serde(default)]
    pub reject: bool,
}

fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

/// What a person does unasked.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deed {
    /// So long after `since`; default 0s.
    #[serde(default)]
    pub at: Duration,
    /// Since when that counts; default Started.
    #[serde(default)]
    pub since: Moment,
    /// What is decided.
    pub verdict: Verdict,
    /// By whom; default `operator-on-call`.
    #[serde(default = "on_call")]
    pub by: String,
    /// At which gate, for Approve, Reject and Override.
    #[serde(default)]
    pub gate: Option<String>,
}

fn on_call() -> String {
    "on-call".into()
}

/// A moment of a release from which times count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Moment {
    /// The new version was asked for.
    Asked,
    /// The gates before Start have opened.
    #[default]
    Started,
    /// The new version got its first traffic.
    FirstTraffic,
    /// It was promoted.
    Promoted,
}

/// Something that breaks.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Trouble {
    /// The metric source refuses connections.
    MetricsDown(Span),
    /// The metric source answers without data.
    MetricsSilent(Span),
    /// The gateway takes no notice of routes.
    GatewayStalls(Span),
    /// The operator's process dies, and another one starts when this is over (`for`, default 0s).
    OperatorKilled(Span),
    /// Git goes back to the version that ran before.
    GitReverts(Span),
    /// A Git sync writes Deployments, Services and routes as they are in Git, once, or every so often.
    GitSyncs(Span),
}

/// When something breaks, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Span {
    /// So long after `since`; default 0s.
    pub at: Duration,
    /// Since when that counts; default Started.
    pub since: Moment,
    /// How long; default: for good (a killed operator: 0s).
    pub r#for: Option<Duration>,
    /// GitSyncs only: how often it is repeated; default: once.
    pub every: Option<Duration>,
}

/// Why a scenario cannot be played.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ScenarioError(String);

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// What is wrong with it, with line and mend.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let file: File = serde_saphyr::from_str(text).map_err(|error| ScenarioError(error.to_string()))?;
        if (file.api_version.as_str(), file.kind.as_str()) != KIND {
            return Err(ScenarioError(format!(
                "is {} {}: a scenario is {} {}",
                file.api_version, file.kind, KIND.0, KIND.1
            )));
        }
        let faults = file.spec.faults();
        if faults.is_empty() { Ok(file.spec) } else { Err(ScenarioError(faults.join("; "))) }
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let rate = |at: String, conduct: &Conduct, faults: &mut Vec<String>| {
            if !(0.0..=1.0).contains(&conduct.error_rate) {
                faults.push(format!("{at}.errorRate is {}: give a part between 0 and 1", conduct.error_rate));
            }
            if !(conduct.latency_seconds.is_finite() && conduct.latency_seconds >= 0.0) {
                faults.push(format!("{at}.latencySeconds is {}: give seconds, 0 or more", conduct.latency_seconds));
            }
        };
        rate("stable".into(), &self.stable, &mut faults);
        for (index, load) in self.traffic.iter().enumerate() {
            if !(load.requests_per_second.is_finite() && load.requests_per_second >= 0.0) {
                faults.push(format!("traffic[{index}].requestsPerSecond: give a number, 0 or more"));
            }
        }
        if self.traffic.windows(2).any(|pair| pair[0].after >= pair[1].after) {
            faults.push("traffic: write the entries in the order of after".into());
        }
        for (index, version) in self.versions.iter().enumerate() {
            let own = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            if version.name.is_empty() || !version.name.bytes().all(own) {
                faults.push(format!("versions[{index}].name: use letters, digits and dashes"));
            }
            if self.versions[..index].iter().any(|other| other.name == version.name) {
                faults.push(format!("versions[{index}].name: {} occurs twice: rename one", version.name));
            }
            for (at, conduct) in version.requests.iter().enumerate() {
                rate(format!("versions[{index}].requests[{at}]"), conduct, &mut faults);
            }
            if version.requests.windows(2).any(|pair| pair[0].after >= pair[1].after) {
                faults.push(format!("versions[{index}].requests: write the entries in the order of after"));
            }
            if version.pods.never_ready && version.pods.ready_after.is_some() {
                faults.push(format!("versions[{index}].pods: give readyAfter or neverReady, not both"));
            }
        }
        let names: Vec<&str> = self.versions_played().map(|version| version.name).collect();
        for (check, answers) in &self.checks {
            for version in answers.keys().filter(|name| !names.contains(&name.as_str())) {
                let names = names.join(", ");
                faults.push(format!("checks.{check}.{version}: no version is called so: there are {names}"));
            }
        }
        for (index, trouble) in self.trouble.iter().enumerate() {
            let span = trouble.span();
            if span.every.is_some() && !matches!(trouble, Trouble::GitSyncs(_)) {
                faults.push(format!("trouble[{index}].every belongs to gitSyncs only: leave it out"));
            }
            if span.every.is_some_and(Duration::is_zero) {
                faults.push(format!("trouble[{index}].every: give at least 1s"));
            }
        }
        faults
    }

    /// The versions to play, as names with what they are.
    pub fn versions_played(&self) -> impl Iterator<Item = Played<'_>> {
        let made_up = self.versions.is_empty().then(Played::default_ones).into_iter().flatten();
        made_up.chain(self.versions.iter().map(|version| Played {
            name: &version.name,
            expect: version.expect.unwrap_or(End::Succeeded),
            requests: version.requests.clone(),
            pods: version.pods,
        }))
    }

    /// Requests per second from when on, the first entry from the beginning.
    pub fn load(&self) -> Vec<Load> {
        let mut load = self.traffic.clone();
        if load.is_empty() {
            load.push(Load { after: Duration::default(), requests_per_second: DEFAULT_LOAD });
        }
        load
    }
}

/// Requests per second when a scenario does not say.
pub const DEFAULT_LOAD: f64 = 100.0;
/// Part of the requests of the bad version that fail when no scenario is given.
pub const BAD_ERROR_RATE: f64 = 0.05;

/// A version to play.
#[derive(Clone, Debug, PartialEq)]
pub struct Played<'a> {
    /// Its name.
    pub name: &'a str,
    /// How its release should end.
    pub expect: End,
    /// How its requests go.
    pub requests: Vec<Conduct>,
    /// How its pods start.
    pub pods: Pods,
}

impl Played<'_> {
    /// A version like the one before, and one that fails one request in twenty.
    fn default_ones() -> [Self; 2] {
        let bad = Conduct { error_rate: BAD_ERROR_RATE, ..Conduct::default() };
        [("good", End::Succeeded, Vec::new()), ("bad", End::RolledBack, vec![bad])]
            .map(|(name, expect, requests)| Self { name, expect, requests, pods: Pods::default() })
    }
}

impl Trouble {
    /// When, and for how long.
    pub fn span(&self) -> &Span {
        match self {
            Self::MetricsDown(span)
            | Self::MetricsSilent(span)
            | Self::GatewayStalls(span)
            | Self::OperatorKilled(span)
            | Self::GitReverts(span)
            | Self::GitSyncs(span) => span,
        }
    }

    /// What happens, for the timeline.
    pub const fn begins(&self) -> &'static str {
        match self {
            Self::MetricsDown(_) => "the metric source refuses connections",
            Self::MetricsSilent(_) => "the metric source answers without data",
            Self::GatewayStalls(_) => "the gateway takes no notice of routes",
            Self::OperatorKilled(_) => "the operator is killed",
            Self::GitReverts(_) => "Git goes back to the version before",
            Self::GitSyncs(_) => "a Git sync writes everything as it is in Git",
        }
    }

    /// What is then over, for the timeline; none if nothing is.
    pub const fn ends(&self) -> Option<&'static str> {
        match self {
            Self::MetricsDown(_) | Self::MetricsSilent(_) => Some("the metric source answers again"),
            Self::GatewayStalls(_) => Some("the gateway works again"),
            Self::OperatorKilled(_) => Some("another operator starts"),
            Self::GitReverts(_) | Self::GitSyncs(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(spec: &str) -> Result<Scenario, String> {
        let text = format!("apiVersion: lockkeeper.dev/v1alpha1\nkind: Scenario\nspec: {spec}\n");
        Scenario::parse(&text).map_err(|error| error.to_string())
    }

    fn refused(spec: &str, part: &str) {
        let fault = parse(spec).unwrap_err();
        assert!(fault.contains(part), "{fault}");
    }

    #[test]
    fn an_empty_scenario_plays_a_good_and_a_bad_version() {
        let scenario = parse("{}").unwrap();
        assert_eq!(scenario, Scenario::default());
        let played: Vec<_> = scenario.versions_played().map(|played| (played.name.to_owned(), played.expect)).collect();
        assert_eq!(played, [("good".into(), End::Succeeded), ("bad".into(), End::RolledBack)]);
        assert_eq!(scenario.load()[0].requests_per_second, DEFAULT_LOAD);
    }

    #[test]
    fn what_is_wrong_is_refused_with_the_mend() {
        refused("{treffic: []}", "treffic");
        refused("{stable: {errorRate: 5}}", "stable.errorRate is 5: give a part between 0 and 1");
        refused("{versions: [{name: a b}]}", "versions[0].name: use letters, digits and dashes");
        refused("{versions: [{name: a}, {name: a}]}", "versions[1].name: a occurs twice");
        refused("{versions: [{name: a, expect: Fine}]}", "Succeeded");
        refused("{versions: [{name: a, pods: {neverReady: true, readyAfter: 1s}}]}", "not both");
        refused("{traffic: [{after: 1m, requestsPerSecond: 1}, {requestsPerSecond: 2}]}", "in the order of after");
        refused("{traffic: [{requestsPerSecond: -1}]}", "0 or more");
        refused("{checks: {errors: {god: 0.1}}}", "no version is called so: there are good, bad");
        refused("{trouble: [{metricsDown: {every: 1m}}]}", "gitSyncs only");
        refused("{trouble: [{earthquake: {}}]}", "metricsDown");
        refused("{limit: 2d}", "8784h");
        refused("{start: tomorrow}", "tomorrow");
        let other = Scenario::parse("apiVersion: v1\nkind: Scenario\n").unwrap_err().to_string();
        assert_eq!(other, "is v1 Scenario: a scenario is lockkeeper.dev/v1alpha1 Scenario");
    }
}
