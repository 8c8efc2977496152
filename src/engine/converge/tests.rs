//! Tables of single rounds: with so many pods here and so much traffic there, what is written, or waited for.

mod clearing;
mod going;
mod handover;
mod missing;
pub(crate) mod moment;
mod splitting;

use std::collections::BTreeMap;

use lockkeeper_api::names::{HOLD, PAUSED_BY};
use serde_json::{Value, json};

use self::moment::{Moment, plan, pods, replica_set, revision, second, service, template};
use super::{Keep, Pending, Round, is_pod_of, settle, split};
use crate::{
    plan::Target,
    world::{ReplicaSetView, Role},
    write::Write,
};

impl Moment {
    /// A round towards this version alone.
    fn settle(&self, live: &str) -> Round {
        let other = revision(if live == "a" { "b" } else { "a" });
        settle(&self.scene(), &revision(live), Some(&other), self.keep, self.share)
    }

    /// A round towards both.
    fn split(&self) -> Round {
        let steps: Vec<_> = serde_json::from_value(json!([{"setWeight": self.target}, {"pause": {}}])).unwrap();
        split(&self.scene(), &revision("a"), &revision("b"), &Target::at(&steps, 0), self.shut)
    }
}

/// What is written and waited for, a line each; that all are served last.
fn told(round: &Round) -> Vec<String> {
    let mut all: Vec<_> = round.writes.iter().map(|write| format!("{}: {}", write.name, write.purpose)).collect();
    all.extend(round.pending.as_ref().map(|pending| match pending {
        Pending::Progress(what) => what.clone(),
        Pending::Broken(why) => format!("broken: {why}"),
    }));
    all.extend(round.wake.map(|wake| format!("until {}", wake.as_second() - second(0).as_second())));
    all.extend(round.served.then(|| "served".to_owned()));
    all
}

/// The objects that a write rests on, by their name and resource version.
fn rests_on(round: &Round, purpose: &str) -> Vec<String> {
    let write: &Write = round.writes.iter().find(|write| write.purpose == purpose).unwrap();
    let version = |version: &Option<String>| version.clone().unwrap_or_else(|| "none".into());
    write.rests_on.iter().map(|seen| format!("{} {}", seen.name, version(&seen.resource_version))).collect()
}

#[track_caller]
fn check(round: &Round, expected: &[&str]) {
    assert_eq!(told(round), expected);
}

#[test]
fn a_pod_is_its_replica_sets_by_name_as_kubernetes_makes_it() {
    let long = "a".repeat(60);
    for (pod, replica_set, own) in [
        ("web-7d4b9-x2x4z", "web-7d4b9", true),
        ("web-7d4b9-x2x4z", "web-7d4b8", false),
        ("web-7d4b9-x2x4", "web-7d4b9", false),
        ("web-7d4b9-x2x4zz", "web-7d4b9", false),
        // A ReplicaSet whose name begins like another's.
        ("web-7d4b9-a-x2x4z", "web-7d4b9", false),
        ("web-7d4b9-a-2x4", "web-7d4b9", false),
        // A name is cut, so that the pod's fits.
        (&format!("{}x2x4z", "a".repeat(58)), &long, true),
        (&format!("{long}-x2x4z"), &long, false),
    ] {
        assert_eq!(is_pod_of(pod, replica_set), own, "{pod} {replica_set}");
    }
}
