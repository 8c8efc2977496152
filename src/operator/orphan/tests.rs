use std::convert::Infallible;

use jiff::Timestamp;
use kube::{Client, client::Body};
use lockkeeper_api::names::{HOLD, PAUSED_BY, RELEASE};
use lockkeeper_engine::{world::Role, write::Request};
use serde_json::{Value, json};

use super::*;
use crate::{cache::view, fixture};

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": image}]}})
}

/// A Deployment that Release `web` managed, of this template.
fn deployment(image: &str, paused_by: Option<&str>) -> DeploymentView {
    let mut annotations = json!({RELEASE: "web", HOLD: "r1"});
    if let Some(by) = paused_by {
        annotations[PAUSED_BY] = by.into();
    }
    let object = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7", "annotations": annotations},
        "spec": {"replicas": 2, "paused": true, "selector": {"matchLabels": {"app": "web"}}, "template": template(image)},
    }));
    view::deployment(&object.unwrap(), None, Timestamp::UNIX_EPOCH)
}

fn replica_set(image: &str, replicas: u32, role: Option<Role>) -> ReplicaSetView {
    let mut labels = json!({"app": "web", "pod-template-hash": image});
    if let Some(role) = role {
        labels["lockkeeper.dev/role"] = role.as_str().into();
    }
    let object = serde_json::from_value(json!({
        "metadata": {"name": format!("web-{image}"), "namespace": "shop", "labels": labels},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"pod-template-hash": image}}, "template": template(image)},
        "status": {"replicas": replicas},
    }));
    ReplicaSetView { controlled: role.is_none(), ..view::replica_set(&object.unwrap(), None).view.get() }
}

fn check(deployment: &DeploymentView, replica_sets: &[ReplicaSetView], expected: Remedy) {
    assert_eq!(remedy(deployment, replica_sets, false), expected, "{deployment:?} with {replica_sets:?}");
}

#[test]
fn what_runs_is_given_back_and_what_has_never_run_stays_paused() {
    let held = deployment("one", Some("lockkeeper"));
    let (runs, history) = (replica_set("one", 2, None), replica_set("zero", 0, None));
    check(&held, &[runs.clone(), history.clone()], Remedy::GiveBack);
    check(&held, &[replica_set("zero", 2, None)], Remedy::LeavePaused);
    // A rollout that stopped half-way, and a Deployment that is scaled to 0: what would run is not what has been running.
    check(&held, &[runs.clone(), replica_set("zero", 1, None)], Remedy::LeavePaused);
    check(&held, &[replica_set("one", 0, None), history], Remedy::LeavePaused);
}

#[test]
fn a_restart_is_no_new_version() {
    let mut held = deployment("one", Some("lockkeeper"));
    let mut template = held.template.value();
    template["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/restartedAt": "now"});
    held.template = template.into();
    check(&held, &[replica_set("one", 2, None)], Remedy::GiveBack);
}

#[test]
fn one_that_has_never_run_waits_for_its_release() {
    check(&deployment("one", Some("lockkeeper")), &[], Remedy::Await);
}

#[test]
fn nothing_is_touched_while_parts_of_a_release_are_left() {
    let held = deployment("two", Some("lockkeeper"));
    for role in [Role::Candidate, Role::Previous, Role::History] {
        check(&held, &[replica_set("one", 2, None), replica_set("two", 1, Some(role))], Remedy::InFlight);
    }
    assert_eq!(remedy(&held, &[replica_set("two", 2, None)], true), Remedy::InFlight);
    for remedy in [Remedy::Await, Remedy::InFlight] {
        assert_eq!(remedy.write("web", &held), None);
    }
}

fn patch(remedy: Remedy, deployment: &DeploymentView) -> Value {
    match remedy.write("web", deployment).unwrap().request {
        Request::Strategic(patch) => patch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn our_marks_go_and_our_pause_only_where_it_is_proven_and_ours() {
    let given_back = patch(Remedy::GiveBack, &deployment("one", Some("lockkeeper")));
    let gone = json!({RELEASE: null, HOLD: null, PAUSED_BY: null});
    assert_eq!(given_back["metadata"], json!({"resourceVersion": "7", "annotations": gone}));
    assert_eq!(given_back["spec"], json!({"paused": null}));

    let left = patch(Remedy::LeavePaused, &deployment("two", Some("lockkeeper")));
    assert_eq!((&left["metadata"]["annotations"], &left["spec"]), (&gone, &Value::Null));

    // A person has paused it: a person resumes it.
    let theirs = deployment("two", None);
    check(&theirs, &[replica_set("one", 2, None)], Remedy::GiveBack);
    assert_eq!(patch(Remedy::GiveBack, &theirs)["spec"], Value::Null);
}

/// An operator whose cache has the Deployment, and no Release, before an API server that has these Releases. Gives the writes that arrive.
async fn cleared(releases: Value) -> Vec<String> {
    let writes: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = writes.clone();
    let server = tower::service_fn(move |request: http::Request<Body>| {
        let (log, releases) = (log.clone(), releases.clone());
        async move {
            let answer = match request.method() {
                &http::Method::GET => {
                    assert!(request.uri().query().is_some_and(|query| query.contains("metadata.name")));
                    json!({"kind": "ReleaseList", "apiVersion": "lockkeeper.dev/v1alpha1", "metadata": {}, "items": releases})
                }
                method => {
                    log.lock().push(format!("{method} {}", request.uri().path()));
                    json!({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "web", "namespace": "shop"}})
                }
            };
            Ok::<_, Infallible>(http::Response::new(Body::from(answer.to_string().into_bytes())))
        }
    });
    let context = Context::new(fixture::parts(Client::new(server, "shop")));
    let object = json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7", "annotations": {RELEASE: "web", HOLD: "r1"}},
        "spec": {"replicas": 2, "paused": true, "selector": {"matchLabels": {"app": "web"}}, "template": template("one")},
    });
    let (now, object) = (Timestamp::UNIX_EPOCH, serde_json::from_value(object).unwrap());
    context.cache.put(Resource::Deployment, object, now).unwrap();
    let set = json!({
        "metadata": {
            "name": "web-one", "namespace": "shop", "uid": "s", "resourceVersion": "5", "labels": {"app": "web"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "u", "controller": true}],
        },
        "spec": {"replicas": 2, "selector": {"matchLabels": {"pod-template-hash": "one"}}, "template": template("one")},
        "status": {"replicas": 2},
    });
    context.cache.put(Resource::ReplicaSet, serde_json::from_value(set).unwrap(), now).unwrap();
    reconcile(context.clone(), Key::new("shop", "web")).await;
    tokio::time::sleep(GRACE).await;
    reconcile(context.clone(), Key::new("shop", "web")).await;
    writes.lock().clone()
}

#[tokio::test(start_paused = true)]
async fn only_a_release_that_the_api_server_lacks_too_is_gone() {
    assert_eq!(cleared(json!([])).await, ["PATCH /apis/apps/v1/namespaces/shop/deployments/web"]);
    let release = json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "Release",
        "metadata": {"name": "web", "namespace": "shop", "uid": "r", "resourceVersion": "9"},
        "spec": {"workloads": [{"ref": {"kind": "Deployment", "name": "web"}}], "strategy": {"canary": {"steps": [{"setWeight": 5}]}}},
    });
    assert_eq!(cleared(json!([release])).await, Vec::<String>::new());
}
