//! What the Deployment's own controller rolls out: the first version, restarts, and what passed a release by.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lockkeeper_api::{
    decision::Verdict,
    deployment_window::Exposure,
    names::PAUSED_BY,
    release::{Phase, RevisionStatus, WorkloadRevision},
};

use super::{Doing, Run, Turn, Waits};
use crate::{
    converge::clear_away,
    gate,
    revision::{self, Wanted},
    world::{DeploymentView, ReplicaSetView, WorkloadView},
    write::{self, DeploymentGoal, Kind, Seen, Write},
};

impl Run<'_> {
    /// The Deployment has not run any version yet, or one that nobody has recorded.
    pub(super) fn first(&mut self, wanted: &Wanted) -> Turn {
        let left = self.each(|scene, _| clear_away(scene));
        if !left.done() {
            let message = "giving back routes and Services of an earlier release".into();
            return Turn::Now(Doing { writes: left.writes, message, waits: Waits::Machines, wake: left.wake });
        }
        let mut doing = Doing { waits: Waits::Machines, ..Doing::default() };
        if let Some(workloads) = self.complete(wanted) {
            doing.writes.extend(self.manage());
            if doing.writes.is_empty() || !self.faults.is_empty() {
                self.found(wanted, workloads);
                return Turn::Again;
            }
            // From when it is called stable on, no new template passes the release.
            self.enter(Phase::Progressing);
            doing.message = "taking over what runs".into();
            return Turn::Now(doing);
        }
        if !self.faults.is_empty() && !matches!(self.next.phase, Phase::Progressing) {
            return Turn::Now(self.invalid());
        }
        if let Some(command) = self.take(&[Verdict::Retry]) {
            self.unblock(&command);
            // What was said of the attempt before counts for no other.
            self.clear_attempt();
        }
        if let Some(blocked) = self.blocked(wanted).filter(|_| self.held()) {
            self.enter(blocked.phase);
            let message = format!("{}; change the version, or decide Retry", blocked.message);
            return Turn::Now(Doing { message, waits: Waits::Mending, ..Doing::default() });
        }
        if self.held() {
            let candidate = self.revision(wanted);
            if self.next.candidate.as_ref().is_none_or(|candidate| !wanted.is(candidate)) {
                self.next.candidate = Some(candidate.clone());
            }
            if self.refused(&candidate) {
                return Turn::Again;
            }
            self.pause_or_resume();
            self.next.gates = self.ask(Exposure::Start, None);
            if !gate::open(&self.next.gates) || self.next.hold.is_some() {
                self.enter(Phase::Waiting);
                return Turn::Now(self.at_gates("the first version"));
            }
        }
        self.enter(Phase::Progressing);
        doing.writes.extend(self.roll_out_natively());
        let hindrance = self.world.workloads.iter().find_map(|view| {
            let deployment = view.deployment.as_ref()?;
            let name = &deployment.name;
            // Where something runs, that may be what a pause keeps: it is waited for.
            let bare = view.replica_sets.iter().all(|rs| rs.existing == 0);
            if deployment.is_paused_by_others() && bare {
                Some(format!("the first version does not roll out: Deployment {name} is paused: resume it"))
            } else if deployment.current && deployment.overdue {
                let deadline = "has made no progress within its progressDeadlineSeconds";
                Some(format!("the first version does not get ready: Deployment {name} {deadline}; mend its version"))
            } else {
                None
            }
        });
        if hindrance.is_some() {
            doing.waits = Waits::Mending;
        }
        let waits = "the first version rolls out natively: waiting for its Deployment to be complete";
        doing.message = hindrance.unwrap_or_else(|| waits.into());
        Turn::Now(doing)
    }

    /// Whether the first version waits, paused by us, for its gates.
    fn held(&self) -> bool {
        self.world.workloads.iter().any(|view| view.deployment.as_ref().is_some_and(|d| d.paused) && held_back(view))
    }

    fn roll_out_natively(&self) -> Vec<Write> {
        let views = self.plan.workloads.iter().zip(&self.world.workloads);
        views
            .filter_map(|(work, view)| {
                let deployment = view.deployment.as_ref()?;
                let ours = held_back(view);
                // What already rolls out is the first version, whatever the Release asks for: that one then goes by steps.
                let images = if ours { revision::images_to_set(work, deployment) } else { None };
                let goal = DeploymentGoal { paused: ours.then_some(false), images, ..DeploymentGoal::default() };
                write::deployment(&self.plan.name, deployment, &goal)
            })
            .collect()
    }

    /// Marks the Deployments as managed, and holds them where that is by pausing.
    fn manage(&self) -> Vec<Write> {
        let paused = self.plan.setting.paused_at_rest.then_some(true);
        let goal = DeploymentGoal { paused, ..DeploymentGoal::default() };
        let deployments = self.world.workloads.iter().filter_map(|view| view.deployment.as_ref());
        deployments.filter_map(|deployment| write::deployment(&self.plan.name, deployment, &goal)).collect()
    }

    /// What runs, if every Deployment has rolled it out.
    fn complete(&self, wanted: &Wanted) -> Option<Vec<WorkloadRevision>> {
        let mut workloads = Vec::new();
        for (part, view) in wanted.workloads.iter().zip(&self.world.workloads) {
            let deployment = view.deployment.as_ref()?;
            let rolled_out = || {
                let own = |rs: &&ReplicaSetView| rs.controlled && rs.digest == deployment.digest;
                view.replica_sets.iter().find(own).filter(|_| rolled_out(deployment))
            };
            let own = rolled_out().or_else(|| kept_by_pause(view, deployment))?;
            workloads.push(WorkloadRevision { hash: own.hash.clone(), digest: own.version.clone(), ..part.clone() });
        }
        Some(workloads)
    }

    /// A version that was rolled out natively while nobody held the Deployment: what carries all traffic is the stable version,
    /// whatever is recorded. Taking it away would be the outage that a release is there to prevent.
    pub(super) fn passed_by(&mut self) -> Option<Turn> {
        let (wanted, stable) = (self.wanted.clone()?, self.next.stable.clone()?);
        let mut workloads = stable.workloads.clone();
        let mut passed = false;
        for (part, view) in workloads.iter_mut().zip(&self.world.workloads) {
            let (Some(deployment), Some(native)) = (view.deployment.as_ref(), native(view, part)) else { continue };
            if rolled_out(deployment) {
                (part.hash, part.digest) = (native.hash.clone(), native.version.clone());
                passed = true;
            } else if !deployment.paused {
                let message =
                    format!("Deployment {} rolls out {} natively: waiting for it", deployment.name, native.name);
                return Some(Turn::Now(Doing { message, waits: Waits::Machines, ..Doing::default() }));
            }
        }
        if !passed {
            return None;
        }
        self.next.going_back = None;
        self.found(&wanted, workloads);
        self.wanted = revision::wanted(self.plan, self.world, self.next.stable.as_ref());
        Some(Turn::Again)
    }

    /// Takes what runs as stable.
    fn found(&mut self, wanted: &Wanted, workloads: Vec<WorkloadRevision>) {
        let same = workloads.iter().zip(&wanted.workloads).all(|(own, wanted)| own.digest == wanted.digest);
        let views = self.world.workloads.iter().zip(&workloads);
        let running = views.flat_map(|(view, own)| view.replica_sets.iter().filter(|rs| rs.hash == own.hash));
        let tag = running.flat_map(|rs| rs.images.values()).next().map(|image| revision::tag(image));
        let revision = revision::digest_of(&workloads);
        let version = if same { wanted.version.clone() } else { tag.unwrap_or_else(|| revision.clone()) };
        self.clear_attempt();
        let before = self.next.stable.replace(RevisionStatus {
            revision,
            version: version.clone(),
            workloads,
            since: Time(self.now),
            requested_by: wanted.requested_by.clone().filter(|_| same),
        });
        self.enter(Phase::Stable);
        match &before {
            None => self.event("StableFound", false, format!("version {version} runs")),
            Some(before) => {
                let note = format!("version {version} was rolled out natively, without gates and steps");
                self.event("StableFound", true, format!("{note}; before it {} ran", before.version));
            }
        }
        self.next.previous = before;
    }

    /// The ReplicaSet of the stable version is gone, and its Deployment's controller has made another of the same version: that is the one.
    pub(super) fn follow(&mut self) {
        let parts = self.next.stable.iter_mut().flat_map(|stable| &mut stable.workloads);
        for (view, part) in self.world.workloads.iter().zip(parts) {
            let known = view.replica_sets.iter().any(|rs| rs.hash == part.hash);
            let twin =
                view.replica_sets.iter().find(|rs| rs.controlled && rs.replicas > 0 && rs.version == part.digest);
            if let (Some(deployment), Some(twin), false) = (&view.deployment, twin, known) {
                self.rests_on.push(Seen::absent(Kind::ReplicaSet, format!("{}-{}", deployment.name, part.hash)));
                part.hash.clone_from(&twin.hash);
            }
        }
    }

    /// A restart by annotation is no new version: it passes natively, and the stable hash follows it. So does the way back from a
    /// native rollout that somebody has ended halfway by asking for the stable version again.
    pub(super) fn native_restart(&mut self) -> Option<Doing> {
        let mut doing = Doing { waits: Waits::Machines, ..Doing::default() };
        let mut running = false;
        for (index, view) in self.world.workloads.iter().enumerate() {
            let deployment = view.deployment.as_ref()?;
            let part = self.next.stable.as_mut()?.workloads.get_mut(index)?;
            let own = view.replica_sets.iter().find(|rs| rs.hash == part.hash);
            // Another version is no restart: where the Release carries the version, its images are put back.
            let restarted =
                own.is_none_or(|own| own.digest != deployment.digest) && deployment.version_digest() == part.digest;
            let torn = deployment.paused
                && own.is_some_and(|own| own.digest == deployment.digest)
                && view.replica_sets.iter().any(|rs| rs.controlled && rs.hash != part.hash && rs.replicas > 0);
            if !restarted && !torn {
                continue;
            }
            let newer = view.replica_sets.iter().find(|rs| rs.controlled && rs.digest == deployment.digest);
            match newer {
                Some(newer) if rolled_out(deployment) && newer.version == part.digest => {
                    part.hash.clone_from(&newer.hash)
                }
                // A Service that is pinned would not follow its pods: first it is given back.
                Some(_) | None if restarted && view.services.values().any(|service| service.pin.is_some()) => {}
                Some(_) | None => {
                    running = true;
                    let ours = deployment.is_kept();
                    let goal = DeploymentGoal { paused: ours.then_some(false), ..DeploymentGoal::default() };
                    doing.writes.extend(write::deployment(&self.plan.name, deployment, &goal));
                    let theirs = deployment.paused && !ours;
                    let how = match (torn, theirs) {
                        (false, false) => "restarts natively",
                        (true, false) => "goes back natively",
                        (false, true) => "is paused, and so does not restart: resume it",
                        (true, true) => "is paused halfway: resume it",
                    };
                    doing.message = format!("Deployment {} {how}", deployment.name);
                }
            }
        }
        running.then_some(doing)
    }
}

/// Whether a Deployment has rolled out its template.
fn rolled_out(deployment: &DeploymentView) -> bool {
    deployment.current
        && deployment.updated == deployment.replicas
        && deployment.available >= deployment.replicas
        && deployment.status_replicas == deployment.replicas
}

/// The one ReplicaSet that runs while a pause keeps another template from being rolled out: a Release was deleted mid-way, and has come again.
fn kept_by_pause<'a>(view: &'a WorkloadView, deployment: &DeploymentView) -> Option<&'a ReplicaSetView> {
    let mut active = view.replica_sets.iter().filter(|rs| rs.controlled && rs.replicas > 0);
    let own = active.next().filter(|_| active.next().is_none())?;
    let whole = own.replicas == deployment.replicas && own.available >= own.replicas;
    let kept = deployment.paused && deployment.current && own.digest != deployment.digest && !own.deleting;
    (whole && kept).then_some(own)
}

/// What the Deployment's controller has put, with all its pods or nearly so, in the place of the version that is recorded.
fn native<'a>(view: &'a WorkloadView, part: &WorkloadRevision) -> Option<&'a ReplicaSetView> {
    let deployment = view.deployment.as_ref()?;
    let native = view.replica_sets.iter().find(|rs| rs.controlled && rs.digest == deployment.digest)?;
    let left = view.replica_sets.iter().find(|rs| rs.hash == part.hash).map_or(0, |rs| rs.replicas);
    let enough = native.replicas > 0 && (left == 0 || native.available >= deployment.replicas);
    (enough && native.version != part.digest).then_some(native)
}

/// Whether a pause of ours keeps a Deployment's template from being rolled out. Where it is all that runs, the pause holds nothing
/// back: it only says, on API servers without mutating policies, that the next one waits.
fn held_back(view: &WorkloadView) -> bool {
    let Some(deployment) = &view.deployment else { return false };
    let mut controlled = view.replica_sets.iter().filter(|rs| rs.controlled);
    let rolled_out = controlled.clone().any(|rs| rs.digest == deployment.digest)
        && controlled.all(|rs| rs.digest == deployment.digest || rs.replicas == 0);
    deployment.marks.contains_key(PAUSED_BY) && !rolled_out
}

#[cfg(test)]
mod tests;
