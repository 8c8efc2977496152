//! What the scenario wants to happen, as tasks of the director.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use jiff::SignedDuration;
use lockkeeper_api::{decision::Subject, release::ReleaseStatus, scalar::Duration};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Notify;

use super::{
    Scenario,
    cast::Cast,
    chronicle::{SharedLog, status},
    director::{Again, Task, decide},
    outcome::BeatKind,
    scenario::{Deed, Span, Trouble},
    source::{Health, State},
};
use crate::{
    api::{
        Caller, Key, Kind, Part, Server, User,
        object::{list, text},
    },
    world::{Act, Turn, people},
};

/// What troubles can switch.
pub struct Switches {
    /// The metric source.
    pub state: Arc<Mutex<State>>,
    /// Whether the operator is to be dead.
    pub killed: Arc<AtomicBool>,
    /// Tells when that changes.
    pub pulse: Arc<Notify>,
    /// Whether the gateway is stopped.
    pub stopped: Arc<AtomicBool>,
    /// What happens.
    pub log: SharedLog,
}

/// What the scenario wants to happen.
pub fn tasks(cast: &Cast, scenario: &Scenario, switches: &Switches) -> VecDeque<Task> {
    let mut tasks = VecDeque::new();
    for deed in &scenario.people.acts {
        let (at, since) = (deed.at.into(), deed.since);
        tasks.push_back(Task { at, since, says: None, act: person(cast, deed, &switches.log), every: None });
    }
    for trouble in &scenario.trouble {
        let Span { at, since, r#for: lasts, every } = *trouble.span();
        let at = SignedDuration::from(at);
        let says = |text: &str| Some((BeatKind::Trouble, text.to_owned()));
        let often = every.map(|every| format!(", and again every {every}")).unwrap_or_default();
        let every = every.map(|every| (SignedDuration::from(every), again(cast)));
        let (begin, end) = switch(cast, trouble, switches);
        tasks.push_back(Task { at, since, says: says(&format!("{}{often}", trouble.begins())), act: begin, every });
        let killed = matches!(trouble, Trouble::OperatorKilled(_)).then(Duration::default);
        if let (Some(lasts), Some(text)) = (lasts.or(killed), trouble.ends()) {
            // A process takes a moment to start.
            let at = at + SignedDuration::from(lasts).max(SignedDuration::from_secs(2));
            tasks.push_back(Task { at, since, says: says(text), act: end, every: None });
        }
    }
    tasks
}

fn person(cast: &Cast, deed: &Deed, log: &SharedLog) -> Act {
    let (key, deed, log) = (cast.release.clone(), deed.clone(), log.clone());
    Box::new(move |turn: &mut Turn<'_>| {
        let Ok(release) = turn.server.get(&key) else { return };
        let status: ReleaseStatus = status(&release);
        let revision = match deed.verdict.subject() {
            Subject::Candidate => status.candidate.map(|candidate| candidate.revision),
            Subject::Stable => status.stable.map(|stable| stable.revision),
            Subject::Blocked => status.blocked.last().map(|blocked| blocked.revision.clone()),
        };
        let groups = list(&release["spec"]["gates"]["approvals"]).iter();
        let groups = groups.filter(|gate| deed.gate.as_deref() == gate["name"].as_str());
        let groups: Vec<String> =
            groups.flat_map(|gate| list(&gate["from"]["groups"])).map(|group| text(group).to_owned()).collect();
        let Some(revision) = revision else {
            let text =
                format!("{} wants to {:?}, but there is no version that this could be about", deed.by, deed.verdict);
            log.lock().tell(turn.now, BeatKind::Person, text);
            return;
        };
        if let Err(refusal) = decide(turn, &key, &deed.by, &groups, &revision, deed.verdict, deed.gate.as_deref()) {
            log.lock().tell(turn.now, BeatKind::Person, format!("{} may not: {}", deed.by, refusal.message));
        }
    })
}

/// What begins and ends a trouble.
fn switch(cast: &Cast, trouble: &Trouble, switches: &Switches) -> (Act, Act) {
    let health = |health: Health| -> Act {
        let state = switches.state.clone();
        Box::new(move |_: &mut Turn<'_>| state.lock().health = health)
    };
    let flag = |flag: &Arc<AtomicBool>, value: bool| -> Act {
        let (flag, pulse) = (flag.clone(), switches.pulse.clone());
        Box::new(move |_: &mut Turn<'_>| {
            flag.store(value, Relaxed);
            pulse.notify_one();
        })
    };
    let nothing = || -> Act { Box::new(|_: &mut Turn<'_>| {}) };
    match trouble {
        Trouble::MetricsDown(_) => (health(Health::Down), health(Health::Well)),
        Trouble::MetricsSilent(_) => (health(Health::Silent), health(Health::Well)),
        Trouble::GatewayStalls(_) => (flag(&switches.stopped, true), flag(&switches.stopped, false)),
        Trouble::OperatorKilled(_) => (flag(&switches.killed, true), flag(&switches.killed, false)),
        Trouble::GitReverts(_) => {
            let before = cast.before.clone();
            let revert = move |turn: &mut Turn<'_>| {
                let caller = Caller::new(User::new("system:serviceaccount:argocd:argocd-controller", &[]));
                write(turn.server, &caller, &before);
            };
            (Box::new(revert), nothing())
        }
        Trouble::GitSyncs(_) => (again(cast)(), nothing()),
    }
}

/// Git syncs of everything.
fn again(cast: &Cast) -> Again {
    let objects = Arc::new(cast.in_git.clone());
    Arc::new(move || {
        let objects = objects.clone();
        Box::new(move |turn: &mut Turn<'_>| {
            for object in objects.iter() {
                people::sync(object.clone())(turn);
            }
        })
    })
}

/// Writes objects as they are to be, whoever has changed what.
pub fn write(server: &mut Server, caller: &Caller, objects: &[(Key, Value)]) {
    for (key, object) in objects {
        let object = object.clone();
        // What is refused is then so, as for real.
        let _ = server.update(caller, key, Part::Main, |live| {
            let mut next = live.clone();
            if key.kind == Kind::Deployment {
                next["spec"]["template"] = object["spec"]["template"].clone();
            } else {
                next["spec"] = object["spec"].clone();
            }
            Ok(next)
        });
    }
}
