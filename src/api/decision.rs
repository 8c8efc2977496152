//! Decision: every human act is an object whose author the API server has verified.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{rule, scalar::Duration};

/// What a person decides about one revision of one Release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// Counts for the named approval gate.
    Approve,
    /// Closes the named approval gate for good: ends the release before Start, pauses it later.
    Reject,
    /// On to promotion at once, through all gates.
    Promote,
    /// Ends the current step; never opens a gate.
    Skip,
    /// Holds the release where it is.
    Pause,
    /// Ends a hold, a pause without duration, or a pause after a failed or inconclusive check.
    Resume,
    /// Lets a revision that went back start again.
    Retry,
    /// Back to the stable version now.
    Abort,
    /// Back to the version before the stable one, without gates; the version left stays blocked until Retry.
    Rollback,
    /// Passes one named gate of any kind for a while; needs a reason.
    Override,
}

/// Which of a Release's revisions a Decision is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The one on its way.
    Candidate,
    /// The one that runs.
    Stable,
    /// One that went back.
    Blocked,
}

impl Verdict {
    /// What it is about.
    pub const fn subject(self) -> Subject {
        match self {
            Self::Rollback => Subject::Stable,
            Self::Retry => Subject::Blocked,
            Self::Approve
            | Self::Reject
            | Self::Promote
            | Self::Skip
            | Self::Pause
            | Self::Resume
            | Self::Abort
            | Self::Override => Subject::Candidate,
        }
    }

    /// All verdicts, in the order of the reference.
    pub const ALL: [Self; 10] = [
        Self::Approve,
        Self::Reject,
        Self::Promote,
        Self::Skip,
        Self::Pause,
        Self::Resume,
        Self::Retry,
        Self::Abort,
        Self::Rollback,
        Self::Override,
    ];

    /// The custom verb on the Release that its author must hold.
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Approve | Self::Reject => "approve",
            Self::Promote | Self::Skip | Self::Pause | Self::Resume | Self::Retry => "promote",
            Self::Abort | Self::Rollback => "abort",
            Self::Override => "override",
        }
    }
}

/// The author of a Decision. The API server admits it only if it is the authenticated user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Author {
    /// The user name that the API server has authenticated (`kubectl auth whoami`).
    #[schemars(length(min = 1, max = 256))]
    pub username: String,
    /// Groups of that user that the Decision relies on; default: none. An approval gate that names groups needs one of them here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub groups: Vec<String>,
}

/// A human decision about one revision of one Release in the same namespace. It cannot be changed, is counted once, and
/// stays counted when it is deleted.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "lockkeeper.dev",
    version = "v1alpha1",
    kind = "Decision",
    namespaced,
    printcolumn(name = "Release", type_ = "string", json_path = ".spec.release"),
    printcolumn(name = "Revision", type_ = "string", json_path = ".spec.revision"),
    printcolumn(name = "Verdict", type_ = "string", json_path = ".spec.verdict"),
    printcolumn(name = "Gate", type_ = "string", json_path = ".spec.gate"),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.by.username"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason", priority = 1),
    selectable = ".spec.release"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("a Decision cannot be changed: create another one"))]
#[x_kube(validation = Rule::new("(self.verdict in ['Approve', 'Reject', 'Override']) == has(self.gate)").message("gate names the gate of Approve, Reject and Override, and is left out otherwise"))]
#[x_kube(validation = Rule::new("self.verdict != 'Override' || (has(self.reason) && size(self.reason) > 0)").message("Override needs a reason: say why the gate is passed"))]
#[x_kube(validation = Rule::new("!has(self.expiresAfter) || self.verdict == 'Override'").message("expiresAfter belongs to Override only: leave it out"))]
pub struct DecisionSpec {
    /// Name of the Release in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rule::object_name())]
    pub release: String,
    /// The revision that is decided about, as in the Release's status (`status.candidate.revision`; for Rollback
    /// `status.stable.revision`; for Retry the blocked one). A Decision about another revision counts for nothing.
    #[schemars(length(min = 1, max = 64))]
    pub revision: String,
    /// What is decided.
    pub verdict: Verdict,
    /// Name of the gate, for Approve, Reject and Override.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = rule::label())]
    pub gate: Option<String>,
    /// Why, in the author's words; at most 1024 characters. Override needs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
    /// For Override: how long the gate stays passed, from the Decision's creation; default 1h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_after: Option<Duration>,
    /// The author.
    pub by: Author,
}

impl DecisionSpec {
    /// How long an Override passes its gate when it does not say: one hour.
    pub const OVERRIDE_DEFAULT: Duration = Duration::from_secs(3600);
}
