//! What came of a rehearsal.

use jiff::Timestamp;
use serde::Serialize;

use super::{advice::Warning, scenario::End};

/// One version, played to its end.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rehearsal {
    /// Namespace and name of the Release.
    pub release: String,
    /// Name of the version in the scenario.
    pub version: String,
    /// How its release should end.
    pub expected: End,
    /// How it ended.
    pub end: Ended,
    /// What happened, in order.
    pub timeline: Vec<Beat>,
    /// What users lost.
    pub loss: Loss,
    /// What is drawn.
    pub plot: Plot,
    /// What was made up or taken for granted.
    pub assumed: Vec<String>,
    /// What only playing it shows.
    pub warnings: Vec<Warning>,
}

impl Rehearsal {
    /// Whether it ended as it should.
    pub fn as_expected(&self) -> bool {
        self.end.end == self.expected
    }
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// The end.
    pub end: End,
    /// The operator's own sentence.
    pub message: String,
    /// When the new version was asked for.
    pub asked: Timestamp,
    /// How many seconds later the gates before Start had opened.
    pub started_after: Option<f64>,
    /// How many seconds after it was asked for it got its first traffic.
    pub exposed_after: Option<f64>,
    /// How many seconds after it was asked for it ended.
    pub ended_after: f64,
    /// How many seconds after it was asked for its requests first went worse than the stable version's; none if they never did.
    pub worse_after: Option<f64>,
    /// From the first request that went worse, or else the first traffic, until going back was decided, in seconds.
    pub detected_after: Option<f64>,
    /// From then until all traffic was back, in seconds.
    pub back_after: Option<f64>,
}

/// What users lost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Loss {
    /// Requests from when the version was asked for until the end.
    pub requests: f64,
    /// Those that the new version got.
    pub to_new: f64,
    /// Those of the new version that failed: traffic × share × error rate, added up.
    pub failed: f64,
    /// The new version's largest part of the traffic, in percent.
    pub largest_share: f64,
}

/// Kinds of what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum BeatKind {
    /// The version is asked for.
    Asked,
    /// The release is somewhere else.
    Phase,
    /// A step begins.
    Step,
    /// Traffic has moved.
    Traffic,
    /// A gate opens or closes.
    Gate,
    /// A check says something else.
    Check,
    /// A person acts.
    Person,
    /// Something breaks or is mended.
    Trouble,
    /// It goes back.
    Back,
    /// It is over.
    End,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Beat {
    /// When.
    pub at: Timestamp,
    /// How many seconds after the version was asked for.
    pub after: f64,
    /// Its kind.
    pub kind: BeatKind,
    /// What happens.
    pub text: String,
}

/// What is drawn, over seconds since the version was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plot {
    /// The new version's part of the traffic in percent, from when on.
    pub weights: Vec<(f64, f64)>,
    /// By check, what was measured, and whether it was a success.
    pub checks: Vec<(String, Vec<Point>)>,
    /// By gate, when it was closed: from and until.
    pub gates: Vec<(String, Vec<(f64, f64)>)>,
}

/// A measurement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// When, in seconds.
    pub after: f64,
    /// The value; none where there was none.
    pub value: Option<f64>,
    /// Whether it counts as a success.
    pub success: bool,
}
