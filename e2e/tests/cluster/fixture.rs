//! An application with a canary beside it, in a namespace of its own.

use std::time::Duration;

use anyhow::{Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use lockkeeper_e2e::{Cluster, Load, Totals, Traffic, User, wait};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

/// For anything to come about, on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The application in `namespace`, reached under `host`.
pub struct App<'a> {
    pub cluster: &'a Cluster,
    pub namespace: &'a str,
    pub host: String,
}

impl<'a> App<'a> {
    /// Version 1.0.0 with all the traffic; a canary of the version `canary` with none.
    pub async fn install(cluster: &'a Cluster, namespace: &'a str, canary: &str) -> Result<App<'a>> {
        cluster.create_namespace(namespace).await?;
        cluster.apply(&include_str!("app.yaml").replace("NAMESPACE", namespace).replace("IMAGE", canary)).await?;
        let app = App { cluster, namespace, host: format!("{namespace}.example.com") };
        app.available("web").await?;
        wait::served(cluster.gateway_url(), &app.host, LIMIT).await?;
        Ok(app)
    }

    pub fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.cluster.client(User::Admin), self.namespace)
    }

    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.cluster.client(User::Admin), self.namespace)
    }

    /// Waits until a Deployment's current template, and nothing else, is fully available.
    pub async fn available(&self, name: &str) -> Result<()> {
        wait::object(&self.deployments(), name, "be available", LIMIT, |deployment| {
            let Some((Some(spec), Some(status))) = deployment.map(|d| (d.spec.as_ref(), d.status.as_ref())) else {
                return false;
            };
            let generation = deployment.and_then(|d| d.metadata.generation);
            let counts = [status.replicas, status.updated_replicas, status.available_replicas];
            status.observed_generation == generation && counts.iter().all(|count| *count == spec.replicas)
        })
        .await?;
        Ok(())
    }

    pub fn traffic(&self, load: &Load) -> Traffic {
        Traffic::start(self.cluster.gateway_url(), load)
    }

    /// Gives the canary this per cent of the requests and waits until the gateway has accepted it.
    pub async fn set_weight(&self, percent: u8) -> Result<()> {
        let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute");
        let client = self.cluster.client(User::Admin);
        let routes: Api<DynamicObject> = Api::namespaced_with(client, self.namespace, &ApiResource::from_gvk(&kind));
        let backends = json!([
            {"name": "web", "port": 80, "weight": 100 - percent},
            {"name": "canary", "port": 80, "weight": percent},
        ]);
        let patch = Patch::Merge(json!({"spec": {"rules": [{"backendRefs": backends}]}}));
        let generation = routes.patch("web", &PatchParams::default(), &patch).await?.metadata.generation;
        wait::object(&routes, "web", "be accepted", LIMIT, |route| {
            let conditions = route.map(|route| &route.data["status"]["parents"][0]["conditions"]);
            conditions.and_then(Value::as_array).is_some_and(|all| {
                all.iter().any(|c| {
                    c["type"] == "Accepted" && c["status"] == "True" && c["observedGeneration"].as_i64() == generation
                })
            })
        })
        .await?;
        Ok(())
    }

    /// Sets how many pods a Deployment has.
    pub async fn scale(&self, name: &str, replicas: u32) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        self.deployments().patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Sets a Deployment's image by strategic merge.
    pub async fn set_image(&self, name: &str, image: &str) -> Result<()> {
        let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}});
        self.deployments().patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await?;
        Ok(())
    }
}

/// Waits until the traffic so far is as `condition` wants it.
pub async fn until(traffic: &Traffic, what: &str, condition: impl Fn(&Totals) -> bool) -> Result<Totals> {
    look(what, || traffic.snapshot(), condition).await
}

/// Waits until the traffic of the last second is as `condition` wants it.
pub async fn until_lately(traffic: &Traffic, what: &str, condition: impl Fn(&Totals) -> bool) -> Result<Totals> {
    let lately = || {
        let now = Timestamp::now();
        traffic.between(now - Duration::from_secs(1), now)
    };
    look(what, lately, condition).await
}

async fn look(what: &str, totals: impl Fn() -> Totals, condition: impl Fn(&Totals) -> bool) -> Result<Totals> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let totals = totals();
        if condition(&totals) {
            return Ok(totals);
        }
        ensure!(Instant::now() < deadline, "waited for the traffic to {what}; last seen: {totals:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// What became of the requests sent from now on for so long.
pub async fn during(traffic: &Traffic, time: Duration) -> Totals {
    let (from, end) = (Timestamp::now(), Instant::now() + time);
    sleep_until(end).await;
    traffic.between(from, Timestamp::now())
}
