//! The controllers of Kubernetes and a gateway, as far as a release sees them: what design section 3 has found on real ones.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp, ToSpan};
use lockkeeper_api::names::POD_TEMPLATE_HASH;
use lockkeeper_engine::{template_digest, write::Kind};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Gateway, Pod, number, owned, selects};

/// How long a gateway takes to accept a route.
pub const ACCEPTS_AFTER: SignedDuration = SignedDuration::from_secs(1);
/// How long its data plane may take from then on.
pub const SETTLES_AFTER: SignedDuration = SignedDuration::from_secs(2);
/// How long a pod crashes before its kubelet backs off.
const CRASH_LOOP_AFTER: SignedDuration = SignedDuration::from_secs(30);
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";

/// What pods of an image do, by the end of its tag.
pub fn ready_after(image: &str) -> Option<SignedDuration> {
    match image {
        _ if image.ends_with("-crash") || image.ends_with("-never") => None,
        _ if image.ends_with("-slow") => Some(SignedDuration::from_secs(90)),
        _ => Some(SignedDuration::from_secs(3)),
    }
}

/// Whether a pod shows a crash loop.
pub fn crashes(pod: &Pod, now: Timestamp) -> bool {
    pod.image.ends_with("-crash") && now >= pod.created + CRASH_LOOP_AFTER
}

/// One pass of all controllers.
pub fn pass(cluster: &mut Cluster) {
    collect_garbage(cluster);
    for name in names(cluster, Kind::Deployment) {
        deployment(cluster, &name);
    }
    for name in names(cluster, Kind::ReplicaSet) {
        replica_set(cluster, &name);
    }
    pods(cluster);
    endpoints(cluster);
    let routes = names(cluster, Kind::HTTPRoute);
    cluster.gateways.retain(|name, _| routes.contains(name));
    for name in routes {
        gateway(cluster, &name);
    }
}

/// When something happens by itself next.
pub fn next(cluster: &Cluster) -> Option<Timestamp> {
    let mut moments = Vec::new();
    for pod in cluster.pods.values() {
        moments.extend(ready_after(&pod.image).map(|after| pod.created + after));
        moments.extend(pod.ready.into_iter().map(|ready| ready + i64::from(min_ready(cluster, pod)).seconds()));
        moments.extend(pod.image.ends_with("-crash").then(|| pod.created + CRASH_LOOP_AFTER));
    }
    for gateway in cluster.gateways.values() {
        moments.extend([gateway.accepted, gateway.accepted + SETTLES_AFTER]);
    }
    moments.extend(cluster.following);
    moments.extend(cluster.served.values().map(|since| *since + SETTLES_AFTER));
    moments.into_iter().filter(|moment| *moment > cluster.now).min()
}

fn names(cluster: &Cluster, kind: Kind) -> Vec<String> {
    cluster.of(kind).map(|(name, _)| name.clone()).collect()
}

fn min_ready(cluster: &Cluster, pod: &Pod) -> u32 {
    let own = cluster.of(Kind::ReplicaSet).find(|(_, rs)| rs["metadata"]["uid"] == pod.owner.as_str());
    own.map_or(0, |(_, rs)| number(&rs["spec"]["minReadySeconds"]))
}

fn collect_garbage(cluster: &mut Cluster) {
    let alive: Vec<Value> = cluster.objects.values().map(|object| object["metadata"]["uid"].clone()).collect();
    cluster.objects.retain(|_, object| {
        let owners = object["metadata"]["ownerReferences"].as_array();
        owners.is_none_or(|owners| owners.iter().any(|owner| alive.contains(&owner["uid"])))
    });
    let alive: Vec<String> =
        cluster.of(Kind::ReplicaSet).map(|(_, rs)| rs["metadata"]["uid"].as_str().unwrap().to_owned()).collect();
    cluster.pods.retain(|_, pod| alive.contains(&pod.owner));
}

/// The ReplicaSets that a Deployment controls, the newest last.
fn controlled(cluster: &Cluster, uid: &str) -> Vec<String> {
    let mut own: Vec<_> = cluster.of(Kind::ReplicaSet).filter(|(_, rs)| owned(rs, uid, true)).collect();
    own.sort_by_key(|(_, rs)| rs["metadata"]["creationTimestamp"].as_str().map(str::to_owned));
    own.into_iter().map(|(name, _)| name.clone()).collect()
}

fn adopt_and_release(cluster: &mut Cluster, deployment: &Value) {
    let uid = deployment["metadata"]["uid"].as_str().unwrap();
    let selector = &deployment["spec"]["selector"]["matchLabels"];
    for name in names(cluster, Kind::ReplicaSet) {
        let rs = cluster.get(Kind::ReplicaSet, &name).unwrap().clone();
        let matches = selects(selector, &rs["metadata"]["labels"]);
        let owners = rs["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
        let free = owners.iter().all(|owner| owner["controller"] != true);
        let change = if matches && free {
            let mut owners: Vec<Value> = owners.into_iter().filter(|owner| owner["uid"] != uid).collect();
            owners.push(json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment["metadata"]["name"], "uid": uid,
                "controller": true, "blockOwnerDeletion": true}));
            owners
        } else if !matches && owned(&rs, uid, true) {
            // Its own release removes the reference as a whole.
            owners.into_iter().filter(|owner| owner["uid"] != uid).collect()
        } else {
            continue;
        };
        cluster.update(Kind::ReplicaSet, &name, |rs| rs["metadata"]["ownerReferences"] = change.into());
    }
}

fn scale(cluster: &mut Cluster, name: &str, replicas: u32, desired: u32) {
    cluster.update(Kind::ReplicaSet, name, |rs| {
        rs["spec"]["replicas"] = replicas.into();
        rs["metadata"]["annotations"][DESIRED] = desired.to_string().into();
    });
}

fn deployment(cluster: &mut Cluster, name: &str) {
    let deployment = cluster.get(Kind::Deployment, name).unwrap().clone();
    adopt_and_release(cluster, &deployment);
    let uid = deployment["metadata"]["uid"].as_str().unwrap().to_owned();
    let replicas = number(&deployment["spec"]["replicas"]);
    let digest = template_digest(&deployment["spec"]["template"]);
    let own = controlled(cluster, &uid);
    let template_of = |cluster: &Cluster, name: &String| {
        template_digest(&cluster.get(Kind::ReplicaSet, name).unwrap()["spec"]["template"])
    };
    let mut current = own.iter().find(|name| template_of(cluster, name) == digest).cloned();
    let paused = deployment["spec"]["paused"] == true;
    if paused {
        scale_to_spec(cluster, &own, current.as_ref(), replicas);
    } else {
        if current.is_none() {
            current = Some(create_replica_set(cluster, &deployment, &digest));
        }
        roll_out(cluster, &own, current.as_ref().unwrap(), replicas);
    }
    let own = controlled(cluster, &uid);
    let count = |name: &String, field: &str| number(&cluster.get(Kind::ReplicaSet, name).unwrap()["status"][field]);
    let sum = |field: &str| own.iter().map(|name| count(name, field)).sum::<u32>();
    let status = json!({
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": sum("replicas"),
        "availableReplicas": sum("availableReplicas"),
        "updatedReplicas": current.iter().map(|name| count(name, "replicas")).sum::<u32>(),
    });
    cluster.update(Kind::Deployment, name, |deployment| deployment["status"] = status);
}

fn create_replica_set(cluster: &mut Cluster, deployment: &Value, digest: &str) -> String {
    let name = deployment["metadata"]["name"].as_str().unwrap();
    // Another hash than ours, as the real one's.
    let hash = format!("k{}", &digest[..9]);
    let mut template = deployment["spec"]["template"].clone();
    template["metadata"]["labels"][POD_TEMPLATE_HASH] = hash.as_str().into();
    let mut selector = deployment["spec"]["selector"].clone();
    selector["matchLabels"][POD_TEMPLATE_HASH] = hash.as_str().into();
    let full = format!("{name}-{hash}");
    cluster.create(
        Kind::ReplicaSet,
        json!({
            "metadata": {"name": full, "labels": template["metadata"]["labels"], "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": deployment["metadata"]["uid"],
                 "controller": true, "blockOwnerDeletion": true}]},
            "spec": {"replicas": 0, "minReadySeconds": deployment["spec"]["minReadySeconds"],
                "selector": selector, "template": template},
        }),
    );
    full
}

/// A paused Deployment keeps its active ReplicaSet, or else its newest, at its scale; of several it keeps the current one if that is
/// complete, and else scales them in proportion, to one pod more than asked for.
fn scale_to_spec(cluster: &mut Cluster, own: &[String], current: Option<&String>, replicas: u32) {
    let spec =
        |cluster: &Cluster, name: &String| number(&cluster.get(Kind::ReplicaSet, name).unwrap()["spec"]["replicas"]);
    let active: Vec<&String> = own.iter().filter(|name| spec(cluster, name) > 0).collect();
    match active.as_slice() {
        [] => {
            if let Some(latest) = current.or(own.last()) {
                scale(cluster, latest, replicas, replicas);
            }
        }
        [one] => scale(cluster, one, replicas, replicas),
        several => {
            let several: Vec<String> = several.iter().map(|name| (*name).clone()).collect();
            let available =
                |name: &String| number(&cluster.get(Kind::ReplicaSet, name).unwrap()["status"]["availableReplicas"]);
            if let Some(current) = current.filter(|name| spec(cluster, name) == replicas && available(name) == replicas)
            {
                for name in several.iter().filter(|name| *name != current) {
                    scale(cluster, name, 0, replicas);
                }
                return;
            }
            let total: u32 = several.iter().map(|name| spec(cluster, name)).sum();
            let allowed = replicas + 1;
            if total == allowed {
                return;
            }
            let mut left = allowed;
            for (index, name) in several.iter().enumerate() {
                let share =
                    if index + 1 == several.len() { left } else { (spec(cluster, name) * allowed / total).min(left) };
                left -= share;
                scale(cluster, name, share, replicas);
            }
        }
    }
}

/// A rolling update with one pod more at a time and none less.
fn roll_out(cluster: &mut Cluster, own: &[String], current: &String, replicas: u32) {
    let field = |cluster: &Cluster, name: &String, at: &str| {
        number(cluster.get(Kind::ReplicaSet, name).unwrap().pointer(at).unwrap_or(&Value::Null))
    };
    let others: Vec<&String> = own.iter().filter(|name| *name != current).collect();
    let old: u32 = others.iter().map(|name| field(cluster, name, "/spec/replicas")).sum();
    let room = if old == 0 { replicas } else { (replicas + 1).saturating_sub(old).min(replicas) };
    let now = field(cluster, current, "/spec/replicas");
    scale(cluster, current, if now > replicas { replicas } else { now.max(room) }, replicas);
    let available: u32 = own.iter().map(|name| field(cluster, name, "/status/availableReplicas")).sum::<u32>()
        + if own.contains(current) { 0 } else { field(cluster, current, "/status/availableReplicas") };
    let mut spare = available.saturating_sub(replicas);
    for name in others {
        let has = field(cluster, name, "/spec/replicas");
        let ready = field(cluster, name, "/status/availableReplicas");
        // Pods that are not available may always go.
        let gone = has.min(spare + has.saturating_sub(ready));
        spare -= gone.min(spare);
        if gone > 0 {
            scale(cluster, name, has - gone, replicas);
        }
    }
}

fn replica_set(cluster: &mut Cluster, name: &str) {
    let rs = cluster.get(Kind::ReplicaSet, name).unwrap().clone();
    let uid = rs["metadata"]["uid"].as_str().unwrap().to_owned();
    let wanted = number(&rs["spec"]["replicas"]) as usize;
    let own = |cluster: &Cluster| -> Vec<(String, Pod)> {
        let pods = cluster.pods.iter().filter(|(_, pod)| pod.owner == uid);
        pods.map(|(name, pod)| (name.clone(), pod.clone())).collect()
    };
    let mut pods = own(cluster);
    while pods.len() < wanted {
        let number = cluster.next();
        let template = &rs["spec"]["template"];
        let pod = Pod {
            owner: uid.clone(),
            labels: template["metadata"]["labels"].clone().into(),
            image: template["spec"]["containers"][0]["image"].as_str().unwrap_or_default().into(),
            created: cluster.now,
            ready: None,
        };
        cluster.pods.insert(format!("{name}-{number:05}"), pod);
        pods = own(cluster);
    }
    // Those that are not ready go first, then the youngest.
    pods.sort_by_key(|(name, pod)| (pod.ready.is_none(), pod.created, name.clone()));
    for (name, _) in pods.drain(wanted.min(pods.len())..) {
        cluster.pods.remove(&name);
    }
    let min_ready = i64::from(number(&rs["spec"]["minReadySeconds"])).seconds();
    let now = cluster.now;
    let available = pods.iter().filter(|(_, pod)| pod.ready.is_some_and(|since| since + min_ready <= now)).count();
    let status = json!({
        "observedGeneration": rs["metadata"]["generation"], "replicas": pods.len(), "availableReplicas": available,
    });
    cluster.update(Kind::ReplicaSet, name, |rs| rs["status"] = status);
}

fn pods(cluster: &mut Cluster) {
    for pod in cluster.pods.values_mut().filter(|pod| pod.ready.is_none()) {
        let due = ready_after(&pod.image).map(|after| pod.created + after);
        pod.ready = due.filter(|due| *due <= cluster.now);
    }
}

/// The ready pods that a Service selects at this moment.
pub fn selected(cluster: &Cluster, service: &str) -> Vec<String> {
    let Some(object) = cluster.get(Kind::Service, service) else { return Vec::new() };
    let ready = cluster.pods.iter().filter(|(_, pod)| pod.ready.is_some());
    ready.filter(|(_, pod)| selects(&object["spec"]["selector"], &pod.labels)).map(|(name, _)| name.clone()).collect()
}

fn endpoints(cluster: &mut Cluster) {
    let current: BTreeMap<_, _> =
        names(cluster, Kind::Service).into_iter().map(|name| (name.clone(), selected(cluster, &name))).collect();
    if current != cluster.endpoints {
        let due = *cluster.following.get_or_insert(cluster.now + cluster.lag);
        if due > cluster.now {
            return;
        }
        cluster.endpoints = current;
    }
    cluster.following = None;
    let (endpoints, now) = (&cluster.endpoints, cluster.now);
    cluster.served.retain(|name, _| endpoints.get(name).is_some_and(|ready| !ready.is_empty()));
    for (name, _) in endpoints.iter().filter(|(_, ready)| !ready.is_empty()) {
        cluster.served.entry(name.clone()).or_insert(now);
    }
}

fn gateway(cluster: &mut Cluster, name: &str) {
    let route = cluster.get(Kind::HTTPRoute, name).unwrap();
    let generation = route["metadata"]["generation"].as_i64().unwrap();
    let rules = route["spec"]["rules"].clone();
    let now = cluster.now;
    let fresh = || Gateway { seen: generation, accepted: now, in_force: vec![rules.clone()] };
    let gateway = cluster.gateways.entry(name.into()).or_insert_with(fresh);
    if gateway.seen != generation {
        gateway.seen = generation;
        gateway.accepted = now + ACCEPTS_AFTER;
        gateway.in_force.push(rules);
    } else if gateway.accepted + SETTLES_AFTER <= now {
        gateway.in_force.drain(..gateway.in_force.len() - 1);
    }
}
