//! Many small applications, each a Deployment with a Service, a route and a Release.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use lockkeeper_api::release::{Phase, Release};
use lockkeeper_e2e::{Cluster, User, wait};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::progress::{Progress, all};

/// Pods of each application.
pub const REPLICAS: u32 = 2;
/// Requests of ours that are under way at once.
const REQUESTS_AT_ONCE: usize = 48;
const APPS_PER_NAMESPACE: usize = 50;

/// The version that everything begins with.
pub const FIRST: &str = "1.0.0";

/// One application; all of its objects have this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    pub namespace: String,
    pub name: String,
}

/// All of them.
pub struct Fleet {
    client: Client,
    gateway: &'static str,
    apps: Vec<App>,
}

/// What Releases do between two versions.
#[derive(Clone, Copy, Debug)]
pub enum Strategy {
    /// Five weights, nothing in between.
    FiveWeights,
    /// One weight of 50 %, held, with a check armed that is asked every 5 s and tolerates no failure.
    HalfAndHold,
}

/// The kind of routes.
pub fn http_routes() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute"))
}

impl Fleet {
    /// Creates Deployments of the first version with their Services and routes, and returns when all pods are available.
    ///
    /// # Errors
    /// If the cluster refuses something, or it takes longer than `within`.
    pub async fn create(cluster: &Cluster, gateway: &'static str, count: usize, within: Duration) -> Result<Fleet> {
        let apps = (0..count)
            .map(|n| App { namespace: format!("shop-{}", n / APPS_PER_NAMESPACE), name: format!("app-{n}") })
            .collect();
        let fleet = Fleet { client: cluster.client(User::Admin), gateway, apps };
        for namespace in 0..count.div_ceil(APPS_PER_NAMESPACE) {
            cluster.create_namespace(&format!("shop-{namespace}")).await?;
        }
        fleet
            .each(async |app| {
                fleet.post::<Deployment>(app, deployment(app)).await?;
                fleet.post::<Service>(app, service(app)).await?;
                let routes = Api::namespaced_with(fleet.client.clone(), &app.namespace, &http_routes());
                routes
                    .create(&PostParams::default(), &serde_json::from_value::<DynamicObject>(fleet.route(app))?)
                    .await?;
                Ok(())
            })
            .await?;
        fleet.rolled_out(FIRST, within).await.context("creating the applications")?;
        Ok(fleet)
    }

    /// The applications.
    pub fn apps(&self) -> &[App] {
        &self.apps
    }

    /// Creates a Release for each, which names the version that runs.
    ///
    /// # Errors
    /// If the cluster refuses one.
    pub async fn manage(&self, strategy: Strategy) -> Result<()> {
        self.each(async |app| self.post::<Release>(app, release(app, strategy)).await).await
    }

    /// Asks all Deployments for a version, without any Release.
    ///
    /// # Errors
    /// If the cluster refuses one.
    pub async fn roll_out(&self, version: &str) -> Result<()> {
        let container = json!({"name": "app", "image": image(version)});
        let patch = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
        self.each(async |app| {
            let deployments = Api::<Deployment>::namespaced(self.client.clone(), &app.namespace);
            deployments.patch(&app.name, &PatchParams::default(), &Patch::Strategic(&patch)).await?;
            Ok(())
        })
        .await
    }

    /// Asks all Releases for a version.
    ///
    /// # Errors
    /// If the cluster refuses one.
    pub async fn release(&self, version: &str) -> Result<()> {
        self.each(async |app| self.release_one(app, version).await).await
    }

    /// Asks one Release for a version.
    ///
    /// # Errors
    /// If the cluster refuses it.
    pub async fn release_one(&self, app: &App, version: &str) -> Result<()> {
        let patch = json!({"spec": {"workloads": [workload(app, version)]}});
        let releases = Api::<Release>::namespaced(self.client.clone(), &app.namespace);
        releases.patch(&app.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Waits until every Deployment has all its pods of a version and no others.
    ///
    /// # Errors
    /// After `within`.
    pub async fn rolled_out(&self, version: &str, within: Duration) -> Result<Progress<()>> {
        let wanted = Some(image(version));
        let done = |deployment: &Deployment| {
            let spec = deployment.spec.as_ref()?;
            let status = deployment.status.as_ref()?;
            let container = spec.template.spec.as_ref()?.containers.first()?;
            let current = status.observed_generation == deployment.metadata.generation && container.image == wanted;
            let counts = [status.replicas, status.updated_replicas, status.available_replicas];
            Some(current && counts.iter().all(|count| *count == spec.replicas))
        };
        let what = format!("Deployments to run {version}");
        all(Api::<Deployment>::all(self.client.clone()), self.apps.len(), &what, within, done, |_| ()).await
    }

    /// Waits until every Release is Stable at a version.
    ///
    /// # Errors
    /// After `within`.
    pub async fn stable(&self, version: &str, within: Duration) -> Result<Progress<u8>> {
        let done = |release: &Release| is_stable(release, version);
        let what = format!("Releases to be Stable at {version}");
        all(self.releases(), self.apps.len(), &what, within, done, weight).await
    }

    /// Waits until one Release is Stable at a version.
    ///
    /// # Errors
    /// After `within`.
    pub async fn stable_one(&self, app: &App, version: &str, within: Duration) -> Result<()> {
        let releases = Api::<Release>::namespaced(self.client.clone(), &app.namespace);
        let done = |release: Option<&Release>| release.and_then(|release| is_stable(release, version)).unwrap_or(false);
        wait::object(&releases, &app.name, &format!("be Stable at {version}"), within, done).await?;
        Ok(())
    }

    /// All Releases of the cluster.
    pub fn releases(&self) -> Api<Release> {
        Api::all(self.client.clone())
    }

    async fn each(&self, act: impl AsyncFn(&App) -> Result<()>) -> Result<()> {
        stream::iter(&self.apps).map(|app| act(app)).buffer_unordered(REQUESTS_AT_ONCE).try_collect().await
    }

    async fn post<K>(&self, app: &App, object: Value) -> Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize,
        K::DynamicType: Default,
    {
        let api = Api::<K>::namespaced(self.client.clone(), &app.namespace);
        api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        Ok(())
    }

    fn route(&self, app: &App) -> Value {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": app.name},
            "spec": {
                "parentRefs": [{"name": self.gateway, "namespace": "gateway"}],
                "hostnames": [format!("{}.example.com", app.name)],
                "rules": [{"backendRefs": [{"name": app.name, "port": 80}]}],
            },
        })
    }
}

fn is_stable(release: &Release, version: &str) -> Option<bool> {
    let status = release.status.as_ref()?;
    let current = status.observed_generation == release.metadata.generation;
    Some(current && status.phase == Phase::Stable && status.stable.as_ref()?.version == version)
}

/// The weight that the gateway has confirmed, in percent.
fn weight(release: &Release) -> u8 {
    release.status.as_ref().and_then(|status| status.weight).map_or(0, |weight| weight.confirmed)
}

fn image(version: &str) -> String {
    format!("demo:{version}")
}

fn deployment(app: &App) -> Value {
    let container = json!({"name": "app", "image": image(FIRST), "ports": [{"containerPort": 8080}]});
    json!({
        "metadata": {"name": app.name},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": {"app": app.name}},
            "template": {"metadata": {"labels": {"app": app.name}}, "spec": {"containers": [container]}},
        },
    })
}

fn service(app: &App) -> Value {
    let ports = json!([{"port": 80, "targetPort": 8080}]);
    json!({"metadata": {"name": app.name}, "spec": {"selector": {"app": app.name}, "ports": ports}})
}

fn release(app: &App, strategy: Strategy) -> Value {
    let mut spec = match strategy {
        Strategy::FiveWeights => {
            let steps: Vec<Value> = [20, 40, 60, 80, 100].map(|weight| json!({"setWeight": weight})).into();
            json!({"strategy": {"canary": {"steps": steps}}})
        }
        Strategy::HalfAndHold => json!({
            "strategy": {"canary": {"steps": [{"setWeight": 50}, {"pause": {}}]}},
            "rollbackPolicy": POLICY,
        }),
    };
    spec["workloads"] = json!([workload(app, FIRST)]);
    json!({"apiVersion": "lockkeeper.dev/v1alpha1", "kind": "Release", "metadata": {"name": app.name}, "spec": spec})
}

fn workload(app: &App, version: &str) -> Value {
    json!({
        "ref": {"kind": "Deployment", "name": app.name},
        "images": {"app": image(version)},
        "service": app.name,
        "routes": [{"kind": "HTTPRoute", "name": app.name}],
    })
}

/// Name of the policy of `Strategy::HalfAndHold`, in the operator's namespace.
const POLICY: &str = "bench";

/// The policy that releases of `Strategy::HalfAndHold` use, for every namespace.
pub fn policy() -> Value {
    let check = json!({
        "name": "errors", "query": crate::metric_source::QUERY, "max": 0.5, "interval": "5s", "failureLimit": 0,
    });
    json!({
        "apiVersion": "lockkeeper.dev/v1alpha1", "kind": "RollbackPolicy",
        "metadata": {"name": POLICY, "namespace": lockkeeper_e2e::SYSTEM_NAMESPACE},
        "spec": {"checks": [check], "allowNamespaces": {}},
    })
}
