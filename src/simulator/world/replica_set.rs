//! The ReplicaSet controller: as many pods as it says, and a count of them.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Actor, Edit, Turn, idle::Idle};
use crate::api::{
    Caller, Kind, Object, User,
    object::{deleting, list, name, namespace, number, text, uid},
    selects,
};

/// Pods that are created or deleted in one look.
const BURST: usize = 500;

/// What the controller does about a ReplicaSet, of all pods of its namespace, and when it has to look again by itself.
pub fn sync(set: &Value, pods: &[Arc<Object>], now: Timestamp) -> (Vec<Edit>, Option<Timestamp>) {
    let mut edits = Vec::new();
    let mut own = claim(set, pods, &mut edits);
    let wanted = usize::try_from(set["spec"]["replicas"].as_i64().unwrap_or(1)).unwrap_or_default();
    let (status, wake) = count(set, &own, now);
    if !deleting(set) {
        edits.extend((own.len()..wanted).take(BURST).map(|_| Edit::Create(Kind::Pod, pod(set))));
        if own.len() > wanted {
            // Those that serve least and longest go last.
            own.sort_by_key(|pod| (pod.ready_since().is_none(), pod.ready_since(), name(pod).to_owned()));
            let spare = own.drain(wanted..).take(BURST);
            edits.extend(spare.map(|pod| Edit::Delete(Kind::Pod, pod.value().clone())));
        }
    }
    if set["status"] != status {
        let mut reported = set.clone();
        reported["status"] = status;
        edits.push(Edit::Status(Kind::ReplicaSet, reported));
    }
    (edits, wake)
}

/// Its own pods; it adopts those that match and have no controller, and releases those that match no more.
fn claim<'a>(set: &Value, pods: &'a [Arc<Object>], edits: &mut Vec<Edit>) -> Vec<&'a Arc<Object>> {
    let mut own = Vec::new();
    let uid = uid(set);
    for pod in pods.iter().filter(|pod| !pod.is_deleting()) {
        let controls = pod.is_controlled_by(uid);
        // Most are another's.
        if !controls && pod.has_controller() {
            continue;
        }
        let matches = selects(&set["spec"]["selector"], &pod["metadata"]["labels"]);
        let owners = list(&pod["metadata"]["ownerReferences"]);
        match (controls, matches) {
            (true, true) => own.push(pod),
            (true, false) if !deleting(set) => {
                let others = owners.iter().filter(|owner| owner["uid"] != set["metadata"]["uid"]).cloned();
                edits.push(with_owners(pod, others.collect()));
            }
            (false, true) if !deleting(set) => {
                edits.push(with_owners(pod, owners.iter().cloned().chain([reference(set)]).collect()));
                own.push(pod);
            }
            (true | false, false) | (false, true) => {}
        }
    }
    own
}

fn with_owners(pod: &Object, owners: Vec<Value>) -> Edit {
    let mut pod = pod.value().clone();
    pod["metadata"]["ownerReferences"] = owners.into();
    Edit::Update(Kind::Pod, pod)
}

/// The reference by which a ReplicaSet controls a pod.
fn reference(set: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name(set), "uid": uid(set),
        "controller": true, "blockOwnerDeletion": true})
}

fn count(set: &Value, pods: &[&Arc<Object>], now: Timestamp) -> (Value, Option<Timestamp>) {
    let minimum = Duration::from_secs(number(&set["spec"]["minReadySeconds"]).unsigned_abs());
    let ready: Vec<Timestamp> = pods.iter().filter_map(|pod| pod.ready_since()).collect();
    let lasting = ready.iter().filter(|since| **since + minimum <= now).count();
    let wake = ready.iter().map(|since| *since + minimum).filter(|at| *at > now).min();
    let mut status = json!({"replicas": pods.len(), "observedGeneration": set["metadata"]["generation"]});
    let counts = [("fullyLabeledReplicas", pods.len()), ("readyReplicas", ready.len()), ("availableReplicas", lasting)];
    for (field, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        status[field] = count.into();
    }
    (status, wake)
}

fn pod(set: &Value) -> Value {
    let template = &set["spec"]["template"];
    json!({
        "metadata": {
            // As Kubernetes cuts it.
            "generateName": format!("{}-", name(set)).chars().take(58).collect::<String>(),
            "namespace": namespace(set), "labels": template["metadata"]["labels"],
            "annotations": template["metadata"]["annotations"],
            "ownerReferences": [reference(set)],
        },
        "spec": template["spec"],
    })
}

/// The image of a pod or template.
pub fn image(spec: &Value) -> &str {
    list(&spec["containers"]).first().map_or("", |container| text(&container["image"]))
}

/// The controller at work.
#[derive(Debug)]
pub struct ReplicaSetController {
    caller: Caller,
    idle: Idle,
}

impl Default for ReplicaSetController {
    fn default() -> Self {
        Self { caller: Caller::new(User::controller("replicaset-controller")), idle: Idle::default() }
    }
}

/// A ReplicaSet and the pods that its controller may look at.
fn concerned(set: &Arc<Object>, pods: &[Arc<Object>]) -> Vec<Arc<Object>> {
    let concerns = |pod: &&Arc<Object>| pod.is_controlled_by(set.uid()) || !pod.has_controller();
    [set].into_iter().chain(pods.iter().filter(concerns)).cloned().collect()
}

impl Actor for ReplicaSetController {
    fn watches(&self) -> &'static [Kind] {
        &[Kind::ReplicaSet, Kind::Pod]
    }

    fn step(&mut self, turn: &mut Turn<'_>) -> Option<Timestamp> {
        let sets: Vec<_> = turn.server.store().objects().of(Kind::ReplicaSet).cloned().collect();
        let mut wake = None;
        for set in sets {
            let pods: Vec<_> = turn.server.store().objects().within(Kind::Pod, namespace(&set)).cloned().collect();
            let seen = concerned(&set, &pods);
            if let Some(until) = self.idle.until(&seen, turn.now) {
                wake = wake.into_iter().chain(until).min();
                continue;
            }
            let (edits, again) = sync(&set, &pods, turn.now);
            if edits.is_empty() {
                self.idle.note(seen, again);
            }
            Edit::apply_all(edits, turn.server, &self.caller);
            wake = wake.into_iter().chain(again).min();
        }
        wake
    }
}
