//! Both versions side by side: the candidate at its scale, the routes at its weight.

use lockkeeper_api::{names::POD_TEMPLATE_HASH, release::WorkloadRevision};

use super::{Round, Scene, is_pinned};
use crate::{
    plan::Target,
    revision::images_to_set,
    world::{ReplicaSetView, Role, ServiceView},
    write::{self, Seen, Write},
};

/// One round towards the candidate beside the stable version, at the target's scale and weight; while it is `shut`, neither grows.
pub fn split(
    scene: &Scene<'_>,
    stable: &WorkloadRevision,
    candidate: &WorkloadRevision,
    target: &Target,
    shut: bool,
) -> Round {
    if stable.hash == candidate.hash {
        return Round { served: true, ..Round::default() };
    }
    // First the Deployment: it must not act on the new template.
    let mut held: Vec<_> = scene.hold(images_to_set(scene.work, scene.deployment)).into_iter().collect();
    held.extend(scene.take_off(&stable.hash));
    held.extend(scene.leave_alone(&stable.hash));
    if !held.is_empty() {
        return Round::write(held);
    }
    let Some(old) = scene.replica_set(&stable.hash) else { return without_stable(scene, stable, candidate) };
    if let Some(unheard) = unheard(scene, candidate) {
        return unheard;
    }
    let mut writes = Vec::new();
    writes.extend(scene.save(old));
    let asked = target.replicas(scene.deployment.replicas, scene.work.routed());
    let new = match candidate_set(scene, old, candidate, if shut { 0 } else { asked }) {
        Ok(new) => new,
        Err(mut round) => {
            // The other preparations do not depend on it: they come first, since its pods come with it.
            round.writes.splice(0..0, writes.into_iter().chain(prepare(scene, old, candidate, target)));
            return round;
        }
    };
    writes.extend(prepare(scene, old, candidate, target));
    if !writes.is_empty() {
        return Round::write(writes);
    }
    shift(scene, old, new, target, shut)
}

/// Before anything else begins: a round that waits to hear what the Deployment's controller has done until it was paused, or none if that is known.
/// A ReplicaSet that it has begun natively completes the rollout in spite of the pause when its pods get ready, and those of the stable version go:
/// it has to be taken off before a Service is pinned to that.
fn unheard(scene: &Scene<'_>, candidate: &WorkloadRevision) -> Option<Round> {
    let deployment = scene.deployment;
    let begun = scene.replica_set(&candidate.hash).is_some() || scene.pinned().any(|service| service.pin.is_some());
    let own = scene.view.replica_sets.iter().filter(|rs| rs.controlled && rs.digest == deployment.digest);
    let heard = deployment.current && deployment.updated <= own.map(|rs| rs.existing).sum();
    (!begun && !heard).then(|| Round::wait(format!("waiting for Deployment {} to be held", deployment.name)))
}

/// The candidate's ReplicaSet, or the round that makes it with so many pods, or borrows it.
fn candidate_set<'a>(
    scene: &Scene<'a>,
    old: &ReplicaSetView,
    candidate: &WorkloadRevision,
    replicas: u32,
) -> Result<&'a ReplicaSetView, Round> {
    let deployment = scene.deployment;
    match scene.replica_set(&candidate.hash) {
        Some(new) if new.deleting => {
            // Its pods go one after the other: traffic leaves before.
            let leaves = scene.most() > 0 && old.available > 0;
            let writes = if leaves { scene.weigh(Some(0)) } else { Vec::new() };
            Err(Round { writes, ..Round::wait(format!("waiting for ReplicaSet {} to be deleted", new.name)) })
        }
        Some(new) if new.controlled => {
            Err(Round::write([write::detach(&scene.plan.name, deployment, new, Role::Candidate)]))
        }
        // A restart by annotation is the same version; it follows when the Deployment is given back.
        Some(new) if new.version != deployment.version_digest() => Err(Round::broken(format!(
            "ReplicaSet {} differs from the Deployment's template: an admission policy changes ReplicaSets; exempt it",
            new.name
        ))),
        Some(new) => Ok(new),
        None => Err(Round::write([scene.create_candidate(candidate, replicas)])),
    }
}

/// Pins and the canary Service: both must stand before a candidate's pod can become ready.
fn prepare(scene: &Scene<'_>, old: &ReplicaSetView, candidate: &WorkloadRevision, target: &Target) -> Vec<Write> {
    let Some(services) = scene.services() else { return Vec::new() };
    let mut writes = Vec::new();
    if !scene.work.routed() && target.weight > 0 {
        // By pod count both versions stand behind the stable Service.
        writes.extend(scene.pinned().filter(|s| s.pin.is_some()).map(write::unpin));
        return writes;
    }
    // Whichever is known first: a watch that lags must not let the candidate's pods share the stable Service.
    let stable = scene.service(&services.stable);
    let serves = old.available > 0 || stable.is_some_and(|stable| scene.ready(stable, old) > 0);
    if serves {
        writes.extend(scene.pin(&old.hash));
    } else if scene.view.replica_sets.iter().any(|rs| rs.role == Some(Role::Candidate) && rs.hash != candidate.hash) {
        // A resumed Deployment has drained the stable version: traffic goes where pods are until it stands again.
        writes.extend(scene.pinned().filter(|s| s.pin.is_some()).map(write::unpin));
    } else if scene.work.routed() && stable.is_some_and(ServiceView::serves_nobody) {
        // A pin takes nothing from anybody, and when the stable version stands again the candidate's pods may be ready before a pin is made.
        writes.extend(scene.pin(&old.hash));
    }
    if !scene.work.routed() {
        return writes;
    }
    match scene.service(&services.canary) {
        None => {
            // Its share fails while it is gone, and gateways hear late of one that is made again: it gets its first traffic anew.
            if serves && scene.most() > 0 {
                writes.extend(scene.weigh(Some(0)));
            }
            if let Some(stable) = scene.service(&services.stable) {
                let mut unpinned = stable.clone();
                unpinned.selector.remove(POD_TEMPLATE_HASH);
                let (name, hash) = (&services.canary, &candidate.hash);
                writes.push(write::create_canary_service(&scene.plan.name, scene.deployment, &unpinned, name, hash));
            }
        }
        Some(canary) if canary.selector.get(POD_TEMPLATE_HASH) != Some(&candidate.hash) => {
            writes.extend(
                (scene.most() == 0)
                    .then(|| write::aim_canary_service(canary, &candidate.hash).resting_on(scene.weights())),
            );
        }
        Some(_) => {}
    }
    writes
}

/// Scale, then weight; the other way round on the way down.
fn shift(scene: &Scene<'_>, old: &ReplicaSetView, new: &ReplicaSetView, target: &Target, shut: bool) -> Round {
    let asked = target.replicas(scene.deployment.replicas, scene.work.routed());
    let wanted = if shut { asked.min(new.replicas) } else { asked };
    let most = scene.most();
    // Without pods it carries nothing, whatever the weight.
    let weight = if wanted == 0 { 0 } else { target.weight };
    let share = allowed(scene, old, new, weight, if shut { u32::MAX } else { wanted });
    // Its first traffic waits until gateways know its pods; with pods of the stable version there is no hurry.
    let canary = scene.services().and_then(|services| scene.service(&services.canary));
    let unknown = canary.filter(|_| most == 0 && old.available > 0).and_then(|canary| scene.unknown_until(canary));
    let share = if unknown.is_some() { 0 } else { share };
    let mut round = Round::default();
    if share > 0 || most > 0 {
        round.writes = scene.weigh(Some(share));
    }
    if share > most {
        // Its endpoints are those of the Service that was seen: one that has been made again since may have none yet.
        let mut seen: Vec<_> = canary.map(Seen::service).into_iter().collect();
        // More than the step's it has in place of a stable version without pods, which may have some again.
        seen.extend((share > weight).then(|| Seen::replica_set(old)));
        round.writes = round.writes.into_iter().map(|write| write.resting_on(seen.clone())).collect();
    }
    if new.replicas < wanted {
        round.writes.push(write::scale(new, wanted));
    }
    if old.available >= scene.deployment.replicas {
        round.writes.extend(leftovers(scene, new));
    }
    if !round.writes.is_empty() {
        return round;
    }
    // Whatever else is waited for: when gateways know its pods, these may have to serve alone.
    if let Some(absent) = scene.absent() {
        return Round { wake: unknown, ..absent };
    }
    if new.available < wanted {
        let pods = format!("waiting for pods: {} of {wanted} of {} are available", new.available, new.name);
        return Round { wake: unknown, ..Round::wait(pods) };
    }
    if share != weight && scene.work.routed() {
        return Round { wake: unknown, ..Round::wait(format!("waiting for endpoints of {}", new.name)) };
    }
    if let Some(unconfirmed) = scene.unconfirmed() {
        return unconfirmed;
    }
    // Traffic has left: the capacity may follow, unless the next step needs it.
    let surplus = (new.replicas > wanted).then(|| scene.shrink(new, wanted));
    Round { served: true, writes: surplus.into_iter().collect(), ..Round::default() }
}

/// Other candidates, which a resumed Deployment has started: the stable version does without them.
fn leftovers(scene: &Scene<'_>, new: &ReplicaSetView) -> Vec<Write> {
    let others = scene.view.replica_sets.iter().filter(|rs| rs.role == Some(Role::Candidate) && rs.hash != new.hash);
    others.filter(|rs| rs.replicas > 0).map(|rs| scene.shrink(rs, 0)).collect()
}

/// The share that the candidate can carry now: the target's when all of its pods are ready, never more than before
/// while they are not, and nothing without a ready pod. A stable version without pods leaves everything to the candidate.
fn allowed(scene: &Scene<'_>, old: &ReplicaSetView, new: &ReplicaSetView, weight: u8, wanted: u32) -> u8 {
    let Some(services) = scene.services().filter(|_| scene.work.routed()) else { return 0 };
    let ready = scene.service(&services.canary).map_or(0, |canary| scene.ready(canary, new));
    let unserved = scene.service(&services.stable).is_none_or(|stable| {
        let served = if is_pinned(stable, &old.hash) { scene.ready(stable, old) } else { stable.ready.len() };
        // Endpoints that nobody has heard of yet are about to come, if there are pods.
        served == 0 && (stable.heard || old.available == 0)
    });
    if ready == 0 {
        return 0;
    }
    // With none asked for, nobody is to be served.
    if unserved && scene.deployment.replicas > 0 {
        return 100;
    }
    let complete = new.available >= wanted && ready >= wanted.min(new.replicas) as usize;
    if complete { weight } else { weight.min(scene.most()) }
}

/// The stable ReplicaSet is gone: make it again, and let traffic go where pods are ready.
fn without_stable(scene: &Scene<'_>, stable: &WorkloadRevision, candidate: &WorkloadRevision) -> Round {
    let mut round = scene.recreate(stable);
    let ready = scene.services().zip(scene.replica_set(&candidate.hash)).is_some_and(|(services, new)| {
        scene.service(&services.canary).is_some_and(|canary| scene.ready(canary, new) > 0)
    });
    if ready {
        round.writes.splice(0..0, scene.stand_in(stable));
    }
    round
}
