//! What the controller says of a Deployment.

use super::*;
use crate::api::time;

impl Look {
    /// Counts, and writes the status where it is another.
    pub(super) fn report(&mut self, new: Option<usize>) {
        let sum = |field: &str| self.sets.iter().map(|set| number(&set["status"][field])).sum::<i64>();
        let updated = new.map_or(0, |at| number(&self.sets[at]["status"]["replicas"]));
        let (total, ready, available) = (sum("replicas"), sum("readyReplicas"), sum("availableReplicas"));
        let before = &self.deployment["status"];
        let mut status = json!({"observedGeneration": self.deployment["metadata"]["generation"]});
        let counts = [
            ("replicas", total),
            ("updatedReplicas", updated),
            ("readyReplicas", ready),
            ("availableReplicas", available),
            ("unavailableReplicas", (total - available).max(0)),
        ];
        // Counts of 0 are left out, as Go does.
        for (field, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            status[field] = count.into();
        }
        let enough = available >= self.replicas() - self.unavailable();
        let availability = if enough {
            ("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            ("Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        };
        let paused = self.deployment["spec"]["paused"] == true;
        let complete = new.is_some_and(|_| updated == self.replicas() && total == updated && available == updated);
        let progress = match (paused, complete) {
            (true, _) => ("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused"),
            (false, true) => {
                ("Progressing", "True", "NewReplicaSetAvailable", "ReplicaSet has successfully progressed.")
            }
            (false, false) => ("Progressing", "True", "ReplicaSetUpdated", "ReplicaSet is progressing."),
        };
        status["conditions"] = [availability, progress].map(|condition| self.condition(before, condition)).into();
        if *before == status {
            return;
        }
        let mut reported = self.deployment.clone();
        reported["status"] = status;
        self.edits.push(Edit::Status(Kind::Deployment, reported));
    }

    fn condition(&self, before: &Value, (kind, state, reason, message): (&str, &str, &str, &str)) -> Value {
        let last = list(&before["conditions"]).iter().find(|condition| condition["type"] == kind);
        if let Some(last) = last.filter(|last| last["status"] == state && last["reason"] == reason) {
            return last.clone();
        }
        let same = last.filter(|last| last["status"] == state).map(|last| last["lastTransitionTime"].clone());
        json!({"type": kind, "status": state, "reason": reason, "message": message, "lastUpdateTime": time(self.now),
            "lastTransitionTime": same.unwrap_or_else(|| time(self.now))})
    }
}
