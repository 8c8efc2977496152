//! Nodes: pods start, get ready, crash and end, as their image says.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Actor, Behaviour, Edit, Turn, replica_set::image};
use crate::api::{
    Caller, Key, Kind, Object, Preconditions, User,
    object::{list, name, namespace, number},
    read_time, time,
};

/// The longest that a kubelet waits before it starts a container again.
const BACK_OFF_MAX: Duration = Duration::from_secs(300);

/// What is to become of a pod.
#[derive(Debug)]
struct Fate {
    started: Timestamp,
    ready: Option<Timestamp>,
    crash: Option<Timestamp>,
    restarts: u32,
    ends: Option<Timestamp>,
    /// The pod as it was last looked at, and when there is news of it by itself.
    seen: Option<(Arc<Object>, Option<Timestamp>)>,
}

/// All nodes together.
pub struct Kubelet {
    caller: Caller,
    pods: BTreeMap<String, Fate>,
    behaviour: Box<dyn Fn(&str) -> Behaviour + Send>,
}

impl Kubelet {
    /// Nodes whose pods behave as this says of their image.
    pub fn new(behaviour: impl Fn(&str) -> Behaviour + Send + 'static) -> Self {
        Self { caller: Caller::new(User::controller("kubelet")), pods: BTreeMap::new(), behaviour: Box::new(behaviour) }
    }
}

impl Default for Kubelet {
    fn default() -> Self {
        Self::new(Behaviour::of)
    }
}

impl Fate {
    fn new(behaviour: Behaviour, turn: &mut Turn<'_>) -> Self {
        let started = turn.now + Duration::from_millis(turn.random.u64(100..1000));
        Self {
            started,
            ready: behaviour
                .ready_after
                .filter(|_| behaviour.crashes_after != Some(Duration::ZERO))
                .map(|after| started + after),
            crash: behaviour.crashes_after.map(|after| started + after + Duration::from_secs(1)),
            restarts: 0,
            ends: None,
            seen: None,
        }
    }

    /// Of a pod that runs already, as it tells itself.
    fn told(self, pod: &Object) -> Self {
        let Some(started) = read_time(&pod["status"]["startTime"]) else { return self };
        let later = |at: Timestamp| started + at.duration_since(self.started);
        Self {
            started,
            ready: pod.ready_since().or_else(|| self.ready.map(later)),
            crash: self.crash.map(later),
            restarts: u32::try_from(number(&pod["status"]["containerStatuses"][0]["restartCount"])).unwrap_or_default(),
            ..self
        }
    }

    /// Whether nothing has happened to this pod since it was last looked at.
    fn has_no_news(&self, pod: &Arc<Object>, now: Timestamp) -> bool {
        let known = self.seen.as_ref().filter(|(seen, _)| Arc::ptr_eq(seen, pod));
        known.is_some_and(|(_, next)| next.is_none_or(|next| next > now))
    }

    fn crash_if_due(&mut self, now: Timestamp) {
        while let Some(at) = self.crash.filter(|at| *at <= now) {
            self.restarts += 1;
            self.ready = None;
            let back_off = Duration::from_secs(10).saturating_mul(1 << self.restarts.min(5)).min(BACK_OFF_MAX);
            self.crash = Some(at + back_off);
        }
    }

    fn status(&self, pod: &Value, now: Timestamp) -> Value {
        if self.started > now {
            return Value::Null;
        }
        let ready = self.ready.is_some_and(|at| at <= now);
        let since = if ready { self.ready.unwrap_or(now) } else { self.started };
        let state = match self.restarts {
            0 => json!({"running": {"startedAt": time(self.started)}}),
            _ => json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}}),
        };
        let containers = list(&pod["spec"]["containers"]).iter().map(|container| {
            json!({"name": container["name"], "image": container["image"], "imageID": "", "ready": ready,
                "restartCount": self.restarts, "state": state})
        });
        json!({
            "phase": "Running", "startTime": time(self.started), "containerStatuses": containers.collect::<Vec<_>>(),
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": time(since)}],
        })
    }

    fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let moments = match self.ends {
            Some(ends) => [Some(ends), None, None],
            None => [Some(self.started), self.ready, self.crash],
        };
        moments.into_iter().flatten().filter(|at| *at > now).min()
    }
}

impl Actor for Kubelet {
    fn watches(&self) -> &'static [Kind] {
        &[Kind::Pod]
    }

    fn step(&mut self, turn: &mut Turn<'_>) -> Option<Timestamp> {
        let pods: Vec<_> = turn.server.store().objects().of(Kind::Pod).cloned().collect();
        let there: BTreeSet<&str> = pods.iter().map(|pod| pod.uid()).collect();
        self.pods.retain(|known, _| there.contains(known.as_str()));
        let mut wake = None;
        for pod in &pods {
            let fate = self
                .pods
                .entry(pod.uid().to_owned())
                .or_insert_with(|| Fate::new((self.behaviour)(image(&pod["spec"])), turn).told(pod));
            if fate.has_no_news(pod, turn.now) {
                wake = wake.into_iter().chain(fate.next(turn.now)).min();
                continue;
            }
            if pod.is_deleting() {
                let ends =
                    *fate.ends.get_or_insert_with(|| turn.now + Duration::from_millis(turn.random.u64(50..2000)));
                if ends <= turn.now {
                    let key = Key::new(Kind::Pod, namespace(pod), name(pod));
                    // Whoever else has deleted it was faster.
                    let _ = turn.server.delete(&self.caller, &key, &Preconditions::default(), Some(0));
                    continue;
                }
            } else {
                fate.crash_if_due(turn.now);
                let status = fate.status(pod, turn.now);
                if !status.is_null() && pod["status"] != status {
                    let mut reported = pod.value().clone();
                    reported["status"] = status;
                    Edit::apply_all(vec![Edit::Status(Kind::Pod, reported)], turn.server, &self.caller);
                }
            }
            let next = fate.next(turn.now);
            fate.seen = Some((pod.clone(), next));
            wake = wake.into_iter().chain(next).min();
        }
        wake
    }
}
