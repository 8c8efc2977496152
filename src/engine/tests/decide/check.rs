//! The invariants of design section 4, looked at after every single write and after every pass of the controllers.

mod traffic;

use std::collections::BTreeSet;

use jiff::Timestamp;
use lockkeeper_api::{
    ReleaseStatus,
    decision::Verdict,
    deployment_window::Exposure,
    names::POD_TEMPLATE_HASH,
    release::{CanaryScale, OnClose, Phase, RevisionStatus, Step},
};
use lockkeeper_engine::{
    plan::{Plan, WorkloadPlan},
    window::{ReleaseFacts, evaluate},
    world::World,
    write::{Kind, Request, Write},
};

use crate::{
    cluster::{Cluster, number, owned},
    controllers::{SETTLES_AFTER, selected},
    happening::Happening,
};
use traffic::Traffic;

const EPSILON: f64 = 0.001;

/// Looks at everything that happens, and panics at the first broken promise.
#[derive(Clone, Debug, Default)]
pub struct Watchman {
    plan: Option<Plan>,
    status: ReleaseStatus,
    /// Why exposure must not grow now, as far as the operator could know.
    closed: Option<String>,
    /// The revisions seen so far: a blocked one is known by its digest only.
    seen: Vec<RevisionStatus>,
    /// Others have taken pods, pins or Services away, and it is not mended yet.
    hurt: bool,
    /// Others have changed how many pods there are, so pods may rightly go.
    disturbed: bool,
    /// Others have changed a route after the operator looked.
    raced: bool,
    /// The fewest ready pods that must be behind the Services with traffic at any moment.
    pub floor: usize,
}

impl Watchman {
    pub fn decided(
        &mut self,
        plan: &Plan,
        world: &World,
        before: &ReleaseStatus,
        next: &ReleaseStatus,
        now: Timestamp,
    ) {
        self.closed = closed(plan, world, before, next, now);
        let known = next.stable.iter().chain(&next.candidate).chain(&next.previous);
        for revision in known {
            if !self.seen.iter().any(|seen| seen.revision == revision.revision) {
                self.seen.push(revision.clone());
            }
        }
        self.raced = false;
        self.plan = Some(plan.clone());
        self.status = next.clone();
    }

    pub fn happens(&mut self, happening: &Happening) {
        match happening {
            Happening::Scale(..) | Happening::Restart(_) | Happening::Unpause(_) => self.disturbed = true,
            Happening::DeleteStable(_) | Happening::DeleteDeployment(_) => (self.disturbed, self.hurt) = (true, true),
            Happening::Fail(_)
            | Happening::RestoreService(_)
            | Happening::DeleteService(_)
            | Happening::DeleteRoute(_)
            | Happening::Apply(_) => {
                self.hurt = true;
            }
            Happening::RestoreRoute(_) => self.raced = true,
            Happening::Crash
            | Happening::RestoreImage(_)
            | Happening::Version(_)
            | Happening::Decide(_)
            | Happening::Approve(..)
            | Happening::Answer(_)
            | Happening::Freeze(_)
            | Happening::Suspend(_)
            | Happening::Steps(_)
            | Happening::DeleteRelease => {}
        }
    }

    /// After one write of ours.
    pub fn written(&mut self, before: &Cluster, after: &Cluster, write: &Write, log: &[String]) {
        for (index, work) in self.works() {
            let (was, is) = (Traffic { cluster: before, work: &work }, Traffic { cluster: after, work: &work });
            self.exposure(index, &was, &is, Some(write), log);
            self.floored(&is, log);
            self.starving(&was, &is, log);
            self.capacity(&was, write, log);
            self.flips(&was, &is, write, log);
            self.first_traffic(&was, &is, write, log);
            let active = |cluster: &Cluster| active(cluster, &work.deployment);
            if active(after) > active(before).max(1) {
                broken("S8: the Deployment controls two active ReplicaSets", log);
            }
        }
    }

    /// After one pass of the controllers.
    pub fn passed(&mut self, before: &Cluster, after: &Cluster, log: &[String]) {
        for (index, work) in self.works() {
            let (was, is) = (Traffic { cluster: before, work: &work }, Traffic { cluster: after, work: &work });
            if !self.hurt {
                self.exposure(index, &was, &is, None, log);
                self.starving(&was, &is, log);
            }
            self.floored(&is, log);
            self.killed(index, &is, before, log);
        }
    }

    /// The operator is away: what the controllers do meanwhile is none of its promises.
    pub fn away(&mut self) {
        self.disturbed = true;
    }

    /// When nothing more happens by itself: what others have hurt must be mended.
    pub fn quiet(&mut self, cluster: &Cluster, log: &[String]) {
        let mut mended = true;
        for (_, work) in self.works() {
            let traffic = Traffic { cluster, work: &work };
            // What data planes still have changes by itself.
            let starved = !traffic.starved(false).is_empty();
            let others = work.services.is_some()
                && cluster
                    .pods
                    .values()
                    .any(|pod| pod.ready.is_some() && pod.labels["app"] == work.deployment.as_str());
            let there = cluster.get(Kind::Service, &work.deployment).is_some()
                && cluster.get(Kind::Deployment, &work.deployment).is_some();
            if starved && traffic.replicas() > 0 && others && there && !matches!(self.status.phase, Phase::Invalid) {
                broken("S2: requests go to a Service without ready pods, and nothing is done about it", log);
            }
            mended &= !starved;
        }
        if mended {
            self.hurt = false;
        }
    }

    fn works(&self) -> Vec<(usize, WorkloadPlan)> {
        self.plan.iter().flat_map(|plan| plan.workloads.iter().cloned().enumerate()).collect()
    }

    fn hash(revision: Option<&RevisionStatus>, index: usize) -> Option<String> {
        Some(revision?.workloads.get(index)?.hash.clone())
    }

    /// S1, S4, S5.
    fn exposure(&self, index: usize, was: &Traffic<'_>, is: &Traffic<'_>, write: Option<&Write>, log: &[String]) {
        let stable = Self::hash(self.status.stable.as_ref(), index);
        let Some(stable) = stable else { return };
        let unserved = |traffic: &Traffic<'_>| {
            let service = traffic.work.services.as_ref().map(|services| &services.stable);
            service.is_some_and(|service| selected(traffic.cluster, service).is_empty())
        };
        if was.ready(&stable) == 0 || unserved(was) || !was.stands(&stable) {
            // Traffic goes where ready pods are.
            return;
        }
        let what = write.map_or("controllers", |write| write.purpose.as_str());
        if let Some(candidate) = Self::hash(self.status.candidate.as_ref(), index).filter(|hash| *hash != stable) {
            let (before, now) = (was.share(&candidate), is.share(&candidate));
            let grows = now > before + EPSILON;
            let limit = self.limit(before);
            if grows && is.work.routed() && now > limit + EPSILON {
                broken(&format!("S1: {what} exposes {now:.2} %, allowed are {limit} %"), log);
            }
            if grows && !is.work.routed() && limit == 0.0 {
                broken(&format!("S1: {what} exposes {now:.2} % by pod count, allowed are none"), log);
            }
            let confirmed = f64::from(self.status.weight.unwrap_or_default().confirmed);
            let stepping = matches!(self.status.phase, Phase::Progressing | Phase::Paused);
            if let (true, Some(why)) = (write.is_some() && grows && stepping && now > confirmed + EPSILON, &self.closed)
            {
                broken(&format!("S5: {what} exposes {now:.2} % while {why}"), log);
            }
        }
        for blocked in self.status.blocked.iter().filter(|blocked| !blocked.retried) {
            let revision = self.seen.iter().find(|seen| seen.revision == blocked.revision);
            // Where one of several workloads has changed since, the others' parts may be tried again.
            let tried = Self::hash(self.status.candidate.as_ref(), index);
            let again = self.status.candidate.as_ref().is_some_and(|candidate| candidate.revision != blocked.revision);
            let hash =
                Self::hash(revision, index).filter(|hash| *hash != stable && !(again && tried.as_ref() == Some(hash)));
            let Some(hash) = hash else { continue };
            if is.share(&hash) > was.share(&hash) + EPSILON {
                broken(&format!("S4: {what} gives weight to blocked {}", blocked.version), log);
            }
        }
    }

    /// The most that the candidate may have, in percent.
    fn limit(&self, before: f64) -> f64 {
        let steps = self.plan.as_ref().map(|plan| plan.steps.as_slice()).unwrap_or_default();
        match self.status.phase {
            Phase::Progressing | Phase::Paused => {
                let index = self.status.step.as_ref().map_or(0, |step| step.index as usize);
                let mut weights = steps.iter().take(index + 1).filter_map(|step| match step {
                    Step::SetWeight(weight) => Some(*weight),
                    Step::SetCanaryScale(_) | Step::Pause(_) | Step::Analysis(_) | Step::Approval(_) => None,
                });
                f64::from(weights.next_back().unwrap_or(0))
            }
            Phase::Promoting => 100.0,
            Phase::RollingBack => before,
            Phase::Stable
            | Phase::Waiting
            | Phase::Baking
            | Phase::RolledBack
            | Phase::Aborted
            | Phase::Rejected
            | Phase::Invalid => 0.0,
        }
    }

    /// S2: nobody's requests go where no pod is ready, if they went well before.
    fn starving(&self, was: &Traffic<'_>, is: &Traffic<'_>, log: &[String]) {
        let before = was.starved(true);
        if let Some(service) = is.starved(true).into_iter().find(|service| !before.contains(service)) {
            let scaled_away = is.replicas() == 0;
            if !self.hurt && !scaled_away {
                broken(&format!("S2: requests to {service} reach no ready pod"), log);
            }
        }
    }

    /// S2: as many pods as the Deployment asks for serve all the time, where a sentence says so.
    fn floored(&self, is: &Traffic<'_>, log: &[String]) {
        let Some(services) = &is.work.services else { return };
        let services = if is.work.routed() { is.weighted(false) } else { vec![services.stable.clone()] };
        // Those that are known: EndpointSlices may name pods that are gone, and not yet those that are there.
        let known = services.iter().filter_map(|service| is.cluster.endpoints.get(service)).flatten();
        let ready = |pod: &&String| is.cluster.pods.get(*pod).is_some_and(|pod| pod.ready.is_some());
        let serving: BTreeSet<_> = known.filter(ready).collect();
        if serving.len() < self.floor {
            broken(&format!("S2: {} pods serve, fewer than {}", serving.len(), self.floor), log);
        }
    }

    /// S2: a ReplicaSet that loses pods by our hand keeps what its traffic needs.
    fn capacity(&self, was: &Traffic<'_>, write: &Write, log: &[String]) {
        let Some(rs) = was.cluster.get(Kind::ReplicaSet, &write.name).filter(|_| write.kind == Kind::ReplicaSet) else {
            return;
        };
        if !rs["metadata"]["name"].as_str().unwrap().starts_with(&was.work.deployment) || self.scaled_by_user() {
            return;
        }
        let after = match &write.request {
            Request::Delete { .. } => 0,
            Request::Merge(patch) => match patch["spec"]["replicas"].as_u64() {
                Some(replicas) => replicas as u32,
                None => return,
            },
            Request::Create(_) | Request::Strategic(_) | Request::Json(_) => return,
        };
        if after >= number(&rs["spec"]["replicas"]) {
            return;
        }
        let hash = rs["spec"]["selector"]["matchLabels"][POD_TEMPLATE_HASH].as_str().unwrap();
        let share = if was.work.routed() { was.most(hash) } else { 0.0 };
        let needed = (share * f64::from(was.replicas()) / 100.0 - EPSILON).ceil();
        if f64::from(after) < needed {
            broken(&format!("S2: {} goes to {after} pods and still has {share:.0} % of the traffic", write.name), log);
        }
    }

    fn scaled_by_user(&self) -> bool {
        let steps = self.plan.iter().flat_map(|plan| &plan.steps);
        steps
            .into_iter()
            .any(|step| matches!(step, Step::SetCanaryScale(CanaryScale::Replicas(_) | CanaryScale::Weight(_))))
    }

    /// A Service changes from one version to another only without traffic.
    fn flips(&self, was: &Traffic<'_>, is: &Traffic<'_>, write: &Write, log: &[String]) {
        if write.kind != Kind::Service || !was.work.routed() || self.hurt || self.raced {
            return;
        }
        let hash = |traffic: &Traffic<'_>| {
            let service = traffic.cluster.get(Kind::Service, &write.name)?;
            service["spec"]["selector"][POD_TEMPLATE_HASH].as_str().map(str::to_owned)
        };
        if let (Some(from), Some(to)) = (hash(was), hash(is))
            && from != to
            && was.ready(&from) > 0
            && was.weighted(true).contains(&write.name)
        {
            broken(&format!("S2: Service {} changes from {from} to {to} under traffic", write.name), log);
        }
    }

    /// A gateway may take a route before it has heard of the pods behind it: first traffic waits for that.
    fn first_traffic(&self, was: &Traffic<'_>, is: &Traffic<'_>, write: &Write, log: &[String]) {
        let Some(services) = is.work.services.as_ref().filter(|_| write.kind == Kind::HTTPRoute && !self.hurt) else {
            return;
        };
        let weighted = |traffic: &Traffic<'_>, in_force| traffic.weighted(in_force).contains(&services.canary);
        let known =
            is.cluster.served.get(&services.canary).is_some_and(|since| *since + SETTLES_AFTER <= is.cluster.now);
        let urgent = selected(is.cluster, &services.stable).is_empty();
        if weighted(is, false) && !weighted(was, true) && !known && !urgent {
            broken(&format!("S2: {} gets its first traffic before gateways know it", services.canary), log);
        }
    }

    /// S7: no pod of the version that stays is killed.
    fn killed(&self, index: usize, is: &Traffic<'_>, before: &Cluster, log: &[String]) {
        let promoting = self.status.candidate.as_ref().filter(|_| self.status.phase == Phase::Promoting);
        // What serves nobody need not run twice until all workloads have taken over.
        let stable = self.status.stable.as_ref().filter(|_| promoting.is_none() || is.work.services.is_some());
        let staying = [Self::hash(stable, index), Self::hash(promoting, index)];
        let gone = before.pods.iter().filter(|(name, _)| !is.cluster.pods.contains_key(*name));
        for (name, pod) in gone {
            let hash = pod.labels[POD_TEMPLATE_HASH].as_str().map(str::to_owned);
            let own = pod.labels["app"] == is.work.deployment.as_str() && pod.ready.is_some();
            if own && staying.contains(&hash) && !self.disturbed && !self.scaled_by_user() {
                broken(&format!("S7: pod {name} of the version that stays was killed"), log);
            }
        }
    }
}

/// How many ReplicaSets with pods a Deployment controls.
fn active(cluster: &Cluster, deployment: &str) -> usize {
    let Some(deployment) = cluster.get(Kind::Deployment, deployment) else { return 0 };
    let uid = deployment["metadata"]["uid"].as_str().unwrap();
    cluster.of(Kind::ReplicaSet).filter(|(_, rs)| owned(rs, uid, true) && number(&rs["spec"]["replicas"]) > 0).count()
}

/// Why exposure must not grow, told without the engine's gates.
fn closed(plan: &Plan, world: &World, before: &ReleaseStatus, next: &ReleaseStatus, now: Timestamp) -> Option<String> {
    let valid = || next.decisions.iter().filter(|decision| decision.refused.is_none() && !decision.spent);
    let overridden = valid().any(|decision| decision.until.as_ref().is_some_and(|until| until.0 > now));
    if overridden || valid().any(|decision| decision.verdict == Verdict::Promote) {
        return None;
    }
    if plan.suspend {
        return Some("suspended".into());
    }
    if let (Some(hold), Some(_)) = (&before.hold, &next.hold) {
        return Some(format!("held: {}", hold.message));
    }
    let facts =
        ReleaseFacts { namespace: &plan.namespace, labels: &plan.labels, namespace_labels: &world.namespace_labels };
    let window = evaluate(&world.windows, &facts, &plan.setting.operator_namespace, Exposure::Increase, now);
    let heeded = plan.gates.windows.on_close != OnClose::Continue;
    (heeded && !window.open).then_some(window.message)
}

fn broken(what: &str, log: &[String]) -> ! {
    let from = log.len().saturating_sub(80);
    panic!("{what}\n{}", log[from..].join("\n"));
}
