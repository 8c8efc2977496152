//! Watches fill the cache; whoever a change concerns is put into a queue; workers take from there while this process leads.

use std::{collections::BTreeSet, num::NonZeroU16, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Resource as _, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};
use lockkeeper_api::names::RELEASE;
use lockkeeper_engine::Event;
use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};

use crate::{
    cache::{Key, Object, Resource, Touched, Unreadable},
    context::Context,
    orphan, policy, release,
    server::{Readiness, Requirement},
    settings::WatchNamespaces,
    window,
};

/// Our admission policies carry this label.
const POLICIES: &str = "app.kubernetes.io/part-of=lockkeeper";

/// Objects that one answer to a list holds. All lists are read at once when a process starts, and what they take then it keeps.
const PAGE: u32 = 100;

/// After how long at the latest a jump of the system's clock is noticed.
const JUMP_NOTICED: Duration = Duration::from_secs(10);

/// What is watched, and how much is done at once.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Whether the API server has mutating admission policies.
    pub mutating: bool,
    /// Releases that are worked on at the same time.
    pub concurrency: NonZeroU16,
}

/// Runs the controllers for ever. Dropping it stops all work at its next await.
pub async fn run(context: Arc<Context>, scope: Scope, readiness: Readiness) {
    let (ready, mut all_ready) = watch::channel(0);
    let watches = watches(&context, &scope);
    let count = watches.len();
    let watching = watches.into_iter().map(|watch| {
        let requirement = readiness.require(watch.title(), "the first list has not arrived yet");
        watch.run(context.clone(), requirement, ready.clone(), count).boxed()
    });
    // An event of one watch wakes that one only: there are many, and joined as one they would all be asked each time.
    let watching: FuturesUnordered<_> = watching.collect();
    let work = async {
        if all_ready.wait_for(|ready| *ready >= count).await.is_ok() {
            info!("all caches are filled");
            context.check_policies();
            work(&context, scope.concurrency).await;
        }
    };
    tokio::join!(watching.collect::<()>(), work, context.events.run());
}

/// Works while this process leads.
async fn work(context: &Arc<Context>, concurrency: NonZeroU16) {
    let mut leadership = context.leadership.clone();
    loop {
        leadership.acquired().await;
        context.metrics.leader(true);
        context.memory.clear();
        context.trials.clear();
        context.told.clear();
        context.touch_all();
        let met: Vec<_> = context.cache.read().unreadable.values().cloned().collect();
        met.iter().for_each(|unreadable| report(context, unreadable));
        let few = NonZeroU16::MIN.saturating_add(3);
        let on = |context: &Arc<Context>| context.clone();
        tokio::select! {
            // Always in this order, so that a run can be repeated.
            biased;
            () = leadership.lost() => {}
            () = notice_jumps(context) => {}
            () = context.releases.clone().run(concurrency, |key| release::reconcile(on(context), key)) => {}
            () = context.windows.clone().run(few, |key| window::reconcile(on(context), key)) => {}
            () = context.deployments.clone().run(few, |key| orphan::reconcile(on(context), key)) => {}
            () = context.policies.clone().run(few, |key| policy::reconcile(on(context), key)) => {}
        }
        context.metrics.leader(false);
    }
}

/// Looks at everything when the system's clock has jumped: what was to be looked at by that clock is due at another time now.
async fn notice_jumps(context: &Context) {
    let mut before = context.jumped();
    loop {
        sleep(JUMP_NOTICED).await;
        let jumped = context.jumped();
        if jumped != before {
            context.touch_all();
            before = jumped;
        }
    }
}

/// One watch.
struct Watch {
    resource: Resource,
    namespace: Option<String>,
    config: watcher::Config,
}

fn watches(context: &Context, scope: &Scope) -> Vec<Watch> {
    let own = &context.setting.operator_namespace;
    let mut watches = Vec::new();
    for resource in Resource::ALL {
        let all = watcher::Config::default().page_size(PAGE);
        let config = match resource {
            Resource::ControllerRevision => all.labels(RELEASE),
            Resource::ValidatingAdmissionPolicy | Resource::ValidatingAdmissionPolicyBinding => all.labels(POLICIES),
            Resource::MutatingAdmissionPolicy | Resource::MutatingAdmissionPolicyBinding if scope.mutating => {
                all.labels(POLICIES)
            }
            Resource::MutatingAdmissionPolicy | Resource::MutatingAdmissionPolicyBinding => continue,
            // Also Releases that other operators handle: how many use a window or policy, and whether a Release is gone, has one answer.
            Resource::Release
            | Resource::DeploymentWindow
            | Resource::RollbackPolicy
            | Resource::Decision
            | Resource::Deployment
            | Resource::ReplicaSet
            | Resource::Service
            | Resource::EndpointSlice
            | Resource::HTTPRoute
            | Resource::Namespace => all,
        };
        let mut namespaces: BTreeSet<&str> = match &context.namespaces {
            WatchNamespaces::All => {
                watches.push(Watch { resource, namespace: None, config });
                continue;
            }
            WatchNamespaces::Only(namespaces) => namespaces.iter().map(|namespace| namespace.as_str()).collect(),
        };
        match resource {
            // The platform's are there.
            Resource::DeploymentWindow | Resource::RollbackPolicy => {
                namespaces.insert(own);
            }
            Resource::ValidatingAdmissionPolicy
            | Resource::ValidatingAdmissionPolicyBinding
            | Resource::MutatingAdmissionPolicy
            | Resource::MutatingAdmissionPolicyBinding => {
                watches.push(Watch { resource, namespace: None, config });
                continue;
            }
            Resource::Release
            | Resource::Decision
            | Resource::Deployment
            | Resource::ReplicaSet
            | Resource::ControllerRevision
            | Resource::Service
            | Resource::EndpointSlice
            | Resource::HTTPRoute
            | Resource::Namespace => {}
        }
        watches.extend(namespaces.into_iter().map(|namespace| Watch {
            resource,
            namespace: Some(namespace.into()),
            // The right to see one namespace is given by its name.
            config: if resource == Resource::Namespace {
                config.clone().fields(&format!("metadata.name={namespace}"))
            } else {
                config.clone()
            },
        }));
    }
    watches
}

impl Watch {
    fn title(&self) -> String {
        let plural = self.resource.api().plural;
        match &self.namespace {
            Some(namespace) => format!("cache {plural} in {namespace}"),
            None => format!("cache {plural}"),
        }
    }

    fn covers(&self, key: &Key) -> bool {
        match (&self.namespace, self.resource) {
            (None, _) => true,
            (Some(namespace), Resource::Namespace) => key.name == *namespace,
            (Some(namespace), _) => key.namespace == *namespace,
        }
    }

    async fn run(self, context: Arc<Context>, requirement: Requirement, ready: watch::Sender<usize>, of: usize) {
        let api = self.resource.api();
        let api: Api<Object> = match &self.namespace {
            Some(namespace) if self.resource.namespaced() => {
                Api::namespaced_with(context.client.clone(), namespace, &api)
            }
            Some(_) | None => Api::all_with(context.client.clone(), &api),
        };
        let mut events = std::pin::pin!(watcher(api, self.config.clone()).default_backoff());
        let mut listed = BTreeSet::new();
        let mut counted = false;
        while let Some(event) = events.next().await {
            let touched = match event {
                Ok(watcher::Event::Init) => {
                    listed.clear();
                    continue;
                }
                Ok(watcher::Event::InitApply(object)) => {
                    listed.insert(context.cache.key(self.resource, object.meta()));
                    self.put(&context, object)
                }
                Ok(watcher::Event::InitDone) => {
                    requirement.met();
                    self.count(&mut counted, &ready);
                    context.cache.keep_only(self.resource, &std::mem::take(&mut listed), |key| self.covers(key))
                }
                Ok(watcher::Event::Apply(object)) => self.put(&context, object),
                Ok(watcher::Event::Delete(object)) => context.cache.remove(self.resource, object.meta()),
                Err(error) => {
                    if self.failed(&context, &requirement, counted, &error) {
                        self.count(&mut counted, &ready);
                    }
                    continue;
                }
            };
            // Before all of them have been read, each would seem to be missing.
            if self.resource.admission() && *ready.borrow() >= of {
                context.check_policies();
            }
            context.touch(touched);
        }
    }

    fn count(&self, counted: &mut bool, ready: &watch::Sender<usize>) {
        if !std::mem::replace(counted, true) {
            ready.send_modify(|ready| *ready += 1);
        }
    }

    fn put(&self, context: &Context, Object(object): Object) -> Touched {
        let name = object.name_any();
        context.cache.put(self.resource, object, context.steady()).unwrap_or_else(|unreadable| {
            warn!(kind = ?self.resource, name, fault = unreadable.fault, "an object cannot be read and is left out");
            context.metrics.reconciled("cache", Duration::ZERO, Err("Unreadable"));
            report(context, &unreadable);
            unreadable.touched
        })
    }

    /// Tells of a watch that failed. Says whether the operator works without.
    ///
    /// A cache that is `filled` stays ready unless its kind is gone: the watch goes on from where it was, without another list
    /// that would tell.
    fn failed(&self, context: &Context, requirement: &Requirement, filled: bool, error: &watcher::Error) -> bool {
        let absent = status(error).is_some_and(|code| code == 404) && self.resource.optional();
        if absent
            && !context
                .cache
                .read()
                .releases
                .all()
                .any(|(_, release)| release.spec.workloads.iter().any(|w| !w.routes.is_empty()))
        {
            requirement.met();
            return true;
        }
        let api = self.resource.api();
        let why = match status(error) {
            Some(404) => format!("{} is not served: install its custom resource definition", api.api_version),
            Some(403) => format!("forbidden: the operator needs list and watch on {}", api.plural),
            Some(code) => format!("the watch failed with HTTP {code} and is tried again"),
            None => "the API server cannot be reached; it is tried again".into(),
        };
        warn!(kind = api.kind, why, %error, "failed to watch");
        if !filled || status(error) == Some(404) {
            requirement.missing(why);
        }
        absent
    }
}

fn status(error: &watcher::Error) -> Option<u16> {
    let error = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error,
        watcher::Error::WatchError(status) => return Some(status.code),
        watcher::Error::NoResourceVersion => return None,
    };
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Tells people about an object that cannot be read, if this process leads: else that one does, or this one when it does.
fn report(context: &Context, unreadable: &Unreadable) {
    if !context.leadership.is_leader() {
        return;
    }
    let Unreadable { resource, key, uid, fault, touched: _ } = unreadable;
    let api = resource.api();
    let object = ObjectReference {
        api_version: Some(api.api_version),
        kind: Some(api.kind),
        namespace: Some(key.namespace.clone()),
        name: Some(key.name.clone()),
        uid: Some(uid.clone()),
        ..ObjectReference::default()
    };
    let until =
        if *resource == Resource::DeploymentWindow { "it closes until then" } else { "it is left out until then" };
    let note = format!("this object cannot be read: {fault}; mend or delete it, {until}");
    context.events.send(object, Event { reason: "Unreadable".into(), warning: true, note });
}
