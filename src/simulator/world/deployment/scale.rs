//! Scaling without rolling out: paused Deployments, and those whose scale has just changed.

use super::*;

impl Look {
    /// Whether an active ReplicaSet was sized for another scale than the Deployment's.
    pub(super) fn is_scaled(&self) -> bool {
        let desired = self.replicas().to_string();
        self.active(0..self.sets.len()).into_iter().any(|at| {
            let noted = &self.sets[at]["metadata"]["annotations"][DESIRED];
            noted.is_string() && *noted != desired
        })
    }

    /// One that is active, or else the newest, gets the Deployment's scale; several keep their proportion.
    pub(super) fn scale(&mut self, new: Option<usize>) {
        let active = self.active(0..self.sets.len());
        let one = match active.as_slice() {
            [] => new.or(self.old(new).last().copied()),
            [one] => Some(*one),
            _ => None,
        };
        let replicas = self.replicas();
        if let Some(one) = one {
            if size(&self.sets[one]) != replicas {
                self.resize(one, replicas);
            }
            return;
        }
        if let Some(new) = new.filter(|new| self.is_saturated(*new)) {
            for at in self.active(self.old(Some(new))) {
                self.resize(at, 0);
            }
            return;
        }
        if !active.is_empty() && !self.recreates() {
            self.share(active);
        }
    }

    fn is_saturated(&self, new: usize) -> bool {
        let (set, replicas) = (&self.sets[new], self.replicas());
        size(set) == replicas
            && text(&set["metadata"]["annotations"][DESIRED]) == replicas.to_string()
            && number(&set["status"]["availableReplicas"]) == replicas
    }

    fn share(&mut self, mut active: Vec<usize>) {
        let replicas = self.replicas();
        let allowed = if replicas > 0 { replicas + self.surge() } else { 0 };
        let total: i64 = active.iter().map(|at| size(&self.sets[*at])).sum();
        let to_add = allowed - total;
        // The largest first; of equal ones the newest if there is to be more, the oldest if less.
        active.sort_by(|a, b| {
            let by_age = ownership::age(&self.sets[*a]).cmp(&ownership::age(&self.sets[*b]));
            let by_age = if to_add > 0 { by_age.reverse() } else { by_age };
            size(&self.sets[*b]).cmp(&size(&self.sets[*a])).then(by_age)
        });
        let mut added = 0;
        let mut sizes = Vec::new();
        for at in &active {
            let part = self.proportion(*at, to_add, added);
            added += part;
            sizes.push(size(&self.sets[*at]) + part);
        }
        if let Some(first) = sizes.first_mut() {
            *first = (*first + to_add - added).max(0);
        }
        for (at, size) in active.into_iter().zip(sizes) {
            self.resize(at, size);
        }
    }

    /// What a ReplicaSet gets, or loses, of what is to be added.
    fn proportion(&self, at: usize, to_add: i64, added: i64) -> i64 {
        let set = &self.sets[at];
        if size(set) == 0 || to_add == 0 || to_add == added {
            return 0;
        }
        let replicas = self.replicas();
        let fraction = if replicas == 0 {
            -size(set)
        } else {
            let most = replicas + self.surge();
            let noted = text(&set["metadata"]["annotations"][MAX]).parse::<i64>().ok().filter(|noted| *noted > 0);
            let before = noted.unwrap_or_else(|| number(&self.deployment["status"]["replicas"]));
            if before == 0 {
                return 0;
            }
            (size(set) as f64 * most as f64 / before as f64).round() as i64 - size(set)
        };
        let left = to_add - added;
        if to_add > 0 { fraction.min(left) } else { fraction.max(left) }
    }
}
