//! Which ReplicaSets a Deployment controls.

use super::*;
use crate::api::{object::controller, selects};

impl Look {
    /// Takes what is its own, adopts what has no controller and matches, and releases what matches no more.
    pub(super) fn claim(&mut self, all: &[Arc<Object>]) {
        let own = uid(&self.deployment).to_owned();
        let selector = self.deployment["spec"]["selector"].clone();
        for set in all {
            self.taken.push(name(set).to_owned());
            let matches = selects(&selector, &set["metadata"]["labels"]);
            if set.is_controlled_by(&own) {
                if matches {
                    self.sets.push(set.value().clone());
                } else if !deleting(&self.deployment) {
                    self.release(set, &own);
                }
            } else if controller(set).is_none() && matches && !deleting(set) && !deleting(&self.deployment) {
                self.adopt(set);
            }
        }
        self.sets.sort_by(|a, b| age(a).cmp(&age(b)));
    }

    /// A strategic merge by UID: a reference of the same UID becomes the controller's.
    fn adopt(&mut self, set: &Object) {
        let mut set = set.value().clone();
        let own = reference(&self.deployment);
        let mut owners = list(&set["metadata"]["ownerReferences"]).to_vec();
        owners.retain(|owner| owner["uid"] != own["uid"]);
        owners.push(own);
        set["metadata"]["ownerReferences"] = owners.into();
        self.edits.push(Edit::Update(Kind::ReplicaSet, set.clone()));
        entry(&mut set, "metadata").remove("resourceVersion");
        self.sets.push(set);
    }

    /// Its own release removes the reference as a whole, whatever else it says.
    fn release(&mut self, set: &Object, own: &str) {
        let mut set = set.value().clone();
        let mut owners = list(&set["metadata"]["ownerReferences"]).to_vec();
        owners.retain(|owner| owner["uid"] != own);
        set["metadata"]["ownerReferences"] = owners.into();
        self.edits.push(Edit::Update(Kind::ReplicaSet, set));
    }
}

/// By creation, and by name where that is the same.
pub(super) fn age(set: &Value) -> (&str, &str) {
    (text(&set["metadata"]["creationTimestamp"]), name(set))
}
