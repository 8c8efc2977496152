//! What stands on the stage before anybody acts.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    PlayError, Recording, Scenario,
    director::title,
    scenario::Played,
    source::{Answer, Questions},
};
use crate::{
    api::{
        Caller, Kind, Shared, User,
        object::{name, namespace, text},
    },
    run::{PLATFORM, rendered_policies},
    world::{Behaviour, Kubelet},
};

/// Pods of the new version behave as the scenario says, all others as usual.
pub fn kubelet(images: &[String], played: &Played<'_>) -> Kubelet {
    let (images, pods) = (images.to_vec(), played.pods);
    Kubelet::new(move |image| {
        let usual = Behaviour::of("");
        if !images.iter().any(|new| new == image) {
            return usual;
        }
        let ready_after = pods.ready_after.map(Duration::from).or(usual.ready_after);
        Behaviour {
            ready_after: ready_after.filter(|_| !pods.never_ready),
            crashes_after: pods.crash_after.map(Duration::from),
            ..usual
        }
    })
}

/// The objects with numbers for queries, and what the numbers mean.
pub fn rewritten(
    objects: &[Value],
    scenario: &Scenario,
    recording: &Recording,
    played: &Played<'_>,
) -> (Vec<Value>, Questions) {
    let mut questions = Questions::default();
    let known = |check: &str| {
        let short = check.rsplit('/').next().unwrap_or(check);
        if recording.knows(check) {
            return Some(Answer::Recorded);
        }
        let answers = scenario.checks.get(check).or_else(|| scenario.checks.get(short))?;
        answers.get(played.name).copied().map(Answer::Given)
    };
    let objects = objects.iter().map(|object| {
        let mut object = object.clone();
        if object["kind"] == "RollbackPolicy"
            && let Ok(mut spec) = serde_json::from_value::<lockkeeper_api::RollbackPolicySpec>(object["spec"].clone())
        {
            let policy = name(&object).to_owned();
            // One that cannot work stays as it is, so that the operator says why.
            if lockkeeper_engine::analysis::PolicyPlan::parse(&policy, &spec).is_ok() {
                questions.replace(&policy, &mut spec, known);
                object["spec"] = json!(spec);
            }
        }
        object
    });
    (objects.collect(), questions)
}

/// Namespaces, admission policies and the cast.
///
/// # Errors
/// If the API server refuses an object.
pub fn install(shared: &Shared, objects: Vec<Value>) -> Result<(), PlayError> {
    let mut server = shared.lock();
    let admin = Caller::new(User::new("admin", &["system:masters"]));
    let mut namespaces: Vec<String> = objects.iter().map(|object| namespace(object).to_owned()).collect();
    namespaces.push(PLATFORM.into());
    namespaces.retain(|name| !name.is_empty());
    namespaces.sort_unstable();
    namespaces.dedup();
    let (given, others): (Vec<Value>, Vec<Value>) =
        objects.into_iter().partition(|object| object["kind"] == "Namespace");
    let mut all: Vec<Value> = Vec::new();
    for home in namespaces {
        let mut own = given
            .iter()
            .find(|object| name(object) == home)
            .cloned()
            .unwrap_or_else(|| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": home}}));
        own["metadata"]["labels"]["kubernetes.io/metadata.name"] = home.into();
        all.push(own);
    }
    all.extend(rendered_policies()?.iter().flat_map(|(_, objects)| objects).map(|policy| json!(policy)));
    all.extend(others);
    for object in all {
        let Some(kind) = Kind::of(text(&object["apiVersion"]), text(&object["kind"])) else { continue };
        let title = title(&object);
        let home = namespace(&object).to_owned();
        server
            .create(&admin, kind, &home, object)
            .map_err(|refusal| PlayError::Refused { object: title, message: refusal.message })?;
    }
    Ok(())
}
