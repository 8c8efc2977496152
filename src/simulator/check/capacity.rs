//! S2: traffic leaves before capacity goes.

use lockkeeper_api::names::POD_TEMPLATE_HASH;

use super::{Author, Checker, Scene, Traffic};
use crate::api::{Kind, object::text};

const EPSILON: f64 = 0.001;

/// Nobody's requests go where no pod is ready, if they went well before.
pub struct Starving;

impl Checker for Starving {
    fn promise(&self) -> &'static str {
        "S2"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Option<String> {
        // A kubelet ends what somebody else has deleted; that one was looked at.
        let answers = scene.author == Author::Operator
            || matches!(
                &*scene.change.by,
                "deployment-controller" | "replicaset-controller" | "generic-garbage-collector"
            );
        let crossed = scene.author == Author::Operator && scene.memory.crossed(scene.change.asked);
        if !answers || crossed || scene.memory.hurt || scene.is.replicas() == 0 || scene.was.starved().is_some() {
            return None;
        }
        let service = scene.is.starved()?;
        Some(format!("after {} by {} requests to {service} reach no ready pod", scene.change.key, scene.change.by))
    }
}

/// A ReplicaSet that loses pods by our hand keeps what its traffic needs.
pub struct Kept;

impl Checker for Kept {
    fn promise(&self) -> &'static str {
        "S2"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Option<String> {
        let (change, work) = (scene.change, scene.work);
        let before = change.before.as_ref()?;
        if change.key.kind != Kind::ReplicaSet
            || scene.author != Author::Operator
            || !work.owns_set(&change.key.name)
            || work.scaled_by_user()
        {
            return None;
        }
        let after = if change.gone { 0 } else { Traffic::size(&change.object) };
        if after >= Traffic::size(before) || !work.routed() || scene.memory.crossed(change.asked) {
            return None;
        }
        let hash = text(&before["spec"]["selector"]["matchLabels"][POD_TEMPLATE_HASH]);
        let share = scene.was.share(hash, true);
        let needed = (share * scene.was.replicas() as f64 / 100.0 - EPSILON).ceil();
        ((after as f64) < needed)
            .then(|| format!("{} goes to {after} pods and still has {share:.0} % of the traffic", change.key))
    }
}

/// A Service changes from one version to another only without traffic.
pub struct Flips;

impl Checker for Flips {
    fn promise(&self) -> &'static str {
        "S2"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Option<String> {
        let change = scene.change;
        let before = change.before.as_ref()?;
        let ours =
            scene.work.services.as_ref().is_some_and(|(stable, canary)| [stable, canary].contains(&&change.key.name));
        // With none asked for, nobody is to be served.
        if change.key.kind != Kind::Service
            || !ours
            || scene.is.replicas() == 0
            || !scene.work.routed()
            || scene.memory.hurt
            || scene.author != Author::Operator
        {
            return None;
        }
        let from = before["spec"]["selector"][POD_TEMPLATE_HASH].as_str()?;
        let to = change.object["spec"]["selector"][POD_TEMPLATE_HASH].as_str()?;
        let flips = from != to && scene.was.ready(from) > 0 && scene.was.weighted(&change.key.name);
        flips.then(|| format!("{} changes from {from} to {to} under traffic", change.key))
    }
}
