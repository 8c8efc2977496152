//! One version carries all traffic, and the Deployment controls it: promotion, bake, going back and rest.

use lockkeeper_api::{
    names::{HOLD, POD_TEMPLATE_HASH},
    release::WorkloadRevision,
};

use super::{Round, Scene, is_pinned};
use crate::{
    plan::{Services, WorkloadPlan},
    revision::images_that_differ,
    traffic,
    world::{ReplicaSetView, Role, ServiceView, WorkloadView},
    write::{self, ContainerImage, DeploymentGoal, Request, Seen, Write},
};

/// What becomes of the version that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It stays at the workload's scale, ready to take over again.
    Full,
    /// It stays as it is, to be looked at.
    AsItIs,
    /// It goes: into the Deployment's history if it was ever stable, else away.
    Gone,
}

/// One round towards `live` carrying everything. `share` is the part that the other version may keep meanwhile, in
/// percent, where traffic goes back gradually.
pub fn settle(
    scene: &Scene<'_>,
    live: &WorkloadRevision,
    other: Option<&WorkloadRevision>,
    keep: Keep,
    share: u8,
) -> Round {
    let Some(new) = scene.replica_set(&live.hash) else { return missing(scene, live) };
    let old = other.filter(|o| o.hash != live.hash).and_then(|other| scene.replica_set(&other.hash));
    let old = old.filter(|old| old.existing > 0).or_else(|| scene.stray(new)).or(old);
    if !swapped(new, old) {
        return swap(scene, new, old, other);
    }
    let beside = beside(scene, new, other);
    if !beside.is_empty() {
        return Round::write(beside);
    }
    if let Some(round) = bridge(scene, new, old, keep).or_else(|| restore_traffic(scene, new, old, share)) {
        return round;
    }
    let mut round = clean_up(scene, new, (old, other), keep);
    round.served = true;
    round
}

/// Whether the Deployment controls the live version and not the other. Versions that went back into the history have no
/// replicas; with none asked for at all, whoever is controlled will do.
fn swapped(new: &ReplicaSetView, old: Option<&ReplicaSetView>) -> bool {
    new.controlled && old.is_none_or(|old| !old.controlled || new.replicas > 0 || old.replicas == 0)
}

/// What else a paused Deployment runs leaves it, or it would scale that and the live version in proportion and end neither: the version before,
/// whose ReplicaSet somebody has made again, or one whose native rollout our pause has caught halfway. So does, paused or not, what runs of another
/// version that it asks for: somebody has resumed it, or the live version's ReplicaSet was not there for a moment.
fn beside(scene: &Scene<'_>, new: &ReplicaSetView, other: Option<&WorkloadRevision>) -> Vec<Write> {
    let deployment = scene.deployment;
    if scene.is_unasked(new) {
        return if scene.take_off(&new.hash).is_empty() { Vec::new() } else { scene.hold_at(&new.hash) };
    }
    if !deployment.paused || !deployment.is_kept() || new.replicas == 0 {
        return Vec::new();
    }
    let others = scene.view.replica_sets.iter().filter(|rs| rs.controlled && rs.hash != new.hash && rs.replicas > 0);
    let left = others.filter(|rs| !scene.is_restart(rs, new));
    // Only what has been stable once goes into the history.
    let role = |rs: &ReplicaSetView| {
        if other.is_some_and(|other| other.hash == rs.hash) { Role::Previous } else { Role::Candidate }
    };
    left.map(|rs| write::detach(&scene.plan.name, deployment, rs, role(rs))).collect()
}

/// The live ReplicaSet does not exist: make it again, and let traffic go where pods are ready.
fn missing(scene: &Scene<'_>, live: &WorkloadRevision) -> Round {
    let deployment = scene.deployment;
    let held = deployment.marks.contains_key(HOLD);
    if !held && scene.view.saved.is_empty() {
        let name = &deployment.name;
        if !deployment.paused {
            // At rest its controller makes it by itself.
            return Round::wait(format!("waiting for the ReplicaSet of {name}"));
        }
        if deployment.is_paused_by_others() {
            return Round::broken(format!(
                "the ReplicaSet of {name} is gone, and Deployment {name} is paused: resume it"
            ));
        }
    }
    let unsaved = scene.view.saved.iter().all(|saved| saved.hash != live.hash);
    if unsaved && deployment.version_digest() == live.digest {
        return Round::write([scene.create_candidate(live, deployment.replicas)]);
    }
    let mut round = scene.recreate(live);
    let other = scene.view.replica_sets.iter().find(|rs| rs.hash != live.hash && rs.available > 0);
    let canary = scene.services().and_then(|services| scene.service(&services.canary));
    match (other, canary) {
        (Some(other), Some(canary)) if scene.ready(canary, other) > 0 => {
            // Traffic first: its pods go now.
            round.writes.splice(0..0, scene.stand_in(live));
        }
        (Some(other), _) => round.writes.extend(scene.pin(&other.hash)),
        (None, _) => {}
    }
    round
}

/// Brings the live version to full scale, all traffic to it, and then the Deployment's control.
fn swap(
    scene: &Scene<'_>,
    new: &ReplicaSetView,
    old: Option<&ReplicaSetView>,
    other: Option<&WorkloadRevision>,
) -> Round {
    let deployment = scene.deployment;
    if new.controlled {
        // From the history: borrowed before it is scaled, or the Deployment would scale both.
        let hold = scene.hold(None);
        return Round::write(hold.into_iter().chain([write::detach(
            &scene.plan.name,
            deployment,
            new,
            Role::Candidate,
        )]));
    }
    let Some(old) = old.filter(|old| old.controlled) else {
        // The gap: the Deployment controls neither. Close it first.
        // What somebody has deleted, and made again, may be the Deployment's already.
        let gone = other.filter(|other| other.hash != new.hash && scene.replica_set(&other.hash).is_none());
        let gone = gone.map(|gone| scene.no_replica_set(gone));
        let attach = write::attach(deployment, new, None).resting_on(scene.rivals(&new.hash).chain(gone));
        return Round::write(detach_history(scene, new, None).into_iter().chain([attach]));
    };
    let mut writes: Vec<_> = scene.hold(None).into_iter().collect();
    // To one of them, and not to pods that have been deleted meanwhile.
    let kept = |s: &ServiceView| is_pinned(s, &old.hash) || (is_pinned(s, &new.hash) && new.available > 0);
    if !scene.pinned().all(kept) && old.available > 0 {
        writes.extend(scene.pin(&old.hash));
    }
    writes.extend(scene.save(old));
    if new.replicas < deployment.replicas {
        writes.push(write::scale(new, deployment.replicas));
    }
    if !writes.is_empty() {
        return Round::write(writes);
    }
    if new.available < deployment.replicas {
        let (available, wanted) = (new.available, deployment.replicas);
        return Round::wait(format!("waiting for pods: {available} of {wanted} of {} are available", new.name));
    }
    if let Some(round) = traffic_to(scene, new) {
        return round;
    }
    let mut writes = detach_history(scene, new, Some(old));
    writes.push(write::detach(&scene.plan.name, deployment, old, Role::Previous));
    writes.push(write::attach(deployment, new, None).resting_on(scene.rivals(&new.hash)));
    Round::write(writes)
}

/// History that is still attached: without an active ReplicaSet the paused controller would scale the newest one up.
fn detach_history(scene: &Scene<'_>, new: &ReplicaSetView, old: Option<&ReplicaSetView>) -> Vec<Write> {
    let history = scene.view.replica_sets.iter().filter(|rs| rs.controlled && rs.hash != new.hash);
    let history = history.filter(|rs| old.is_none_or(|old| rs.hash != old.hash));
    history.map(|rs| write::detach(&scene.plan.name, scene.deployment, rs, Role::History)).collect()
}

/// A round that brings all traffic to a version that the Deployment does not control yet, or none if it is there.
fn traffic_to(scene: &Scene<'_>, new: &ReplicaSetView) -> Option<Round> {
    let services = scene.services()?;
    if let Some(absent) = scene.absent() {
        return Some(absent);
    }
    let stable = scene.service(&services.stable)?;
    if scene.deployment.replicas == 0 {
        return None;
    }
    if !scene.work.routed() {
        return pin_alone(scene, new);
    }
    if is_pinned(stable, &new.hash) {
        let writes = scene.weigh(Some(0));
        return if writes.is_empty() { scene.unconfirmed() } else { Some(Round::write(writes)) };
    }
    let canary = match aimed(scene, services, stable, new) {
        Ok(canary) => canary,
        Err(round) => return Some(round),
    };
    let unknown = if scene.most() == 0 { scene.unknown_until(canary) } else { None };
    if unknown.is_some() || scene.ready(canary, new) < scene.deployment.replicas as usize {
        return Some(Round { wake: unknown, ..Round::wait(format!("waiting for endpoints of {}", new.name)) });
    }
    let writes = scene.weigh(Some(100));
    if writes.is_empty() { scene.unconfirmed() } else { Some(Round::write(writes)) }
}

/// Without routes, the pin is the switch.
fn pin_alone(scene: &Scene<'_>, new: &ReplicaSetView) -> Option<Round> {
    let writes = scene.pin(&new.hash);
    if !writes.is_empty() {
        return Some(Round::write(writes));
    }
    let waits =
        scene.pinned().any(|service| service.ready.is_empty() || scene.ready(service, new) != service.ready.len());
    (waits && scene.deployment.replicas > 0).then(|| Round::wait(format!("waiting for endpoints of {}", new.name)))
}

/// The canary Service, selecting this version.
fn aimed<'a>(
    scene: &Scene<'a>,
    services: &Services,
    stable: &ServiceView,
    new: &ReplicaSetView,
) -> Result<&'a ServiceView, Round> {
    let Some(canary) = scene.service(&services.canary) else {
        let mut own = stable.clone();
        own.selector.remove(POD_TEMPLATE_HASH);
        let create =
            write::create_canary_service(&scene.plan.name, scene.deployment, &own, &services.canary, &new.hash);
        return Err(Round::write([create]));
    };
    if canary.deleting {
        return Err(Round::wait(format!("waiting for Service {} to be deleted", canary.name)));
    }
    if canary.selector.get(POD_TEMPLATE_HASH) == Some(&new.hash) {
        return Ok(canary);
    }
    // It selects the version that is left. Without weight it may be turned round.
    let writes = scene.weigh(Some(0));
    if !writes.is_empty() && scene.most() > 0 {
        return Err(Round::write(writes));
    }
    match scene.unconfirmed() {
        Some(round) => Err(round),
        None => Err(Round::write([write::aim_canary_service(canary, &new.hash).resting_on(scene.weights())])),
    }
}

/// A round that lets the version before serve, or waits while it does: the promoted one has lost all its pods. It gets the traffic back
/// when it has all of them. What is on its way back never helps out.
fn bridge(scene: &Scene<'_>, new: &ReplicaSetView, old: Option<&ReplicaSetView>, keep: Keep) -> Option<Round> {
    let old = old.filter(|old| keep == Keep::Full && old.available > 0)?;
    let pinned = |version: &ReplicaSetView| scene.pinned().any(|service| is_pinned(service, &version.hash));
    let bridged = pinned(old) && scene.most() == 0;
    let wanted = scene.deployment.replicas;
    let lost = wanted > 0 && (new.available == 0 || (bridged && new.available < wanted));
    if !lost || !(pinned(new) || pinned(old)) {
        return None;
    }
    let mut writes = scene.pin(&old.hash);
    if scene.most() > 0 {
        writes.extend(scene.weigh(Some(0)));
    }
    if writes.is_empty() {
        Some(Round::wait(format!("waiting for pods of {}", new.name)))
    } else {
        Some(Round::write(writes))
    }
}

/// A round that brings all traffic through the user's own route and Service to the version that the Deployment
/// controls, or none if it is there.
fn restore_traffic(scene: &Scene<'_>, new: &ReplicaSetView, old: Option<&ReplicaSetView>, share: u8) -> Option<Round> {
    let services = scene.services()?;
    let both = old.is_some_and(|old| old.existing > 0);
    let Some(stable) = scene.service(&services.stable) else {
        // The candidate's Service keeps what it has until there is somewhere to go, or nobody wants a release any more.
        return match scene.most() {
            // Data planes may not have been told yet. A Release that goes does not wait for a gateway that refuses a route for its missing Service.
            0 if both => scene.unconfirmed().filter(|_| !(scene.plan.deleting && scene.is_refused())),
            0 => None,
            _ if scene.plan.deleting => Some(Round::write(scene.weigh(None))),
            _ => scene.absent(),
        };
    };
    // The version that it is pinned to may have been deleted meanwhile.
    let elsewhere = stable.selector.get(POD_TEMPLATE_HASH).is_some_and(|hash| *hash != new.hash);
    // What both serve is not one version's until that can carry it alone.
    let shared = both && !elsewhere && stable.pin.is_none();
    if shared && new.available < scene.deployment.replicas {
        return Some(Round::wait(format!("waiting for pods of {}", new.name)));
    }
    if !scene.work.routed() {
        return if both || elsewhere { pin_alone(scene, new) } else { None };
    }
    if elsewhere || (both && !is_pinned(stable, &new.hash)) {
        // The canary Service holds the traffic while the stable one changes over.
        let carrier = scene
            .service(&services.canary)
            .filter(|canary| canary.selector.get(POD_TEMPLATE_HASH) == Some(&new.hash) && scene.ready(canary, new) > 0);
        let carried = carrier.is_some();
        if !carried && elsewhere && new.available > 0 && !stable.serves_nobody() {
            // It serves others now, and must not change over under traffic.
            let waiting = || Round::wait(format!("waiting for endpoints of {}", new.name));
            return Some(aimed(scene, services, stable, new).map_or_else(|round| round, |_| waiting()));
        }
        // Its first traffic waits until gateways know its pods, while others serve.
        let unknown = carrier.filter(|_| scene.most() == 0 && !stable.ready.is_empty());
        if let Some(until) = unknown.and_then(|canary| scene.unknown_until(canary)) {
            return Some(Round { wake: Some(until), ..Round::wait(format!("waiting for endpoints of {}", new.name)) });
        }
        let writes = if carried { scene.weigh(Some(100)) } else { Vec::new() };
        if !writes.is_empty() {
            return Some(Round::write(writes));
        }
        if carried && let Some(unconfirmed) = scene.unconfirmed() {
            return Some(unconfirmed);
        }
        return Some(match new.available {
            // Never to a version without a ready pod.
            0 if scene.deployment.replicas > 0 => Round::wait(format!("waiting for pods of {}", new.name)),
            _ => Round::write(scene.change_over(&new.hash)),
        });
    }
    let foreign = stable.ready.len() - scene.ready(stable, new);
    // A ReplicaSet that was deleted and made again has the last one's pods for a moment, which go.
    let remade = new.available == 0 && scene.deployment.min_ready_seconds == 0;
    let too_few = remade || scene.ready(stable, new) < (scene.deployment.replicas.min(new.available).max(1)) as usize;
    let leaving = scene.most() > 0;
    if leaving && scene.deployment.replicas > 0 && (too_few || (both && foreign > 0)) {
        return Some(Round::wait(format!("waiting for endpoints of {}", new.name)));
    }
    let share = share.min(scene.most());
    let writes = scene.weigh((share > 0).then_some(share));
    if !writes.is_empty() {
        return Some(Round::write(writes));
    }
    if share > 0 {
        return Some(Round::wait("traffic goes back gradually"));
    }
    // At rest nobody has to ask the gateway.
    if scene.service(&services.canary).is_some() || both { scene.unconfirmed() } else { None }
}

/// Removes what the release has left around the live version.
fn clean_up(
    scene: &Scene<'_>,
    new: &ReplicaSetView,
    (old, other): (Option<&ReplicaSetView>, Option<&WorkloadRevision>),
    keep: Keep,
) -> Round {
    let mut round = Round::default();
    if let Some(canary) = scene.services().and_then(|s| scene.service(&s.canary)).filter(|c| c.ours && !c.deleting) {
        round.writes.push(write::delete_service(canary).resting_on(scene.weights()));
    }
    let asleep = scene.is_asleep(new);
    let left = scene.view.replica_sets.iter().filter(|rs| rs.role.is_some() && rs.hash != new.hash && !rs.deleting);
    for rs in left.filter(|rs| !asleep || rs.role != Some(Role::History)) {
        let kept = old.is_some_and(|old| old.hash == rs.hash) && keep != Keep::Gone;
        if !kept {
            retire(scene, rs, new, &mut round);
        } else if keep == Keep::Full {
            let wanted = if scene.services().is_some() { scene.deployment.replicas } else { 0 };
            round.writes.extend((rs.replicas < wanted).then(|| write::scale(rs, wanted)));
            round.writes.extend((rs.replicas > wanted).then(|| scene.shrink(rs, wanted)));
        }
    }
    round.writes.extend(scene.leave_alone(&new.hash));
    if keep != Keep::Gone && old.is_some_and(|old| old.role.is_some()) || !round.done() {
        return round;
    }
    // What was just given back to the Deployment with its own template, and no pods, is no restart.
    let restarted = |rs: &ReplicaSetView| rs.replicas > 0 && scene.is_restart(rs, new);
    let others = scene.view.replica_sets.iter().filter(|rs| rs.hash != new.hash && !restarted(rs));
    if let Some(rs) = others.into_iter().find(|rs| rs.existing > 0) {
        // Unpinned now, the Services would send traffic to it.
        return Round::wait(format!("waiting for the pods of {} to end", rs.name));
    }
    // The version left, without pods or not there at all: whoever has just started may not have heard of it.
    let left = other.filter(|other| other.hash != new.hash);
    let left =
        || left.map(|left| scene.replica_set(&left.hash).map_or_else(|| scene.no_replica_set(left), Seen::replica_set));
    round.writes.extend(scene.pinned().filter(|s| s.pin.is_some()).map(|s| write::unpin(s).resting_on(left())));
    // As long as the Deployment is held its controller does not make again what somebody deletes.
    let held = !scene.plan.deleting && scene.is_unasked(new);
    let saved = scene.view.saved.iter().filter(|saved| !held || saved.hash != new.hash);
    round.writes.extend(saved.map(write::delete_saved));
    if round.done() {
        give_back(scene, new, &mut round);
    }
    round
}

/// Lets a ReplicaSet that is no longer needed go.
fn retire(scene: &Scene<'_>, rs: &ReplicaSetView, live: &ReplicaSetView, round: &mut Round) {
    let twin = scene.view.replica_sets.iter().any(|o| o.controlled && o.digest == rs.digest);
    let was_stable = rs.borrowed || rs.role != Some(Role::Candidate);
    if was_stable && !twin {
        let emptied = (rs.replicas > 0).then_some(0);
        // If the live version has no pods by now, a Deployment with another template would give the next ones to this one.
        let awake = scene.is_unasked(live).then(|| Seen::replica_set(live));
        let attach = write::attach(scene.deployment, rs, emptied);
        round.writes.push(attach.resting_on(scene.traffic().chain(awake)));
    } else if rs.replicas > 0 {
        round.writes.push(scene.shrink(rs, 0));
    } else if rs.existing > 0 {
        round.pending = Some(super::Pending::Progress(format!("waiting for the pods of {} to end", rs.name)));
    } else {
        round.writes.push(write::delete_replica_set(rs));
    }
}

/// Gives the Deployment back to its controller, if it wants what runs; else it stays held, or, when the Release goes,
/// paused without our marks, for its owner to resume.
fn give_back(scene: &Scene<'_>, new: &ReplicaSetView, round: &mut Round) {
    let deployment = scene.deployment;
    let leave = scene.plan.deleting;
    if scene.is_unasked(new) {
        let images = images_back(scene, new);
        let goal = if leave && images.is_none() {
            DeploymentGoal { leave, ..DeploymentGoal::default() }
        } else {
            DeploymentGoal { hold: Some(scene.hold.into()), paused: Some(true), leave: false, images }
        };
        round.writes.extend(write::deployment(&scene.plan.name, deployment, &goal));
        return;
    }
    // After a restart by annotation meanwhile there is nothing to count yet: that rolls out natively from here.
    let counted = deployment.updated == deployment.replicas || deployment.digest != new.digest;
    let current = deployment.current && counted;
    if deployment.is_kept() && !current {
        round.pending =
            Some(super::Pending::Progress(format!("waiting for Deployment {} to count its pods", deployment.name)));
        return;
    }
    let paused = scene.plan.setting.paused_at_rest && !leave;
    let goal = DeploymentGoal { hold: None, paused: Some(paused), leave, images: None };
    round.writes.extend(write::deployment(&scene.plan.name, deployment, &goal));
}

/// Where the Release carries the version, the images of the live one.
fn images_back(scene: &Scene<'_>, new: &ReplicaSetView) -> Option<Vec<ContainerImage>> {
    let images =
        scene.work.images.keys().filter_map(|name| Some((name.clone(), new.images.get(name)?.clone()))).collect();
    images_that_differ(&images, scene.deployment)
}

/// The Deployment is gone: route and Services go back to what the user wrote, and our own Service goes.
pub fn dismantle(work: &WorkloadPlan, view: &WorkloadView) -> Vec<Write> {
    let mut writes = Vec::new();
    let Some(services) = &work.services else { return writes };
    for route in view.routes.values() {
        let rules = traffic::edit(&route.rules, services.backends(), None);
        if !rules.is_empty() {
            writes.push(write::route(route, &rules, "give back the route".into()));
        }
    }
    writes.extend(view.services.values().filter(|s| s.pin.is_some()).map(write::unpin));
    if writes.is_empty() {
        let canary = view.services.get(&services.canary).filter(|c| c.ours && !c.deleting);
        let weights = || view.routes.values().map(Seen::route);
        writes.extend(canary.map(|canary| write::delete_service(canary).resting_on(weights())));
    }
    writes
}

/// The same for a Deployment that is still there: our own Service goes when no gateway can send traffic to it any more.
pub fn clear_away(scene: &Scene<'_>) -> Round {
    let writes = dismantle(scene.work, scene.view);
    let deletes = writes.iter().any(|write| matches!(write.request, Request::Delete { .. }));
    scene.unconfirmed().filter(|_| deletes).unwrap_or_else(|| Round::write(writes))
}
