//! From the cluster's objects to the views that the engine decides on, as the operator's cache makes them.

use std::collections::BTreeMap;

use lockkeeper_api::names::{BORROWED, PIN, POD_TEMPLATE_HASH, RELEASE, ROLE};
use lockkeeper_engine::{
    plan::{Plan, WorkloadPlan},
    template_digest, version_digest,
    world::{
        Authorship, CrashView, DeploymentView, ReplicaSetView, Role, RouteView, SavedTemplate, ServiceView, Template,
        Undone, WorkloadView,
    },
    write::Kind,
};
use serde_json::Value;

use crate::{
    cluster::{Cluster, number, owned},
    controllers::crashes,
};

/// All workloads of a plan; `watched` are the hashes whose pods are looked at.
pub fn workloads(
    cluster: &Cluster,
    plan: &Plan,
    watched: &[String],
    undone: &BTreeMap<String, Vec<Undone>>,
) -> Vec<WorkloadView> {
    let mut views: Vec<_> = plan.workloads.iter().map(|work| workload(cluster, plan, work, watched)).collect();
    for view in &mut views {
        let deployment = view.deployment.iter_mut().map(|seen| ("Deployment", &seen.name, &mut seen.authorship));
        let services = view.services.values_mut().map(|seen| ("Service", &seen.name, &mut seen.authorship));
        let routes = view.routes.values_mut().map(|seen| ("HTTPRoute", &seen.name, &mut seen.authorship));
        for (kind, name, authorship) in deployment.chain(services).chain(routes) {
            authorship.undone = undone.get(&format!("{kind} {name}")).cloned().unwrap_or_default();
        }
    }
    views
}

fn workload(cluster: &Cluster, plan: &Plan, work: &WorkloadPlan, watched: &[String]) -> WorkloadView {
    let deployment = cluster.get(Kind::Deployment, &work.deployment).map(deployment);
    let uid = deployment.as_ref().map(|deployment| deployment.uid.clone());
    let replica_sets = cluster.of(Kind::ReplicaSet).filter_map(|(_, rs)| replica_set(rs, uid.as_deref(), work, plan));
    let replica_sets: Vec<_> = replica_sets.collect();
    let named = work.services.iter().flat_map(|services| [&services.stable, &services.canary]).chain(&work.pins);
    let services = named.filter_map(|name| Some((name.clone(), service(cluster, name)?))).collect();
    let routes = work.routes.iter().filter_map(|name| Some((name.clone(), route(cluster, name)?))).collect();
    let crash = replica_sets.iter().filter(|rs| watched.contains(&rs.hash)).find_map(|rs| crash(cluster, rs));
    let saved = cluster.of(Kind::ControllerRevision);
    let saved =
        saved.filter(|(_, saved)| owner_name(saved) == Some(&work.deployment)).map(|(_, saved)| self::saved(saved));
    WorkloadView {
        saved: saved.collect(),
        deployment,
        replica_sets,
        services,
        other_services: Vec::new(),
        routes,
        crash,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().into()
}

fn texts(value: &Value) -> BTreeMap<String, String> {
    value.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}

fn owner_name(object: &Value) -> Option<&str> {
    object["metadata"]["ownerReferences"][0]["name"].as_str()
}

fn current(object: &Value) -> bool {
    object["status"]["observedGeneration"].as_i64() >= object["metadata"]["generation"].as_i64()
}

fn deployment(object: &Value) -> DeploymentView {
    let (metadata, spec, status) = (&object["metadata"], &object["spec"], &object["status"]);
    let marks = texts(&metadata["annotations"]).into_iter().filter(|(key, _)| key.starts_with("lockkeeper.dev/"));
    DeploymentView {
        name: text(&metadata["name"]),
        uid: text(&metadata["uid"]),
        resource_version: text(&metadata["resourceVersion"]),
        current: current(object),
        deleting: metadata["deletionTimestamp"].is_string(),
        replicas: number(&spec["replicas"]),
        paused: spec["paused"] == true,
        recreate: spec["strategy"]["type"] == "Recreate",
        min_ready_seconds: number(&spec["minReadySeconds"]),
        marks: marks.collect(),
        selector: (&spec["selector"]).into(),
        template: (&spec["template"]).into(),
        digest: template_digest(&spec["template"]),
        status_replicas: number(&status["replicas"]),
        updated: number(&status["updatedReplicas"]),
        available: number(&status["availableReplicas"]),
        overdue: status["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|condition| condition["reason"] == "ProgressDeadlineExceeded"),
        authorship: Authorship::default(),
    }
}

fn replica_set(object: &Value, uid: Option<&str>, work: &WorkloadPlan, plan: &Plan) -> Option<ReplicaSetView> {
    let (metadata, spec, status) = (&object["metadata"], &object["spec"], &object["status"]);
    let role = metadata["labels"][ROLE].as_str().and_then(Role::parse);
    let same = uid.is_some_and(|uid| owned(object, uid, false));
    let ours = role.is_some()
        && metadata["labels"][RELEASE] == plan.name.as_str()
        && owner_name(object) == Some(&work.deployment);
    if !same && !ours {
        return None;
    }
    let replicas = number(&spec["replicas"]);
    let counted = number(&status["replicas"]);
    let lists = ["containers", "initContainers"].map(|list| spec["template"]["spec"][list].as_array());
    let containers = lists.into_iter().flatten().flatten();
    Some(ReplicaSetView {
        name: text(&metadata["name"]),
        uid: text(&metadata["uid"]),
        resource_version: text(&metadata["resourceVersion"]),
        deleting: metadata["deletionTimestamp"].is_string(),
        controlled: uid.is_some_and(|uid| owned(object, uid, true)),
        role,
        borrowed: metadata["annotations"][BORROWED].is_string(),
        hash: text(&spec["selector"]["matchLabels"][POD_TEMPLATE_HASH]),
        labels: texts(&metadata["labels"]),
        template_labels: texts(&spec["template"]["metadata"]["labels"]),
        digest: template_digest(&spec["template"]),
        version: version_digest(&spec["template"]),
        images: containers.map(|container| (text(&container["name"]), text(&container["image"]))).collect(),
        template: (replicas > 0 || role.is_some()).then(|| Template::from(&spec["template"])),
        replicas,
        existing: if current(object) { counted } else { counted.max(replicas) },
        available: number(&status["availableReplicas"]),
        created: text(&metadata["creationTimestamp"]).parse().unwrap(),
    })
}

fn service(cluster: &Cluster, name: &str) -> Option<ServiceView> {
    let object = cluster.get(Kind::Service, name)?;
    let heard = !cluster.unheard.contains(name);
    let (metadata, spec) = (&object["metadata"], &object["spec"]);
    Some(ServiceView {
        name: name.into(),
        uid: text(&metadata["uid"]),
        resource_version: text(&metadata["resourceVersion"]),
        deleting: metadata["deletionTimestamp"].is_string(),
        ours: metadata["labels"][RELEASE].is_string(),
        selector: texts(&spec["selector"]),
        pin: metadata["annotations"][PIN].as_str().map(str::to_owned),
        ports: (&spec["ports"]).into(),
        headless: spec["clusterIP"] == "None",
        heard,
        ready: cluster.endpoints.get(name).filter(|_| heard).cloned().unwrap_or_default(),
        ready_since: cluster.served.get(name).filter(|_| heard).copied(),
        authorship: Authorship::default(),
    })
}

fn route(cluster: &Cluster, name: &str) -> Option<RouteView> {
    let object = cluster.get(Kind::HTTPRoute, name)?;
    let generation = object["metadata"]["generation"].as_i64();
    let gateway = cluster.gateways.get(name).filter(|gateway| Some(gateway.seen) == generation);
    Some(RouteView {
        name: name.into(),
        resource_version: text(&object["metadata"]["resourceVersion"]),
        deleting: object["metadata"]["deletionTimestamp"].is_string(),
        rules: object["spec"]["rules"].clone(),
        accepted: gateway.map(|gateway| gateway.accepted).filter(|accepted| *accepted <= cluster.now),
        complaint: None,
        authorship: Authorship::default(),
    })
}

fn saved(object: &Value) -> SavedTemplate {
    let metadata = &object["metadata"];
    SavedTemplate {
        name: text(&metadata["name"]),
        uid: text(&metadata["uid"]),
        resource_version: text(&metadata["resourceVersion"]),
        hash: text(&metadata["labels"][POD_TEMPLATE_HASH]),
        template: Template::from(&object["data"]["template"]),
    }
}

fn crash(cluster: &Cluster, rs: &ReplicaSetView) -> Option<CrashView> {
    let mut pods = cluster.pods.iter().filter(|(_, pod)| pod.owner == rs.uid);
    let (name, _) = pods.find(|(_, pod)| crashes(pod, cluster.now))?;
    Some(CrashView { hash: rs.hash.clone(), pod: name.clone(), container: "app".into(), restarts: 3 })
}
