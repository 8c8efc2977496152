//! Release: one or several workloads that move to a new version, step by step, and back together.

mod gates;
mod status;
mod step;

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use gates::{ApprovalGate, ApprovalMoment, Approvers, Gates, OnClose, WindowsGate};
pub use status::{
    BlockedRevision, CheckOutcome, CheckStatus, CountedDecision, GateKind, GateState, GateStatus, GoingBack,
    GoingBackCause, Hold, Phase, ReleaseStatus, RevisionStatus, StepStatus, WeightStatus, WithoutPods,
    WorkloadRevision,
};
pub use step::{AnalysisStep, ApprovalStep, CanaryScale, PauseStep, Step};

use crate::{rule, scalar::Duration};

/// Moves workloads to a new version in place: windows and approvals decide when, steps decide how much, metrics decide
/// whether to go on, and going back is always possible, at once.
///
/// It starts when `images` differ from what runs, or, without `images`, when the Deployment's pod template changes.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "lockkeeper.dev",
    version = "v1alpha1",
    kind = "Release",
    namespaced,
    shortname = "rel",
    status = "ReleaseStatus",
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Step", type_ = "string", json_path = ".status.step.position"),
    printcolumn(name = "Weight", type_ = "integer", json_path = ".status.weight.desired"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.strategy.canary.steps.all(s, !has(s.approval) || (has(self.gates) && has(self.gates.approvals) && self.gates.approvals.exists(a, a.name == s.approval.name)))").message("an approval step waits for a gate that is not there: add it to gates.approvals, or correct its name"))]
#[x_kube(validation = Rule::new("!has(self.gates) || !has(self.gates.approvals) || self.gates.approvals.all(a, has(a.before) || self.strategy.canary.steps.exists(s, has(s.approval) && s.approval.name == a.name))").message("a gate in gates.approvals is never asked for: give it before, or add an approval step of its name"))]
pub struct ReleaseSpec {
    /// The version's name for people; default: the tag of the first image that differs from the stable version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub version: Option<String>,
    /// The workloads that step together and go back together; 1 to 16.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = Rule::new("self.all(w, self.exists_one(o, o.ref == w.ref))").message("each workload may be listed once: remove the repeated ref"))]
    pub workloads: Vec<Workload>,
    /// How exposure grows.
    pub strategy: Strategy,
    /// What must be open before exposure may grow. Going back asks no gate.
    #[serde(default, skip_serializing_if = "Gates::is_default")]
    pub gates: Gates,
    /// Name of the RollbackPolicy, in this namespace, that is armed during every step and during the bake; default: none.
    /// Without one, crash loops and the progress deadline still roll back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rule::object_name())]
    pub rollback_policy: Option<String>,
    /// How long the release may wait for pods and for the gateway before it goes back; pauses, gates and missing data do
    /// not count. Default 10m, at least 10s.
    #[serde(default = "progress_deadline_default")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s')").message("progressDeadline must be at least 10s"))]
    pub progress_deadline: Duration,
    /// While true, exposure does not grow; going back stays possible. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

fn progress_deadline_default() -> Duration {
    Duration::from_secs(600)
}

/// One workload, the Services in front of it and the routes that lead to it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.service) || !has(self.routes) || size(self.routes) == 0").message("routes need service: name the Service that the routes use"))]
#[x_kube(validation = Rule::new("has(self.service) || !has(self.canaryService)").message("canaryService needs service: name the stable Service"))]
#[x_kube(validation = Rule::new("!has(self.canaryService) || !has(self.service) || self.canaryService != self.service").message("canaryService must differ from service"))]
#[x_kube(validation = Rule::new("!has(self.service) || has(self.canaryService) || size(self.service) <= 56").message("<service>-canary would have more than 63 characters: give canaryService"))]
pub struct Workload {
    /// The workload, in the Release's namespace.
    #[serde(rename = "ref")]
    pub target: WorkloadRef,
    /// Images by container name, when the Release carries the version; up to 32. Left out, the Deployment carries the
    /// version, and a change of its pod template starts the release.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = rule::images())]
    pub images: BTreeMap<String, Image>,
    /// The Service that clients and routes use; it becomes the stable backend. Without one, the workload has no traffic to shift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = rule::label())]
    pub service: Option<String>,
    /// Name of the Service for the candidate; default `<service>-canary`. Lockkeeper creates it for a release and removes it afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = rule::label())]
    pub canary_service: Option<String>,
    /// The user's own routes, edited in place during a release; up to 16. Without any, the weight is approximated by the
    /// number of replicas.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub routes: Vec<RouteRef>,
    /// Further Services that select the same pods; they too serve only the stable version during a release; up to 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63)))]
    #[x_kube(validation = rule::labels())]
    pub pin: Vec<String>,
}

/// A container image reference; at most 512 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Image(#[schemars(length(min = 1, max = 512))] pub String);

/// Kinds of workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WorkloadKind {
    /// `apps/v1` Deployment.
    Deployment,
}

/// A workload by kind and name.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadRef {
    /// Kind of the workload.
    pub kind: WorkloadKind,
    /// Name of the workload.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rule::object_name())]
    pub name: String,
}

/// Kinds of route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum RouteKind {
    /// `gateway.networking.k8s.io/v1` HTTPRoute; its parent may be a Gateway or, in a mesh, a Service.
    HTTPRoute,
}

/// A route by kind and name, in the Release's namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteRef {
    /// Kind of the route.
    pub kind: RouteKind,
    /// Name of the route.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rule::object_name())]
    pub name: String,
}

/// How exposure grows: one of the strategies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Strategy {
    /// Little by little, in steps.
    Canary(CanaryStrategy),
}

/// Steps of a canary. After the last one comes promotion, whatever the last weight was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryStrategy {
    /// The steps, in order; 1 to 64.
    #[schemars(length(min = 1, max = 64))]
    pub steps: Vec<Step>,
}
