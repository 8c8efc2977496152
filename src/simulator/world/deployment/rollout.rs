//! Rolling out: a new ReplicaSet grows, the old ones shrink, within the room that the strategy gives.

use lockkeeper_engine::digest;

use super::*;

impl Look {
    pub(super) fn roll_out(&mut self) {
        let recreate = self.recreates();
        let found = self.find_new();
        if recreate && self.empty_old(found) {
            return self.report_progress(found);
        }
        let Some(new) = found.map(|at| self.revise(at)).or_else(|| self.create_new(recreate)) else { return };
        let replicas = self.replicas();
        let moved = match recreate {
            true => size(&self.sets[new]) != replicas && self.resize(new, replicas),
            false => self.grow_new(new) || self.shrink_old(new),
        };
        if !moved && self.is_complete(new) {
            self.trim_history(Some(new));
        }
        self.report_progress(Some(new));
    }

    /// Before a version that must not run beside another. Says whether there is still something of the old ones.
    fn empty_old(&mut self, new: Option<usize>) -> bool {
        let old = self.old(new);
        for at in self.active(old.clone()) {
            self.resize(at, 0);
        }
        old.into_iter().any(|at| number(&self.sets[at]["status"]["replicas"]) > 0 || size(&self.sets[at]) > 0)
    }

    fn create_new(&mut self, recreate: bool) -> Option<usize> {
        let deployment = &self.deployment;
        let template = bare(&deployment["spec"]["template"]);
        // Not our hash: the real controller's is another, too.
        let collisions = number(&deployment["status"]["collisionCount"]);
        let hash = match collisions {
            0 => digest(&json!([template, "deployment-controller"])),
            count => digest(&json!([template, "deployment-controller", count])),
        };
        if self.taken.contains(&format!("{}-{hash}", name(deployment))) {
            // Somebody else's: another hash at the next look.
            self.deployment["status"]["collisionCount"] = (collisions + 1).into();
            self.write_status();
            return None;
        }
        let mut set = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": format!("{}-{hash}", name(deployment)), "namespace": namespace(deployment),
                "ownerReferences": [reference(deployment)], "annotations": {}},
            "spec": {"replicas": 0, "selector": deployment["spec"]["selector"], "template": template},
        });
        if !deployment["spec"]["minReadySeconds"].is_null() {
            set["spec"]["minReadySeconds"] = deployment["spec"]["minReadySeconds"].clone();
        }
        entry(&mut set["spec"]["template"]["metadata"], "labels")
            .insert(POD_TEMPLATE_HASH.into(), hash.as_str().into());
        set["metadata"]["labels"] = set["spec"]["template"]["metadata"]["labels"].clone();
        entry(&mut set["spec"]["selector"], "matchLabels").insert(POD_TEMPLATE_HASH.into(), hash.as_str().into());
        self.sets.push(set);
        let at = self.sets.len() - 1;
        let to = if recreate { self.replicas() } else { self.new_size(at) };
        let edits = self.edits.len();
        self.resize(at, to);
        self.revise(at);
        // One creation instead of these writes.
        let deployment = self.edits.drain(edits..).filter(|edit| matches!(edit, Edit::Status(Kind::Deployment, _)));
        let deployment: Vec<_> = deployment.collect();
        self.edits.push(Edit::Create(Kind::ReplicaSet, self.sets[at].clone()));
        self.edits.extend(deployment);
        self.note_created();
        Some(at)
    }

    /// How large the new one may be now.
    fn new_size(&self, new: usize) -> i64 {
        let (own, replicas) = (size(&self.sets[new]), self.replicas());
        let total: i64 = self.sets.iter().map(size).sum();
        let most = replicas + self.surge();
        if total >= most { own } else { own + (most - total).min(replicas - own) }
    }

    /// Says whether it has changed.
    fn grow_new(&mut self, new: usize) -> bool {
        let (own, replicas) = (size(&self.sets[new]), self.replicas());
        let to = if own > replicas { replicas } else { self.new_size(new) };
        own != replicas && own != to && self.resize(new, to)
    }

    /// Pods that are not available go first, then as many as can be spared. Says whether any has.
    fn shrink_old(&mut self, new: usize) -> bool {
        let mut old = self.old(Some(new));
        let total: i64 = self.sets.iter().map(size).sum();
        if old.iter().map(|at| size(&self.sets[*at])).sum::<i64>() == 0 {
            return false;
        }
        let available = |set: &Value| number(&set["status"]["availableReplicas"]);
        let minimum = self.replicas() - self.unavailable();
        let missing = size(&self.sets[new]) - available(&self.sets[new]);
        let most = total - minimum - missing;
        if most <= 0 {
            return false;
        }
        let mut changed = false;
        let mut gone = 0;
        old.sort_by(|a, b| ownership::age(&self.sets[*a]).cmp(&ownership::age(&self.sets[*b])));
        for at in &old {
            let (own, ready) = (size(&self.sets[*at]), available(&self.sets[*at]));
            let part = (most - gone).min(own - ready).min(own);
            if part > 0 {
                changed |= self.resize(*at, own - part);
                gone += part;
            }
        }
        let mut spare = self.sets.iter().map(available).sum::<i64>() - minimum;
        for at in &old {
            let own = size(&self.sets[*at]);
            let part = own.min(spare);
            if part > 0 {
                changed |= self.resize(*at, own - part);
                spare -= part;
            }
        }
        changed
    }

    fn is_complete(&self, new: usize) -> bool {
        let (status, replicas) = (&self.sets[new]["status"], self.replicas());
        let total: i64 = self.sets.iter().map(|set| number(&set["status"]["replicas"])).sum();
        number(&status["replicas"]) == replicas && number(&status["availableReplicas"]) == replicas && total == replicas
    }
}
