//! The API server answers a `kube::Client` as a real one does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use std::{pin::pin, time::Duration};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Service},
};
use kube::{
    Api, Client,
    api::{
        DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions, WatchEvent, WatchParams,
    },
    core::Status,
    runtime::watcher,
};
use lockkeeper_api::Release;
use lockkeeper_simulator::{
    api::{Caller, Disposition, Fault, Link, Service as Server, Shared, User},
    run::{Plot, Sim, shop},
};
use serde_json::{Value, json};

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// A client of somebody at a server with the shop's Deployment, whose controllers do nothing before `body` waits.
fn with_client<T>(fault: Option<Box<dyn Fault>>, body: impl AsyncFnOnce(Client, Shared) -> T) -> T {
    let objects = vec![shop::deployment("1", 2), shop::service()];
    Sim::play(Plot { objects, latency: (0, 0), ..Plot::new(1) }, async |sim: &mut Sim| {
        let link = Link::new("test", sim.shared.fork_random(), (0, 0));
        if let Some(fault) = fault {
            link.set_fault(fault);
        }
        let caller = Caller::new(User::new("olga", &["sre"]));
        let client = Server::new(sim.shared.clone(), link, caller, &[]).client();
        Ok(body(client, sim.shared.clone()).await)
    })
    .unwrap()
}

fn refusal<T: std::fmt::Debug>(result: kube::Result<T>) -> Box<Status> {
    match result.unwrap_err() {
        kube::Error::Api(status) => status,
        other => panic!("{other:?}"),
    }
}

fn merge(patch: Value) -> Patch<Value> {
    Patch::Merge(patch)
}

#[test]
fn writes_carry_versions_and_specs_count_generations() {
    with_client(None, async |client, _| {
        let deployments: Api<Deployment> = Api::namespaced(client, shop::NAMESPACE);
        let before = deployments.get("web").await.unwrap();
        let params = PatchParams::default();
        let labelled =
            deployments.patch("web", &params, &merge(json!({"metadata": {"labels": {"a": "b"}}}))).await.unwrap();
        assert_eq!(labelled.metadata.generation, before.metadata.generation);
        assert!(labelled.metadata.resource_version > before.metadata.resource_version);
        let again =
            deployments.patch("web", &params, &merge(json!({"metadata": {"labels": {"a": "b"}}}))).await.unwrap();
        assert_eq!(again.metadata.resource_version, labelled.metadata.resource_version, "nothing has changed");
        let scaled = deployments.patch("web", &params, &merge(json!({"spec": {"replicas": 3}}))).await.unwrap();
        assert_eq!(scaled.metadata.generation, Some(2));
        let old = json!({"metadata": {"resourceVersion": before.metadata.resource_version}, "spec": {"replicas": 9}});
        let stale = refusal(deployments.patch("web", &params, &merge(old)).await);
        assert_eq!((stale.code, stale.reason.as_str()), (409, "Conflict"));
        let sneaky = json!({"status": {"replicas": 77}, "metadata": {"uid": null, "creationTimestamp": null}});
        let kept = deployments.patch("web", &params, &merge(sneaky)).await.unwrap();
        assert_eq!(kept.metadata.uid, before.metadata.uid);
        assert_ne!(kept.status.and_then(|status| status.replicas), Some(77));
        let missing = refusal(deployments.get("nope").await);
        assert_eq!((missing.code, missing.message.as_str()), (404, "deployments.apps \"nope\" not found"));
    });
}

#[test]
fn a_json_patch_whose_test_fails_is_invalid_without_causes_and_a_schema_names_them() {
    with_client(None, async |client, _| {
        let releases: Api<Release> = Api::namespaced(client.clone(), shop::NAMESPACE);
        let release = typed(shop::release(json!([{"setWeight": 5}])));
        let created = releases.create(&PostParams::default(), &release).await.unwrap();
        let patch = json!([{"op": "test", "path": "/metadata/resourceVersion", "value": "1"}, {"op": "add", "path": "/status", "value": {}}]);
        let patch = Patch::Json::<()>(typed(patch));
        let failed = refusal(releases.patch_status("web", &PatchParams::default(), &patch).await);
        assert_eq!((failed.code, failed.details.map_or(0, |details| details.causes.len())), (422, 0));
        let bad = merge(json!({"spec": {"strategy": {"canary": {"steps": []}}}}));
        let invalid = refusal(releases.patch("web", &PatchParams::default(), &bad).await);
        assert_eq!((invalid.code, invalid.details.map_or(0, |details| details.causes.len())), (422, 1));
        let strategic = refusal(releases.patch("web", &PatchParams::default(), &Patch::Strategic(json!({}))).await);
        assert_eq!(strategic.code, 415);
        let status = merge(json!({"status": {"phase": "Waiting"}, "spec": {"suspend": true}}));
        let told = releases.patch_status("web", &PatchParams::default(), &status).await.unwrap();
        assert!(!told.spec.suspend, "the status is a part of its own");
        assert_eq!(told.metadata.generation, created.metadata.generation);
        assert!(told.status.is_some());
    });
}

#[test]
fn deletions_have_conditions_and_wait_for_finalizers() {
    with_client(None, async |client, _| {
        let releases: Api<Release> = Api::namespaced(client.clone(), shop::NAMESPACE);
        let mut release: Release = typed(shop::release(json!([{"setWeight": 5}])));
        release.metadata.finalizers = Some(vec!["example.com/wait".into()]);
        let created = releases.create(&PostParams::default(), &release).await.unwrap();
        let twice = refusal(releases.create(&PostParams::default(), &release).await);
        assert_eq!((twice.code, twice.reason.as_str()), (409, "AlreadyExists"));
        let other = Preconditions { uid: Some("other".into()), resource_version: None };
        let wrong = refusal(
            releases.delete("web", &DeleteParams { preconditions: Some(other), ..DeleteParams::default() }).await,
        );
        assert_eq!((wrong.code, wrong.reason.as_str()), (409, "Conflict"));
        let left = releases.delete("web", &DeleteParams::default()).await.unwrap().left().unwrap();
        assert!(left.metadata.deletion_timestamp.is_some());
        assert_eq!(left.metadata.uid, created.metadata.uid);
        releases
            .patch("web", &PatchParams::default(), &merge(json!({"metadata": {"finalizers": null}})))
            .await
            .unwrap();
        assert!(releases.get_opt("web").await.unwrap().is_none());
        let services: Api<Service> = Api::namespaced(client, shop::NAMESPACE);
        let gone = services.delete("web", &DeleteParams::default()).await.unwrap();
        assert!(
            gone.left().is_some_and(|service| service.metadata.deletion_timestamp.is_none()),
            "of Services it gives the object"
        );
    });
}

#[test]
fn a_watch_tells_what_enters_and_leaves_its_selection_and_lists_again_after_compaction() {
    with_client(None, async |client, shared| {
        let services: Api<Service> = Api::namespaced(client, shop::NAMESPACE);
        let params = ListParams::default().labels("tier=front");
        let list = services.list(&params).await.unwrap();
        assert!(list.items.is_empty());
        let version = list.metadata.resource_version.unwrap();
        let label = |tier: Value| merge(json!({"metadata": {"labels": {"tier": tier}}}));
        let mut events = pin!(services.watch(&WatchParams::default().labels("tier=front"), &version).await.unwrap());
        for tier in [json!("front"), json!("back")] {
            services.patch("web", &PatchParams::default(), &label(tier)).await.unwrap();
        }
        assert!(matches!(events.try_next().await.unwrap(), Some(WatchEvent::Added(_))));
        assert!(matches!(events.try_next().await.unwrap(), Some(WatchEvent::Deleted(_))));
        shared.lock().compact();
        let mut late = pin!(services.watch(&WatchParams::default(), &version).await.unwrap());
        let Some(WatchEvent::Error(late)) = late.try_next().await.unwrap() else { panic!("it goes on") };
        assert_eq!((late.code, late.reason.as_str()), (410, "Expired"));
    });
}

#[test]
fn watchers_go_on_over_the_end_of_watches_and_by_streaming_lists() {
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        with_client(None, async |client, _| {
            let deployments: Api<Deployment> = Api::namespaced(client, shop::NAMESPACE);
            let mut events = pin!(watcher(deployments.clone(), config));
            let mut seen = Vec::new();
            while seen.last() != Some(&"done") {
                match events.next().await.unwrap().unwrap() {
                    watcher::Event::Init => seen.push("init"),
                    watcher::Event::InitApply(_) => seen.push("one"),
                    watcher::Event::InitDone => seen.push("done"),
                    watcher::Event::Apply(_) | watcher::Event::Delete(_) => panic!("nothing has changed"),
                }
            }
            assert_eq!(seen, ["init", "one", "done"]);
            let later = async {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                deployments
                    .patch("web", &PatchParams::default(), &merge(json!({"metadata": {"labels": {"a": "b"}}})))
                    .await
                    .unwrap();
                std::future::pending().await
            };
            let found = async {
                loop {
                    match events.next().await.unwrap().unwrap() {
                        watcher::Event::Apply(object) if object.metadata.labels.is_some() => return,
                        watcher::Event::Apply(_) => {}
                        other => panic!("{other:?}"),
                    }
                }
            };
            tokio::select! { () = found => {}, () = later => {} }
        });
    }
}

#[test]
fn a_scale_is_read_and_written_on_its_own() {
    with_client(None, async |client, _| {
        let deployments: Api<Deployment> = Api::namespaced(client, shop::NAMESPACE);
        let scale = deployments
            .patch_scale("web", &PatchParams::default(), &merge(json!({"spec": {"replicas": 5}})))
            .await
            .unwrap();
        assert_eq!(scale.spec.and_then(|spec| spec.replicas), Some(5));
        assert_eq!(deployments.get("web").await.unwrap().spec.and_then(|spec| spec.replicas), Some(5));
    });
}

#[test]
fn a_pod_ends_after_its_grace() {
    with_client(None, async |client, _| {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let pods: Api<Pod> = Api::namespaced(client, shop::NAMESPACE);
        let name = pods.list(&ListParams::default()).await.unwrap().items[0].metadata.name.clone().unwrap();
        let left = pods.delete(&name, &DeleteParams::default()).await.unwrap().left().unwrap();
        assert!(left.metadata.deletion_timestamp.is_some());
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(pods.get_opt(&name).await.unwrap().is_none());
    });
}

#[test]
fn decisions_are_admitted_by_the_policy() {
    with_client(None, async |client, _| {
        let kind = kube::api::ApiResource::erase::<lockkeeper_api::Decision>(&());
        let decisions: Api<DynamicObject> = Api::namespaced_with(client, shop::NAMESPACE, &kind);
        let decision = |by: &str, group: &str| -> DynamicObject {
            typed(
                json!({"metadata": {"generateName": "d-"}, "spec": {"release": "web", "revision": "r", "verdict": "Abort",
                "by": {"username": by, "groups": [group]}}}),
            )
        };
        let params = PostParams::default();
        assert!(decisions.create(&params, &decision("olga", "sre")).await.is_ok());
        let other = refusal(decisions.create(&params, &decision("dora", "sre")).await);
        assert!(other.code == 403 && other.message.contains("you decide as yourself only"), "{}", other.message);
        let group = refusal(decisions.create(&params, &decision("olga", "board")).await);
        assert!(group.message.contains("you are not in board"), "{}", group.message);
    });
}

#[test]
fn faults_strike_as_they_are_named() {
    let scaled = json!({"spec": {"replicas": 7}});
    let cases = [
        (Disposition::TimeOut { after: Duration::from_secs(5), done: true }, true),
        (Disposition::TimeOut { after: Duration::from_secs(5), done: false }, false),
        (Disposition::Cut, true),
        (Disposition::Truncate, true),
        (
            Disposition::Refuse(lockkeeper_simulator::api::Status::new(503, "ServiceUnavailable", "busy"), Some(1)),
            false,
        ),
    ];
    for (disposition, done) in cases {
        let strike = disposition.clone();
        let fault = move |call: &lockkeeper_simulator::api::Call, _: u64, _: u64| {
            if call.verb.writes() { strike.clone() } else { Disposition::Pass }
        };
        with_client(Some(Box::new(fault)), async |client, _| {
            let deployments: Api<Deployment> = Api::namespaced(client, shop::NAMESPACE);
            let result = deployments.patch("web", &PatchParams::default(), &merge(scaled.clone())).await;
            assert!(result.is_err(), "{disposition:?}");
            let replicas = deployments.get("web").await.unwrap().spec.and_then(|spec| spec.replicas);
            assert_eq!(replicas == Some(7), done, "{disposition:?}");
        });
    }
}
