//! The controller with an API server that accepts everything and a provider that does as it is told.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use http_body_util::BodyExt;
use kube::{Client, api::DynamicObject, client::Body};
use lockkeeper_adapters::{
    error::{Error, Fault},
    metric::{self, MetricSource, NoData, Pending, Sample},
};
use parking_lot::Mutex;
use serde_json::Value;

use super::*;
use crate::{
    context::{Clock, Parts},
    fixture::{PLATFORM, parts},
    settings::WatchNamespaces,
};

type Answered = Result<Sample, Fault>;

struct Provider {
    asked: AtomicUsize,
    answer: Answered,
}

impl MetricSource for Provider {
    fn measure<'a>(&'a self, _: &'a str) -> Pending<'a, metric::Measurement> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.answer.map_err(|fault| Error::named("prometheus", fault));
        Box::pin(async move { answer.map(|sample| metric::Measurement { sample, warnings: 0 }) })
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
    house_of(WatchNamespaces::All, Ok(Sample::Value(0.0)))
}

fn house_of(namespaces: WatchNamespaces, answer: Answered) -> House {
    let provider = Arc::new(Provider { asked: AtomicUsize::new(0), answer });
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
    let began = tokio::time::Instant::now();
    let epoch = Timestamp::now();
    let clock = Clock::new(move || epoch + began.elapsed());
    let context = Context::new(Parts { provider: Some(provider.clone()), namespaces, clock, ..own });
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
        self.provider.asked.load(Ordering::SeqCst)
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

/// Two processes that both believe to lead, and that are answered differently: how often they have written after a minute and after four.
async fn written_by_two(answers: [Answered; 2], apart: Duration) -> [usize; 2] {
    let houses = answers.map(|answer| house_of(WatchNamespaces::All, answer));
    let mut version = 1;
    houses.iter().for_each(|house| house.put(policy(1, version, Value::Null)));
    let written = || houses.iter().map(|house| house.written.lock().len()).sum::<usize>();
    let mut after = [0; 2];
    for minutes in [1, 3] {
        for _ in 0..minutes * 60 {
            for (at, house) in houses.iter().enumerate() {
                let before = house.written.lock().len();
                for _ in 0..4 {
                    reconcile(house.context.clone(), Key::new("shop", "slo")).await;
                    tokio::task::yield_now().await;
                }
                if house.written.lock().len() > before {
                    // The other one hears of it.
                    version += 1;
                    let status = house.written.lock().last().unwrap().clone();
                    houses.iter().for_each(|house| house.put(policy(1, version, status.clone())));
                }
                tokio::time::advance(if at == 0 { apart } else { Duration::from_secs(1) - apart }).await;
            }
        }
        after.rotate_left(1);
        after[1] = written();
    }
    after
}

#[tokio::test(start_paused = true)]
async fn two_processes_that_are_answered_differently_do_not_contradict_each_other_in_turns() {
    let (good, bad, empty) =
        (Ok(Sample::Value(0.0)), Ok(Sample::Value(1.0)), Ok(Sample::NoData { reason: NoData::Empty }));
    let (down, wrong) = (Err(Fault::ConnectionFailed), Err(Fault::QueryInvalid));
    let all = [good, bad, empty, down, wrong];
    for answers in all.into_iter().flat_map(|one| all.map(|other| [one, other])) {
        for apart in [Duration::ZERO, Duration::from_millis(700)] {
            let [soon, late] = written_by_two(answers, apart).await;
            assert!(soon <= 6 && late == soon, "{answers:?} {apart:?}: {soon} and {late} writes");
        }
    }
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
        let house = house_of(namespaces.parse().unwrap(), Ok(Sample::Value(0.0)));
        let mut shared = policy(1, 1, Value::Null);
        shared.metadata.namespace = Some(PLATFORM.into());
        house.put(shared);
        house.look_in(PLATFORM).await;
        assert_eq!((house.asked(), house.written.lock().len()), (written, written), "{namespaces}");
    }
}
