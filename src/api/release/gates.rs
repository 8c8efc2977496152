//! Gates: what must be open before exposure may grow.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{rule, scalar::Duration};

/// What must be open before exposure may grow.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gates {
    /// What the DeploymentWindows that select this Release do to it mid-way.
    #[serde(default, skip_serializing_if = "WindowsGate::is_default")]
    pub windows: WindowsGate,
    /// Approvals by people; up to 16, with distinct names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.all(a, self.exists_one(o, o.name == a.name))").message("approval gates need distinct names"))]
    pub approvals: Vec<ApprovalGate>,
    /// The user who counts as the requester where the API server cannot tell: the author of the change is unknown or a
    /// service account (a GitOps tool). Default: the recorded author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub requester: Option<String>,
}

impl Gates {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What happens when a window closes mid-way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum OnClose {
    /// Windows are asked before Start only.
    Continue,
    /// Exposure stays where it is until a window opens.
    #[default]
    Pause,
    /// Back to the stable version.
    Rollback,
}

/// What the windows do to a release that has started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WindowsGate {
    /// What happens when a window closes mid-way: Pause (default), Continue or Rollback.
    #[serde(default)]
    pub on_close: OnClose,
}

impl WindowsGate {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// When an approval gate is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ApprovalMoment {
    /// Before the release starts.
    Start,
    /// Before promotion.
    Promotion,
}

/// N distinct people have to agree to this revision.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalGate {
    /// The gate's name, for Decisions and `approval` steps; lower-case letters, digits and dashes, at most 63.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = rule::label())]
    #[x_kube(validation = Rule::new("!(self in ['suspend', 'validity', 'windows', 'hold'])").message("suspend, validity, windows and hold are names of built-in gates: choose another name"))]
    pub name: String,
    /// When the gate is asked for: Start or Promotion; default: at the `approval` step of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<ApprovalMoment>,
    /// How many distinct people have to approve; default 1, at most 16.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16))]
    pub required: u8,
    /// Who may approve; default: everybody who holds the verb `approve` on this Release.
    #[serde(default, skip_serializing_if = "Approvers::is_anybody")]
    pub from: Approvers,
    /// Whether an approval by the person who asked for the version does not count; default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exclude_requester: bool,
    /// How long an approval counts while the gate waits; at least 1m, default: as long as the revision is the candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1m')").message("expiresAfter must be at least 1m"))]
    pub expires_after: Option<Duration>,
}

fn one() -> u8 {
    1
}

/// Users and groups; a person who is in either list may approve.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approvers {
    /// Groups; up to 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 256)))]
    pub groups: Vec<String>,
    /// User names; up to 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub users: Vec<String>,
}

impl Approvers {
    /// Whether nobody is named, so that everybody with the verb may approve.
    pub fn is_anybody(&self) -> bool {
        self.groups.is_empty() && self.users.is_empty()
    }
}
