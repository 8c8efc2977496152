//! What makes a Release unable to work, as far as admission cannot see it: all faults, each with its mend.

use crate::{plan::Plan, revision::images_without_container, traffic, world::World};

/// Every fault of the plan in this world.
pub fn faults(plan: &Plan, world: &World) -> Vec<String> {
    let mut faults = plan.faults.clone();
    for (work, view) in plan.workloads.iter().zip(&world.workloads) {
        let name = &work.deployment;
        let Some(deployment) = &view.deployment else {
            faults.push(format!("Deployment {name} does not exist: create it"));
            continue;
        };
        if deployment.recreate {
            let why = "has strategy Recreate, which says that two versions must not run at once";
            faults.push(format!("Deployment {name} {why}: use RollingUpdate, or roll it out without a Release"));
        }
        for image in images_without_container(work, deployment) {
            faults.push(format!("Deployment {name} has no container {image}: correct images"));
        }
        let names = work.services.iter().map(|s| &s.stable).chain(&work.pins);
        for service in names.filter(|service| !view.services.contains_key(*service)) {
            faults.push(format!("Service {service} does not exist: create it"));
        }
        let Some(services) = &work.services else { continue };
        if view.services.get(&services.canary).is_some_and(|canary| !canary.ours) {
            let canary = &services.canary;
            faults.push(format!("Service {canary} exists and is not Lockkeeper's: delete it or set canaryService"));
        }
        for route in &work.routes {
            match view.routes.get(route) {
                None => faults.push(format!("HTTPRoute {route} does not exist: create it")),
                Some(seen) => {
                    let fault = traffic::fault(&seen.rules, services.backends());
                    faults.extend(fault.map(|fault| format!("HTTPRoute {route} {fault}")));
                }
            }
        }
    }
    faults
}
