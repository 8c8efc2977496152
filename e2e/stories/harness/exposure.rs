//! What the route gives to the new version and what the steps allow, at every moment of a release.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use lockkeeper_api::release::Release;
use lockkeeper_e2e::User;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::App;

const PIN: &str = "lockkeeper.dev/pin";
const HASH: &str = "pod-template-hash";

/// Every state of the Release `web`, and of an application's route and Service, from `App::exposure` on.
pub struct Exposure {
    seen: Seen,
    readers: Vec<JoinHandle<()>>,
}

/// By resource version, which tells the order in which objects of all kinds were written; what was there at first by 0.
type Seen = Arc<Mutex<Vec<(u64, State)>>>;

#[derive(Clone, Debug)]
enum State {
    /// The weight that the status asks for.
    Allowed(u8),
    /// The largest share that a rule of the route gives to the canary Service, in percent.
    Given(u8),
    /// The stable Service is pinned to a version, by annotation, and selects that one, or not.
    Pinned { wanted: String, selected: Option<String> },
}

impl App<'_> {
    /// Begins to watch, at a moment when the weight does not change; returns when nothing later can be missed.
    pub async fn exposure(&self) -> Result<Exposure> {
        let seen = Seen::default();
        let canary = format!("{}-canary", self.name);
        let gvk = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute");
        let client = self.story.cluster().client(User::Admin);
        let routes = Api::namespaced_with(client, &self.story.namespace, &ApiResource::from_gvk(&gvk));
        let readers = vec![
            read(self.story.api(), "web", &seen, |release: Release| {
                let weight = release.status.and_then(|status| status.weight);
                Some(State::Allowed(weight.map_or(0, |weight| weight.desired)))
            })
            .await?,
            read(routes, &self.name, &seen, move |route: DynamicObject| {
                Some(State::Given(share(&route.data, &canary)))
            })
            .await?,
            read(self.story.api(), &self.name, &seen, pinned).await?,
        ];
        Ok(Exposure { seen, readers })
    }
}

impl Exposure {
    /// No route was ever given more for the new version than its step allowed, and no Service lost its pin. A step that falls is
    /// published before the route follows: others, such as the gateway, may write the route in between.
    ///
    /// Returns the most that a route has given, in percent.
    pub fn never_above_the_step(&self) -> Result<u8> {
        let mut seen = self.seen.lock().clone();
        seen.sort_by_key(|(version, _)| *version);
        let (mut allowed, mut given, mut most) = (0, 0, 0);
        for (version, state) in &seen {
            match state {
                State::Allowed(weight) => allowed = *weight,
                State::Given(share) => {
                    let most_now = allowed.max(given);
                    ensure!(*share <= most_now, "at {version} the route gave {share} %, the step {allowed}: {seen:?}");
                    given = *share;
                    most = most.max(*share);
                }
                State::Pinned { wanted, selected } => {
                    ensure!(selected.as_ref() == Some(wanted), "at {version} the Service lost its pin: {seen:?}");
                }
            }
        }
        Ok(most)
    }
}

impl Exposure {
    /// The route has always given exactly this share to the new version, in percent.
    #[allow(dead_code, reason = "for the installations only")]
    pub fn always(&self, share: u8) -> Result<()> {
        let seen = self.seen.lock().clone();
        let given = |state: &State| match state {
            State::Given(given) => Some(*given),
            State::Allowed(_) | State::Pinned { .. } => None,
        };
        let shares: Vec<u8> = seen.iter().filter_map(|(_, state)| given(state)).collect();
        ensure!(!shares.is_empty() && shares.iter().all(|given| *given == share), "the route gave {shares:?}");
        Ok(())
    }
}

impl Drop for Exposure {
    fn drop(&mut self) {
        for reader in &self.readers {
            reader.abort();
        }
    }
}

fn share(route: &Value, canary: &str) -> u8 {
    let rules = route["spec"]["rules"].as_array().into_iter().flatten();
    let shares = rules.map(|rule| {
        let backends = rule["backendRefs"].as_array().map_or(&[][..], Vec::as_slice);
        let weight = |backend: &Value| backend["weight"].as_u64().unwrap_or(1);
        let all: u64 = backends.iter().map(weight).sum();
        let given: u64 = backends.iter().filter(|backend| backend["name"] == canary).map(weight).sum();
        if all == 0 { 0 } else { (given * 100).div_ceil(all) }
    });
    u8::try_from(shares.max().unwrap_or(0)).unwrap_or(u8::MAX)
}

fn pinned(service: Service) -> Option<State> {
    let wanted = service.metadata.annotations?.remove(PIN)?;
    let selected = service.spec.and_then(|spec| spec.selector?.remove(HASH));
    Some(State::Pinned { wanted, selected })
}

/// Notes every state of one object, and returns when the first list is complete.
async fn read<K>(
    api: Api<K>,
    name: &str,
    seen: &Seen,
    state: impl Fn(K) -> Option<State> + Send + 'static,
) -> Result<JoinHandle<()>>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let seen = seen.clone();
    let (begun, begins) = oneshot::channel();
    let mut begun = Some(begun);
    let reader = tokio::spawn(async move {
        let mut stream = watcher(api, config).default_backoff().boxed();
        while let Some(event) = stream.next().await {
            match event {
                Ok(Event::InitApply(object)) if begun.is_some() => {
                    seen.lock().extend(state(object).map(|state| (0, state)))
                }
                Ok(Event::Apply(object) | Event::InitApply(object)) => {
                    let version = object.meta().resource_version.as_deref().and_then(|version| version.parse().ok());
                    seen.lock().extend(version.zip(state(object)));
                }
                Ok(Event::InitDone) => {
                    if let Some(begun) = begun.take() {
                        let _ = begun.send(());
                    }
                }
                // A broken watch starts again by itself.
                Ok(Event::Init | Event::Delete(_)) | Err(_) => {}
            }
        }
    });
    begins.await.context("the watch has ended")?;
    Ok(reader)
}
