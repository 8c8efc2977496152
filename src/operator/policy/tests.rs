//! The controller with an API server that accepts everything and a provider that does as it is told.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
};

use http_body_util::BodyExt;
use kube::{Client, api::DynamicObject, client::Body};
use lockkeeper_adapters::metric::{self, MetricSource, Pending, Sample};
use parking_lot::Mutex;
use serde_json::Value;

use super::*;
use crate::{
    context::Parts,
    fixture::{PLATFORM, parts},
    settings::WatchNamespaces,
};

#[derive(Default)]
struct Provider(AtomicUsize);

impl MetricSource for Provider {
    fn measure<'a>(&'a self, _: &'a str) -> Pending<'a, metric::Measurement> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(metric::Measurement { sample: Sample::Value(0.0), warnings: 0 }) })
    }

    fn probe(&self) -> Pending<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

struct House {
    context: Arc<Context>,
    provider: Arc<Provider>,
    /// Statuses that were written.
    written: Arc<Mutex<Vec<Value>>>,
    stored: Arc<Mutex<Option<DynamicObject>>>,
}

fn house() -> House {
    house_of(WatchNamespaces::All)
}

fn house_of(namespaces: WatchNamespaces) -> House {
    let provider = Arc::new(Provider::default());
    let written: Arc<Mutex<Vec<Value>>> = Arc::default();
    let stored: Arc<Mutex<Option<DynamicObject>>> = Arc::default();
    let (log, object) = (written.clone(), stored.clone());
    let server = tower::service_fn(move |request: http::Request<Body>| {
        let (log, object) = (log.clone(), object.clone());
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let patch: Value = serde_json::from_slice(&body).unwrap();
            let mut object = object.lock();
            let object = object.as_mut().unwrap();
            object.data["status"] = patch[1]["value"].clone();
            log.lock().push(patch[1]["value"].clone());
            object.metadata.resource_version = Some((log.lock().len() + 1).to_string());
            Ok::<_, Infallible>(http::Response::new(Body::from(json!(object).to_string().into_bytes())))
        }
    });
    let own = parts(Client::new(server, "shop"));
    let context = Context::new(Parts { provider: Some(provider.clone()), namespaces, ..own });
    House { context, provider, written, stored }
}

fn policy(generation: i64, version: usize, status: Value) -> DynamicObject {
    let mut object = json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RollbackPolicy",
        "metadata": {"name": "slo", "namespace": "shop", "uid": "u", "generation": generation,
                     "resourceVersion": version.to_string()},
        "spec": {"checks": [{"name": "errors", "query": "errors", "max": 0.01}]},
    });
    if !status.is_null() {
        object["status"] = status;
    }
    serde_json::from_value(object).unwrap()
}

impl House {
    fn put(&self, policy: DynamicObject) {
        *self.stored.lock() = Some(policy.clone());
        self.context.cache.put(Resource::RollbackPolicy, policy, Timestamp::now()).unwrap();
    }

    /// Looks at the policy until nothing is under way any more.
    async fn look(&self) {
        self.look_in("shop").await;
    }

    async fn look_in(&self, namespace: &str) {
        let key = Key::new(namespace, "slo");
        for _ in 0..100 {
            reconcile(self.context.clone(), key.clone()).await;
            tokio::task::yield_now().await;
        }
    }

    fn asked(&self) -> usize {
        self.provider.0.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn each_query_is_asked_once_a_generation_and_the_status_written_once() {
    let house = house();
    house.put(policy(1, 1, Value::Null));
    house.look().await;
    assert_eq!((house.asked(), house.written.lock().len()), (1, 1));
    let status = house.written.lock()[0].clone();
    assert_eq!(status["checks"][0]["outcome"], "Success");
    assert_eq!(status["conditions"][0]["reason"], "NoRelease");

    // Another process, which finds the status as it was left.
    house.context.trials.clear();
    house.look().await;
    assert_eq!((house.asked(), house.written.lock().len()), (1, 1));

    house.put(policy(2, 9, status));
    house.look().await;
    assert_eq!(house.asked(), 2);
}

#[tokio::test]
async fn a_policy_with_faults_is_not_asked_about() {
    let house = house();
    let mut broken = policy(1, 1, Value::Null);
    broken.data["spec"]["checks"][0]["query"] = "up{pod=\"{{ canary }}\"}".into();
    house.put(broken);
    house.look().await;
    assert_eq!(house.asked(), 0);
    let status = house.written.lock()[0].clone();
    assert_eq!(
        (&status["conditions"][0]["status"], &status["conditions"][0]["reason"]),
        (&json!("False"), &json!("Invalid"))
    );
    assert!(status["conditions"][0]["message"].as_str().unwrap().contains("unknown placeholder canary"), "{status}");
}

#[tokio::test]
async fn of_several_operators_only_one_that_handles_the_policys_namespace_speaks_of_it() {
    for (namespaces, written) in [("shop", 0), ("shop,lockkeeper-system", 1), ("*", 1)] {
        let house = house_of(namespaces.parse().unwrap());
        let mut shared = policy(1, 1, Value::Null);
        shared.metadata.namespace = Some(PLATFORM.into());
        house.put(shared);
        house.look_in(PLATFORM).await;
        assert_eq!((house.asked(), house.written.lock().len()), (written, written), "{namespaces}");
    }
}
