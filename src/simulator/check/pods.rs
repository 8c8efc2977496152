//! S7 and S8: no pod pays for a promotion.

use lockkeeper_api::names::POD_TEMPLATE_HASH;

use super::{Author, Checker, Scene, traffic::serves};
use crate::api::Kind;

/// S7: no pod of the version that stays is killed.
pub struct Killed;

impl Checker for Killed {
    fn promise(&self) -> &'static str {
        "S7"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Option<String> {
        let (change, work) = (scene.change, scene.work);
        let before = change.before.as_ref().filter(|before| change.key.kind == Kind::Pod && serves(before))?;
        let ends = change.gone || crate::api::object::deleting(&change.object);
        if !ends || scene.author != Author::Machine || scene.memory.disturbed.is_some() || work.scaled_by_user() {
            return None;
        }
        let promoting = work.hash("candidate").filter(|_| work.phase() == "Promoting");
        // What serves nobody need not run twice until all workloads have taken over.
        let stable = work.hash("stable").filter(|_| promoting.is_none() || work.services.is_some());
        let hash = before["metadata"]["labels"][POD_TEMPLATE_HASH].as_str()?;
        let set = crate::api::object::controller(before).map_or("", |set| crate::api::object::text(&set["name"]));
        let earlier = scene.memory.shrunk.as_ref();
        // What was decided before the promotion or the rollback began, or before the first version was known to run: a ReplicaSet's
        // controller ends pods a moment after the write that made it smaller, and by then a person may have asked for the version that was
        // to shrink.
        let first = earlier.zip(scene.memory.named).is_some_and(|((_, at), named)| *at < named);
        let turned = promoting == Some(hash) || work.phase() == "RollingBack" || first;
        if turned && earlier.is_some_and(|(name, at)| name == set && change.at < *at + scene.memory.known_after) {
            return None;
        }
        let stays = [stable, promoting].contains(&Some(hash)) && scene.was.stands(hash);
        stays.then(|| format!("{} of the version that stays was killed in {}", change.key, work.phase()))
    }
}

/// S8: the Deployment never controls two active ReplicaSets through us.
pub struct TwoActive;

impl Checker for TwoActive {
    fn promise(&self) -> &'static str {
        "S8"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Option<String> {
        // Without an active one, as after somebody has deleted it, the controller scales the history up before the operator hears of that.
        if scene.change.key.kind != Kind::ReplicaSet || scene.author != Author::Operator || scene.memory.hurt {
            return None;
        }
        let (before, after) = (scene.was.active(), scene.is.active());
        (after.len() > before.len().max(1))
            .then(|| format!("after {} it controls {}", scene.change.key, after.join(" and ")))
    }
}
