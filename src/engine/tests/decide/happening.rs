//! What people, Git, autoscalers and machines do to a release that runs.

use lockkeeper_api::{
    decision::Verdict,
    names::{HOLD, PAUSED_BY, PIN, RELEASE, REQUESTED_BY, RESTARTED_AT},
};
use lockkeeper_engine::{window::WindowView, write::Kind};
use serde_json::{Value, json};

use crate::{
    fixture,
    lab::{Answer, Lab, NAME, NAMESPACE},
};

/// One of them; workloads go by their name.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// The operator dies and starts again.
    Crash,
    /// An autoscaler sets `spec.replicas`.
    Scale(&'static str, u32),
    /// A sync writes the route as the user has it.
    RestoreRoute(&'static str),
    /// A sync writes the Service as the user has it.
    RestoreService(&'static str),
    /// A sync writes the image of version 1, where the Release carries the version.
    RestoreImage(&'static str),
    /// Somebody applies `paused: false`.
    Unpause(&'static str),
    /// `kubectl rollout restart`.
    Restart(&'static str),
    /// All pods but those of version 1 fail, and start anew.
    Fail(&'static str),
    /// Everything is to run another version.
    Version(&'static str),
    Decide(Verdict),
    Approve(&'static str, &'static str),
    Answer(Answer),
    /// A freeze of the whole namespace begins or ends.
    Freeze(bool),
    Suspend(bool),
    Steps(Vec<Value>),
    DeleteRelease,
    /// The ReplicaSet of the stable version.
    DeleteStable(&'static str),
    DeleteService(&'static str),
    DeleteRoute(&'static str),
    DeleteDeployment(&'static str),
    /// Whatever of Deployment, Service and route is missing is applied again.
    Apply(&'static str),
}

pub fn happen(lab: &mut Lab, happening: &Happening) {
    match happening {
        Happening::Crash => {}
        Happening::Scale(name, replicas) => {
            lab.cluster
                .update(Kind::Deployment, name, |deployment| deployment["spec"]["replicas"] = (*replicas).into());
        }
        Happening::RestoreRoute(name) => {
            lab.cluster.update(Kind::HTTPRoute, name, |route| route["spec"] = fixture::route(name)["spec"].clone());
        }
        Happening::RestoreService(name) => restore_service(lab, name),
        Happening::RestoreImage(name) => set_image(lab, name, "1"),
        Happening::Unpause(name) => {
            let guarded = lab.cluster.guarded;
            lab.cluster.update(Kind::Deployment, name, |deployment| {
                if !(guarded && is_held(deployment)) {
                    deployment["spec"]["paused"] = Value::Null;
                    deployment["spec"].as_object_mut().unwrap().remove("paused");
                }
            });
        }
        Happening::Restart(name) => {
            let stamp = lab.now().to_string();
            lab.cluster.update(Kind::Deployment, name, |deployment| {
                deployment["spec"]["template"]["metadata"]["annotations"][RESTARTED_AT] = stamp.into();
            });
        }
        Happening::Fail(name) => {
            let now = lab.now();
            let own = lab.cluster.pods.values_mut().filter(|pod| pod.labels["app"] == *name);
            for pod in own.filter(|pod| !pod.image.ends_with(":1")) {
                (pod.created, pod.ready) = (now, None);
            }
        }
        Happening::Version(tag) => version(lab, tag),
        Happening::Decide(verdict) => {
            lab.decide(*verdict, Some("gate").filter(|_| *verdict == Verdict::Reject), "olga")
        }
        Happening::Approve(gate, by) => lab.decide(Verdict::Approve, Some(gate), by),
        Happening::Answer(answer) => lab.answer = *answer,
        Happening::Freeze(true) => lab.windows.push(freeze()),
        Happening::Freeze(false) => lab.windows.retain(|window| window.name() != "freeze"),
        Happening::Suspend(suspend) => spec(lab, |spec| spec["suspend"] = (*suspend).into()),
        Happening::Steps(steps) => spec(lab, |spec| spec["strategy"]["canary"]["steps"] = steps.clone().into()),
        Happening::DeleteRelease => {
            let now = lab.now().to_string();
            lab.cluster.update(Kind::Release, NAME, |release| release["metadata"]["deletionTimestamp"] = now.into());
        }
        Happening::DeleteStable(name) => delete_stable(lab, name),
        Happening::DeleteService(name) => lab.cluster.delete(Kind::Service, name),
        Happening::DeleteRoute(name) => lab.cluster.delete(Kind::HTTPRoute, name),
        Happening::DeleteDeployment(name) => lab.cluster.delete(Kind::Deployment, name),
        Happening::Apply(name) => {
            lab.cluster.create(Kind::Deployment, fixture::deployment(name, "1", 2));
            lab.cluster.create(Kind::Service, fixture::service(name));
            lab.cluster.create(Kind::HTTPRoute, fixture::route(name));
        }
    }
}

fn freeze() -> WindowView {
    let spec = json!({"action": "Freeze", "schedule": {
        "from": "2026-01-01T00:00:00", "until": "2027-12-31T00:00:00", "timeZone": "UTC"}});
    WindowView::new(NAMESPACE, "freeze", serde_json::from_value(spec).unwrap())
}

pub fn spec(lab: &mut Lab, change: impl FnOnce(&mut Value)) {
    lab.cluster.update(Kind::Release, NAME, |release| change(&mut release["spec"]));
}

fn is_held(deployment: &Value) -> bool {
    let marks = &deployment["metadata"]["annotations"];
    marks[RELEASE].is_string() && (marks[HOLD].is_string() || marks[PAUSED_BY].is_string())
}

/// The pin policy keeps the pin in writes by others.
fn restore_service(lab: &mut Lab, name: &str) {
    let guarded = lab.cluster.guarded;
    lab.cluster.update(Kind::Service, name, |service| {
        let pinned = service["metadata"]["annotations"][PIN].is_string();
        if !(guarded && pinned) {
            service["spec"] = fixture::service(name)["spec"].clone();
        }
    });
}

/// A write of the template by somebody else; the hold policy pauses a managed Deployment by that.
fn set_image(lab: &mut Lab, name: &str, tag: &str) {
    let guarded = lab.cluster.guarded;
    lab.cluster.update(Kind::Deployment, name, |deployment| {
        let image = Value::from(fixture::image(name, tag));
        let container = &mut deployment["spec"]["template"]["spec"]["containers"][0];
        if container["image"] == image {
            return;
        }
        container["image"] = image;
        let managed = deployment["metadata"]["annotations"][RELEASE].is_string();
        if guarded && managed {
            if deployment["spec"]["paused"] != true {
                deployment["spec"]["paused"] = true.into();
                deployment["metadata"]["annotations"][PAUSED_BY] = "lockkeeper".into();
            }
            deployment["metadata"]["annotations"][REQUESTED_BY] = "dora".into();
        }
    });
}

fn version(lab: &mut Lab, tag: &str) {
    let Some(release) = lab.release() else { return };
    for (index, workload) in release.spec.workloads.iter().enumerate() {
        let name = workload.target.name.clone();
        if workload.images.is_empty() {
            set_image(lab, &name, tag);
        } else {
            spec(lab, |spec| spec["workloads"][index]["images"]["app"] = fixture::image(&name, tag).into());
        }
    }
}

fn delete_stable(lab: &mut Lab, name: &str) {
    let stable = lab.release().and_then(|release| release.status).and_then(|status| status.stable);
    let part = stable.and_then(|stable| stable.workloads.into_iter().find(|part| part.name == name));
    if let Some(part) = part {
        lab.cluster.delete(Kind::ReplicaSet, &format!("{name}-{}", part.hash));
    }
}
