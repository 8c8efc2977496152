//! One version, played to its end.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use lockkeeper_api::release::Phase;
use lockkeeper_operator::{context::Clock, policies::TextError};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::{
    Case, Manifest, Recording, Scenario, advice,
    cast::Cast,
    chronicle::{Chronicle, Log, SharedLog},
    director::{Director, Stoppable},
    ledger::Ledger,
    outcome::{Beat, BeatKind, Ended, Loss, Plot, Point, Rehearsal},
    scenario::{End, Moment, Played},
    scenery::{install, kubelet, rewritten},
    source::{Health, Questions, Source, State, is_new},
    tasks::{Switches, tasks, write},
};
use crate::{
    api::{Caller, Key, Kind, Link, Server, Shared, User, object::namespace},
    run::{Leads, Operator, Setup, SharedTrace, Trace},
    world::{self, Actor, DeploymentController, EndpointController, GarbageCollector, Gateway, ReplicaSetController},
};

/// All chance comes from it, so that the same files give the same answer.
const SEED: u64 = 1;
/// How long the version before may take to run.
const WARM_UP: SignedDuration = SignedDuration::from_secs(600);
/// How long a gateway takes to accept a route, and its data planes to follow, in milliseconds.
const GATEWAY: ((u64, u64), (u64, u64)) = ((200, 200), (500, 500));
/// How long nothing may happen, and nothing be due, before a release that waits for people is given up.
const NOBODY_COMES: SignedDuration = SignedDuration::from_secs(3600);
/// How often it is looked at whether the end has come.
const LOOKS_EVERY: Duration = Duration::from_secs(1);
/// The same while nothing happens.
const LOOKS_SELDOM: Duration = Duration::from_secs(60);
/// How long the status must have said the same before it counts as an end.
const SETTLED: SignedDuration = SignedDuration::from_secs(10);

/// Why a version cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The policies of this build cannot be read.
    #[error(transparent)]
    Policies(#[from] TextError),
    /// The runtime cannot be made.
    #[error("no runtime: {0}")]
    Runtime(#[from] std::io::Error),
    /// The simulated API server refuses an object.
    #[error("{object} is refused: {message}")]
    Refused {
        /// The object.
        object: String,
        /// What the API server says.
        message: String,
    },
    /// A time is out of range.
    #[error("the start is out of range: give a time between the years 1900 and 9000")]
    Start,
}

/// Plays one version of one Release. Runs on this thread only, and gives the same for the same input.
///
/// # Errors
/// If it cannot be set up.
pub fn play(
    manifest: &Manifest,
    case: &Case,
    scenario: &Scenario,
    recording: &Recording,
    played: &Played<'_>,
    start: Timestamp,
) -> Result<Rehearsal, PlayError> {
    // The jitter of kube's watchers comes from there.
    fastrand::seed(SEED);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(async {
        let mut stage = Stage::set(manifest, case, scenario, recording, played, start)?;
        stage.warm_up().await?;
        stage.ask();
        let end = stage.run(scenario.limit.into()).await?;
        Ok(stage.close(case, scenario, played, end))
    })
}

/// Everything while it is played.
struct Stage {
    shared: Shared,
    cast: Cast,
    log: SharedLog,
    state: Arc<Mutex<State>>,
    questions: Questions,
    requested_by: String,
    start: Timestamp,
    operator: Option<Operator>,
    provider: Arc<Source>,
    /// Whether the operator is to be dead.
    killed: Arc<AtomicBool>,
    busy: Arc<AtomicBool>,
    /// The operator is to be killed or started.
    pulse: Arc<Notify>,
}

impl Stage {
    fn set(
        manifest: &Manifest,
        case: &Case,
        scenario: &Scenario,
        recording: &Recording,
        played: &Played<'_>,
        start: Timestamp,
    ) -> Result<Self, PlayError> {
        let cast = Cast::new(manifest, case, scenario);
        let clock = clock_from(start.checked_sub(WARM_UP).map_err(|_| PlayError::Start)?);
        let log = SharedLog::new(Mutex::new(Log::default()));
        let ledger = Ledger::new(start, scenario.load(), scenario.stable, played.requests.clone());
        let state = Arc::new(Mutex::new(State { ledger, health: Health::default(), measured: BTreeMap::new() }));
        let trace: SharedTrace = Arc::new(Mutex::new(Trace::new(false)));
        let mut server = Server::default();
        server.observe(Chronicle { release: cast.release.clone(), log: log.clone() });
        let shared = Shared::new(server, clock, trace, fastrand::Rng::with_seed(SEED));
        let (objects, questions) = rewritten(&cast.objects, scenario, recording, played);
        install(&shared, objects)?;
        let gateway = Gateway::new(GATEWAY.0, GATEWAY.1);
        let mut director = Director::new(
            cast.release.clone(),
            log.clone(),
            state.clone(),
            gateway.in_force(),
            cast.images.clone(),
            scenario.people.clone(),
        );
        let killed = Arc::new(AtomicBool::new(false));
        let stopped = Arc::new(AtomicBool::new(false));
        let pulse = Arc::new(Notify::new());
        let switches = Switches {
            state: state.clone(),
            killed: killed.clone(),
            stopped: stopped.clone(),
            pulse: pulse.clone(),
            log: log.clone(),
        };
        director.tasks = tasks(&cast, scenario, &switches);
        director.decisions = cast.decisions.clone();
        let busy = director.busy.clone();
        let actors: Vec<Box<dyn Actor>> = vec![
            Box::new(DeploymentController::default()),
            Box::new(ReplicaSetController::default()),
            Box::new(kubelet(&cast.images, played)),
            Box::new(EndpointController::default()),
            Box::new(GarbageCollector::default()),
            Box::new(Stoppable { gateway, stopped }),
            Box::new(director),
        ];
        tokio::spawn(world::run(shared.clone(), actors));
        let provider = Arc::new(Source {
            shared: shared.clone(),
            questions: questions.clone(),
            recording: recording.clone(),
            images: cast.images.clone(),
            state: state.clone(),
        });
        let requested_by = scenario.requested_by.clone();
        let mut stage = Self {
            shared,
            cast,
            log,
            state,
            questions,
            requested_by,
            start,
            operator: None,
            provider,
            killed,
            busy,
            pulse,
        };
        stage.tend()?;
        Ok(stage)
    }

    /// Starts the operator, or kills it, as it is to be.
    fn tend(&mut self) -> Result<(), TextError> {
        match (self.killed.load(Relaxed), self.operator.take()) {
            (true, Some(operator)) => operator.kill(),
            (true, None) => {}
            (false, Some(operator)) => self.operator = Some(operator),
            (false, None) => {
                let link = Link::new("operator", self.shared.fork_random(), (1, 1));
                let clock = self.shared.clock().clone();
                let provider = Some(self.provider.clone() as Arc<_>);
                self.operator =
                    Some(Operator::start(&self.shared, Setup { link, clock, leads: Leads::Always, provider })?);
            }
        }
        Ok(())
    }

    /// The version before runs, and it is the start of the scenario.
    async fn warm_up(&mut self) -> Result<(), PlayError> {
        while self.now() < self.start {
            let rest = Duration::try_from(self.start.duration_since(self.now())).unwrap_or_default();
            sleep(rest.min(LOOKS_EVERY)).await;
        }
        Ok(())
    }

    /// The new version is asked for.
    fn ask(&self) {
        let caller = Caller::new(User::new(&self.requested_by, &[]));
        let mut server = self.shared.lock();
        let now = server.now;
        {
            let mut log = self.log.lock();
            log.asked = Some(now);
            log.changed = Some(now);
            log.moment(Moment::Asked, now);
            let images = self.cast.images.join(", ");
            log.tell(now, BeatKind::Asked, format!("{} asks for {images}", self.requested_by));
        }
        write(&mut server, &caller, &self.cast.wanted);
    }

    /// Waits for the end.
    async fn run(&mut self, limit: SignedDuration) -> Result<End, PlayError> {
        let until = self.start.checked_add(limit).unwrap_or(Timestamp::MAX);
        loop {
            let pulse = self.pulse.clone();
            tokio::select! {
                biased;
                () = pulse.notified() => {}
                () = sleep(self.rest()) => {}
            }
            self.tend()?;
            let now = self.now();
            if let Some(end) = self.ended(now) {
                return Ok(end);
            }
            if now >= until {
                return Ok(End::Unfinished);
            }
        }
    }

    /// How long nobody has to look whether the end has come.
    fn rest(&self) -> Duration {
        let changed = self.log.lock().changed;
        let quiet = changed.is_some_and(|changed| self.now().duration_since(changed) > SETTLED * 2);
        if quiet { LOOKS_SELDOM } else { LOOKS_EVERY }
    }

    /// How it has ended, if it has.
    fn ended(&self, now: Timestamp) -> Option<End> {
        let log = self.log.lock();
        let status = &log.status;
        let still = log.changed.map_or(SignedDuration::ZERO, |changed| now.duration_since(changed));
        let end = match status.phase {
            // Until it has heard of the new version.
            Phase::Stable if still < SETTLED => None,
            Phase::Stable if self.runs_new() => Some(End::Succeeded),
            Phase::Stable => Some(End::RolledBack),
            Phase::RolledBack => Some(End::RolledBack),
            Phase::Aborted => Some(End::Aborted),
            Phase::Rejected => Some(End::Rejected),
            Phase::Invalid => Some(End::Invalid),
            // Going back, too, can wait for what never comes: a gateway that takes no notice.
            Phase::Waiting | Phase::Paused | Phase::RollingBack => {
                let due = status.next_transition_time.is_some()
                    || status.gates.iter().any(|gate| gate.next_change.is_some())
                    || self.busy.load(Relaxed);
                (!due && still >= NOBODY_COMES).then_some(End::Unfinished)
            }
            Phase::Progressing | Phase::Promoting | Phase::Baking => None,
        };
        // What follows at once belongs to it.
        end.filter(|_| still >= SETTLED)
    }

    /// Whether the Deployments that stand have the new version.
    fn runs_new(&self) -> bool {
        let server = self.shared.lock();
        let stands = |object: &Value| object["kind"] == "Deployment";
        let mut deployments = self.cast.objects.iter().filter(|object| stands(object));
        deployments.all(|object| {
            let key = Key::new(Kind::Deployment, namespace(object), crate::api::object::name(object));
            server.get(&key).is_ok_and(|live| is_new(&live["spec"]["template"]["spec"], &self.cast.images))
        })
    }

    fn now(&self) -> Timestamp {
        self.shared.clock().now()
    }

    /// What came of it.
    fn close(self, case: &Case, scenario: &Scenario, played: &Played<'_>, end: End) -> Rehearsal {
        let now = self.now();
        let log = self.log.lock();
        let state = self.state.lock();
        let start = self.start;
        let after = |at: Timestamp| at.duration_since(start).as_secs_f64();
        // It is looked at some seconds after the end; what counts is when it came.
        let over = log.changed.filter(|_| end != End::Unfinished).unwrap_or(now);
        let worse = state.ledger.worse_from();
        // Where requests were no worse, pods were.
        let begun = worse.or(state.ledger.first());
        let ended = Ended {
            end,
            message: log.status.message.clone(),
            asked: start,
            started_after: log.moments.get(&Moment::Started).map(|at| after(*at)),
            exposed_after: state.ledger.first().map(after),
            ended_after: after(over),
            worse_after: worse.map(after),
            detected_after: begun.zip(log.back).map(|(begun, (back, _))| back.duration_since(begun).as_secs_f64()),
            back_after: begun
                .zip(log.back.and_then(|(_, done)| done))
                .map(|(begun, done)| done.duration_since(begun).as_secs_f64()),
        };
        let flow = state.ledger.between(start, over);
        let loss = Loss {
            requests: flow.new.requests + flow.stable.requests,
            to_new: flow.new.requests,
            failed: flow.new.failed,
            largest_share: 100.0 * state.ledger.largest_share(),
        };
        let timeline = log.beats.iter().map(|(at, kind, text)| Beat {
            at: *at,
            after: after(*at),
            kind: *kind,
            text: text.clone(),
        });
        let warnings = advice::of_play(&self.questions, &log.status, &ended, scenario.limit);
        Rehearsal {
            release: case.title(),
            version: played.name.to_owned(),
            expected: played.expect,
            end: ended,
            timeline: timeline.collect(),
            loss,
            plot: plot(case, &log, &state, start, now),
            assumed: self.cast.assumed.clone(),
            warnings,
        }
    }
}

/// A clock that follows the runtime's own.
fn clock_from(base: Timestamp) -> Clock {
    let start = Instant::now();
    Clock::new(move || base + start.elapsed())
}

/// What is drawn.
fn plot(case: &Case, log: &Log, state: &State, start: Timestamp, now: Timestamp) -> Plot {
    let after = |at: Timestamp| at.duration_since(start).as_secs_f64();
    let checks = state.measured.iter().map(|(check, measured)| {
        let points = measured.iter().filter(|measured| measured.at >= start).map(|measured| Point {
            after: after(measured.at),
            value: measured.value,
            success: measured.value.is_some_and(|value| advice::succeeds(case, check, value)),
        });
        (check.clone(), points.collect())
    });
    let gates = log.closed.iter().map(|(gate, spans)| {
        let spans = spans.iter().map(|(from, until)| (after(*from), after(until.unwrap_or(now))));
        (gate.clone(), spans.collect())
    });
    let shares = state.ledger.shares().iter().map(|(at, share)| (after(*at), 100.0 * share));
    Plot { weights: shares.collect(), checks: checks.collect(), gates: gates.collect() }
}
