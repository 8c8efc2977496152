//! The observed world as plain data: it can be recorded and replayed.

mod template;

use std::collections::BTreeMap;

use jiff::Timestamp;
use lockkeeper_api::{
    DecisionSpec,
    names::{HOLD, PAUSED_BY},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::template::{ContainerView, Glance, Json, Template};
use crate::{analysis::Measurement, digest::version_digest, window::WindowView};

/// All that a decision about one Release looks at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct World {
    /// The workloads, in the order of the plan.
    pub workloads: Vec<WorkloadView>,
    /// DeploymentWindows of the operator's namespace and of the Release's.
    pub windows: Vec<WindowView>,
    /// Labels of the Release's namespace.
    pub namespace_labels: BTreeMap<String, String>,
    /// Decisions that name this Release.
    pub decisions: Vec<DecisionView>,
    /// Whether the API server vouches for the authors of Decisions.
    pub guard: Guard,
    /// The latest measurements by `<policy>/<check>`.
    pub measurements: BTreeMap<String, Measurement>,
}

/// Whether the admission policy for Decisions and its binding are in force as we know them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Guard {
    /// Every Decision's author has been verified.
    Intact,
    /// No Decision counts; why, and what mends it.
    Broken(String),
}

impl Default for Guard {
    fn default() -> Self {
        Self::Broken("the admission policy for Decisions has not been read yet".into())
    }
}

/// A Decision and what the API server says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionView {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Creation time, in whole seconds.
    pub created: Timestamp,
    /// What is decided.
    pub spec: DecisionSpec,
}

/// One workload and all that stands around it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkloadView {
    /// The Deployment, unless it does not exist.
    pub deployment: Option<DeploymentView>,
    /// ReplicaSets that refer to the Deployment as owner, controlled by it or not.
    pub replica_sets: Vec<ReplicaSetView>,
    /// Templates saved when a release began.
    pub saved: Vec<SavedTemplate>,
    /// The Services that the plan names, by name.
    pub services: BTreeMap<String, ServiceView>,
    /// Other Services that select the workload's pods and get no pin, by name.
    pub other_services: Vec<String>,
    /// The routes that the plan names, by name.
    pub routes: BTreeMap<String, RouteView>,
    /// A crash loop of a pod, if there is one.
    pub crash: Option<CrashView>,
}

/// A Deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeploymentView {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Resource version.
    pub resource_version: String,
    /// Whether its status speaks of its current spec.
    pub current: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Replicas asked for.
    pub replicas: u32,
    /// `spec.paused`.
    pub paused: bool,
    /// Whether its strategy is Recreate.
    pub recreate: bool,
    /// `spec.minReadySeconds`.
    pub min_ready_seconds: u32,
    /// `lockkeeper.dev/*` annotations and no others.
    pub marks: BTreeMap<String, String>,
    /// `spec.selector`.
    pub selector: Json,
    /// `spec.template`.
    pub template: Template,
    /// Digest of the template.
    pub digest: String,
    /// `status.replicas`.
    pub status_replicas: u32,
    /// `status.updatedReplicas`.
    pub updated: u32,
    /// `status.availableReplicas`.
    pub available: u32,
    /// Whether its controller says that it has not got on within `spec.progressDeadlineSeconds`.
    #[serde(default)]
    pub overdue: bool,
    /// Who writes the template.
    pub authorship: Authorship,
}

impl DeploymentView {
    /// Digest of the version of its template: mostly that of the template, which is known, and digests are dear.
    pub fn version_digest(&self) -> String {
        if self.template.glance().apart { version_digest(&self.template.value()) } else { self.digest.clone() }
    }

    /// Whether it carries a mark of ours that says that it is held, or paused by us.
    pub fn is_kept(&self) -> bool {
        self.marks.contains_key(HOLD) || self.marks.contains_key(PAUSED_BY)
    }

    /// Whether it is paused, and nothing says that it was us: whoever did that resumes it.
    pub fn is_paused_by_others(&self) -> bool {
        self.paused && !self.marks.contains_key(PAUSED_BY)
    }
}

/// Who writes a field that we write too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorship {
    /// Whether what it holds was written by us.
    pub ours: bool,
    /// When others have replaced what we had written, within the last minute or so, oldest first.
    pub undone: Vec<Undone>,
}

/// A write by others that replaced ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// When it was seen.
    pub at: Timestamp,
    /// The field manager.
    pub by: String,
}

/// What a ReplicaSet that we took from its Deployment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// On its way to take the stable version's place, or left.
    Candidate,
    /// The version before, kept beside.
    Previous,
    /// History of the Deployment, taken off while it changes hands.
    History,
}

impl Role {
    /// The value of the role label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Candidate => "candidate",
            Self::Previous => "previous",
            Self::History => "history",
        }
    }

    /// Reads the value of the role label.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Candidate, Self::Previous, Self::History].into_iter().find(|role| role.as_str() == text)
    }
}

/// A ReplicaSet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReplicaSetView {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Resource version.
    pub resource_version: String,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether the Deployment controls it.
    pub controlled: bool,
    /// The role label.
    pub role: Option<Role>,
    /// Whether it was taken from the Deployment's history.
    pub borrowed: bool,
    /// The pod-template-hash in its selector; its own labels may lack it.
    pub hash: String,
    /// Its own labels.
    pub labels: BTreeMap<String, String>,
    /// Labels of its pod template.
    pub template_labels: BTreeMap<String, String>,
    /// Digest of its template.
    pub digest: String,
    /// Digest of its template as a version.
    pub version: String,
    /// Images by container name.
    pub images: BTreeMap<String, String>,
    /// Its template; known for those that have replicas.
    pub template: Option<Template>,
    /// Replicas asked for.
    pub replicas: u32,
    /// `status.replicas`, if its status speaks of its current spec; otherwise the larger of spec and status.
    pub existing: u32,
    /// `status.availableReplicas`.
    pub available: u32,
    /// Creation time.
    pub created: Timestamp,
}

/// A template that was saved in a ControllerRevision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedTemplate {
    /// Name of the ControllerRevision.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its resource version.
    pub resource_version: String,
    /// The pod-template-hash that the template's pods carry.
    pub hash: String,
    /// The template.
    pub template: Template,
}

/// A Service and its ready endpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Resource version.
    pub resource_version: String,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether we have created it.
    pub ours: bool,
    /// `spec.selector`.
    pub selector: BTreeMap<String, String>,
    /// The pin annotation.
    pub pin: Option<String>,
    /// `spec.ports`.
    pub ports: Json,
    /// `spec.clusterIP` is None.
    pub headless: bool,
    /// Whether its endpoints are known: an EndpointSlice of this very Service, not of an earlier one of its name, has been seen.
    pub heard: bool,
    /// Names of the pods that its EndpointSlices hold as ready.
    pub ready: Vec<String>,
    /// Since when there has been, without a gap, a ready pod.
    pub ready_since: Option<Timestamp>,
    /// Who writes its selector.
    pub authorship: Authorship,
}

impl ServiceView {
    /// Whether it is known to have no ready pod. That nothing has been heard of its endpoints yet is no reason to send its traffic elsewhere.
    pub fn serves_nobody(&self) -> bool {
        self.heard && self.ready.is_empty()
    }
}

/// A route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteView {
    /// Name.
    pub name: String,
    /// Resource version.
    pub resource_version: String,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// `spec.rules`.
    pub rules: Value,
    /// Since when every parent has been seen to accept this generation; none if one has not.
    pub accepted: Option<Timestamp>,
    /// What a parent says against it.
    pub complaint: Option<String>,
    /// Who writes its rules.
    pub authorship: Authorship,
}

/// A crash loop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashView {
    /// The pod-template-hash of the pod.
    pub hash: String,
    /// The pod's name.
    pub pod: String,
    /// The container's name.
    pub container: String,
    /// How often it was restarted.
    pub restarts: u32,
}
