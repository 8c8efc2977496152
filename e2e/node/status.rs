//! What a pod's status says of its one container.

use jiff::Timestamp;
use serde_json::{Value, json};

/// Of the container.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    Waiting { reason: &'static str, message: String },
    Running { since: Timestamp },
    Terminated(Termination),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Termination {
    pub exit_code: i32,
    pub started: Timestamp,
    pub finished: Timestamp,
}

/// All that changes in the life of a pod.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shown {
    pub state: State,
    pub last: Option<Termination>,
    pub restarts: u32,
    /// The startup probe has succeeded.
    pub started: bool,
    pub ready: bool,
    /// It will not be started again.
    pub over: bool,
}

impl Shown {
    fn phase(&self) -> &'static str {
        match (&self.state, self.over) {
            (State::Terminated(Termination { exit_code: 0, .. }), true) => "Succeeded",
            (State::Terminated(_), true) => "Failed",
            (State::Waiting { .. }, _) if self.last.is_none() => "Pending",
            (State::Waiting { .. } | State::Running { .. } | State::Terminated(_), _) => "Running",
        }
    }

    /// The status, to be merged strategically: conditions of others stay.
    pub fn status(&self, name: &str, image: &str, pod_ip: &str, begun: Timestamp) -> Value {
        let now = time(Timestamp::now());
        let condition = |kind: &str, met: bool, reason: &str| {
            let reason = if met { "" } else { reason };
            json!({"type": kind, "status": if met { "True" } else { "False" }, "reason": reason, "lastTransitionTime": now})
        };
        let unready = if self.phase() == "Succeeded" { "PodCompleted" } else { "ContainersNotReady" };
        let mut container = json!({
            "name": name, "image": image, "imageID": "", "ready": self.ready, "started": self.started,
            "restartCount": self.restarts, "state": self.state.value(),
        });
        if let Some(last) = &self.last {
            container["lastState"] = json!({"terminated": last.value()});
        }
        json!({"status": {
            "phase": self.phase(),
            "startTime": time(begun),
            "podIP": pod_ip,
            "podIPs": [{"ip": pod_ip}],
            "conditions": [
                condition("Initialized", true, ""),
                condition("PodReadyToStartContainers", true, ""),
                condition("ContainersReady", self.ready, unready),
                condition("Ready", self.ready, unready),
            ],
            "containerStatuses": [container],
        }})
    }
}

impl State {
    fn value(&self) -> Value {
        match self {
            State::Waiting { reason, message } => json!({"waiting": {"reason": reason, "message": message}}),
            State::Running { since } => json!({"running": {"startedAt": time(*since)}}),
            State::Terminated(termination) => json!({"terminated": termination.value()}),
        }
    }
}

impl Termination {
    fn value(&self) -> Value {
        let reason = if self.exit_code == 0 { "Completed" } else { "Error" };
        json!({"exitCode": self.exit_code, "reason": reason, "startedAt": time(self.started), "finishedAt": time(self.finished)})
    }
}

fn time(at: Timestamp) -> String {
    format!("{at:.0}")
}
