//! Steps of a canary.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    rule,
    scalar::{Duration, True},
};

/// One step: exactly one of the kinds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// The candidate's share of the traffic, in percent; 0 to 100. The candidate is scaled first, and the step is over
    /// when the gateway has confirmed the weight.
    SetWeight(#[schemars(range(min = 0, max = 100))] u8),
    /// How many pods the candidate has, apart from its weight.
    SetCanaryScale(CanaryScale),
    /// Waits: for a while, or without duration until a Decision says Resume.
    Pause(PauseStep),
    /// Goes on only when a RollbackPolicy's checks have succeeded throughout.
    Analysis(AnalysisStep),
    /// Goes on only when a named approval gate is open.
    Approval(ApprovalStep),
}

/// The candidate's scale: exactly one of the three. It holds until the next setCanaryScale or promotion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CanaryScale {
    /// A number of pods; 0 to 100000.
    Replicas(#[schemars(range(min = 0, max = 100_000))] u32),
    /// A share of the workload's replicas, in percent, rounded up; 0 to 100.
    Weight(#[schemars(range(min = 0, max = 100))] u8),
    /// `true`: back to the default, the scale that the traffic weight needs.
    MatchTrafficWeight(True),
}

/// A pause.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PauseStep {
    /// How long; default: until a Decision says Resume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
}

/// An analysis.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisStep {
    /// Name of the RollbackPolicy, in the Release's namespace, whose checks are run.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rule::object_name())]
    pub policy: String,
    /// How long the checks are run; at least 1s. An analysis that ends with a check that has no data is inconclusive; the policy says
    /// what follows.
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s')").message("duration must be at least 1s"))]
    pub duration: Duration,
}

/// Waits for an approval gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalStep {
    /// Name of the gate in `gates.approvals`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}
