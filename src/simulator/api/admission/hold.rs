//! Hold and author: a new version of a managed Deployment waits for its release, a held one stays held, and who asked for a version is known.

use lockkeeper_api::names::{FIELD_MANAGER, HOLD, PAUSED_BY, RELEASE, REQUESTED_BY, RESTARTED_AT};
use serde_json::{Map, Value, json};

use super::{Admission, annotate, annotation};
use crate::api::object::{entry, list};

/// The policy `lockkeeper-hold`.
pub(super) fn hold(admission: &Admission<'_>, after: &mut Value) {
    let before = admission.before;
    let was = |name| annotation(before, name).map(str::to_owned);
    let asked = |name| annotation(Some(after), name).map(str::to_owned);
    let stamped = [RELEASE, REQUESTED_BY].into_iter().any(|name| was(name).is_some() || asked(name).is_some());
    if !stamped {
        return;
    }
    let managed = was(RELEASE).is_some() || asked(RELEASE).is_some();
    let new_version = before.is_none_or(|before| version(before) != version(after));
    let held = was(RELEASE).is_some() && (was(HOLD).is_some() || was(PAUSED_BY).is_some());
    let holds = managed && (held || new_version);
    let asked_paused = after["spec"]["paused"] == true;
    let leaves = was(RELEASE) != asked(RELEASE) && was(RELEASE).is_some();
    let release = if leaves && (holds || !admission.may("govern")) { was(RELEASE) } else { asked(RELEASE) };
    let paused_by = match (managed, holds && was(PAUSED_BY).is_none() && !asked_paused) {
        (false, _) => asked(PAUSED_BY),
        (true, true) => Some(FIELD_MANAGER.to_owned()),
        (true, false) => was(PAUSED_BY),
    };
    let marks = [
        (RELEASE, release),
        (HOLD, if managed { was(HOLD) } else { asked(HOLD) }),
        (PAUSED_BY, paused_by),
        (REQUESTED_BY, if new_version { Some(admission.user.name.clone()) } else { was(REQUESTED_BY) }),
    ];
    if holds && !asked_paused {
        entry(after, "spec").insert("paused".into(), true.into());
    }
    for (name, value) in marks {
        annotate(after, name, value.as_deref());
    }
}

/// What makes a version: spec, labels, and the annotations but that of a restart.
fn version(deployment: &Value) -> (&Value, Map<String, Value>, Map<String, Value>) {
    let template = &deployment["spec"]["template"];
    let texts = |field: &str| template["metadata"][field].as_object().cloned().unwrap_or_default();
    let mut annotations = texts("annotations");
    annotations.remove(RESTARTED_AT);
    (&template["spec"], texts("labels"), annotations)
}

/// The policy `lockkeeper-author`.
pub(super) fn author(admission: &Admission<'_>, after: &mut Value) {
    let asks = |release: &Value| {
        let workloads = list(&release["spec"]["workloads"]).iter();
        let workloads: Vec<Value> = workloads.map(|workload| json!([workload["ref"], workload["images"]])).collect();
        (release["spec"]["version"].clone(), workloads)
    };
    let new_version = admission.before.is_none_or(|before| asks(before) != asks(after));
    let was = annotation(admission.before, REQUESTED_BY).map(str::to_owned);
    let author = if new_version { Some(admission.user.name.clone()) } else { was };
    if annotation(Some(after), REQUESTED_BY).map(str::to_owned) != author {
        annotate(after, REQUESTED_BY, author.as_deref());
    }
}
