//! The observed world of one Release, gathered from the cache; no request is made.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use lockkeeper_api::{Release, release::Phase};
use lockkeeper_engine::{
    plan::{Plan, WorkloadPlan},
    window::WindowView,
    world::{DeploymentView, ReplicaSetView, RouteView, ServiceView, WorkloadView, World},
};

use crate::{
    cache::{Key, State, touched, view::SliceEntry},
    context::Context,
};

/// The Release, if it is there and ours to handle.
pub fn release(context: &Context, key: &Key) -> Option<Arc<Release>> {
    context.cache.read().releases.get(key).filter(|release| context.handles(release)).cloned()
}

/// What the user wants.
pub fn plan(context: &Context, key: &Key, release: &Release) -> Plan {
    let state = context.cache.read();
    let policies = touched::policies(release).filter_map(|name| {
        let (_, policy) = state.policy(&key.namespace, name, &context.setting.operator_namespace)?;
        Some((name.to_owned(), policy.map(|policy| policy.plan.clone())))
    });
    Plan::parse(release, &policies.collect(), context.setting.clone())
}

/// What is there.
pub fn world(context: &Context, key: &Key, plan: &Plan, phase: Phase) -> World {
    let jumped = context.jumped();
    let state = context.cache.read();
    World {
        workloads: plan
            .workloads
            .iter()
            .map(|workload| self::workload(context, &state, key, workload, phase))
            .map(|view| told(view, jumped))
            .collect(),
        windows: windows(&state, &key.namespace, &plan.setting.operator_namespace),
        namespace_labels: state.namespaces.get(&Key::new("", &key.namespace)).cloned().unwrap_or_default(),
        decisions: state.decisions.of(key).map(|(_, decision)| decision.clone()).collect(),
        guard: context.guard(),
        measurements: context.measures.of(key, jumped),
    }
}

/// The cache's times are by a clock that never jumps; the engine's by the system's, which has jumped so far.
fn told(mut view: WorkloadView, jumped: SignedDuration) -> WorkloadView {
    let moved = |at: &mut Timestamp| *at = at.saturating_add(jumped).unwrap_or(*at);
    let authorships = view.services.values_mut().map(|service| &mut service.authorship);
    let authorships = authorships.chain(view.deployment.as_mut().map(|deployment| &mut deployment.authorship));
    authorships.flat_map(|authorship| &mut authorship.undone).for_each(|undone| moved(&mut undone.at));
    view.services.values_mut().filter_map(|service| service.ready_since.as_mut()).for_each(moved);
    for route in view.routes.values_mut() {
        route.authorship.undone.iter_mut().for_each(|undone| moved(&mut undone.at));
        route.accepted.iter_mut().for_each(moved);
    }
    view
}

/// The windows of the Release's namespace and of the operator's.
pub fn windows(state: &State, namespace: &str, operator_namespace: &str) -> Vec<WindowView> {
    let mut namespaces = vec![operator_namespace];
    if namespace != operator_namespace {
        namespaces.push(namespace);
    }
    let windows = namespaces.into_iter().flat_map(|namespace| state.windows.within(namespace));
    windows.map(|(_, window)| window.view.clone()).collect()
}

fn workload(context: &Context, state: &State, release: &Key, plan: &WorkloadPlan, phase: Phase) -> WorkloadView {
    let at = |name: &str| Key::new(&release.namespace, name);
    let key = at(&plan.deployment);
    let deployment = state.deployments.get(&key).cloned();
    let replica_sets =
        replica_sets(state, release, &key, deployment.as_ref().map(|deployment| deployment.uid.as_str()));
    let named: Vec<&String> =
        plan.services.iter().flat_map(|services| [&services.stable, &services.canary]).chain(&plan.pins).collect();
    let services = named.iter().filter_map(|name| Some(((*name).clone(), service(state, &at(name))?))).collect();
    let routes = plan.routes.iter().filter_map(|name| {
        let entry = state.routes.get(&at(name))?;
        Some((name.clone(), RouteView { rules: entry.rules.get(), ..entry.view.clone() }))
    });
    let other_services = match (&deployment, phase) {
        // It takes a look at every Service of the namespace, and nobody reads it at rest.
        (None, _) | (Some(_), Phase::Stable) => Vec::new(),
        (Some(deployment), _) => selecting(state, &release.namespace, deployment, &named),
    };
    let crash = replica_sets.iter().find_map(|replica_set| context.pods.crash(release, &replica_set.hash));
    let saved = state.saved.of(&key).map(|(_, entry)| entry.view.clone());
    WorkloadView {
        saved: saved.collect(),
        services,
        other_services,
        routes: routes.collect(),
        crash,
        deployment,
        replica_sets,
    }
}

/// ReplicaSets of this very Deployment, and those of ours that were left by one of the same name.
pub fn replica_sets(state: &State, release: &Key, deployment: &Key, uid: Option<&str>) -> Vec<ReplicaSetView> {
    let entries = state.replica_sets.of(deployment).map(|(_, entry)| entry);
    entries
        .filter_map(|entry| {
            let same = uid.is_some() && entry.deployment_uid.as_deref() == uid;
            let view = entry.view.get();
            let ours = view.role.is_some() && entry.release.as_ref() == Some(&release.name);
            (same || ours).then(|| ReplicaSetView {
                controlled: same && entry.controlled,
                template: entry.template.clone(),
                ..view
            })
        })
        .collect()
}

fn service(state: &State, key: &Key) -> Option<ServiceView> {
    let mut view = state.services.get(key)?.clone();
    // Those of an earlier Service of this name hold pods that this one may not select.
    let own = |slice: &&SliceEntry| slice.service_uid.as_ref().is_none_or(|uid| *uid == view.uid);
    let slices: Vec<&SliceEntry> = state.slices.of(key).map(|(_, slice)| slice).filter(own).collect();
    view.heard = !slices.is_empty();
    view.ready_since = slices.iter().filter_map(|slice| slice.since).min();
    view.ready = slices.iter().flat_map(|slice| slice.ready.iter().cloned()).collect();
    // A pod may be in several slices for a moment, and once for each IP family for good.
    view.ready.sort();
    view.ready.dedup();
    Some(view)
}

/// Services that select the workload's pods and are not among those named.
fn selecting(state: &State, namespace: &str, deployment: &DeploymentView, named: &[&String]) -> Vec<String> {
    let template = deployment.template.glance();
    let selects = |service: &ServiceView| {
        !service.ours
            && !service.selector.is_empty()
            && service.selector.iter().all(|(key, value)| template.is_labelled(key, value))
    };
    let services = state.services.within(namespace).map(|(_, service)| service);
    services.filter(|service| selects(service) && !named.contains(&&service.name)).map(|s| s.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cache::{Cache, Resource};

    /// A Service with UID `now`, and its slices.
    fn seen(slices: &[Value]) -> ServiceView {
        let cache = Cache::new("lockkeeper-system");
        let put = |resource, object: Value| {
            cache.put(resource, serde_json::from_value(object).unwrap(), Timestamp::UNIX_EPOCH).unwrap();
        };
        put(
            Resource::Service,
            json!({"metadata": {"name": "web", "namespace": "shop", "uid": "now", "resourceVersion": "9"}, "spec": {}}),
        );
        for slice in slices {
            put(Resource::EndpointSlice, slice.clone());
        }
        service(&cache.read(), &Key::new("shop", "web")).unwrap()
    }

    fn slice(owner: &Value, pod: &str) -> Value {
        let owners: Vec<&Value> = Some(owner).filter(|owner| !owner.is_null()).into_iter().collect();
        json!({
            "metadata": {
                "name": format!("web-{pod}"), "namespace": "shop", "uid": pod, "resourceVersion": "5",
                "labels": {"kubernetes.io/service-name": "web"}, "ownerReferences": owners,
            },
            "endpoints": [{"targetRef": {"kind": "Pod", "name": pod}, "conditions": {"ready": true}}],
        })
    }

    fn owner(kind: &str, uid: &str) -> Value {
        json!({"apiVersion": "v1", "kind": kind, "name": "web", "uid": uid, "controller": true})
    }

    #[test]
    fn slices_of_an_earlier_service_of_the_same_name_say_nothing() {
        let view = seen(&[slice(&owner("Service", "before"), "old")]);
        assert_eq!((view.heard, view.ready.len(), view.ready_since), (false, 0, None));
        assert!(!view.serves_nobody(), "that nothing is known of it does not mean that it has no pods");
        let view = seen(&[slice(&owner("Service", "before"), "old"), slice(&owner("Service", "now"), "new")]);
        assert_eq!((view.heard, view.ready), (true, vec!["new".to_owned()]));
    }

    #[test]
    fn slices_that_are_mirrored_or_made_by_hand_count() {
        let view = seen(&[slice(&owner("Endpoints", "other"), "mirrored"), slice(&Value::Null, "by-hand")]);
        assert_eq!((view.heard, view.ready), (true, vec!["by-hand".to_owned(), "mirrored".to_owned()]));
    }

    #[test]
    fn a_service_whose_slice_is_empty_serves_nobody() {
        let mut empty = slice(&owner("Service", "now"), "none");
        empty["endpoints"] = json!([]);
        assert!(seen(&[empty]).serves_nobody());
    }
}
