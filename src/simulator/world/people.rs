//! What people, Git syncs and autoscalers do, as acts of a script. What the API server refuses is noted by nobody: whoever waits for it sees it.

use serde_json::{Value, json};

use super::{Act, Turn};
use crate::api::{
    Caller, Key, Kind, Part, Patch, Preconditions, User,
    object::{name, namespace, text},
};

/// Asks for a version by changing the image of the first container of a Deployment.
pub fn set_image(who: &str, at: &Key, image: &str) -> Act {
    let image = image.to_owned();
    change(who, at, move |deployment| deployment["spec"]["template"]["spec"]["containers"][0]["image"] = image.into())
}

/// An autoscaler, or `kubectl scale`.
pub fn scale(at: &Key, replicas: u32) -> Act {
    change("system:serviceaccount:kube-system:horizontal-pod-autoscaler", at, move |object| {
        object["spec"]["replicas"] = replicas.into();
    })
}

/// Changes an object whatever it is like now.
pub fn change(who: &str, at: &Key, change: impl FnOnce(&mut Value) + Send + 'static) -> Act {
    let (caller, key) = (Caller::new(User::new(who, &[])), at.clone());
    Box::new(move |turn: &mut Turn<'_>| {
        let _ = turn.server.update(&caller, &key, Part::Main, |object| {
            let mut object = object.clone();
            change(&mut object);
            Ok(object)
        });
    })
}

/// A Git sync: the object is to be as it is there, whole lists and selectors, whoever has changed it.
pub fn sync(object: Value) -> Act {
    let caller = Caller::new(User::new("system:serviceaccount:argocd:argocd-controller", &[]));
    Box::new(move |turn: &mut Turn<'_>| {
        let Some(kind) = Kind::of(text(&object["apiVersion"]), text(&object["kind"])) else { return };
        let key = Key::new(kind, namespace(&object), name(&object));
        let _ = turn.server.patch(&caller, &key, Part::Main, &Patch::Apply(object));
    })
}

/// Deletes an object.
pub fn delete(who: &str, at: &Key) -> Act {
    let (caller, key) = (Caller::new(User::new(who, &[])), at.clone());
    Box::new(move |turn: &mut Turn<'_>| {
        let _ = turn.server.delete(&caller, &key, &Preconditions::default(), None);
    })
}

/// Decides about the revision on its way (for Rollback about the stable one, for Retry the one blocked last).
pub fn decide(who: &str, release: &Key, verdict: &str, gate: Option<&str>) -> Act {
    let (caller, key) = (Caller::new(User::new(who, &["team"])), release.clone());
    let (who, verdict, gate) = (who.to_owned(), verdict.to_owned(), gate.map(str::to_owned));
    Box::new(move |turn: &mut Turn<'_>| {
        let Ok(release) = turn.server.get(&key) else { return };
        let status = &release["status"];
        let revision = match verdict.as_str() {
            "Rollback" => &status["stable"]["revision"],
            "Retry" => status["blocked"]
                .as_array()
                .and_then(|blocked| blocked.last())
                .map_or(&Value::Null, |last| &last["revision"]),
            _ => &status["candidate"]["revision"],
        };
        let decision = json!({
            "metadata": {"generateName": format!("{}-{}-", key.name, verdict.to_lowercase())},
            "spec": {"release": key.name, "revision": revision, "verdict": verdict, "gate": gate, "reason": "because",
                "by": {"username": who, "groups": ["team"]}},
        });
        let _ = turn.server.create(&caller, Kind::Decision, &key.namespace, decision);
    })
}
