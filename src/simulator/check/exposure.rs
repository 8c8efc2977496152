//! S1, S4, S5: who gets requests at all.

use jiff::Timestamp;
use lockkeeper_api::{DeploymentWindow, deployment_window::Exposure};
use lockkeeper_engine::window::{ReleaseFacts, WindowView, evaluate};
use serde_json::Value;

use super::{Author, Checker, Scene};
use crate::{
    api::{
        Key, Kind,
        object::{list, name, namespace, number},
        read_time,
    },
    run::PLATFORM,
};

const EPSILON: f64 = 0.001;

/// The candidate's share of the requests before and after, in percent.
#[derive(Clone, Copy, Debug)]
pub struct Growth {
    before: f64,
    now: f64,
}

/// How the candidate's share has grown by a write for which the operator, or a controller in its wake, answers.
fn growth(scene: &Scene<'_>) -> Option<Growth> {
    *scene.growth.get_or_init(|| grown(scene))
}

fn grown(scene: &Scene<'_>) -> Option<Growth> {
    let Scene { work, was, is, .. } = scene;
    let stable = work.hash("stable")?;
    let answers = scene.author == Author::Operator || (scene.author == Author::Machine && !scene.memory.hurt);
    let candidate = work.hash("candidate").filter(|candidate| *candidate != stable)?;
    if !answers {
        return None;
    }
    // Traffic goes where ready pods are; what is left of a version that was deleted goes by itself. The operator hears late of a stable version
    // that has a pod again: until then it may act for one that has none, and the candidate's pods may get ready behind a Service that it has
    // unpinned for that (plot `pair` of tests/random.rs, seed 187).
    if scene.memory.was_bare(scene.change.asked) || !was.stands(stable) || !is.stands(candidate) {
        return None;
    }
    let (before, now) = (was.share(candidate, false), is.share(candidate, false));
    (now > before + EPSILON).then_some(Growth { before, now })
}

/// S1: exposure never exceeds the current step.
pub struct Step;

impl Checker for Step {
    fn promise(&self) -> &'static str {
        "S1"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Option<String> {
        let Growth { before, now } = growth(scene)?;
        if scene.memory.is_fresh(scene.change.asked) {
            return None;
        }
        let limit = limit(scene, before);
        let exceeds = if scene.work.routed() { now > limit + EPSILON } else { limit == 0.0 };
        exceeds.then(|| {
            format!("{} exposes {now:.2} %, allowed are {limit} % in {}", scene.change.key, scene.work.phase())
        })
    }
}

/// The most that the candidate may have, in percent.
fn limit(scene: &Scene<'_>, before: f64) -> f64 {
    match scene.work.phase() {
        "Progressing" | "Paused" => {
            let index = usize::try_from(number(&scene.work.status()["step"]["index"])).unwrap_or_default();
            let steps = list(&scene.work.release["spec"]["strategy"]["canary"]["steps"]);
            steps.iter().take(index + 1).filter_map(|step| step["setWeight"].as_f64()).next_back().unwrap_or(0.0)
        }
        "Promoting" => 100.0,
        "RollingBack" => before,
        _ => 0.0,
    }
}

/// S4: what went back gets no weight without a `Retry`.
pub struct Blocked;

impl Checker for Blocked {
    fn promise(&self) -> &'static str {
        "S4"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Option<String> {
        let Scene { work, was, is, memory, .. } = scene;
        let stable = work.hash("stable")?;
        if scene.author == Author::Other || memory.hurt || was.ready(stable) == 0 || was.unserved() {
            return None;
        }
        let candidate = &work.status()["candidate"];
        let blocked = list(&work.status()["blocked"]).iter().filter(|blocked| blocked["retried"] != true);
        blocked.into_iter().find_map(|blocked| {
            let hash = memory.revisions.get(blocked["revision"].as_str()?)?.get(work.index)?;
            // Where one of several workloads has changed since, the others' parts may be tried again.
            let again = work.hash("candidate") == Some(hash) && candidate["revision"] != blocked["revision"];
            let grows = hash != stable && !again && is.share(hash, false) > was.share(hash, false) + EPSILON;
            grows.then(|| format!("{} gives weight to blocked {}", scene.change.key, blocked["version"]))
        })
    }
}

/// S5: while a gate is closed, exposure never increases.
pub struct Closed;

impl Checker for Closed {
    fn promise(&self) -> &'static str {
        "S5"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Option<String> {
        let Growth { now, .. } = growth(scene)?;
        let status = scene.work.status();
        let confirmed = number(&status["weight"]["confirmed"]) as f64;
        let stepping = matches!(scene.work.phase(), "Progressing" | "Paused");
        if scene.author != Author::Operator
            || !stepping
            || now <= confirmed + EPSILON
            || scene.memory.is_fresh(scene.change.asked)
            || scene.jumped
        {
            return None;
        }
        let why = closed(scene)?;
        Some(format!("{} exposes {now:.2} % while {why}", scene.change.key))
    }
}

/// Why exposure must not grow, told without the engine's gates.
fn closed(scene: &Scene<'_>) -> Option<String> {
    let (release, now) = (&scene.work.release, scene.told);
    let valid = || {
        let decisions = list(&release["status"]["decisions"]).iter();
        decisions.filter(|decision| decision["refused"].is_null() && decision["spent"] != true)
    };
    let overridden = valid().any(|decision| read_time(&decision["until"]).is_some_and(|until| until > now));
    if overridden || valid().any(|decision| decision["verdict"] == "Promote") {
        return None;
    }
    if release["spec"]["suspend"] == true {
        return Some("suspended".into());
    }
    if release["spec"]["gates"]["windows"]["onClose"] == "Continue" {
        return None;
    }
    // Closed at both ends of the time in which the operator may not have noticed.
    let late = scene.change.at.duration_since(scene.change.asked);
    let message = window(scene, now - late - scene.memory.known_after)?;
    window(scene, now).map(|_| message)
}

fn window(scene: &Scene<'_>, at: Timestamp) -> Option<String> {
    let release = &scene.work.release;
    let views = [PLATFORM, namespace(release)]
        .into_iter()
        .flat_map(|place| scene.objects.within(Kind::DeploymentWindow, place));
    let views: Vec<WindowView> = views
        .filter_map(|window| {
            let window: DeploymentWindow = serde_json::from_value(window.value().clone()).ok()?;
            Some(WindowView::new(window.metadata.namespace?, window.metadata.name?, window.spec))
        })
        .collect();
    if views.is_empty() {
        return None;
    }
    let labels = |object: Option<&Value>| {
        let labels = object.map(|object| object["metadata"]["labels"].clone()).unwrap_or_default();
        serde_json::from_value(labels).unwrap_or_default()
    };
    let home = scene.objects.get(&Key::new(Kind::Namespace, "", namespace(release)));
    let (own, of_namespace) = (labels(Some(release)), labels(home.map(|home| home.value())));
    let facts = ReleaseFacts { namespace: namespace(release), labels: &own, namespace_labels: &of_namespace };
    let verdict = evaluate(&views, &facts, PLATFORM, Exposure::Increase, at);
    (!verdict.open).then(|| format!("{} is closed: {}", name(release), verdict.message))
}
