//! Whether exposure may grow now, as far as deployment windows say.
//!
//! Two layers, platform (the operator's namespace) and team (the release's own), each with a veto: an active Freeze in
//! either closes, and a layer that has Allow windows for the release needs one of them open. So a team can close what
//! the platform opened but never open what it closed. A window that cannot be read counts as closing, and is named.

mod calendar;
mod rule;
pub mod selector;
mod starts;
mod verdict;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use lockkeeper_api::deployment_window::{DeploymentWindowSpec, Exposure};
use serde::{Deserialize, Serialize};

pub use calendar::{Calendar, State};

use verdict::{Asked, Layer};

/// A DeploymentWindow as the engine sees it: read once, shared by all Releases that it is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Observed", into = "Observed")]
pub struct WindowView(Arc<Read>);

#[derive(Debug)]
struct Read {
    observed: Observed,
    /// Or every fault, whichever namespace is the operator's.
    calendar: Result<Calendar, Vec<String>>,
    /// The latest answer with the time it was given for. It stays the answer until the window changes, and all Releases
    /// ask the same.
    latest: Mutex<Option<(Timestamp, State)>>,
}

impl PartialEq for Read {
    fn eq(&self, other: &Self) -> bool {
        self.observed == other.observed
    }
}

/// What is recorded of a window; all else follows from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Observed {
    namespace: String,
    name: String,
    spec: DeploymentWindowSpec,
}

/// What windows want to know of a release.
#[derive(Clone, Copy, Debug)]
pub struct ReleaseFacts<'a> {
    /// Namespace of the Release.
    pub namespace: &'a str,
    /// Labels of the Release.
    pub labels: &'a BTreeMap<String, String>,
    /// Labels of its namespace.
    pub namespace_labels: &'a BTreeMap<String, String>,
}

/// Why exposure may grow or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum WindowReason {
    /// No window says no.
    Open,
    /// There are Allow windows, and none of them is open.
    OutsideWindow,
    /// A window that may be about this release cannot be read.
    InvalidWindow,
    /// A Freeze is active.
    Frozen,
}

impl WindowReason {
    /// The reason as it stands in conditions, events and gates.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::OutsideWindow => "OutsideWindow",
            Self::InvalidWindow => "InvalidWindow",
            Self::Frozen => "Frozen",
        }
    }
}

/// What the windows say of one increase of exposure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WindowVerdict {
    /// Whether exposure may grow.
    pub open: bool,
    /// Why, in a word; the weightiest one if there are several.
    pub reason: WindowReason,
    /// Why, in a sentence for people that says until when.
    pub message: String,
    /// The windows that made it so: those that close or, if it is open, the Allow windows that are open.
    pub windows: Vec<WindowName>,
    /// The next instant at which `open` may differ if no window is edited: when it does or, behind more changes of
    /// windows than are looked at (32), the last one looked at. None if it never differs.
    pub next_change: Option<Timestamp>,
}

/// A window for the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WindowName {
    /// Namespace of the window.
    pub namespace: String,
    /// Name of the window.
    pub name: String,
    /// The reason that its author gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl From<Observed> for WindowView {
    fn from(observed: Observed) -> Self {
        let DeploymentWindowSpec { action: _, schedule, release_selector, namespace_selector, covers, reason: _ } =
            &observed.spec;
        let mut faults = Vec::new();
        let calendar = Calendar::parse(schedule).map_err(|found| faults.extend(found)).ok();
        for (field, selector) in [("releaseSelector", release_selector), ("namespaceSelector", namespace_selector)] {
            if let Some(Err(fault)) = selector.as_ref().map(|selector| selector::matches(selector, &BTreeMap::new())) {
                faults.push(format!("{field}: {fault}"));
            }
        }
        if covers.is_empty() {
            faults.push("covers is empty: list at least one of Start, Increase and Promotion".into());
        }
        let calendar = calendar.filter(|_| faults.is_empty()).ok_or(faults);
        Self(Arc::new(Read { observed, calendar, latest: Mutex::default() }))
    }
}

impl From<WindowView> for Observed {
    fn from(window: WindowView) -> Self {
        window.0.observed.clone()
    }
}

impl WindowView {
    /// Reads a window. One with faults is kept as well: it counts as closing.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>, spec: DeploymentWindowSpec) -> Self {
        Observed { namespace: namespace.into(), name: name.into(), spec }.into()
    }

    /// Namespace of the window.
    pub fn namespace(&self) -> &str {
        &self.0.observed.namespace
    }

    /// Name of the window.
    pub fn name(&self) -> &str {
        &self.0.observed.name
    }

    /// What its author has written.
    pub fn spec(&self) -> &DeploymentWindowSpec {
        &self.0.observed.spec
    }

    /// Every fault of the window, each in a sentence that tells how to mend it; none if it is sound.
    pub fn faults(&self, operator_namespace: &str) -> Vec<String> {
        self.calendar(operator_namespace).err().unwrap_or_default()
    }

    /// Whether the window is active at `now` and when that changes; none if it has faults.
    pub fn at(&self, operator_namespace: &str, now: Timestamp) -> Option<State> {
        self.calendar(operator_namespace).ok().map(|calendar| self.state(calendar, now))
    }

    fn state(&self, calendar: &Calendar, now: Timestamp) -> State {
        let mut latest = self.0.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match *latest {
            Some((from, state)) if from <= now && state.holds_until.is_none_or(|until| now < until) => state,
            Some(_) | None => {
                let state = calendar.at(now);
                // With no end in sight, a later look sees further: what it sees must not depend on who asked before.
                *latest = state.in_sight().then_some((now, state));
                state
            }
        }
    }

    /// Whether the window is about this release at all. A selector that cannot be read selects everything.
    pub fn selects(&self, release: &ReleaseFacts<'_>, operator_namespace: &str) -> bool {
        let selected = |selector: &Option<LabelSelector>, labels| {
            selector.as_ref().is_none_or(|selector| selector::matches(selector, labels).unwrap_or(true))
        };
        let Observed { namespace, name: _, spec } = &self.0.observed;
        let in_reach = match namespace == operator_namespace {
            true => selected(&spec.namespace_selector, release.namespace_labels),
            false => namespace == release.namespace,
        };
        in_reach && selected(&spec.release_selector, release.labels)
    }

    /// An empty list is a fault, and so is about everything.
    fn covers(&self, exposure: Exposure) -> bool {
        let covers = &self.0.observed.spec.covers;
        covers.is_empty() || covers.contains(&exposure)
    }

    fn calendar(&self, operator_namespace: &str) -> Result<&Calendar, Vec<String>> {
        let Observed { namespace, name: _, spec } = &self.0.observed;
        let misplaced = (spec.namespace_selector.is_some() && namespace != operator_namespace).then(|| {
            format!(
                "namespaceSelector works only in the operator's namespace {operator_namespace}: leave it out, the \
                 window is about {namespace} only"
            )
        });
        match (&self.0.calendar, misplaced) {
            (Ok(calendar), None) => Ok(calendar),
            (Ok(_), Some(misplaced)) => Err(vec![misplaced]),
            (Err(faults), misplaced) => Err(faults.iter().cloned().chain(misplaced).collect()),
        }
    }
}

/// Whether exposure of the release may grow in this way at `now`. Never asked about a decrease.
pub fn evaluate(
    windows: &[WindowView],
    release: &ReleaseFacts<'_>,
    operator_namespace: &str,
    exposure: Exposure,
    now: Timestamp,
) -> WindowVerdict {
    let asked = windows.iter().filter(|window| window.covers(exposure) && window.selects(release, operator_namespace));
    let (platform, team) = asked
        .map(|window| Asked::new(window, operator_namespace, now))
        .partition(|asked| asked.window.namespace() == operator_namespace);
    verdict::of(&[Layer(platform), Layer(team)])
}

#[cfg(test)]
mod tests;
