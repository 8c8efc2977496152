//! Others write what we write: now and then is normal, a steady fight is told.

use jiff::{SignedDuration, Timestamp};

use crate::{
    plan::Plan,
    world::{Authorship, World},
};

/// How long a write by others that replaced ours is remembered.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(1);

/// So many within the window are still normal: a Git sync undoes an edit now and then.
const NORMAL_MAX: usize = 5;

/// What is fought over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Selectors of Services, and rules of routes.
    Traffic,
    /// The Deployment's template, where the Release carries the version.
    Template,
}

/// Every steady fight over what a release writes.
pub fn all(plan: &Plan, world: &World, now: Timestamp) -> Vec<(Field, Contest)> {
    let workloads = plan.workloads.iter().zip(&world.workloads);
    let fights = workloads.flat_map(|(work, view)| {
        let services = view.services.values().map(|s| (Field::Traffic, format!("Service {}", s.name), &s.authorship));
        let routes = view.routes.values().map(|r| (Field::Traffic, format!("HTTPRoute {}", r.name), &r.authorship));
        let deployment = view.deployment.iter().filter(|_| !work.images.is_empty());
        let template = deployment.map(|d| (Field::Template, format!("Deployment {}", d.name), &d.authorship));
        services.chain(routes).chain(template)
    });
    fights.filter_map(|(field, object, authorship)| Some((field, contest(&object, authorship, now)?))).collect()
}

/// A steady fight over one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contest {
    /// The object, and which field managers write it.
    pub message: String,
    /// When it is over, if nobody writes again.
    pub until: Timestamp,
}

/// Whether others keep replacing what we write to `object`.
pub fn contest(object: &str, authorship: &Authorship, now: Timestamp) -> Option<Contest> {
    let over = |at: Timestamp| at.checked_add(WINDOW).unwrap_or(Timestamp::MAX);
    let recent: Vec<_> = authorship.undone.iter().filter(|undone| over(undone.at) > now).collect();
    // The window ends when all but the normal ones are past it.
    let last = recent.len().checked_sub(NORMAL_MAX + 1).and_then(|index| recent.get(index))?;
    let mut managers: Vec<_> = recent.iter().map(|undone| undone.by.as_str()).collect();
    managers.sort_unstable();
    managers.dedup();
    let message = format!(
        "field manager {} changes {object} back again and again, more than {NORMAL_MAX} times within a minute: \
         let it leave to Lockkeeper what Lockkeeper writes while a release runs",
        managers.join(", "),
    );
    Some(Contest { message, until: over(last.at) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Undone;

    fn check(seconds: &[i64], now: i64, until: Option<i64>) {
        let at = |second| Timestamp::from_second(second).unwrap();
        let undone = seconds.iter().map(|s| Undone { at: at(*s), by: "flux".into() }).collect();
        let found = contest("Service web", &Authorship { ours: true, undone }, at(now));
        assert_eq!(found.as_ref().map(|contest| contest.until), until.map(at), "{found:?}");
    }

    #[test]
    fn five_times_in_a_minute_are_normal_and_six_are_a_fight() {
        check(&[0, 10, 20, 30, 40], 41, None);
        check(&[0, 10, 20, 30, 40, 50], 51, Some(60));
        check(&[0, 5, 10, 20, 30, 40, 50], 51, Some(65));
    }

    #[test]
    fn it_is_over_a_minute_later() {
        check(&[0, 10, 20, 30, 40, 50], 60, None);
    }
}
