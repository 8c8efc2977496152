//! How a run has to end.

use std::{collections::BTreeSet, sync::Arc};

use lockkeeper_api::names::HOLD;
use lockkeeper_simulator::{
    api::{
        Key, Kind, Object, Snapshot,
        object::{list, name, text},
    },
    check::{KNOWN_AFTER, Traffic, Work},
    run::{Sim, Told as Event, shop},
};
use serde_json::{Value, json};

use crate::{Told, common::release};

/// Whether nobody has anything to do any more. A blocked version may stay in the Deployment.
pub fn settled(objects: &Snapshot) -> bool {
    let ours = objects.within(Kind::Release, shop::NAMESPACE).filter(|release| !is_hostile(name(release)));
    let ended = |release: &Arc<Object>| rests(release) || never_ready(release, objects) || lost(release, objects);
    !release(objects).is_null() && ours.into_iter().all(ended)
}

/// Whether what runs cannot be made again, and its Release says so: others have deleted its ReplicaSet before its template was saved, or that, too.
/// What still serves goes on; only a person mends it.
pub fn lost(release: &Arc<Object>, objects: &Snapshot) -> bool {
    let status = &release["status"];
    let stalled = list(&status["conditions"]).iter().any(|c| c["type"] == "Stalled" && c["status"] == "True");
    let said = text(&status["message"]).contains("roll out a version by hand");
    let gone = |work: Work| {
        let name = format!("{}-{}", work.deployment(), work.hash("stable").unwrap_or_default());
        let saved = Key::new(Kind::ControllerRevision, shop::NAMESPACE, format!("{name}-stable"));
        objects.get(&Key::new(Kind::ReplicaSet, shop::NAMESPACE, name)).is_none() && objects.get(&saved).is_none()
    };
    status["phase"] == "RollingBack" && stalled && said && Work::of(release).any(gone)
}

/// Whether this Release is one that cannot work, beside ours.
pub fn is_hostile(name: &str) -> bool {
    ["hostile", "broken"].contains(&name)
}

/// Whether a first version never gets ready, and its Release says so: nothing has run before that it could go back to, and who asks for such a
/// version first has to mend it.
fn never_ready(release: &Value, objects: &Snapshot) -> bool {
    let status = &release["status"];
    let stalled = list(&status["conditions"]).iter().any(|c| c["type"] == "Stalled" && c["status"] == "True");
    let works = list(&release["spec"]["workloads"]).iter();
    let overdue = works.filter_map(|work| {
        let key = Key::new(Kind::Deployment, shop::NAMESPACE, text(&work["ref"]["name"]));
        let deployment = objects.get(&key)?;
        list(&deployment["status"]["conditions"]).iter().find(|c| c["reason"] == "ProgressDeadlineExceeded").cloned()
    });
    status["phase"] == "Progressing" && status["stable"].is_null() && stalled && overdue.count() > 0
}

fn rests(release: &Value) -> bool {
    let status = &release["status"];
    let phase = text(&status["phase"]);
    matches!(phase, "Stable" | "RolledBack" | "Aborted" | "Rejected")
        && status["stable"]["version"].is_string()
        && (phase != "Stable" || release["metadata"]["finalizers"].is_null())
}

/// A status of the Release, shared with the history that it is of.
pub struct Status(Arc<Object>);

impl std::ops::Deref for Status {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0["status"]
    }
}

/// All statuses of the Release, in order, with their times.
pub fn statuses(sim: &Sim) -> Vec<(jiff::Timestamp, Status)> {
    let server = sim.shared.lock();
    let changes = server.store().history(Kind::Release);
    let own = changes.iter().filter(|change| change.key == shop::key(Kind::Release));
    own.map(|change| (change.at, Status(change.object.clone()))).collect()
}

/// What the run was like.
pub fn told(sim: &Sim) -> Told {
    let mut phases: Vec<String> = statuses(sim).iter().map(|(_, status)| text(&status["phase"]).to_owned()).collect();
    phases.dedup();
    Told { phases, writes: sim.writes(), trace: sim.shared.trace().digest() }
}

/// S15: what is left of ours on the objects of users. Where a Release has `adopted` a Deployment that the one before has left paused, for its
/// owner to resume, it stays so.
pub fn left_over(objects: &Snapshot, adopted: bool) -> Vec<String> {
    let get = |kind| objects.get(&shop::key(kind)).map_or(&Value::Null, |object| object.value());
    let (service, route, deployment) = (get(Kind::Service), get(Kind::HTTPRoute), get(Kind::Deployment));
    let mut left = Vec::new();
    if service["spec"]["selector"] != json!({"app": shop::NAME}) {
        left.push(format!("S15: selector {}", service["spec"]["selector"]));
    }
    // A weight of 1 is what Kubernetes writes where there is none.
    let mut rules = route["spec"]["rules"].clone();
    for backend in rules.as_array_mut().into_iter().flatten().filter_map(|rule| rule["backendRefs"][0].as_object_mut())
    {
        if backend.get("weight") == Some(&json!(1)) {
            backend.remove("weight");
        }
    }
    if rules != shop::route()["spec"]["rules"] {
        left.push(format!("S15: rules {}", route["spec"]["rules"]));
    }
    if text(&release(objects)["status"]["phase"]) == "Stable" && deployment["spec"]["paused"] == true && !adopted {
        left.push("S15: the Deployment is paused".into());
    }
    let foreign = |object: &Value| {
        let metadata = &object["metadata"];
        let labels = metadata["labels"]
            .as_object()
            .is_some_and(|labels| labels.keys().any(|key| key.starts_with("lockkeeper.dev/")));
        labels || !metadata["finalizers"].is_null()
    };
    for object in [service, route, deployment] {
        if foreign(object) {
            left.push(format!("S15: {}", object["metadata"]));
        }
    }
    left
}

/// S10: a release passes the gate `go` of two only with the approvals of two people, or an Override, or by force.
pub fn approved(objects: &Snapshot) -> bool {
    let valid = |verdict: &'static str| {
        objects.within(Kind::Decision, shop::NAMESPACE).filter(move |decision| decision["spec"]["verdict"] == verdict)
    };
    let people: BTreeSet<&str> = valid("Approve").map(|decision| text(&decision["spec"]["by"]["username"])).collect();
    people.len() >= 2 || valid("Override").next().is_some() || valid("Promote").next().is_some()
}

/// S3: how long a way back may take once nothing is broken but what people do; in seconds.
const BACK_MAX: i64 = 300;

/// S3: ways back that took too long.
pub fn stuck(sim: &Sim, calm: jiff::Timestamp) -> Vec<String> {
    let mut since = None;
    let mut stuck = Vec::new();
    for (at, status) in statuses(sim) {
        match (text(&status["phase"]) == "RollingBack", since) {
            (true, None) => since = Some(at),
            (false, Some(began)) => {
                if at.as_second() - began.max(calm).as_second() > BACK_MAX {
                    stuck.push(format!("S3: the way back began at {began} and ended at {at}"));
                }
                since = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }
    stuck
}

/// How long a run is looked at when everything is over: a week in each thousandth.
pub fn rest(number: u64) -> std::time::Duration {
    std::time::Duration::from_secs(if number % 1000 == 999 { 7 * 24 * 3600 } else { 330 })
}

/// Whether a version was ever on its way to be promoted.
pub fn promoted(sim: &Sim) -> bool {
    statuses(sim).iter().any(|(_, status)| status["phase"] == "Promoting")
}

/// Whether such a version was promoted though there were pods to measure: its Deployment did not ask for none, as far as the operator could know.
/// One that begins without pods is handed over, and when there are some again it goes on.
pub fn promoted_with_pods(sim: &Sim, such: impl Fn(&str) -> bool) -> bool {
    let statuses = statuses(sim);
    let begins = |pair: &&[(jiff::Timestamp, Status)]| {
        let (before, now) = (&pair[0].1, &pair[1].1);
        let same = before["candidate"]["revision"] == now["candidate"]["revision"];
        // Once it has taken over, and only clears up, there is no candidate any more.
        now["phase"] == "Promoting"
            && !now["candidate"].is_null()
            && (before["phase"] != "Promoting" || !same)
            && such(text(&now["candidate"]["version"]))
    };
    let promoted: Vec<_> = statuses.windows(2).filter(begins).map(|pair| pair[1].0).collect();
    let server = sim.shared.lock();
    let changes = server.store().history(Kind::Deployment);
    let own: Vec<_> = changes.iter().filter(|change| change.key == shop::key(Kind::Deployment)).collect();
    promoted.into_iter().any(|at| {
        let heard = own.iter().rposition(|change| change.at <= at - KNOWN_AFTER).unwrap_or_default();
        let known = own[heard..].iter().take_while(|change| change.at <= at);
        known.into_iter().all(|change| change.object["spec"]["replicas"] != 0)
    })
}

/// Whether an object of ours was ever so.
pub fn ever(sim: &Sim, kind: Kind, such: impl Fn(&Value) -> bool) -> bool {
    let server = sim.shared.lock();
    let changes = server.store().history(kind);
    changes.iter().any(|change| !is_hostile(&change.key.name) && such(&change.object))
}

/// Whether somebody has asked for it.
pub fn forced(objects: &Snapshot) -> bool {
    objects
        .within(Kind::Decision, shop::NAMESPACE)
        .any(|decision| list(&json!([decision["spec"]["verdict"]])).contains(&json!("Promote")))
}

/// S11: what people were told that was not so, or more often than it was. (Of `two` leaders, both may tell of the same.)
pub fn untrue(sim: &Sim, two: bool) -> Vec<String> {
    let statuses = statuses(sim);
    let told = sim.shared.trace().events().to_vec();
    let mut untrue = Vec::new();
    for phase in ["RolledBack", "Aborted", "Rejected"] {
        // Where the spec has returned to the version before, a way back ends at rest, and at once where there are no pods.
        let rests = |before: &Value, now: &Value| {
            let returns = matches!(text(&before["phase"]), "Stable" | "Baking")
                && before["stable"]["revision"] != now["stable"]["revision"];
            let ended =
                before["phase"] == "RollingBack" && (phase == "RolledBack" || before["goingBack"]["cause"] == phase);
            now["phase"] == "Stable" && (ended || (phase == "RolledBack" && returns))
        };
        let enters =
            |before: &Value, now: &Value| (now["phase"] == phase && before["phase"] != phase) || rests(before, now);
        let pairs = statuses.windows(2).filter(|pair| enters(&pair[0].1, &pair[1].1));
        let times: Vec<jiff::Timestamp> = pairs.map(|pair| pair[1].0).collect();
        let events = told.iter().filter(|event| event.about == shop::NAME && event.reason == phase);
        for (number, event) in events.enumerate() {
            if times.get(if two { 0 } else { number }).is_none_or(|entered| *entered > event.at) {
                untrue.push(format!("S11: told of {phase} at {} and it was not so: {}", event.at, event.note));
            }
        }
    }
    untrue.extend(if two { Vec::new() } else { told_again(&statuses, &told) });
    for event in told.iter().filter(|event| event.about == shop::NAME && event.reason == "Promoted") {
        let mut before = statuses.iter().filter(|(at, _)| *at <= event.at);
        let so =
            |status: &Value| event.note == format!("version {} has taken over", text(&status["stable"]["version"]));
        if !before.any(|(_, status)| so(status)) {
            untrue.push(format!("S11: told at {} and it was not so: {}", event.at, event.note));
        }
    }
    untrue
}

/// S13: a Release that cannot work is told so, whatever else there is.
pub fn unheard(objects: &Snapshot) -> Option<String> {
    let hostile = objects.get(&Key::new(Kind::Release, shop::NAMESPACE, "hostile"))?;
    let phase = &hostile["status"]["phase"];
    (phase != "Invalid").then(|| format!("S13: the Release that cannot work is {phase}"))
}

/// S14: requests that reach no pod in the end, though there are some.
pub fn unserved(sim: &Sim) -> Vec<String> {
    let in_force = sim.in_force();
    let (server, in_force) = (sim.shared.lock(), in_force.lock());
    let objects = server.store().objects();
    let ours = objects.within(Kind::Release, shop::NAMESPACE).filter(|release| !is_hostile(name(release)));
    let works: Vec<Work> = ours.flat_map(Work::of).collect();
    let starved = works.iter().filter_map(|work| {
        let traffic = Traffic::new(objects, &in_force, work);
        let ready = work.hash("stable").is_some_and(|stable| traffic.ready(stable) > 0);
        let service = traffic.starved().filter(|_| ready && traffic.replicas() > 0)?;
        Some(format!("S14: {}: requests to {service} reach no pod", work.title()))
    });
    starved.collect()
}

/// S12: what the operator's own brake has had to stop. (Of two leaders each undoes what the other has just read.)
pub fn looped(sim: &Sim) -> Vec<String> {
    let trace = sim.shared.trace();
    let braked = trace.events().iter().filter(|event| event.reason == "WritesThrottled");
    braked.map(|event| format!("S12: {} {}", event.at, event.note)).collect()
}

/// S14: what runs and is not saved, though nothing would make it again: its Deployment is held with another version.
pub fn unsaved(objects: &Snapshot) -> Vec<String> {
    let containers = |object: &Value| object["spec"]["template"]["spec"]["containers"].clone();
    let works = objects.within(Kind::Release, shop::NAMESPACE).flat_map(Work::of);
    let unsaved = works.filter_map(|work| {
        let name = format!("{}-{}", work.deployment(), work.hash("stable")?);
        let deployment = work.find(objects).filter(|deployment| !deployment["metadata"]["annotations"][HOLD].is_null());
        let set = objects.get(&Key::new(Kind::ReplicaSet, shop::NAMESPACE, name.as_str()))?;
        let saved = Key::new(Kind::ControllerRevision, shop::NAMESPACE, format!("{name}-stable"));
        let lost = containers(deployment?) != containers(set) && objects.get(&saved).is_none();
        lost.then(|| format!("S14: {}: {name} could not be made again", work.title()))
    });
    unsaved.collect()
}

/// S11: what people were told more often than it has happened.
fn told_again(statuses: &[(jiff::Timestamp, Status)], told: &[Event]) -> Vec<String> {
    let count = |reason: &str, happens: &dyn Fn(&Value, &Value) -> bool| {
        let happened = statuses.windows(2).filter(|pair| happens(&pair[0].1, &pair[1].1)).count();
        let told = told.iter().filter(|event| event.about == shop::NAME && event.reason == reason).count();
        (told > happened).then(|| format!("S11: told {told} times of {reason}, and it was so {happened} times"))
    };
    let starts = |before: &Value, now: &Value| {
        let way = |status: &Value| ["started", "from", "cause"].map(|part| status["goingBack"][part].clone());
        !now["goingBack"].is_null() && way(before) != way(now)
    };
    let takes_over = |before: &Value, now: &Value| before["stable"]["revision"] != now["stable"]["revision"];
    count("RollingBack", &starts).into_iter().chain(count("Promoted", &takes_over)).collect()
}

/// The most writes until everything has ended, once nothing strikes any more: two whole releases of each workload, and people may think of
/// something else meanwhile.
pub fn converges_within(objects: &Snapshot) -> u64 {
    let ours = objects.within(Kind::Release, shop::NAMESPACE).filter(|release| !is_hostile(name(release)));
    let works: usize = ours.map(|release| list(&release["spec"]["workloads"]).len()).sum();
    125 * works.max(2) as u64
}

/// How often the operator has changed each object of the user's.
pub fn changes(sim: &Sim) -> std::collections::BTreeMap<String, usize> {
    let server = sim.shared.lock();
    let mut counts = std::collections::BTreeMap::new();
    for kind in [Kind::Deployment, Kind::Service, Kind::HTTPRoute] {
        for change in server.store().history(kind) {
            if &*change.by == "lockkeeper" {
                *counts.entry(change.key.to_string()).or_default() += 1;
            }
        }
    }
    counts
}

/// For whoever looks at one seed: the trace, and what is there in the end.
pub fn whole(sim: &Sim) -> String {
    let server = sim.shared.lock();
    let objects =
        server.store().objects().all().filter(|(key, _)| key.namespace == shop::NAMESPACE && key.kind != Kind::Pod);
    let objects: Vec<String> = objects.map(|(key, object)| format!("{key}: {}", object.value())).collect();
    drop(server);
    let said = statuses(sim).into_iter();
    let said = said.map(|(at, status)| {
        format!("{at} {} {}: {}", text(&status["phase"]), status["stable"]["version"], status["message"])
    });
    let said: Vec<String> = said.collect();
    [sim.shared.trace().lines().join("\n"), said.join("\n"), objects.join("\n")].join("\n")
}
