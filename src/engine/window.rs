//! Whether exposure may grow now, as far as deployment windows say.
//!
//! Two layers, platform (the operator's namespace) and team (the release's own), each with a veto: an active Freeze in either
//! closes, and a layer that has Allow windows for the release needs one of them open. So a team can close what the platform
//! opened but never open what it closed. A window that cannot be read counts as closing, and is named.

mod calendar;
pub mod selector;
mod starts;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use lockkeeper_api::deployment_window::{DeploymentWindowSpec, Exposure, WindowAction};
use serde::{Deserialize, Serialize};

pub use calendar::{Calendar, State};

/// Instants at which windows change that are looked at to find when the verdict changes.
const CHANGES_MAX: usize = 32;

/// A DeploymentWindow as the engine sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WindowView {
    /// Namespace of the window.
    pub namespace: String,
    /// Name of the window.
    pub name: String,
    /// The window itself.
    pub spec: DeploymentWindowSpec,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WindowReason {
    /// No window says no.
    Open,
    /// A Freeze is active.
    Frozen,
    /// There are Allow windows, and none of them is open.
    OutsideWindow,
    /// A window that may be about this release cannot be read.
    InvalidWindow,
}

impl WindowReason {
    /// The reason as it stands in conditions, events and gates.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::Frozen => "Frozen",
            Self::OutsideWindow => "OutsideWindow",
            Self::InvalidWindow => "InvalidWindow",
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
    /// Why, in a sentence that names every window that closes.
    pub message: String,
    /// The earliest instant at which `open` differs, if no window is edited; none if it never does or if it lies behind more
    /// changes of windows than are looked at (32).
    pub next_change: Option<Timestamp>,
}

/// Every fault of a window, each in a sentence that tells how to mend it; none if it is sound.
pub fn faults(window: &WindowView, operator_namespace: &str) -> Vec<String> {
    read(window, operator_namespace).err().unwrap_or_default()
}

/// Whether the window is about this release at all. A selector that cannot be read selects everything.
pub fn selects(window: &WindowView, release: &ReleaseFacts<'_>, operator_namespace: &str) -> bool {
    let selected = |selector: &Option<LabelSelector>, labels| {
        selector.as_ref().is_none_or(|selector| selector::matches(selector, labels).unwrap_or(true))
    };
    let in_reach = if window.namespace == operator_namespace {
        selected(&window.spec.namespace_selector, release.namespace_labels)
    } else {
        window.namespace == release.namespace
    };
    in_reach && selected(&window.spec.release_selector, release.labels)
}

/// Whether exposure of the release may grow in this way at `now`. Never asked about a decrease.
pub fn evaluate(
    windows: &[WindowView],
    release: &ReleaseFacts<'_>,
    operator_namespace: &str,
    exposure: Exposure,
    now: Timestamp,
) -> WindowVerdict {
    let layers = layers(windows, release, operator_namespace, exposure);
    let mut closings: Vec<Closing> = layers.iter().flat_map(|layer| layer.closings(now)).collect();
    closings.sort_by_key(|closing| closing.weight);
    let open = closings.is_empty();
    WindowVerdict {
        open,
        reason: closings.first().map_or(WindowReason::Open, |closing| closing.weight.reason()),
        message: match closings.is_empty() {
            true => open_message(&layers, now),
            false => closings.into_iter().map(|closing| closing.message).collect::<Vec<_>>().join("; "),
        },
        next_change: next_change(&layers, open, now),
    }
}

/// The windows of one namespace that are about the release.
#[derive(Default)]
struct Layer<'a> {
    freezes: Vec<Read<'a>>,
    allows: Vec<Read<'a>>,
}

/// A window with its calendar, or with what is wrong with it.
struct Read<'a> {
    window: &'a WindowView,
    calendar: Result<Calendar, Vec<String>>,
}

/// Something that closes, weightiest first.
struct Closing {
    weight: Weight,
    message: String,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    Freeze,
    Fault,
    NoneOpen,
}

impl Weight {
    const fn reason(self) -> WindowReason {
        match self {
            Self::Freeze => WindowReason::Frozen,
            Self::Fault => WindowReason::InvalidWindow,
            Self::NoneOpen => WindowReason::OutsideWindow,
        }
    }
}

fn layers<'a>(
    windows: &'a [WindowView],
    release: &ReleaseFacts<'_>,
    operator_namespace: &str,
    exposure: Exposure,
) -> [Layer<'a>; 2] {
    let [mut platform, mut team] = [Layer::default(), Layer::default()];
    for window in
        windows.iter().filter(|window| covers(window, exposure) && selects(window, release, operator_namespace))
    {
        let layer = if window.namespace == operator_namespace { &mut platform } else { &mut team };
        let read = Read { window, calendar: read(window, operator_namespace) };
        match window.spec.action {
            WindowAction::Allow => layer.allows.push(read),
            WindowAction::Freeze => layer.freezes.push(read),
        }
    }
    [platform, team]
}

/// An empty list is a fault, and so is about everything.
fn covers(window: &WindowView, exposure: Exposure) -> bool {
    window.spec.covers.is_empty() || window.spec.covers.contains(&exposure)
}

fn read(window: &WindowView, operator_namespace: &str) -> Result<Calendar, Vec<String>> {
    let DeploymentWindowSpec { action: _, schedule, release_selector, namespace_selector, covers, reason: _ } =
        &window.spec;
    let mut faults = Vec::new();
    let calendar = Calendar::parse(schedule).map_err(|found| faults.extend(found));
    for (field, selector) in [("releaseSelector", release_selector), ("namespaceSelector", namespace_selector)] {
        if let Some(Err(fault)) = selector.as_ref().map(|selector| selector::matches(selector, &BTreeMap::new())) {
            faults.push(format!("{field}: {fault}"));
        }
    }
    if namespace_selector.is_some() && window.namespace != operator_namespace {
        faults.push(format!(
            "namespaceSelector works only in the operator's namespace {operator_namespace}: leave it out, the window is \
             about {} only",
            window.namespace
        ));
    }
    if covers.is_empty() {
        faults.push("covers is empty: list at least one of Start, Increase and Promotion".into());
    }
    match calendar {
        Ok(calendar) if faults.is_empty() => Ok(calendar),
        Ok(_) | Err(()) => Err(faults),
    }
}

impl Layer<'_> {
    fn reads(&self) -> impl Iterator<Item = &Read<'_>> {
        self.freezes.iter().chain(&self.allows)
    }

    fn open(&self, now: Timestamp) -> bool {
        self.freezes.iter().all(|read| read.active(now) == Some(false))
            && (self.allows.is_empty() || self.allows.iter().any(|read| read.active(now) == Some(true)))
    }

    fn closings(&self, now: Timestamp) -> Vec<Closing> {
        let mut closings: Vec<Closing> = self.freezes.iter().filter_map(|read| read.frozen(now)).collect();
        if !self.allows.is_empty() && !self.allows.iter().any(|read| read.active(now) == Some(true)) {
            closings.extend(self.allows.iter().filter_map(Read::fault));
            closings.extend(self.none_open(now));
        }
        closings
    }

    /// That no readable Allow window is open, and which one is next.
    fn none_open(&self, now: Timestamp) -> Option<Closing> {
        let sound = || self.allows.iter().filter_map(|read| Some((read, read.calendar.as_ref().ok()?)));
        let next = sound()
            .filter_map(|(read, calendar)| Some((calendar.at(now).next_start?, read, calendar)))
            .min_by_key(|(start, ..)| *start);
        let message = match next {
            Some((start, read, calendar)) => {
                format!("no allow window is open; next is {} at {}", read.title(), local(start, calendar))
            }
            None => {
                let names = sound().map(|(read, _)| read.title()).collect::<Vec<_>>();
                (!names.is_empty()).then(|| format!("no allow window opens again: {}", names.join(", ")))?
            }
        };
        Some(Closing { weight: Weight::NoneOpen, message })
    }
}

impl Read<'_> {
    /// Whether the window is active; none if it cannot be read.
    fn active(&self, now: Timestamp) -> Option<bool> {
        self.calendar.as_ref().ok().map(|calendar| calendar.at(now).active)
    }

    /// The window for people: namespace, name and what its author gave as reason.
    fn title(&self) -> String {
        let WindowView { namespace, name, spec } = self.window;
        match &spec.reason {
            Some(reason) => format!("{namespace}/{name} ({reason})"),
            None => format!("{namespace}/{name}"),
        }
    }

    fn frozen(&self, now: Timestamp) -> Option<Closing> {
        let Ok(calendar) = &self.calendar else { return self.fault() };
        let state = calendar.at(now);
        let until = match state.next_end {
            Some(end) => format!("until {}", local(end, calendar)),
            None => "with no end in sight".into(),
        };
        let message = format!("closed by freeze {} {until}", self.title());
        state.active.then_some(Closing { weight: Weight::Freeze, message })
    }

    fn fault(&self) -> Option<Closing> {
        let faults = self.calendar.as_ref().err()?;
        let action = match self.window.spec.action {
            WindowAction::Allow => "allow window",
            WindowAction::Freeze => "freeze",
        };
        let message = format!("closed as {action} {} is invalid: {}", self.title(), faults.join(", "));
        Some(Closing { weight: Weight::Fault, message })
    }
}

/// Local time with its zone, to the minute unless seconds matter.
fn local(at: Timestamp, calendar: &Calendar) -> String {
    let zone = calendar.zone();
    let local = at.to_zoned(zone.clone());
    let time = local.strftime(if local.second() == 0 { "%Y-%m-%dT%H:%M" } else { "%Y-%m-%dT%H:%M:%S" });
    format!("{time} {}", zone.iana_name().unwrap_or("UTC"))
}

fn open_message(layers: &[Layer<'_>], now: Timestamp) -> String {
    let open: Vec<String> = layers
        .iter()
        .flat_map(|layer| &layer.allows)
        .filter_map(|read| {
            let calendar = read.calendar.as_ref().ok()?;
            let state = calendar.at(now);
            let until = state.next_end.map(|end| format!(" until {}", local(end, calendar))).unwrap_or_default();
            state.active.then(|| format!("{}{until}", read.title()))
        })
        .collect();
    match open.is_empty() {
        true => "no window closes".into(),
        false => format!("allowed by {}", open.join(", ")),
    }
}

/// Steps from change to change of any window until the layers together say something else.
fn next_change(layers: &[Layer<'_>], open: bool, now: Timestamp) -> Option<Timestamp> {
    let calendars = || layers.iter().flat_map(Layer::reads).filter_map(|read| read.calendar.as_ref().ok());
    let mut at = now;
    for _ in 0..CHANGES_MAX {
        at = calendars()
            .filter_map(|calendar| {
                let state = calendar.at(at);
                if state.active { state.next_end } else { state.next_start }
            })
            .min()?;
        if layers.iter().all(|layer| layer.open(at)) != open {
            return Some(at);
        }
    }
    None
}
