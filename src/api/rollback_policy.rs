//! RollbackPolicy: what is measured, and when a release goes back.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{release::CheckOutcome, rule, scalar::Duration, selector};

/// What is measured while a new version gets traffic, and when it goes back. Armed by a Release's `rollbackPolicy` during
/// every step and the bake, or by an `analysis` step. A Release means by a name the policy in its own namespace or, where
/// there is none, that in the operator's, if it admits the Release's namespace.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "lockkeeper.dev",
    version = "v1alpha1",
    kind = "RollbackPolicy",
    plural = "rollbackpolicies",
    namespaced,
    shortname = "rbp",
    status = "RollbackPolicyStatus",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Used by", type_ = "integer", json_path = ".status.usedBy"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct RollbackPolicySpec {
    /// The checks; 1 to 32, with distinct names.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("self.all(c, self.exists_one(o, o.name == c.name))").message("checks need distinct names"))]
    pub checks: Vec<Check>,
    /// What the state of the candidate's pods leads to.
    #[serde(default)]
    pub workload: WorkloadChecks,
    /// What follows when a check ends without a verdict: Pause (default) or Rollback.
    #[serde(default)]
    pub on_inconclusive: OnInconclusive,
    /// How traffic goes back.
    #[serde(default)]
    pub rollback: Rollback,
    /// How long the policy stays armed after promotion, with the old version kept beside; default 0s.
    #[serde(default)]
    pub bake: Duration,
    /// Labels of the other namespaces whose Releases may use the policy; `{}` is every namespace, and the default is none.
    /// Only for policies in the operator's own namespace; elsewhere a policy is for its own namespace, and the field is
    /// a fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "selector::schema")]
    pub allow_namespaces: Option<LabelSelector>,
}

/// One check: a query, its bounds and how often it may miss them.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.condition) != (has(self.min) || has(self.max))").message("give either min and/or max, or condition"))]
#[x_kube(validation = Rule::new("!has(self.min) || !has(self.max) || self.min <= self.max").message("min must not be above max"))]
pub struct Check {
    /// The check's name; lower-case letters, digits and dashes, at most 63.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = rule::label())]
    pub name: String,
    /// A PromQL query that gives one number; at most 8192 characters. Placeholders in double braces: `namespace`,
    /// `release`, `version`, and for `candidate` and `stable` each `.pods` (a regular expression that matches the pods'
    /// names), `.version` and `.revision`.
    #[schemars(length(min = 1, max = 8192))]
    pub query: String,
    /// The least value that is a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The greatest value that is a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// A CEL expression over `value` that is true for a success, instead of min and max; at most 1024 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub condition: Option<String>,
    /// How often it is measured; default 30s, at least 1s.
    #[serde(default = "interval_default")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s')").message("interval must be at least 1s"))]
    pub interval: Duration,
    /// How long after the candidate got its first traffic the first measurement is taken; default 0s.
    #[serde(default)]
    pub initial_delay: Duration,
    /// Failed measurements that are tolerated; one more is a verdict. Default 0, at most 1000.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000))]
    pub failure_limit: u32,
    /// Provider errors in a row that are tolerated; one more is inconclusive. Default 4, at most 1000.
    #[serde(default = "consecutive_error_limit_default")]
    #[schemars(range(min = 0, max = 1000))]
    pub consecutive_error_limit: u32,
    /// What an answer without data counts as: nothing (Wait, default), a failure (Fail) or a success (Pass).
    #[serde(default)]
    pub no_data: NoData,
    /// How many samples there must be before a value counts; default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_samples: Option<MinimumSamples>,
    /// What follows the verdict: Rollback (default), Pause or Notify (only status, event and metrics).
    #[serde(default)]
    pub on_failure: OnFailure,
}

fn interval_default() -> Duration {
    Duration::from_secs(30)
}

fn consecutive_error_limit_default() -> u32 {
    4
}

/// How many samples there must be.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MinimumSamples {
    /// A PromQL query that gives the number of samples, with the same placeholders; at most 8192 characters.
    #[schemars(length(min = 1, max = 8192))]
    pub query: String,
    /// The least number; below it, the check has no data yet.
    #[x_kube(validation = Rule::new("self > 0.0").message("atLeast must be above 0"))]
    pub at_least: f64,
}

/// What an answer without data counts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NoData {
    /// Nothing: the check waits for data.
    #[default]
    Wait,
    /// A failure.
    Fail,
    /// A success.
    Pass,
}

/// What follows a failed check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnFailure {
    /// Back to the stable version.
    #[default]
    Rollback,
    /// Exposure stays until a Decision says Resume.
    Pause,
    /// Nothing but status, event and metrics.
    Notify,
}

/// What follows a check without a verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnInconclusive {
    /// Exposure stays until a Decision says Resume.
    #[default]
    Pause,
    /// Back to the stable version.
    Rollback,
}

/// What the state of the candidate's pods leads to.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadChecks {
    /// What crash loops of candidate pods lead to: Rollback (default), Pause or Notify.
    #[serde(default)]
    pub crash_loops: OnFailure,
    /// How long candidate pods may be unavailable, once they have been available, before the release goes back; default: no limit, but a
    /// promoted version that has no available pod at all goes back after the Release's `progressDeadline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable_for: Option<Duration>,
}

/// How traffic goes back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// Traffic goes back in parts; default: all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradual: Option<Gradual>,
    /// How long the pods of the version left are kept, without traffic, to be looked at; default 0s.
    #[serde(default)]
    pub keep_candidate: Duration,
}

/// Traffic goes back in parts.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gradual {
    /// How many percent of the traffic go back at a time; 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub by: u8,
    /// How long after one another; at least 1s.
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s')").message("every must be at least 1s"))]
    pub every: Duration,
}

/// Status of a RollbackPolicy, so that it can be trusted before it is needed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RollbackPolicyStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How many Releases use it, of all namespaces that it admits.
    pub used_by: u32,
    /// The last result of each check's query.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<PolicyCheckStatus>,
    /// Ready: every fault, or that all queries could be asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// The last result of a check's query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyCheckStatus {
    /// Name of the check.
    pub name: String,
    /// Outcome against the check's bounds.
    pub outcome: CheckOutcome,
    /// The value, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Why it is not a success, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it was asked.
    pub measured: Time,
}
