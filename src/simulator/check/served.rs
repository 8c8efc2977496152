//! S14: whatever users change, requests go where pods are, and what runs comes again when it is taken away.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::{Checker, Scene};

/// Since when something of a workload is wrong, and whether that was told. It takes the operator a write to mend, or a few where networks are bad.
#[derive(Debug)]
struct Overdue {
    patience: Duration,
    since: BTreeMap<String, (Timestamp, bool)>,
}

impl Overdue {
    fn new(patience: Duration) -> Self {
        Self { patience, since: BTreeMap::new() }
    }

    /// Since when this is wrong, or was until now, if that is too long, and was not told yet.
    fn since(&mut self, scene: &Scene<'_>, what: &str, wrong: bool) -> Option<Timestamp> {
        let title = format!("{} {what}", scene.work.title());
        let now = scene.change.at;
        let (since, told) = match wrong {
            true => *self.since.entry(title.clone()).or_insert((now, false)),
            false => self.since.remove(&title)?,
        };
        let late = !told && now > since + scene.memory.known_after + self.patience;
        if late && wrong {
            self.since.insert(title, (since, true));
        }
        late.then_some(since)
    }
}

/// Requests that reach no pod are brought to one, if there is one.
#[derive(Debug)]
pub struct Served(Overdue);

impl Served {
    /// A checker with so much patience.
    pub fn new(patience: Duration) -> Self {
        Self(Overdue::new(patience))
    }
}

impl Checker for Served {
    fn promise(&self) -> &'static str {
        "S14"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Option<String> {
        let (work, is) = (scene.work, &scene.is);
        let versions = ["stable", "candidate", "previous"];
        let others = || versions.into_iter().filter_map(|part| work.hash(part)).any(|hash| is.ready(hash) > 0);
        let starved = is.starved().filter(|_| is.replicas() > 0 && others());
        let since = self.0.since(scene, "served", starved.is_some())?;
        let to = starved.map(|service| format!(" to {service}")).unwrap_or_default();
        Some(format!("requests{to} have reached no pod since {since}, and there are pods"))
    }
}

/// A ReplicaSet of the stable version that somebody has deleted is made again.
#[derive(Debug)]
pub struct Standing(Overdue);

impl Standing {
    /// A checker with so much patience.
    pub fn new(patience: Duration) -> Self {
        Self(Overdue::new(patience))
    }
}

impl Checker for Standing {
    fn promise(&self) -> &'static str {
        "S14"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Option<String> {
        let stable = scene.work.hash("stable")?;
        let known = &scene.work.status()["stable"]["workloads"][scene.work.index]["uid"];
        // Another Deployment of its name has versions of its own.
        let same = scene.work.find(scene.objects).is_some_and(|deployment| *known == deployment.uid());
        let gone = same && !scene.is.stands(stable);
        let since = self.0.since(scene, stable, gone)?;
        Some(format!("the stable version has no ReplicaSet since {since}"))
    }
}
