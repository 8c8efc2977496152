//! What becomes of a Deployment whose Release is gone.

use lockkeeper_api::names::PAUSED_BY;

use crate::{
    Event,
    world::{DeploymentView, ReplicaSetView},
    write::{self, DeploymentGoal, Write},
};

/// What becomes of a Deployment whose Release is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Our marks go, and with them our pause: its template is what runs, or it is not paused by us.
    GiveBack,
    /// Our marks go, and it stays paused: its template has never been proven, and whoever owns it decides.
    LeavePaused,
    /// It has never run anything and waits for its first Release; nothing is touched.
    Await,
    /// Parts of a release in flight are left, since somebody has taken our finalizer off: nothing is touched, because
    /// traffic may depend on each of them.
    InFlight,
}

/// What is to be done about a Deployment. `pinned` says whether a Service that selects its pods is pinned to one version.
pub fn remedy(deployment: &DeploymentView, replica_sets: &[ReplicaSetView], pinned: bool) -> Remedy {
    if pinned || replica_sets.iter().any(|replica_set| replica_set.role.is_some()) {
        return Remedy::InFlight;
    }
    if !held(deployment) {
        return Remedy::GiveBack;
    }
    let mut controlled = replica_sets.iter().filter(|replica_set| replica_set.controlled).peekable();
    if controlled.peek().is_none() {
        return Remedy::Await;
    }
    let version = deployment.version_digest();
    let mut running = controlled.filter(|replica_set| replica_set.existing > 0).peekable();
    // Where nothing runs, nothing says that the template ever did.
    if running.peek().is_some() && running.all(|replica_set| replica_set.version == version) {
        Remedy::GiveBack
    } else {
        Remedy::LeavePaused
    }
}

/// Whether it was us who paused it.
fn held(deployment: &DeploymentView) -> bool {
    deployment.paused && deployment.marks.contains_key(PAUSED_BY)
}

impl Remedy {
    /// The write that it needs, if any.
    pub fn write(self, release: &str, deployment: &DeploymentView) -> Option<Write> {
        let paused = match self {
            Self::GiveBack => held(deployment).then_some(false),
            Self::LeavePaused => None,
            Self::Await | Self::InFlight => return None,
        };
        let goal = DeploymentGoal { leave: true, paused, ..DeploymentGoal::default() };
        let write = write::deployment(release, deployment, &goal)?;
        Some(Write { purpose: format!("leave: Release {release} is gone"), ..write })
    }

    /// What people are told of it.
    pub fn event(self, release: &str, deployment: &str) -> Event {
        let (reason, warning, note) = match self {
            Self::GiveBack => {
                ("GivenBack", false, format!("Release {release} is gone: new versions roll out natively again"))
            }
            Self::LeavePaused => (
                "StaysPaused",
                true,
                format!(
                    "Release {release} is gone, and the template of this Deployment has not been proven: it stays paused; set the \
                     template back, or roll it out with kubectl rollout resume deployment/{deployment}"
                ),
            ),
            Self::Await => (
                "ReleaseMissing",
                true,
                format!(
                    "it waits, paused, for Release {release}, which does not manage it: create the Release, or delete this \
                     Deployment and create it again without the annotation lockkeeper.dev/release"
                ),
            ),
            Self::InFlight => (
                "ReleaseMissing",
                true,
                format!(
                    "Release {release} went away in the middle of a release and left ReplicaSets or a pinned Service: create \
                     it again, or end the release by hand as the README's section Without the operator says"
                ),
            ),
        };
        Event { reason: reason.into(), warning, note }
    }
}
