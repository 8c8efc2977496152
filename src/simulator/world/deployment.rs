//! The Deployment controller, after what the real one does (Kubernetes 1.36): adopt and release, then scale or roll out, then report.
//!
//! One look works on copies, as the real one does on its cache, and writes in the same order. What the real one finds by itself in a later
//! look is found in a later look here, too.

mod ownership;
mod rollout;
mod scale;
mod status;

use std::sync::Arc;

use jiff::Timestamp;
use lockkeeper_api::names::POD_TEMPLATE_HASH;
use serde_json::{Map, Value, json};

use super::{Actor, Edit, Turn, idle::Idle};
use crate::api::{
    Caller, Kind, Object, User,
    object::{deleting, entry, list, name, namespace, number, text, uid},
};

const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// Annotations that a ReplicaSet does not take over from its Deployment.
const OWN: [&str; 5] = [DESIRED, MAX, REVISION, HISTORY, "kubectl.kubernetes.io/last-applied-configuration"];

/// One look at one Deployment.
struct Look {
    deployment: Value,
    /// Its status as the API server has it; that of the copy may be further.
    written: Value,
    /// The ReplicaSets that it controls, the oldest first.
    sets: Vec<Value>,
    /// Names that are taken by others.
    taken: Vec<String>,
    now: Timestamp,
    edits: Vec<Edit>,
}

/// What the controller does about a Deployment, of all ReplicaSets of its namespace.
pub fn sync(deployment: &Value, sets: &[Arc<Object>], now: Timestamp) -> Vec<Edit> {
    let written = deployment["status"].clone();
    let (sets_of_it, taken, edits) = (Vec::new(), Vec::new(), Vec::new());
    let mut look = Look { deployment: deployment.clone(), written, sets: sets_of_it, taken, now, edits };
    look.claim(sets);
    if deleting(deployment) {
        look.report(None);
        return look.edits;
    }
    look.note_pause();
    if look.deployment["spec"]["paused"] == true || look.is_scaled() {
        let new = look.find_new().map(|at| look.revise(at));
        look.scale(new);
        if look.deployment["spec"]["paused"] == true {
            look.trim_history(new);
        }
        look.report(new);
    } else {
        look.roll_out();
    }
    look.edits
}

impl Look {
    fn replicas(&self) -> i64 {
        self.deployment["spec"]["replicas"].as_i64().unwrap_or(1)
    }

    /// How many pods more there may be, and how many less.
    fn room(&self) -> (i64, i64) {
        if self.recreates() {
            return (0, 0);
        }
        let rolling = &self.deployment["spec"]["strategy"]["rollingUpdate"];
        let part = |value: &Value, up: bool| match value {
            Value::String(percent) => {
                let percent: f64 = percent.trim_end_matches('%').parse().unwrap_or(25.0);
                let exact = percent * self.replicas() as f64 / 100.0;
                (if up { exact.ceil() } else { exact.floor() }) as i64
            }
            Value::Number(count) => count.as_i64().unwrap_or_default(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                let quarter = 0.25 * self.replicas() as f64;
                (if up { quarter.ceil() } else { quarter.floor() }) as i64
            }
        };
        let (surge, unavailable) = (part(&rolling["maxSurge"], true), part(&rolling["maxUnavailable"], false));
        // Something has to move.
        if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
    }

    fn recreates(&self) -> bool {
        self.deployment["spec"]["strategy"]["type"] == "Recreate"
    }

    fn surge(&self) -> i64 {
        self.room().0
    }

    fn unavailable(&self) -> i64 {
        self.room().1.min(self.replicas())
    }

    /// The ReplicaSet of the Deployment's template: the oldest, if several have it.
    fn find_new(&self) -> Option<usize> {
        let wanted = &self.deployment["spec"]["template"];
        self.sets.iter().position(|set| is_same_version(&set["spec"]["template"], wanted))
    }

    /// Where those are that are not `new`.
    fn old(&self, new: Option<usize>) -> Vec<usize> {
        (0..self.sets.len()).filter(|at| Some(*at) != new).collect()
    }

    /// Where those are that have, or are to have, pods.
    fn active(&self, among: impl IntoIterator<Item = usize>) -> Vec<usize> {
        among.into_iter().filter(|at| size(&self.sets[*at]) > 0).collect()
    }

    /// Changes a ReplicaSet, in the copy and by a write.
    fn change(&mut self, at: usize, change: impl FnOnce(&mut Value)) {
        let before = self.sets[at].clone();
        change(&mut self.sets[at]);
        if self.sets[at] != before {
            self.edits.push(Edit::Update(Kind::ReplicaSet, self.sets[at].clone()));
            // The answer has a version that is not known yet; a second write of the same look is not conditional on it.
            entry(&mut self.sets[at], "metadata").remove("resourceVersion");
        }
    }

    /// Sets the size of a ReplicaSet, and notes for which scale of the Deployment. Says whether the size has changed.
    fn resize(&mut self, at: usize, to: i64) -> bool {
        let changes = size(&self.sets[at]) != to;
        let (desired, most) = (self.replicas(), self.replicas() + self.surge());
        self.change(at, |set| {
            set["spec"]["replicas"] = to.into();
            let annotations = entry(&mut set["metadata"], "annotations");
            annotations.insert(DESIRED.into(), desired.to_string().into());
            annotations.insert(MAX.into(), most.to_string().into());
        });
        changes
    }

    /// Gives the ReplicaSet of the template the newest revision, and the Deployment's annotations. Gives where it is.
    fn revise(&mut self, at: usize) -> usize {
        let revision = |set: &Value| text(&set["metadata"]["annotations"][REVISION]).parse::<i64>().unwrap_or_default();
        let newest = self.old(Some(at)).into_iter().map(|old| revision(&self.sets[old])).max().unwrap_or_default() + 1;
        let own = revision(&self.sets[at]);
        let minimum = self.deployment["spec"]["minReadySeconds"].clone();
        let copied = self.deployment["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
        let copied = copied.into_iter().filter(|(key, _)| !OWN.contains(&key.as_str()));
        self.change(at, |set| {
            let annotations = entry(&mut set["metadata"], "annotations");
            annotations.extend(copied);
            if own < newest {
                if own > 0 {
                    let before = annotations.get(HISTORY).map_or("", text);
                    let history = if before.is_empty() { own.to_string() } else { format!("{before},{own}") };
                    annotations.insert(HISTORY.into(), history.into());
                }
                annotations.insert(REVISION.into(), newest.to_string().into());
            }
            if number(&set["spec"]["minReadySeconds"]) != number(&minimum) {
                set["spec"]["minReadySeconds"] = minimum;
            }
        });
        let wanted = self.sets[at]["metadata"]["annotations"][REVISION].clone();
        if self.deployment["metadata"]["annotations"][REVISION] != wanted {
            entry(&mut self.deployment["metadata"], "annotations").insert(REVISION.into(), wanted);
            // Together with the status, so that it is no new generation.
            self.write_status();
        }
        at
    }

    /// Deletes history beyond the limit.
    fn trim_history(&mut self, new: Option<usize>) {
        let limit = self.deployment["spec"]["revisionHistoryLimit"].as_u64().unwrap_or(10) as usize;
        let mut old = self.old(new);
        old.retain(|at| !deleting(&self.sets[*at]));
        old.sort_by_key(|at| {
            text(&self.sets[*at]["metadata"]["annotations"][REVISION]).parse::<i64>().unwrap_or_default()
        });
        let many = old.len().saturating_sub(limit);
        for at in old.into_iter().take(many) {
            let set = &self.sets[at];
            let idle = size(set) == 0 && number(&set["status"]["replicas"]) == 0;
            let seen = number(&set["status"]["observedGeneration"]) >= number(&set["metadata"]["generation"]);
            if idle && seen {
                self.edits.push(Edit::Delete(Kind::ReplicaSet, set.clone()));
            }
        }
    }
}

/// `spec.replicas`.
fn size(set: &Value) -> i64 {
    set["spec"]["replicas"].as_i64().unwrap_or(1)
}

/// A template without the label by which its pods are told from others.
fn bare(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(Value::Object(labels)) = template.pointer_mut("/metadata/labels") {
        labels.remove(POD_TEMPLATE_HASH);
    }
    template
}

/// Whether two templates are the same but for the label by which their pods are told from others.
fn is_same_version(one: &Value, other: &Value) -> bool {
    let (Value::Object(all), Value::Object(others)) = (one, other) else { return one == other };
    let same = |name: &str| all.get(name) == others.get(name);
    all.len() == others.len()
        && all.keys().all(|name| name == "metadata" || same(name))
        && match (all.get("metadata"), others.get("metadata")) {
            (Some(Value::Object(one)), Some(Value::Object(other))) => {
                one.len() == other.len()
                    && one.iter().all(|(name, value)| match (name.as_str(), value, other.get(name)) {
                        ("labels", Value::Object(one), Some(Value::Object(other))) => {
                            without_hash(one).eq(without_hash(other))
                        }
                        (_, value, there) => Some(value) == there,
                    })
            }
            (one, other) => one == other,
        }
}

fn without_hash(labels: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    labels.iter().filter(|(name, _)| *name != POD_TEMPLATE_HASH)
}

/// The controller at work.
#[derive(Debug)]
pub struct DeploymentController {
    caller: Caller,
    idle: Idle,
}

impl Default for DeploymentController {
    fn default() -> Self {
        Self { caller: Caller::new(User::controller("deployment-controller")), idle: Idle::default() }
    }
}

/// A Deployment and the ReplicaSets that its controller may look at: those of others matter only where they take a name.
fn concerned(deployment: &Arc<Object>, sets: &[Arc<Object>]) -> Vec<Arc<Object>> {
    let prefix = format!("{}-", name(deployment));
    let concerns = |set: &&Arc<Object>| {
        set.is_controlled_by(deployment.uid()) || !set.has_controller() || name(set).starts_with(&prefix)
    };
    [deployment].into_iter().chain(sets.iter().filter(concerns)).cloned().collect()
}

impl Actor for DeploymentController {
    fn watches(&self) -> &'static [Kind] {
        &[Kind::Deployment, Kind::ReplicaSet]
    }

    fn step(&mut self, turn: &mut Turn<'_>) -> Option<Timestamp> {
        let deployments: Vec<_> = turn.server.store().objects().of(Kind::Deployment).cloned().collect();
        for deployment in deployments {
            let sets: Vec<_> =
                turn.server.store().objects().within(Kind::ReplicaSet, namespace(&deployment)).cloned().collect();
            let seen = concerned(&deployment, &sets);
            if self.idle.until(&seen, turn.now).is_some() {
                continue;
            }
            let edits = sync(&deployment, &sets, turn.now);
            if edits.is_empty() {
                self.idle.note(seen, status::late(&deployment));
            }
            Edit::apply_all(edits, turn.server, &self.caller);
        }
        let deployments = turn.server.store().objects().of(Kind::Deployment);
        deployments.filter_map(|deployment| status::due(deployment)).filter(|due| *due > turn.now).min()
    }
}

/// The reference by which a Deployment controls a ReplicaSet.
fn reference(deployment: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name(deployment), "uid": uid(deployment),
        "controller": true, "blockOwnerDeletion": true})
}
