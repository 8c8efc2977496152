//! What each object of one workload should look like, and the writes towards it that are safe now.
//!
//! Level-triggered: nothing is remembered but what the status holds; each round looks at the world and finds the next
//! writes. A crash between any two of them leaves traffic served, because nothing loses capacity before traffic has left.
//!
//! Two goals cover all phases. *Split* has both versions side by side; *settle* ends with one of them, the live one,
//! whichever that is, so promotion and going back are the same code in two directions:
//!
//! ```text
//!            Deployment   stable Service   canary Service   route
//! at rest    controls A   selects A        -                stable 100
//! split      controls A   pinned to A      selects B        stable 90, canary 10
//! settle B   controls A   pinned to A      selects B        canary 100       B at full scale
//!            gap          pinned to A      selects B        canary 100       A released
//!            controls B   pinned to A      selects B        canary 100       B adopted
//!            controls B   pinned to B      selects B        canary 100
//!            controls B   pinned to B      -                stable 100       A beside (bake), then history
//! at rest    controls B   selects B        -                stable 100
//! ```

mod settle;
mod split;

use jiff::Timestamp;
use lockkeeper_api::{names::POD_TEMPLATE_HASH, release::WorkloadRevision};

use crate::{
    plan::{Plan, Services, WorkloadPlan},
    traffic,
    world::{DeploymentView, ReplicaSetView, Role, RouteView, ServiceView, WorkloadView},
    write::{self, Kind, Seen, Write},
};

pub use settle::{Keep, clear_away, dismantle, settle};
pub use split::split;

/// What a workload's convergence looks at.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The workload's part of it.
    pub work: &'a WorkloadPlan,
    /// The workload as observed.
    pub view: &'a WorkloadView,
    /// The Deployment.
    pub deployment: &'a DeploymentView,
    /// The revision by which the Deployment is held.
    pub hold: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pending {
    /// Pods, or the gateway: the progress deadline counts.
    Progress(String),
    /// Something that no waiting mends.
    Broken(String),
}

/// One round of convergence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    /// The writes that are safe now, in this order; the rest follows when they are seen.
    pub writes: Vec<Write>,
    /// What is waited for, if the goal is not reached.
    pub pending: Option<Pending>,
    /// When waiting ends by itself.
    pub wake: Option<Timestamp>,
    /// Whether all traffic has been confirmed to be where the goal wants it, and the Deployment controls the version
    /// that carries it. Cleaning up may still go on.
    pub served: bool,
}

impl Round {
    /// One or more writes that have to be seen before anything else is decided.
    pub fn write(writes: impl IntoIterator<Item = Write>) -> Self {
        Self { writes: writes.into_iter().collect(), ..Self::default() }
    }

    fn wait(what: impl Into<String>) -> Self {
        Self { pending: Some(Pending::Progress(what.into())), ..Self::default() }
    }

    /// A round that no waiting mends.
    pub fn broken(why: impl Into<String>) -> Self {
        Self { pending: Some(Pending::Broken(why.into())), ..Self::default() }
    }

    /// Whether nothing is left to do.
    pub fn done(&self) -> bool {
        self.writes.is_empty() && self.pending.is_none()
    }
}

/// What the data plane says of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Confirmation {
    Confirmed,
    Settling(Timestamp),
    NotAccepted,
}

impl<'a> Scene<'a> {
    pub fn replica_set(&self, hash: &str) -> Option<&'a ReplicaSetView> {
        self.view.replica_sets.iter().find(|rs| rs.hash == hash)
    }

    fn service(&self, name: &str) -> Option<&'a ServiceView> {
        self.view.services.get(name)
    }

    fn services(&self) -> Option<&'a Services> {
        self.work.services.as_ref()
    }

    /// The stable Service and those that share its pods: all that are pinned.
    fn pinned(&self) -> impl Iterator<Item = &'a ServiceView> {
        self.pinned_names().filter_map(|name| self.view.services.get(name))
    }

    fn pinned_names(&self) -> impl Iterator<Item = &'a String> {
        self.work.services.iter().map(|services| &services.stable).chain(&self.work.pins)
    }

    fn routes(&self) -> impl Iterator<Item = &'a RouteView> {
        self.work.routes.iter().filter_map(|name| self.view.routes.get(name))
    }

    /// The largest share of the candidate's Service in any route, in percent.
    fn most(&self) -> u8 {
        let Some(services) = self.services() else { return 0 };
        self.routes().map(|r| traffic::seen(&r.rules, services.backends()).most).max().unwrap_or(0)
    }

    /// Whether the version that the Deployment does not control has traffic: by a route, or by its pods alone.
    pub fn exposed(&self) -> bool {
        let candidates = self.view.replica_sets.iter().filter(|rs| rs.role == Some(Role::Candidate));
        self.most() > 0 || (!self.work.routed() && candidates.map(|rs| rs.available).sum::<u32>() > 0)
    }

    /// Edits of the routes that do not yet carry this share; none is the user's own route.
    fn weigh(&self, share: Option<u8>) -> Vec<Write> {
        let Some(services) = self.services() else { return Vec::new() };
        // A gateway never accepts a route that names a Service which is not there; without a share nobody needs it.
        let absent = self.service(&services.canary).is_none();
        let share = share.filter(|share| *share > 0 || !absent);
        let purpose = share.map_or_else(|| "give back the route".to_owned(), |share| format!("set weight {share}"));
        self.routes()
            .filter(|route| !route.deleting)
            .filter_map(|route| {
                let rules = traffic::edit(&route.rules, services.backends(), share);
                (!rules.is_empty()).then(|| write::route(route, &rules, purpose.clone()))
            })
            .collect()
    }

    /// Whether every gateway has accepted the routes as they are, and the data plane has had its time.
    fn confirmation(&self) -> Confirmation {
        let mut latest: Option<Timestamp> = None;
        for route in self.routes() {
            let Some(accepted) = route.accepted else { return Confirmation::NotAccepted };
            latest = latest.max(Some(accepted));
        }
        let Some(accepted) = latest else { return Confirmation::Confirmed };
        let until = accepted.checked_add(self.plan.setting.settle).unwrap_or(accepted);
        if until <= self.now { Confirmation::Confirmed } else { Confirmation::Settling(until) }
    }

    /// Whether a gateway says no to a route as it is.
    fn is_refused(&self) -> bool {
        self.routes().any(|route| route.complaint.is_some())
    }

    /// A round that waits for Services and routes that the plan names and nobody has made, or none if all are there.
    fn absent(&self) -> Option<Round> {
        let service = self.services().filter(|services| self.service(&services.stable).is_none());
        let service = service.map(|services| format!("Service {}", services.stable));
        let routes = self.work.routes.iter().filter(|name| !self.view.routes.contains_key(*name));
        let all: Vec<_> = service.into_iter().chain(routes.map(|name| format!("HTTPRoute {name}"))).collect();
        (!all.is_empty()).then(|| Round::wait(format!("waiting for {}, which does not exist", all.join(", "))))
    }

    /// A round that waits for the gateway, or none if it has confirmed.
    fn unconfirmed(&self) -> Option<Round> {
        match self.confirmation() {
            Confirmation::Confirmed => None,
            Confirmation::Settling(until) => {
                Some(Round { wake: Some(until), ..Round::wait("waiting for the data plane to settle") })
            }
            Confirmation::NotAccepted => {
                let complaint = self.routes().find_map(|r| r.complaint.as_ref().map(|c| format!(" ({}: {c})", r.name)));
                Some(Round::wait(format!(
                    "waiting for the gateway to accept {}{}",
                    self.work.routes.join(", "),
                    complaint.unwrap_or_default()
                )))
            }
        }
    }

    /// Until when a gateway may not know yet that a Service has ready pods; none if it has had its time.
    fn unknown_until(&self, service: &ServiceView) -> Option<Timestamp> {
        let until = service.ready_since?.checked_add(self.plan.setting.settle).ok()?;
        (until > self.now).then_some(until)
    }

    /// How many ready pods of a version a Service has.
    fn ready(&self, service: &ServiceView, replica_set: &ReplicaSetView) -> usize {
        service.ready.iter().filter(|pod| is_pod_of(pod, &replica_set.name)).count()
    }

    /// Writes that pin all Services to a version, as long as that has its pods.
    fn pin(&self, hash: &str) -> Vec<Write> {
        let version = || self.replica_set(hash).map(Seen::replica_set);
        self.pinned().filter(|s| !is_pinned(s, hash)).map(|s| write::pin(s, hash).resting_on(version())).collect()
    }

    /// Writes that pin all Services to the version that carries the traffic, from another one, while the canary Service holds it.
    fn change_over(&self, hash: &str) -> Vec<Write> {
        let rests_on = || self.weights().chain(self.replica_set(hash).map(Seen::replica_set));
        self.pinned().filter(|s| !is_pinned(s, hash)).map(|s| write::pin(s, hash).resting_on(rests_on())).collect()
    }

    /// The routes as they were seen, and that others were not there: what traffic the canary Service has.
    fn weights(&self) -> impl Iterator<Item = Seen> {
        let seen = |name: &'a String| {
            self.view.routes.get(name).map_or_else(|| Seen::absent(Kind::HTTPRoute, name), Seen::route)
        };
        self.work.routes.iter().map(seen)
    }

    /// Whether a version's ReplicaSet is one that we took from the Deployment, or made.
    pub fn is_left(&self, revision: &WorkloadRevision) -> bool {
        self.replica_set(&revision.hash).is_some_and(|rs| rs.role.is_some())
    }

    /// That a version's ReplicaSet was not there.
    fn no_replica_set(&self, revision: &WorkloadRevision) -> Seen {
        Seen::absent(Kind::ReplicaSet, format!("{}-{}", self.deployment.name, revision.hash))
    }

    /// All traffic for the version that the canary Service selects, because another one has no ReplicaSet.
    fn stand_in(&self, gone: &WorkloadRevision) -> Vec<Write> {
        self.weigh(Some(100)).into_iter().map(|write| write.resting_on([self.no_replica_set(gone)])).collect()
    }

    /// All by which traffic could go to a version that is about to lose its pods: a Service that is not there may come again, unpinned.
    fn traffic(&self) -> impl Iterator<Item = Seen> {
        let seen = |name: &'a String| {
            self.view.services.get(name).map_or_else(|| Seen::absent(Kind::Service, name), Seen::service)
        };
        self.weights().chain(self.pinned_names().map(seen))
    }

    /// ReplicaSets with pods that the Deployment may have been given meanwhile: it must never control two.
    fn rivals(&self, hash: &str) -> impl Iterator<Item = Seen> {
        let others = self.view.replica_sets.iter().filter(move |rs| rs.hash != hash);
        others.filter(|rs| rs.role.is_some() || rs.replicas > 0).map(Seen::replica_set)
    }

    /// Takes pods from a version that has no traffic.
    fn shrink(&self, replica_set: &ReplicaSetView, replicas: u32) -> Write {
        write::scale(replica_set, replicas).resting_on(self.traffic())
    }

    /// The Deployment's hold: paused, marked, with the images of the version on its way.
    pub fn hold(&self, images: Option<Vec<write::ContainerImage>>) -> Option<Write> {
        let goal = write::DeploymentGoal { hold: Some(self.hold.into()), paused: Some(true), leave: false, images };
        write::deployment(&self.plan.name, self.deployment, &goal)
    }

    /// What somebody has resumed in spite of the hold: ReplicaSets that the Deployment's controller has scaled up beside the
    /// version that carries the traffic. They are taken off, and then go like any candidate that is left. The history goes
    /// first: with nothing active left, the paused controller would scale the newest one up, which need not be the live one.
    fn take_off(&self, live: &str) -> Vec<Write> {
        let others = || self.view.replica_sets.iter().filter(|rs| rs.controlled && rs.hash != live);
        let detach = |role| move |rs| write::detach(&self.plan.name, self.deployment, rs, role);
        let resumed: Vec<_> = others().filter(|rs| rs.replicas > 0).map(detach(Role::Candidate)).collect();
        if resumed.is_empty() {
            return resumed;
        }
        others().filter(|rs| rs.replicas == 0).map(detach(Role::History)).chain(resumed).collect()
    }

    /// Another version with pods that nobody has put there by steps: taken off, or rolled out natively in the live one's place.
    pub fn stray(&self, live: &ReplicaSetView) -> Option<&'a ReplicaSetView> {
        let deposed = !live.controlled || (live.replicas == 0 && self.deployment.paused);
        let others = self.view.replica_sets.iter().filter(|rs| rs.hash != live.hash && rs.existing > 0);
        let stray = |rs: &&ReplicaSetView| rs.role.is_some() || (deposed && rs.controlled);
        others.filter(stray).max_by_key(|rs| rs.controlled)
    }

    /// Holds a Deployment that is not to act on its template, and undoes what it has done if it was resumed.
    pub fn hold_at(&self, live: &str) -> Vec<Write> {
        self.hold(None).into_iter().chain(self.take_off(live)).chain(self.leave_alone(live)).collect()
    }

    /// Whether the Deployment's template is of another version than this one, which its controller so would not make again.
    fn is_unasked(&self, live: &ReplicaSetView) -> bool {
        self.deployment.version_digest() != live.version
    }

    /// Whether the Deployment has made it of its own template, which is the live version's: restarted natively, and so to stay.
    fn is_restart(&self, replica_set: &ReplicaSetView, live: &ReplicaSetView) -> bool {
        replica_set.controlled && replica_set.digest == self.deployment.digest && !self.is_unasked(live)
    }

    /// Whether no pod is asked for, or was a moment ago, of a Deployment whose template is not what runs. When there are to be pods again, its
    /// controller gives them, paused or not, to the template's ReplicaSet, or else to the newest in the history: to a version that may
    /// have gone back.
    fn is_asleep(&self, live: &ReplicaSetView) -> bool {
        self.is_unasked(live) && !self.plan.deleting && (self.deployment.replicas == 0 || live.replicas == 0)
    }

    /// Takes the history off a Deployment while that asks for no pods, so that only the live version can get the next ones.
    fn leave_alone(&self, live: &str) -> Vec<Write> {
        let asleep = self.replica_set(live).is_some_and(|live| live.controlled && self.is_asleep(live));
        let history = self.view.replica_sets.iter().filter(|rs| asleep && rs.controlled && rs.hash != live);
        let history = history.filter(|rs| rs.replicas == 0 && !rs.deleting);
        history.map(|rs| write::detach(&self.plan.name, self.deployment, rs, Role::History)).collect()
    }

    /// Saves the template of what runs where nothing else makes it again. A Deployment whose images the Release carries gets them back.
    pub fn save_live(&self, live: &ReplicaSetView) -> Option<Write> {
        let stays = !self.plan.deleting && self.work.images.is_empty();
        (stays && self.is_unasked(live)).then(|| self.save(live)).flatten()
    }

    /// Saves a version's template unless it is saved.
    fn save(&self, replica_set: &ReplicaSetView) -> Option<Write> {
        if self.view.saved.iter().any(|saved| saved.hash == replica_set.hash) {
            return None;
        }
        let template = replica_set.template.as_ref()?.value();
        Some(write::save_template(&self.plan.name, self.deployment, &replica_set.hash, &template))
    }

    /// Whether the candidate has no ReplicaSet while the Deployment still controls the stable version's.
    pub fn is_unborn(&self, candidate: &WorkloadRevision, stable: &WorkloadRevision) -> bool {
        let controlled = self.replica_set(&stable.hash).is_some_and(|rs| rs.controlled);
        controlled && self.replica_set(&candidate.hash).is_none()
    }

    /// The candidate's ReplicaSet, from the Deployment's template.
    fn create_candidate(&self, candidate: &WorkloadRevision, replicas: u32) -> Write {
        let (deployment, role) = (self.deployment, Some(Role::Candidate));
        let template = deployment.template.value();
        write::create_replica_set(&self.plan.name, deployment, &candidate.hash, template, replicas, role)
    }

    /// Makes a ReplicaSet that somebody has deleted again: under the Deployment's control, unless that controls another, which it
    /// would then scale in proportion.
    fn recreate(&self, revision: &WorkloadRevision) -> Round {
        let taken = self.view.replica_sets.iter().any(|rs| rs.controlled && rs.replicas > 0);
        match self.view.saved.iter().find(|saved| saved.hash == revision.hash) {
            Some(saved) => {
                let create = write::create_replica_set(
                    &self.plan.name,
                    self.deployment,
                    &revision.hash,
                    saved.template.value(),
                    self.deployment.replicas,
                    taken.then_some(Role::Candidate),
                );
                Round::write([create.resting_on(self.rivals(&revision.hash))])
            }
            None => Round::broken(format!(
                "ReplicaSet {}-{} is gone and its template was not saved: roll out a version by hand",
                self.deployment.name, revision.hash
            )),
        }
    }
}

/// Whether a Service is pinned to this version: by its selector and by the mark that protects it.
fn is_pinned(service: &ServiceView, hash: &str) -> bool {
    service.selector.get(POD_TEMPLATE_HASH).is_some_and(|h| h == hash) && service.pin.as_deref() == Some(hash)
}

/// Whether a pod was made by a ReplicaSet: `<name>-<five characters>`, the name cut to 58 characters as Kubernetes does.
fn is_pod_of(pod: &str, replica_set: &str) -> bool {
    const BASE_MAX: usize = 58;
    let base = format!("{replica_set}-");
    let base = base.get(..BASE_MAX).unwrap_or(&base);
    pod.strip_prefix(base).is_some_and(|rest| rest.len() == 5 && !rest.contains('-'))
}

#[cfg(test)]
pub(crate) mod tests;
