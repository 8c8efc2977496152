//! What the API server does with requests about single objects. Nobody else acts on these objects.

use anyhow::Result;
use lockkeeper_simulator::api::Kind::{
    ControllerRevision, Decision, Deployment, HTTPRoute, Lease, Release, ReplicaSet, Service,
};
use serde_json::{Value, json};

use super::objects::{deployment, release, service, with};
use crate::play::{Ask, Form, Play};

pub fn steps() -> Value {
    json!([{"setWeight": 5}, {"pause": {}}])
}

/// A kind without status and generation, on which nobody acts.
pub fn revision(name: &str, labels: Value) -> Value {
    json!({"metadata": {"name": name, "labels": labels}, "revision": 1, "data": {"some": "thing"}})
}

/// A Deployment that has nothing to do.
async fn idle(play: &mut Play<'_>) -> Result<()> {
    play.create(Deployment, with(deployment("1", 0), "/spec/paused", json!(true))).await?;
    play.settle().await
}

/// What is there, what is not, and what cannot be.
pub async fn created(play: &mut Play<'_>) -> Result<()> {
    play.ask(Ask::get(Release, "web")).await?;
    play.create(Release, release(steps())).await?;
    play.create(Release, release(steps())).await?;
    play.ask(Ask::get(Release, "web")).await?;
    play.create(ControllerRevision, json!({"revision": 1, "data": {}})).await?;
    let stamped = json!({"metadata": {"name": "web", "uid": "no", "generation": 7, "creationTimestamp": "2020-01-01T00:00:00Z",
        "deletionTimestamp": "2020-01-01T00:00:00Z", "finalizers": ["example.com/mine"]}, "revision": 1, "data": {}});
    play.create(ControllerRevision, stamped).await?;
    let versioned = json!({"metadata": {"name": "other", "resourceVersion": "1"}, "revision": 1, "data": {}});
    play.create(ControllerRevision, versioned).await?;
    play.create(Release, with(release(steps()), "/status", json!({"phase": "Baking", "message": ""}))).await?;
    play.create(Deployment, with(deployment("1", 1), "/metadata/namespace", json!("elsewhere"))).await?;
    play.merge(Release, "nobody", json!({})).await?;
    play.delete(Release, "nobody").await?;
    play.settle().await
}

/// Versions and generations, and what no patch changes.
pub async fn merged(play: &mut Play<'_>) -> Result<()> {
    play.note_versions();
    let web = play.create(Release, release(steps())).await?;
    for patch in [
        json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"metadata": {"annotations": {"a": "b"}}}),
        json!({"spec": {"suspend": true}}),
        json!({"spec": {"suspend": true}}),
        json!({"spec": {"strategy": {"canary": {"steps": [{"setWeight": 50}]}}}}),
        json!({"metadata": {"labels": {"a": null}, "annotations": {"a": null}}}),
        json!({"status": {"phase": "Baking"}}),
        json!({"metadata": {"generation": 99, "creationTimestamp": null}}),
        json!({"metadata": {"name": "other"}}),
        json!({"metadata": {"uid": "no"}}),
        json!({"metadata": {"uid": web["metadata"]["uid"]}}),
        json!({"metadata": {"resourceVersion": web["metadata"]["resourceVersion"]}, "spec": {"suspend": false}}),
        json!({"spec": {"suspend": "yes"}}),
        json!({}),
    ] {
        play.merge(Release, "web", patch).await?;
    }
    let now = play.peek(Release, "web").await?;
    let guarded =
        json!({"metadata": {"resourceVersion": now["metadata"]["resourceVersion"]}, "spec": {"suspend": false}});
    play.merge(Release, "web", guarded).await?;
    play.settle().await
}

/// The same of kinds that are built in: labels and annotations, and the generation of a Deployment.
pub async fn generations(play: &mut Play<'_>) -> Result<()> {
    play.note_versions();
    idle(play).await?;
    play.create(Service, json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80, "targetPort": 80}]}}))
        .await?;
    play.create(ControllerRevision, revision("web", json!({}))).await?;
    for kind in [Deployment, Service, ControllerRevision] {
        for metadata in [json!({"labels": {"a": "b"}}), json!({"annotations": {"a": "b"}})] {
            play.merge(kind, "web", json!({"metadata": metadata})).await?;
            play.merge(kind, "web", json!({"metadata": metadata})).await?;
        }
    }
    play.merge(Deployment, "web", json!({"spec": {"minReadySeconds": 3}})).await?;
    play.merge(Service, "web", json!({"spec": {"selector": {"nobody": "here"}}})).await?;
    play.merge(ControllerRevision, "web", json!({"revision": 2})).await?;
    play.settle().await
}

/// Lists that have keys.
pub async fn strategic(play: &mut Play<'_>) -> Result<()> {
    play.note_versions();
    idle(play).await?;
    let containers = |containers: Value| json!({"spec": {"template": {"spec": {"containers": containers}}}});
    for patch in [
        containers(json!([{"name": "app", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}])),
        containers(json!([{"name": "app", "env": [{"name": "B", "value": "3"}, {"name": "A", "$patch": "delete"}]}])),
        containers(json!([{"name": "app", "ports": [{"containerPort": 9090, "protocol": "TCP"}]}])),
        containers(json!([{"name": "side", "image": "side:1"}])),
        containers(json!([{"name": "app", "image": "demo:2"}])),
        containers(json!([{"name": "side", "$patch": "delete"}])),
        json!({"spec": {"template": {"metadata": {"labels": {"more": "x"}}}}}),
        json!({"spec": {"template": {"metadata": {"labels": {"$patch": "replace", "app": "web"}}}}}),
        json!({"metadata": {"finalizers": ["example.com/a"]}}),
        json!({"metadata": {"finalizers": ["example.com/b"]}}),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/a"]}}),
        json!({"metadata": {"finalizers": null}}),
        json!({"spec": {"minReadySeconds": null}}),
    ] {
        play.ask(Ask::patch(Deployment, "web", Form::Strategic, patch)).await?;
        play.settle().await?;
    }
    play.create(Release, release(steps())).await?;
    play.ask(Ask::patch(Release, "web", Form::Strategic, json!({"spec": {"suspend": true}}))).await?;
    play.settle().await
}

/// Owner references are one list by UID for a strategic merge, and one value for a merge.
pub async fn owned(play: &mut Play<'_>) -> Result<()> {
    play.note_versions();
    idle(play).await?;
    play.create(ControllerRevision, revision("web", json!({}))).await?;
    let owner = |object: &Value, kind: &str| {
        json!({"apiVersion": object["apiVersion"], "kind": kind,
        "name": object["metadata"]["name"], "uid": object["metadata"]["uid"]})
    };
    let first = owner(&play.peek(Deployment, "web").await?, "Deployment");
    let second = owner(&play.create(Release, release(steps())).await?, "Release");
    let owners = |owners: Value| json!({"metadata": {"ownerReferences": owners}});
    for (form, owners) in [
        (Form::Strategic, owners(json!([first]))),
        (Form::Strategic, owners(json!([second]))),
        (Form::Strategic, owners(json!([with(first.clone(), "/controller", json!(true))]))),
        (Form::Strategic, owners(json!([{"uid": second["uid"], "$patch": "delete"}]))),
        (Form::Merge, owners(json!([second]))),
        (Form::Merge, owners(json!([first, second]))),
    ] {
        play.ask(Ask::patch(ControllerRevision, "web", form, owners)).await?;
        play.settle().await?;
    }
    Ok(())
}

/// Tests, and operations that do not fit.
pub async fn json_patched(play: &mut Play<'_>) -> Result<()> {
    play.note_versions();
    play.create(Release, release(steps())).await?;
    play.create(ControllerRevision, revision("web", json!({"app": "web"}))).await?;
    for (kind, patch) in [
        (
            Release,
            json!([{"op": "test", "path": "/spec/strategy/canary/steps/0/setWeight", "value": 5}, {"op": "add", "path": "/spec/suspend", "value": true}]),
        ),
        (
            Release,
            json!([{"op": "test", "path": "/spec/suspend", "value": false}, {"op": "add", "path": "/spec/suspend", "value": false}]),
        ),
        (Release, json!([{"op": "test", "path": "/spec/nothing", "value": 1}])),
        (Release, json!([{"op": "remove", "path": "/metadata/labels/nothing"}])),
        (Release, json!([{"op": "replace", "path": "/spec/strategy/canary/steps/7", "value": {"setWeight": 50}}])),
        (Release, json!([{"op": "add", "path": "/spec/strategy/canary/steps/-", "value": {"setWeight": 50}}])),
        (Release, json!([{"op": "add", "path": "/spec/strategy/canary/steps/-", "value": {"setWeight": 500}}])),
        (Release, json!([{"op": "test", "path": "/metadata/resourceVersion", "value": "1"}])),
        (Release, json!([{"op": "bad", "path": "/spec"}])),
        (ControllerRevision, json!([{"op": "add", "path": "/metadata/labels/a~1b", "value": "c"}])),
        (ControllerRevision, json!([{"op": "test", "path": "/metadata/labels/app", "value": "other"}])),
        (ControllerRevision, json!([{"op": "replace", "path": "/metadata/labels/nothing", "value": "x"}])),
        (ControllerRevision, json!([])),
    ] {
        play.ask(Ask::patch(kind, "web", Form::Json, patch)).await?;
    }
    play.settle().await
}

/// Server-side apply as the operator and Git syncs use it: forced.
pub async fn applied(play: &mut Play<'_>) -> Result<()> {
    play.note_versions();
    let typed = |kind: &str, version: &str, object: Value| {
        with(with(object, "/kind", json!(kind)), "/apiVersion", json!(version))
    };
    let service = |object| typed("Service", "v1", object);
    let web = service(service_of(json!({"a": "b"}), json!({"app": "web"})));
    play.ask(Ask::patch(Service, "web", Form::Apply, web.clone())).await?;
    play.ask(Ask::patch(Service, "web", Form::Apply, web)).await?;
    let relabelled = service(service_of(json!({"a": "c"}), json!({"app": "web"})));
    play.ask(Ask::patch(Service, "web", Form::Apply, relabelled)).await?;
    play.settle().await?;
    // The selector is one value.
    let reselected = service(service_of(json!({"a": "c"}), json!({"tier": "front"})));
    play.ask(Ask::patch(Service, "web", Form::Apply, reselected)).await?;
    play.merge(Service, "web", json!({"spec": {"selector": {"pod-template-hash": "abc"}}})).await?;
    play.settle().await?;
    let again = service(service_of(json!({"a": "c"}), json!({"app": "web"})));
    play.ask(Ask::patch(Service, "web", Form::Apply, again)).await?;
    play.settle().await?;
    idle(play).await?;
    let image = json!({"metadata": {"name": "web"}, "spec": {"paused": true,
        "template": {"spec": {"containers": [{"name": "app", "image": "demo:2"}]}}}});
    play.ask(Ask::patch(Deployment, "web", Form::Apply, typed("Deployment", "apps/v1", image))).await?;
    play.settle().await?;
    let release = typed("Release", "lockkeeper.dev/v1alpha1", release(steps()));
    play.ask(Ask::patch(Release, "web", Form::Apply, release.clone())).await?;
    play.ask(Ask::patch(Release, "web", Form::Apply, with(release, "/spec/suspend", json!(true)))).await?;
    play.settle().await
}

fn service_of(labels: Value, selector: Value) -> Value {
    with(with(service("web"), "/metadata/labels", labels), "/spec/selector", selector)
}

/// Whole objects, with and without the version on which they were decided.
pub async fn replaced(play: &mut Play<'_>) -> Result<()> {
    play.note_versions();
    let old = play.create(Release, release(steps())).await?;
    play.merge(Release, "web", json!({"metadata": {"labels": {"a": "b"}}})).await?;
    let set = |object: &Value| with(object.clone(), "/spec/suspend", json!(true));
    play.ask(Ask::replace(Release, "web", set(&old))).await?;
    let now = play.peek(Release, "web").await?;
    play.ask(Ask::replace(Release, "web", set(&now))).await?;
    play.ask(Ask::replace(Release, "other", set(&now))).await?;
    play.ask(Ask::replace(Release, "web", with(set(&now), "/metadata/resourceVersion", Value::Null))).await?;
    let old = play.create(ControllerRevision, revision("web", json!({"a": "b"}))).await?;
    let labelled = with(old.clone(), "/metadata/labels", json!({"c": "d"}));
    play.ask(Ask::replace(ControllerRevision, "web", labelled.clone())).await?;
    play.ask(Ask::replace(ControllerRevision, "web", labelled.clone())).await?;
    play.ask(Ask::replace(ControllerRevision, "web", with(old, "/metadata/uid", json!("no")))).await?;
    let unmanaged = with(labelled, "/metadata/managedFields", Value::Null);
    play.ask(Ask::replace(ControllerRevision, "web", with(unmanaged, "/metadata/resourceVersion", Value::Null)))
        .await?;
    play.create(Lease, json!({"metadata": {"name": "web"}, "spec": {"holderIdentity": "me"}})).await?;
    let lease = play.peek(Lease, "web").await?;
    let taken = with(lease, "/spec/holderIdentity", json!("you"));
    play.ask(Ask::replace(Lease, "web", taken.clone())).await?;
    play.ask(Ask::replace(Lease, "web", taken)).await?;
    play.settle().await
}

/// The status is a part of its own.
pub async fn status(play: &mut Play<'_>) -> Result<()> {
    play.note_versions();
    let web = play.create(Release, release(steps())).await?;
    let status = |status: Value| Ask::patch(Release, "web", Form::Merge, status).of("status");
    let full = json!({"phase": "Paused", "message": "waits", "version": "2", "observedGeneration": 1});
    play.ask(status(json!({"status": full}))).await?;
    play.ask(status(json!({"status": full}))).await?;
    play.ask(status(
        json!({"status": {"message": "goes on"}, "spec": {"suspend": true}, "metadata": {"labels": {"a": "b"}}}),
    ))
    .await?;
    play.ask(status(json!({"status": {"phase": "Nonsense"}}))).await?;
    play.ask(status(
        json!({"metadata": {"resourceVersion": web["metadata"]["resourceVersion"]}, "status": {"message": "late"}}),
    ))
    .await?;
    play.merge(Release, "web", json!({"status": {"message": "sneaky"}, "spec": {"suspend": true}})).await?;
    play.ask(Ask::get(Release, "web").of("status")).await?;
    play.create(ControllerRevision, revision("web", json!({}))).await?;
    play.ask(Ask::patch(ControllerRevision, "web", Form::Merge, json!({})).of("status")).await?;
    play.ask(Ask::patch(ControllerRevision, "web", Form::Merge, json!({})).of("scale")).await?;
    let route = json!({"metadata": {"name": "web"}, "spec": {"hostnames": ["nobody.example.com"]}});
    play.create(HTTPRoute, route).await?;
    play.ask(Ask::patch(HTTPRoute, "web", Form::Merge, json!({"status": {"parents": []}})).of("status")).await?;
    idle(play).await?;
    let annotated = json!({"metadata": {"annotations": {"a": "b"}, "labels": {"a": "b"}}, "spec": {"replicas": 3}});
    play.ask(Ask::patch(Deployment, "web", Form::Merge, annotated).of("status")).await?;
    play.settle().await
}

/// Which objects a list is about.
pub async fn listed(play: &mut Play<'_>) -> Result<()> {
    for (name, labels) in
        [("a", json!({"app": "web", "tier": "front"})), ("b", json!({"app": "web"})), ("c", json!({}))]
    {
        play.create(ControllerRevision, revision(name, labels)).await?;
    }
    for selector in
        ["app=web", "app!=web", "tier", "!tier", "app in (web,other),tier", "tier notin (front)", "app==web,!tier"]
    {
        play.ask(Ask::list(ControllerRevision, &[("labelSelector", selector)])).await?;
    }
    for selector in ["metadata.name=a", "metadata.name!=a", "metadata.namespace=nobody", "metadata.name"] {
        play.ask(Ask::list(ControllerRevision, &[("fieldSelector", selector)])).await?;
    }
    let decision = json!({"metadata": {"name": "d"}, "spec": {"release": "web", "revision": "r", "verdict": "Pause",
        "by": {"username": "admin", "groups": []}}});
    play.create(Decision, decision).await?;
    for selector in ["spec.release=web", "spec.release=other", "spec.verdict=Pause"] {
        play.ask(Ask::list(Decision, &[("fieldSelector", selector)])).await?;
    }
    play.ask(Ask::list(ReplicaSet, &[])).await?;
    play.settle().await
}

/// What the schemas and their rules refuse, in which words.
pub async fn refused(play: &mut Play<'_>) -> Result<()> {
    let mut number = 0;
    for (good, changes) in crate::bad_objects::tables() {
        let good = with(good, "/metadata/namespace", json!(play.namespace));
        for (pointer, value, _) in changes {
            let bad = crate::bad_objects::with(good.clone(), pointer, value)?;
            let kind = lockkeeper_simulator::api::Kind::ALL.into_iter().find(|kind| bad["kind"] == kind.served().kind);
            number += 1;
            let named = with(bad, "/metadata/name", json!(format!("bad-{number}")));
            play.create(kind.unwrap_or(Release), named).await?;
        }
    }
    play.settle().await
}

/// Writes that are guarded by the version on which they were decided, as the operator's are: of all kinds of patches.
pub async fn guarded(play: &mut Play<'_>) -> Result<()> {
    play.note_versions();
    let old = play.create(Release, release(steps())).await?["metadata"]["resourceVersion"].clone();
    play.merge(Release, "web", json!({"metadata": {"labels": {"a": "b"}}})).await?;
    let tested = |version: &Value, path: &str, value: Value| json!([{"op": "test", "path": "/metadata/resourceVersion", "value": version}, {"op": "add", "path": path, "value": value}]);
    let status = json!({"phase": "Stable", "message": "is there"});
    let publish = |patch: Value| Ask::patch(Release, "web", Form::Json, patch).of("status");
    play.ask(publish(tested(&old, "/status", status.clone()))).await?;
    let now = play.peek(Release, "web").await?["metadata"]["resourceVersion"].clone();
    play.ask(publish(tested(&now, "/status", status))).await?;
    play.ask(publish(json!([{"op": "replace", "path": "/metadata/resourceVersion", "value": now}]))).await?;
    let lease = json!({"metadata": {"name": "web"}, "spec": {"holderIdentity": "me", "leaseTransitions": 1}});
    let old = play.create(Lease, lease).await?["metadata"]["resourceVersion"].clone();
    for _ in 0..2 {
        let patch = tested(&old, "/spec/holderIdentity", json!("you"));
        play.ask(Ask::patch(Lease, "web", Form::Json, patch)).await?;
    }
    idle(play).await?;
    let old = play.peek(Deployment, "web").await?["metadata"]["resourceVersion"].clone();
    for form in [Form::Merge, Form::Strategic] {
        for label in ["a", "b"] {
            let now = play.peek(Deployment, "web").await?["metadata"]["resourceVersion"].clone();
            for version in [&old, &now] {
                let patch = json!({"metadata": {"resourceVersion": version, "labels": {label: "x"}}});
                play.ask(Ask::patch(Deployment, "web", form, patch)).await?;
                play.settle().await?;
            }
        }
    }
    let uid = json!({"metadata": {"uid": "00000000-0000-4000-8000-00000000abcd"}});
    play.ask(Ask::patch(Deployment, "web", Form::Strategic, uid)).await?;
    let uid = play.peek(Deployment, "web").await?["metadata"]["uid"].clone();
    let conditions = |version: &Value| json!({"preconditions": {"uid": uid, "resourceVersion": version}, "propagationPolicy": "Background"});
    play.ask(Ask::delete(Deployment, "web", conditions(&old))).await?;
    let now = play.peek(Deployment, "web").await?["metadata"]["resourceVersion"].clone();
    play.ask(Ask::delete(Deployment, "web", conditions(&now))).await?;
    play.settle().await
}

/// The scale as a part of its own: of Deployments and ReplicaSets, patched and replaced, guarded and not.
pub async fn scaled(play: &mut Play<'_>) -> Result<()> {
    play.note_versions();
    idle(play).await?;
    let scale = |name: &str, scale: Value| Ask::replace(Deployment, name, scale).of("scale");
    let old = play.ask(Ask::get(Deployment, "web").of("scale")).await?;
    play.ask(scale("web", with(old.clone(), "/spec/replicas", json!(2)))).await?;
    play.settle().await?;
    play.ask(scale("web", with(old.clone(), "/spec/replicas", json!(3)))).await?;
    play.settle().await?;
    play.ask(scale("web", with(with(old, "/metadata/resourceVersion", Value::Null), "/spec/replicas", json!(4))))
        .await?;
    play.settle().await?;
    let current = play.peek(Deployment, "web").await?["metadata"]["resourceVersion"].clone();
    for patch in [
        json!({"spec": {"replicas": 1}}),
        json!({"spec": {"replicas": 1}}),
        json!({"metadata": {"resourceVersion": current}, "spec": {"replicas": 5}}),
        json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"spec": {"replicas": -1}}),
    ] {
        play.ask(Ask::patch(Deployment, "web", Form::Merge, patch).of("scale")).await?;
        play.settle().await?;
    }
    let patch = json!([{"op": "replace", "path": "/spec/replicas", "value": 6}]);
    play.ask(Ask::patch(Deployment, "web", Form::Json, patch).of("scale")).await?;
    play.settle().await?;
    play.ask(Ask::get(Deployment, "web").of("scale")).await?;
    play.ask(Ask::get(Deployment, "nobody").of("scale")).await?;
    play.ask(Ask::get(Service, "web").of("scale")).await?;
    let set = json!({"metadata": {"name": "alone"}, "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "alone"}},
        "template": {"metadata": {"labels": {"app": "alone"}}, "spec": {"containers": [{"name": "app", "image": "demo:1"}]}}}});
    play.create(ReplicaSet, set).await?;
    play.settle().await?;
    let patch = json!({"spec": {"replicas": 2}});
    play.ask(Ask::patch(ReplicaSet, "alone", Form::Merge, patch).of("scale")).await?;
    play.settle().await?;
    play.ask(Ask::get(ReplicaSet, "alone").of("scale")).await?;
    play.settle().await
}
