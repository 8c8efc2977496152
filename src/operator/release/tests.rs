//! The loop of a Release against somebody who undoes what it writes.

use std::{
    convert::Infallible,
    num::NonZeroU16,
    sync::{OnceLock, Weak},
};

use http_body_util::BodyExt;
use jiff::Timestamp;
use kube::{Client, api::DynamicObject, client::Body};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::*;
use crate::fixture::parts;

/// Takes what is written, and takes each status away again before anybody has seen it.
#[derive(Default)]
struct Adversary {
    operator: OnceLock<Weak<Context>>,
    state: Mutex<State>,
    written: Notify,
}

#[derive(Default)]
struct State {
    version: usize,
    statuses: Vec<Instant>,
    /// Notes of the events WritesThrottled.
    told: Vec<String>,
}

impl Adversary {
    fn answer(&self, path: &str, body: Value) -> Value {
        if path.ends_with("/status") {
            self.state.lock().statuses.push(Instant::now());
            let answer = self.release(&body[1]["value"]);
            self.undo();
            self.written.notify_one();
            return answer;
        }
        if body["reason"] == "WritesThrottled" {
            self.state.lock().told.push(body["note"].to_string());
        }
        body
    }

    /// A Release that can never start, because its Deployment is missing, as a newer version.
    fn release(&self, status: &Value) -> Value {
        let mut state = self.state.lock();
        state.version += 1;
        let mut release = json!({
            "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "Release",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": state.version.to_string()},
            "spec": {
                "workloads": [{"ref": {"kind": "Deployment", "name": "web"}}],
                "strategy": {"canary": {"steps": [{"setWeight": 5}]}},
            },
        });
        if !status.is_null() {
            release["status"] = status.clone();
        }
        release
    }

    fn undo(&self) {
        let release = serde_json::from_value::<DynamicObject>(self.release(&Value::Null)).unwrap();
        let Some(context) = self.operator.get().and_then(Weak::upgrade) else { return };
        let touched = context.cache.put(Resource::Release, release, Timestamp::now()).unwrap();
        context.touch(touched);
    }

    async fn until(&self, statuses: usize) {
        while self.state.lock().statuses.len() < statuses {
            self.written.notified().await;
        }
    }
}

fn operator() -> (Arc<Context>, Arc<Adversary>) {
    let adversary = Arc::new(Adversary::default());
    let server = adversary.clone();
    let server = tower::service_fn(move |request: http::Request<Body>| {
        let server = server.clone();
        async move {
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let answer = server.answer(&path, serde_json::from_slice(&body).unwrap());
            Ok::<_, Infallible>(http::Response::new(Body::from(answer.to_string().into_bytes())))
        }
    });
    let context = Context::new(parts(Client::new(server, "shop")));
    adversary.operator.set(Arc::downgrade(&context)).unwrap();
    (context, adversary)
}

/// A Deployment that is complete, with its ReplicaSet, and a Release that takes it over.
fn complete(context: &Context, deployment: &str) {
    let template =
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": "web:1"}]}});
    let metadata = |version: &str| json!({"name": "web", "namespace": "shop", "uid": "d", "generation": 1, "resourceVersion": version});
    let mut set = json!({
        "metadata": metadata("2"),
        "spec": {"replicas": 1, "selector": {"matchLabels": {"pod-template-hash": "h"}}, "template": template},
        "status": {"observedGeneration": 1, "replicas": 1, "availableReplicas": 1},
    });
    set["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d", "controller": true}]);
    let put = |resource, object: Value| {
        let object = serde_json::from_value::<DynamicObject>(object).unwrap();
        context.cache.put(resource, object, Timestamp::now()).unwrap();
    };
    put(Resource::ReplicaSet, set);
    put(
        Resource::Deployment,
        json!({
            "metadata": metadata(deployment), "spec": {"replicas": 1, "template": template},
            "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
        }),
    );
}

#[tokio::test(start_paused = true)]
async fn what_took_long_is_written_only_if_it_would_be_decided_again() {
    let (context, adversary) = operator();
    adversary.undo();
    complete(&context, "7");
    let key = Key::new("shop", "web");
    let release = observe::release(&context, &key).unwrap();
    let decided = Instant::now();
    let (_, _, outcome) = consider(&context, &key, &release, context.jumped());
    let [write] = &outcome.writes[..] else { panic!("{:?}", outcome.writes) };
    tokio::time::advance(FRESH * 2).await;
    assert!(still(&context, &key, decided, write), "nothing has changed");
    // Somebody scales it meanwhile.
    complete(&context, "8");
    assert!(!still(&context, &key, decided, write));
    assert!(still(&context, &key, Instant::now(), write), "what was just decided is not decided again");
}

#[tokio::test(start_paused = true)]
async fn a_fight_is_braked_to_one_write_a_second_goes_on_by_itself_and_is_told_of_once() {
    let (context, adversary) = operator();
    adversary.undo();
    let work = context.releases.clone().run(NonZeroU16::MIN, |key| reconcile(context.clone(), key));
    tokio::select! {
        () = work => {}
        () = context.events.run() => {}
        () = adversary.until(45) => {}
        // On a clock that goes on only when nobody has anything to do.
        () = sleep(Duration::from_secs(3600)) => panic!("it has given up after {}", adversary.state.lock().statuses.len()),
    }
    let state = adversary.state.lock();
    let after: Vec<_> = state.statuses.iter().map(|at| (*at - state.statuses[0]).as_secs()).collect();
    let (burst, braked) = after.split_at(40);
    assert_eq!((burst, braked), (&[0; 40][..], &[1, 2, 3, 4, 5][..]));
    assert_eq!(state.told.len(), 1, "{:?}", state.told);
    assert!(state.told[0].contains("publish status: the same object was written too often"), "{:?}", state.told);
    let page = context.metrics.encode().unwrap();
    assert!(page.contains("lockkeeper_writes_throttled_total{resource=\"releases\"} 5\n"), "{page}");
}
