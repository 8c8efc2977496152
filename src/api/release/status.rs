//! Status of a Release: written by the operator alone, complete enough to go on after a crash.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Gates;
use crate::{decision::Verdict, scalar::Duration};

/// Where a release is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// The stable version runs; nothing is asked for.
    #[default]
    Stable,
    /// A new version waits for the gates before Start.
    Waiting,
    /// Exposure grows, step by step.
    Progressing,
    /// Exposure stays: a pause, a closed gate, missing data or a hold.
    Paused,
    /// The candidate takes the stable version's place.
    Promoting,
    /// Promoted; the old version is kept beside and the policy is armed.
    Baking,
    /// Traffic goes back to the stable version.
    RollingBack,
    /// The stable version runs again; the one asked for is blocked after a failure.
    RolledBack,
    /// The stable version runs again; the one asked for is blocked by a person's Abort.
    Aborted,
    /// The version asked for was rejected before it started.
    Rejected,
    /// The Release cannot work; nothing has been touched.
    Invalid,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What the release does, what it waits for, since when and until when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReleaseStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the release is.
    pub phase: Phase,
    /// Since when it is in this phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// The version that is on its way, or else the one that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// One sentence: what the release does and what it waits for.
    pub message: String,
    /// When something happens by itself next: a pause, window, approval, override or bake ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_transition_time: Option<Time>,
    /// Ready, Reconciling and Stalled, as kstatus defines them. Where they apply: RolledBack (the version asked for was left),
    /// Restored (all traffic is confirmed to be back), TrafficContested and TemplateContested (others keep undoing our writes),
    /// TrafficShared (other Services send traffic to both versions by pod count), WeightApproximated (without routes the weight
    /// is approximated by the number of pods).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The version that carries the traffic when nothing else is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stable: Option<RevisionStatus>,
    /// The version on its way, or, after a rollback, the one that was left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<RevisionStatus>,
    /// The version before the stable one, to which Rollback goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<RevisionStatus>,
    /// The current step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<StepStatus>,
    /// The candidate's share of the traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<WeightStatus>,
    /// Since when the candidate has had traffic; checks start from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposed: Option<Time>,
    /// Since when pods of the version under test are missing that had been available.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unavailable_since: Option<Time>,
    /// That nothing can be tried, because no workload asks for any pod: from the beginning, or since it was scaled to 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without_pods: Option<WithoutPods>,
    /// Every gate that is asked now or stays closed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateStatus>,
    /// The gates as they were when the release started; the stricter of these and the spec's are in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gates_at_start: Option<Gates>,
    /// Every check of the policies in force.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckStatus>,
    /// Why exposure is held although no gate is closed: a Decision Pause, or a check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// The last going back: cause and times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub going_back: Option<GoingBack>,
    /// When the bake ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bake_until: Option<Time>,
    /// Revisions that get no traffic without a Retry; the latest 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocked: Vec<BlockedRevision>,
    /// Decisions that have been counted for the current candidate; at most 128.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<CountedDecision>,
}

/// Since when no workload of the release asks for any pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WithoutPods {
    /// From the beginning: pauses with a duration and analyses are passed over, gates and pauses without one are not.
    FromTheStart,
    /// Scaled to 0 since: the release waits until there are pods again.
    MidWay,
}

/// A version of all workloads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionStatus {
    /// Digest of the pod templates of all workloads; Decisions are bound to it.
    pub revision: String,
    /// The version's name for people.
    pub version: String,
    /// The pod-template-hash of each workload, in the order of the spec.
    pub workloads: Vec<WorkloadRevision>,
    /// Since when it is what it is: stable, candidate or previous.
    pub since: Time,
    /// The user who asked for it, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
}

/// One workload's part of a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadRevision {
    /// Name of the workload.
    pub name: String,
    /// The pod-template-hash that its pods carry.
    pub hash: String,
    /// Digest of the pod template without the annotation of `kubectl rollout restart`: what makes a version.
    pub digest: String,
    /// UID of the workload; one of the same name but another UID is another workload.
    pub uid: String,
}

/// The current step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// Index of the step, from 0; equal to `total` once promotion is on its way.
    pub index: u32,
    /// Number of steps.
    pub total: u32,
    /// For people: `3/6`.
    pub position: String,
    /// When the step began.
    pub started: Time,
    /// Since when the step waits for pods or for the gateway; the progress deadline counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Time>,
    /// Digest of the steps up to and including this one: changed steps start over.
    pub digest: String,
    /// Whether a person has ended it: Skip, Resume of a pause without duration, or Promote, which passes all gates.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
}

/// The candidate's share of the traffic, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WeightStatus {
    /// What the current step asks for.
    pub desired: u8,
    /// What the data plane has confirmed.
    pub confirmed: u8,
}

/// Kinds of gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum GateKind {
    /// `spec.suspend`.
    Suspend,
    /// The spec and what it refers to can work.
    Validity,
    /// DeploymentWindows.
    Windows,
    /// People.
    Approval,
}

/// Whether a gate is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GateState {
    /// Exposure may grow.
    Open,
    /// Exposure may not grow.
    Closed,
}

/// One gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateStatus {
    /// The gate's name; Decisions refer to it.
    pub name: String,
    /// Kind of the gate.
    pub kind: GateKind,
    /// Open or Closed.
    pub state: GateState,
    /// Why, in one word.
    pub reason: String,
    /// Why, in one sentence.
    pub message: String,
    /// Since when it is in this state.
    pub since: Time,
    /// When it changes by itself, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_change: Option<Time>,
}

/// What a check says so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum CheckOutcome {
    /// Not measured yet.
    #[default]
    Pending,
    /// The last measurement was within its bounds.
    Success,
    /// The last measurement was out of its bounds.
    Failure,
    /// The provider could not be asked.
    Error,
    /// There was no data, or too few samples.
    NoData,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckStatus {
    /// `<policy>/<check>`.
    pub name: String,
    /// Outcome of the last measurement.
    pub outcome: CheckOutcome,
    /// Value of the last measurement, as text, because not every number can be written in JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Measurements that succeeded.
    #[serde(default)]
    pub successes: u32,
    /// Measurements that failed.
    #[serde(default)]
    pub failures: u32,
    /// Errors in a row.
    #[serde(default)]
    pub errors: u32,
    /// Why it is not a success, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it was last measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_measured: Option<Time>,
}

/// Why exposure is held although no gate is closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// One word: PausedByPerson, CheckFailed, Inconclusive, Rejected.
    pub reason: String,
    /// One sentence.
    pub message: String,
    /// Since when.
    pub since: Time,
}

/// Why a release went back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum GoingBackCause {
    /// A check failed more often than its limit.
    CheckFailed,
    /// A check stayed without a verdict, and the policy says Rollback.
    Inconclusive,
    /// Pods of the candidate crash again and again.
    CrashLoop,
    /// Pods of the candidate were unavailable for longer than the policy allows.
    Unavailable,
    /// Waiting for pods and traffic took longer than the progress deadline.
    ProgressDeadlineExceeded,
    /// A window closed mid-way, and the gate says Rollback.
    WindowClosed,
    /// A person decided Abort.
    Aborted,
    /// A person decided Rollback.
    RollbackRequested,
    /// The spec went back to an earlier version after promotion.
    ReturnedToEarlierVersion,
    /// The spec went back to the stable version mid-way.
    Withdrawn,
    /// Another revision was asked for mid-way.
    Superseded,
    /// The Release was deleted mid-way.
    Deleted,
}

/// A going back: cause and times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GoingBack {
    /// Why.
    pub cause: GoingBackCause,
    /// Why, in one sentence.
    pub message: String,
    /// The revision that was left.
    pub from: String,
    /// When it was decided.
    pub started: Time,
    /// When all traffic was confirmed to be back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Time>,
    /// How long the version left keeps its pods after that.
    #[serde(default)]
    pub keep_candidate: Duration,
    /// The weight of the version left when it was decided, in percent.
    #[serde(default)]
    pub weight: u8,
}

/// A revision that gets no traffic without a Retry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlockedRevision {
    /// The revision.
    pub revision: String,
    /// The version's name for people.
    pub version: String,
    /// The phase in which its release ended.
    pub phase: Phase,
    /// Why, in one sentence.
    pub message: String,
    /// Since when.
    pub since: Time,
    /// Whether a Retry lets it start again, with gates and steps.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retried: bool,
}

/// A Decision that has been counted, or refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CountedDecision {
    /// UID of the Decision: it counts once.
    pub uid: String,
    /// Name of the Decision.
    pub name: String,
    /// What was decided.
    pub verdict: Verdict,
    /// The gate, where it names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<String>,
    /// Who decided.
    pub by: String,
    /// The groups that the author relied on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// When it was created.
    pub at: Time,
    /// Until when it counts, where it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Whether it was counted for an earlier attempt and counts no more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spent: bool,
    /// Why it counted for nothing, where it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}
