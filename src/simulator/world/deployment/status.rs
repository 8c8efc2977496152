//! What the controller says of a Deployment.

use std::time::Duration;

use super::*;
use crate::api::{read_time, time};

/// Where none is given, in seconds.
const DEADLINE: i64 = 600;
const PROGRESSING: &str = "Progressing";
const COMPLETE: &str = "NewReplicaSetAvailable";
const TOO_LATE: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// When the controller has to look again by itself: what does not progress is too late then.
pub(super) fn due(deployment: &Value) -> Option<Timestamp> {
    // The real one waits a second longer, so that it is over by all means.
    late(deployment).map(|late| late + Duration::from_secs(1))
}

/// After this time what does not progress is too late.
pub(super) fn late(deployment: &Value) -> Option<Timestamp> {
    let progress =
        list(&deployment["status"]["conditions"]).iter().find(|condition| condition["type"] == PROGRESSING)?;
    let ended = [COMPLETE, TOO_LATE, PAUSED].contains(&text(&progress["reason"]));
    (!ended).then(|| read_time(&progress["lastUpdateTime"])).flatten().map(|since| since + deadline(deployment))
}

fn deadline(deployment: &Value) -> Duration {
    Duration::from_secs(deployment["spec"]["progressDeadlineSeconds"].as_i64().unwrap_or(DEADLINE).unsigned_abs())
}

impl Look {
    /// Says that it is paused, or no more. What is too late stays so.
    pub(super) fn note_pause(&mut self) {
        let paused = self.deployment["spec"]["paused"] == true;
        let reason = self.progress().map_or("", |progress| text(&progress["reason"])).to_owned();
        if reason == TOO_LATE {
            return;
        }
        if paused && reason != PAUSED {
            self.progress_is("Unknown", PAUSED, "Deployment is paused");
        } else if !paused && reason == PAUSED {
            self.progress_is("Unknown", "DeploymentResumed", "Deployment is resumed");
        }
    }

    /// There is a new ReplicaSet: from now on it has time.
    pub(super) fn note_created(&mut self) {
        self.progress_is("True", "NewReplicaSetCreated", "Created new replica set");
    }

    /// Counts, and writes the status where it is another.
    pub(super) fn report(&mut self, new: Option<usize>) {
        let counted = self.counted(new);
        self.store(counted);
    }

    /// The same, and whether the version on its way gets on.
    pub(super) fn report_progress(&mut self, new: Option<usize>) {
        let (counted, replicas) = (self.counted(new), self.replicas());
        let count = |field: &str| number(&counted[field]);
        let reason = self.progress().map_or("", |progress| text(&progress["reason"])).to_owned();
        if count("replicas") != count("updatedReplicas") || reason != COMPLETE {
            let before = &self.deployment["status"];
            let old = |status: &Value| number(&status["replicas"]) - number(&status["updatedReplicas"]);
            let more = |field: &str| count(field) > number(&before[field]);
            let progresses = more("updatedReplicas")
                || more("readyReplicas")
                || more("availableReplicas")
                || old(&counted) < old(before);
            if ["updatedReplicas", "replicas", "availableReplicas"].into_iter().all(|field| count(field) == replicas) {
                self.progress_is("True", COMPLETE, "ReplicaSet has successfully progressed.");
            } else if progresses {
                self.progresses();
            } else if self.is_late(&reason) {
                self.progress_is("False", TOO_LATE, "ReplicaSet has timed out progressing.");
            }
        }
        self.store(counted);
    }

    /// The status as it is in the copy, at once.
    pub(super) fn write_status(&mut self) {
        self.written = self.deployment["status"].clone();
        self.edits.push(Edit::Status(Kind::Deployment, self.deployment.clone()));
        entry(&mut self.deployment, "metadata").remove("resourceVersion");
    }

    fn is_late(&self, reason: &str) -> bool {
        let since = self.progress().and_then(|progress| read_time(&progress["lastUpdateTime"]));
        match reason {
            COMPLETE => false,
            TOO_LATE => true,
            _ => since.is_some_and(|since| since + deadline(&self.deployment) < self.now),
        }
    }

    fn counted(&self, new: Option<usize>) -> Value {
        let sum = |field: &str| self.sets.iter().map(|set| number(&set["status"][field])).sum::<i64>();
        let updated = new.map_or(0, |at| number(&self.sets[at]["status"]["replicas"]));
        let available = sum("availableReplicas");
        let wanted: i64 = self.sets.iter().map(size).sum();
        let mut status = json!({"observedGeneration": self.deployment["metadata"]["generation"]});
        let counts = [
            ("replicas", sum("replicas")),
            ("updatedReplicas", updated),
            ("readyReplicas", sum("readyReplicas")),
            ("availableReplicas", available),
            ("unavailableReplicas", (wanted - available).max(0)),
            ("collisionCount", number(&self.deployment["status"]["collisionCount"])),
        ];
        // Counts of 0 are left out, as Go does.
        for (field, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            status[field] = count.into();
        }
        status
    }

    /// Writes these counts with the conditions, where that is something new.
    fn store(&mut self, mut status: Value) {
        let enough = number(&status["availableReplicas"]) >= self.replicas() - self.unavailable();
        let (state, reason, message) = if enough {
            ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        };
        self.condition_is("Available", state, reason, message);
        status["conditions"] = self.deployment["status"]["conditions"].clone();
        self.deployment["status"] = status;
        if self.written != self.deployment["status"] {
            self.write_status();
        }
    }

    fn progress(&self) -> Option<&Value> {
        list(&self.deployment["status"]["conditions"]).iter().find(|condition| condition["type"] == PROGRESSING)
    }

    fn progress_is(&mut self, state: &str, reason: &str, message: &str) {
        self.condition_is(PROGRESSING, state, reason, message);
    }

    /// Each progress begins the time anew.
    fn progresses(&mut self) {
        self.progress_is("True", "ReplicaSetUpdated", "ReplicaSet is progressing.");
        let now = time(self.now);
        for condition in self.deployment["status"]["conditions"].as_array_mut().into_iter().flatten() {
            if condition["type"] == PROGRESSING {
                condition["lastUpdateTime"] = now.clone();
            }
        }
    }

    fn condition_is(&mut self, kind: &str, state: &str, reason: &str, message: &str) {
        let mut conditions = list(&self.deployment["status"]["conditions"]).to_vec();
        let at = conditions.iter().position(|condition| condition["type"] == kind);
        let last = at.map(|at| conditions[at].clone()).filter(|last| last["status"] == state);
        if last.as_ref().is_some_and(|last| last["reason"] == reason) {
            return;
        }
        let since = last.map_or_else(|| time(self.now), |last| last["lastTransitionTime"].clone());
        let condition = json!({"type": kind, "status": state, "reason": reason, "message": message,
            "lastUpdateTime": time(self.now), "lastTransitionTime": since});
        match at {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
        self.deployment["status"]["conditions"] = conditions.into();
    }
}
