//! The life of one pod, from its binding to a node until it is gone.

use std::convert::Infallible;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::container::Plan;
use super::probe::{self, Outcome};
use super::status::{Shown, State, Termination};
use super::{ADDRESS, Setting};
use crate::process::Process;

/// Kubernetes' own, 10 s and doubling up to 5 min, is long for tests.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(16));
/// Until a pod that could not be made to run is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// Exit code where a runtime cannot start the program, or does not know how it ended.
const CANNOT_START: i32 = 128;
/// Of `terminationGracePeriodSeconds`.
const DEFAULT_GRACE: i64 = 30;

/// A pod that is over needs no life.
pub(super) fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed")) && pod.metadata.deletion_timestamp.is_none()
}

/// Runs it until it is to be deleted, and deletes it then. Ends at once when the pod is gone.
pub(super) async fn live(setting: Arc<Setting>, mut pod: watch::Receiver<Pod>) {
    let first = pod.borrow().clone();
    let mut life = Life::new(&setting, first);
    let mut deletion = pod.clone();
    let deleted = async { deletion.wait_for(|pod| pod.metadata.deletion_timestamp.is_some()).await.is_ok() };
    let still_there = tokio::select! {
        still_there = deleted => still_there,
        never = life.run() => match never {},
    };
    if still_there {
        let grace = pod.borrow_and_update().metadata.deletion_grace_period_seconds.unwrap_or(DEFAULT_GRACE);
        life.end(Duration::from_secs(u64::try_from(grace).unwrap_or(0))).await;
    }
}

/// Tells the API server of a pod.
struct Teller {
    api: Api<Pod>,
    pod: Pod,
    ip: String,
    begun: Timestamp,
}

struct Life<'a> {
    setting: &'a Setting,
    teller: Teller,
    shown: Shown,
    process: Option<Process>,
}

impl<'a> Life<'a> {
    fn new(setting: &'a Setting, pod: Pod) -> Life<'a> {
        let api = Api::namespaced(setting.client.clone(), &pod.namespace().unwrap_or_default());
        let state = State::Waiting { reason: "ContainerCreating", message: String::new() };
        let shown = Shown { state, last: None, restarts: 0, started: false, ready: false, over: false };
        let teller = Teller { api, pod, ip: next_ip(), begun: Timestamp::now() };
        Life { setting, teller, shown, process: None }
    }

    /// Starts the container as often as it has to be; ends never by itself.
    async fn run(&mut self) -> Infallible {
        let plan = self.plan().await;
        self.teller.annotate(&plan.address).await;
        loop {
            let termination = self.once(&plan).await;
            let spec = self.teller.pod.spec.as_ref();
            let policy = spec.and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always");
            let over = policy == "Never" || policy == "OnFailure" && termination.exit_code == 0;
            self.shown.started = false;
            self.shown.ready = false;
            if over {
                self.shown.state = State::Terminated(termination);
                self.shown.over = true;
                self.teller.show(&self.shown).await;
                return std::future::pending().await;
            }
            self.shown.last = Some(termination);
            let message = "back-off restarting failed container".to_owned();
            self.shown.state = State::Waiting { reason: "CrashLoopBackOff", message };
            self.teller.show(&self.shown).await;
            let doubled = BACKOFF.0.saturating_mul(2_u32.saturating_pow(self.shown.restarts));
            sleep(doubled.min(BACKOFF.1)).await;
            self.shown.restarts += 1;
        }
    }

    /// A service account or a program may come later, so this is tried again.
    async fn plan(&mut self) -> Plan {
        loop {
            match Plan::make(self.setting, &self.teller.pod, &self.teller.ip).await {
                Ok(plan) => return plan,
                Err(error) => {
                    let message = format!("{error:#}");
                    self.shown.state = State::Waiting { reason: "CreateContainerConfigError", message };
                    self.teller.show(&self.shown).await;
                    sleep(TRY_AGAIN).await;
                }
            }
        }
    }

    /// From one start of the process to its end.
    async fn once(&mut self, plan: &Plan) -> Termination {
        let Life { setting, teller, shown, process } = self;
        let started = Timestamp::now();
        let terminated = |exit_code| Termination { exit_code, started, finished: Timestamp::now() };
        let process = match Process::start(&teller.pod.name_any(), &mut plan.command(), &setting.logs) {
            Ok(started) => process.insert(started),
            Err(_) => return terminated(CANNOT_START),
        };
        shown.state = State::Running { since: started };
        teller.show(shown).await;
        let ended = tokio::select! {
            status = process.child().wait() => Some(status),
            () = probe(teller, shown, plan) => None,
        };
        let status = match ended {
            Some(status) => status,
            None => {
                // It does not answer. If it cannot be killed, it has ended.
                let _ = process.child().kill().await;
                process.child().wait().await
            }
        };
        terminated(status.map_or(CANNOT_START, exit_code))
    }

    /// SIGTERM, the grace period, SIGKILL; then the pod goes.
    async fn end(self, grace: Duration) {
        let Life { setting: _, teller, mut shown, process } = self;
        shown.ready = false;
        teller.show(&shown).await;
        if let Some(mut process) = process {
            if let Some(id) = process.id().and_then(|id| i32::try_from(id).ok()) {
                // It may have ended meanwhile.
                let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
            }
            if timeout(grace, process.child().wait()).await.is_err() {
                let _ = process.child().kill().await;
            }
        }
        teller.delete().await;
    }
}

/// Shows whether the container has started and is ready; returns when it has to be restarted.
async fn probe(teller: &Teller, shown: &mut Shown, plan: &Plan) {
    let (container, address) = (&plan.container, plan.address.as_str());
    if let Some(startup) = &container.startup_probe
        && probe::until_success(startup, address).await == Outcome::Failed
    {
        return;
    }
    shown.started = true;
    let liveness = async {
        match &container.liveness_probe {
            Some(liveness) => probe::until_not(Outcome::Succeeded, liveness, address).await,
            None => std::future::pending().await,
        }
    };
    let readiness = async {
        let Some(readiness) = &container.readiness_probe else {
            shown.ready = true;
            teller.show(shown).await;
            return std::future::pending().await;
        };
        loop {
            teller.show(shown).await;
            let now = if shown.ready { Outcome::Succeeded } else { Outcome::Failed };
            probe::until_not(now, readiness, address).await;
            shown.ready = !shown.ready;
        }
    };
    tokio::select! {
        () = liveness => {}
        () = readiness => {}
    }
}

impl Teller {
    async fn show(&self, shown: &Shown) {
        let spec = self.pod.spec.as_ref();
        let Some(container) = spec.and_then(|spec| spec.containers.first()) else { return };
        let image = container.image.as_deref().unwrap_or_default();
        let status = shown.status(&container.name, image, &self.ip, self.begun);
        // The next news corrects what this one could not say; a pod that is gone needs none.
        let patch = Patch::Strategic(&status);
        let _ = self.api.patch_status(&self.pod.name_any(), &PatchParams::default(), &patch).await;
    }

    async fn annotate(&self, address: &str) {
        let patch = json!({"metadata": {"annotations": {ADDRESS: address}}});
        // Whoever looks for it sees that it is missing.
        let _ = self.api.patch(&self.pod.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await;
    }

    async fn delete(&self) {
        let preconditions = Preconditions { uid: self.pod.uid(), resource_version: None };
        let now = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }.grace_period(0);
        while let Err(error) = self.api.delete(&self.pod.name_any(), &now).await {
            match error {
                kube::Error::Api(status) if status.is_not_found() || status.is_conflict() => return,
                _ => sleep(TRY_AGAIN).await,
            }
        }
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Far from those that kwok begins with.
fn next_ip() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed) % (20 * 250);
    format!("10.244.{}.{}", 230 + number / 250, 1 + number % 250)
}
