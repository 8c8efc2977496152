//! Nothing is on its way: at rest, after going back, or before the first version.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lockkeeper_api::{
    decision::Verdict,
    deployment_window::Exposure,
    names::{HOLD, PAUSED_BY},
    release::{BlockedRevision, GoingBackCause, Phase, RevisionStatus, WorkloadRevision},
};

use super::{Doing, Run, Turn, Waits, earliest};
use crate::{
    converge::{Keep, dismantle, settle},
    gate,
    revision::Wanted,
    verdict::Command,
    world::{DeploymentView, ReplicaSetView, WorkloadView},
    write::{self, DeploymentGoal, Write},
};

impl Run<'_> {
    pub(super) fn idle(&mut self) -> Turn {
        let Some(wanted) = self.wanted.clone() else { return Turn::Now(self.invalid()) };
        let Some(stable) = self.next.stable.clone() else { return self.first(&wanted) };
        if let Some(turn) = self.passed_by() {
            return turn;
        }
        if let Some(command) = self.take(&[Verdict::Retry]) {
            self.unblock(&command);
            return Turn::Again;
        }
        if let Some(command) = self.take(&[Verdict::Rollback]) {
            return self.roll_back_to_previous(&command.signed());
        }
        let same = wanted.workloads.iter().zip(&stable.workloads).all(|(w, s)| w.digest == s.digest);
        if same {
            return self.at_rest();
        }
        if let Some(blocked) = self.blocked(&wanted) {
            self.enter(blocked.phase);
            return Turn::Now(self.stay_back(&blocked.message));
        }
        if !self.faults.is_empty() {
            return Turn::Now(self.invalid());
        }
        // What the last attempt has left is cleared before another one begins.
        let left = self.clear(Keep::Gone);
        if !left.writes.is_empty() || left.is_under_way() {
            return Turn::Now(left);
        }
        if self.is_earlier(&wanted) {
            return self.return_to(&wanted);
        }
        self.begin(&wanted);
        Turn::Again
    }

    /// Lets a blocked version start again, with gates and steps.
    fn unblock(&mut self, command: &Command) {
        let Some(blocked) = self.next.blocked.iter_mut().find(|blocked| blocked.revision == command.revision) else {
            return;
        };
        blocked.retried = true;
        let note = format!("version {} may start again, {}", blocked.version, command.signed());
        self.event("Retried", false, note);
    }

    /// Why the version asked for may not start, if so.
    fn blocked(&self, wanted: &Wanted) -> Option<BlockedRevision> {
        self.next.blocked.iter().find(|blocked| blocked.revision == wanted.revision && !blocked.retried).cloned()
    }

    /// Takes a version as the candidate.
    fn begin(&mut self, wanted: &Wanted) {
        self.clear_attempt();
        self.next.going_back = None;
        self.next.candidate = Some(self.revision(wanted));
        self.enter(Phase::Waiting);
        self.event("ReleaseRequested", false, format!("version {} ({})", wanted.version, wanted.revision));
    }

    pub(super) fn revision(&self, wanted: &Wanted) -> RevisionStatus {
        RevisionStatus {
            revision: wanted.revision.clone(),
            version: wanted.version.clone(),
            workloads: wanted.workloads.clone(),
            since: Time(self.now),
            requested_by: wanted.requested_by.clone(),
        }
    }

    /// The stable version is the one asked for.
    fn at_rest(&mut self) -> Turn {
        if let Some(doing) = self.native_restart() {
            self.enter(Phase::Stable);
            return Turn::Now(doing);
        }
        if !self.faults.is_empty() && self.next.candidate.is_none() {
            return Turn::Now(self.invalid());
        }
        self.enter(Phase::Stable);
        let mut doing = self.clear(Keep::Gone);
        if doing.writes.is_empty() && !doing.is_under_way() && self.next.candidate.is_some() {
            self.clear_attempt();
            return Turn::Again;
        }
        if !doing.is_under_way() {
            let version = self.next.stable.as_ref().map(|s| s.version.clone()).unwrap_or_default();
            doing.message = format!("version {version} runs");
        }
        Turn::Now(doing)
    }

    /// A restart by annotation is no new version: it passes natively, and the stable hash follows it. So does the way back from a
    /// native rollout that somebody has ended halfway by asking for the stable version again.
    fn native_restart(&mut self) -> Option<Doing> {
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
                Some(_) | None => {
                    running = true;
                    let ours = deployment.marks.contains_key(PAUSED_BY) || deployment.marks.contains_key(HOLD);
                    let goal = DeploymentGoal { paused: ours.then_some(false), ..DeploymentGoal::default() };
                    doing.writes.extend(write::deployment(&self.plan.name, deployment, &goal));
                    doing.message = match (torn, ours) {
                        (false, _) => format!("Deployment {} restarts natively", deployment.name),
                        (true, true) => format!("Deployment {} goes back natively", deployment.name),
                        (true, false) => format!("Deployment {} is paused halfway: resume it", deployment.name),
                    };
                }
            }
        }
        running.then_some(doing)
    }

    /// The wanted version is blocked: the stable one runs.
    fn stay_back(&mut self, message: &str) -> Doing {
        let going = self.next.going_back.clone();
        let kept = going
            .as_ref()
            .and_then(|g| g.finished.as_ref()?.0.checked_add(jiff::SignedDuration::from(g.keep_candidate)).ok());
        let keep = if kept.is_some_and(|until| until > self.now) { Keep::AsItIs } else { Keep::Gone };
        let mut doing = self.clear(keep);
        // Why it went back is what people look for, also while it clears up; what hinders that, too.
        let hindrance = if doing.waits == Waits::Mending { format!("; {}", doing.message) } else { String::new() };
        let mend = "change the spec, go back to the stable version, or decide Retry";
        doing.message = format!("{message}{hindrance}; {mend}");
        doing.waits = Waits::Mending;
        if keep == Keep::AsItIs {
            doing.wake = earliest(doing.wake, kept);
        }
        doing
    }

    /// Clears what a release has left, down to the finalizer.
    fn clear(&self, keep: Keep) -> Doing {
        let Some(stable) = self.next.stable.as_ref() else { return Doing::default() };
        let others = [self.next.candidate.as_ref(), self.next.previous.as_ref()];
        let joined = self.each(|scene, index| {
            let Some(live) = stable.workloads.get(index) else { return crate::converge::Round::default() };
            let parts = others.iter().flatten().filter_map(|other| other.workloads.get(index));
            let other = parts
                .filter(|part| part.hash != live.hash)
                .find(|part| scene.view.replica_sets.iter().any(|rs| rs.hash == part.hash && rs.role.is_some()));
            settle(scene, live, other, keep, 0)
        });
        let mut doing = Doing { wake: joined.wake, ..Doing::default() };
        if let Some((message, waits)) = joined.pending() {
            doing.message = message;
            doing.waits = if waits { Waits::Machines } else { Waits::Mending };
        }
        let done = joined.done();
        doing.writes = joined.writes;
        if !doing.writes.is_empty() && doing.message.is_empty() {
            doing.message = "clearing up".into();
            doing.waits = Waits::Machines;
        } else if done && keep == Keep::Gone && !self.holds() {
            doing.writes.extend(self.finalizer(false));
            doing.message = "nothing is left of the last release".into();
        }
        doing
    }

    /// Whether a Deployment is held: then the Release is not free to go.
    fn holds(&self) -> bool {
        let mut deployments = self.world.workloads.iter().filter_map(|view| view.deployment.as_ref());
        deployments.any(|deployment| deployment.marks.contains_key(HOLD))
    }

    /// Whether every workload that changes goes to a version that its Deployment has in its history, and that was not left
    /// for good reason: that one may start again, but like any other.
    fn is_earlier(&self, wanted: &Wanted) -> bool {
        let Some(stable) = &self.next.stable else { return false };
        if self.next.blocked.iter().any(|blocked| blocked.revision == wanted.revision) {
            return false;
        }
        let parts = wanted.workloads.iter().zip(&stable.workloads).zip(&self.world.workloads);
        parts
            .into_iter()
            .filter(|((w, s), _)| w.digest != s.digest)
            .all(|((w, _), view)| view.replica_sets.iter().any(|rs| rs.controlled && rs.version == w.digest))
    }

    /// The spec returns to an earlier version after promotion: a rollback, without gates.
    fn return_to(&mut self, wanted: &Wanted) -> Turn {
        let target = self.revision(wanted);
        let message = format!("the spec returned to version {}", wanted.version);
        self.leave_stable(target, GoingBackCause::ReturnedToEarlierVersion, message);
        Turn::Again
    }

    /// Whether a version's pods can be made again.
    pub(super) fn restorable(&self, revision: &RevisionStatus) -> bool {
        self.world.workloads.iter().zip(&revision.workloads).all(|(view, part)| {
            view.replica_sets.iter().any(|rs| rs.hash == part.hash && !rs.deleting)
                || view.saved.iter().any(|saved| saved.hash == part.hash)
        })
    }

    /// A person wants the version before the stable one.
    pub(super) fn roll_back_to_previous(&mut self, signed: &str) -> Turn {
        let Some(previous) = self.next.previous.clone() else {
            self.event("RollbackRefused", true, "there is no version before the stable one");
            return Turn::Again;
        };
        if !self.restorable(&previous) {
            let mend = "ask for it in the spec";
            let note = format!("version {} is not in the history of its Deployment any more: {mend}", previous.version);
            let decisions = self.next.decisions.iter_mut().rev();
            if let Some(decision) = decisions.into_iter().find(|decision| decision.verdict == Verdict::Rollback) {
                decision.refused = Some(note.clone());
            }
            self.event("RollbackRefused", true, note);
            return Turn::Again;
        }
        let message = format!("rolled back to version {} {signed}", previous.version);
        self.leave_stable(previous, GoingBackCause::RollbackRequested, message);
        Turn::Again
    }

    /// The Deployment has not run any version yet, or one that nobody has recorded.
    fn first(&mut self, wanted: &Wanted) -> Turn {
        let mut doing = Doing { waits: Waits::Machines, ..Doing::default() };
        for (work, view) in self.plan.workloads.iter().zip(&self.world.workloads) {
            doing.writes.extend(dismantle(work, view));
        }
        if !doing.writes.is_empty() {
            doing.message = "giving back routes and Services of an earlier release".into();
            return Turn::Now(doing);
        }
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
        doing.message = "the first version rolls out natively: waiting for its Deployment to be complete".into();
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
                let images = if ours { crate::revision::images_to_set(work, deployment) } else { None };
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
        self.wanted = crate::revision::wanted(self.plan, self.world, self.next.stable.as_ref());
        Some(Turn::Again)
    }

    /// Takes what runs as stable.
    fn found(&mut self, wanted: &Wanted, workloads: Vec<WorkloadRevision>) {
        let same = workloads.iter().zip(&wanted.workloads).all(|(own, wanted)| own.digest == wanted.digest);
        let views = self.world.workloads.iter().zip(&workloads);
        let running = views.flat_map(|(view, own)| view.replica_sets.iter().filter(|rs| rs.hash == own.hash));
        let tag = running.flat_map(|rs| rs.images.values()).next().map(|image| crate::revision::tag(image));
        let revision = crate::revision::digest_of(&workloads);
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

    /// The spec cannot work: all faults, nothing touched.
    fn invalid(&mut self) -> Doing {
        self.enter(Phase::Invalid);
        Doing { message: self.faults.join("; "), waits: Waits::Mending, ..Doing::default() }
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
    let whole = deployment.replicas > 0 && own.replicas == deployment.replicas && own.available >= own.replicas;
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
