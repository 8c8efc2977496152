//! Networks between clients and the server: delays, faults, and ends.

use std::{
    future::{Future, pending, poll_fn},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Call, Kind, Rumour, Stall, Status, rumour::Delivery};
use crate::check::KNOWN_AFTER;

/// What becomes of a request on its way.
#[derive(Clone, Debug, PartialEq)]
pub enum Disposition {
    /// It arrives, and so does its answer.
    Pass,
    /// Both take this much longer.
    Delay(Duration),
    /// The server refuses it, whatever it is. A code of 429 or 503 may say after how many seconds to come again.
    Refuse(Status, Option<u32>),
    /// The client gives up after this time; the server may have done it.
    TimeOut {
        /// After this time.
        after: Duration,
        /// Whether it was done.
        done: bool,
    },
    /// It is done, and the connection is cut within the answer.
    Cut,
    /// It is done, and the answer ends too early without anybody noticing.
    Truncate,
    /// The process that has sent it dies; nothing more passes over its link.
    Kill {
        /// Whether it was done.
        done: bool,
    },
}

/// Decides what becomes of requests.
pub trait Fault: Send {
    /// The disposition of the request of this number, counted from 0 over all requests of the link; `write` counts those that write.
    fn judge(&mut self, call: &Call, number: u64, write: u64) -> Disposition;
}

impl<F: FnMut(&Call, u64, u64) -> Disposition + Send> Fault for F {
    fn judge(&mut self, call: &Call, number: u64, write: u64) -> Disposition {
        self(call, number, write)
    }
}

/// A network between a client and the server.
#[derive(Clone)]
pub struct Link(Arc<Line>);

struct Line {
    name: String,
    cut: AtomicBool,
    killed: tokio::sync::Notify,
    requests: AtomicU64,
    writes: AtomicU64,
    milliseconds: (u64, u64),
    random: Mutex<fastrand::Rng>,
    fault: Mutex<Option<Box<dyn Fault>>>,
    /// How much longer news may take on top, in milliseconds: a cache that is behind.
    lag: AtomicU64,
    rumour: Mutex<Rumour>,
    /// The watches that hear nothing, and when.
    stall: Mutex<Option<(Stall, Range<Instant>)>>,
    /// Of a hundred events for people, so many are taken, and not answered.
    unanswered: AtomicU8,
    guard: Mutex<Option<Guard>>,
    /// How often anything of the process at its end has gone on, and at which time it dies.
    polls: AtomicU64,
    dies_at_poll: AtomicU64,
    /// The request that was long on its way, and until when what follows from it may arrive.
    late: Mutex<Option<(Timestamp, Instant)>>,
}

/// Looks at each request, whatever becomes of it.
pub type Guard = Box<dyn Fn(&Call) + Send>;

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("name", &self.0.name).field("writes", &self.writes()).finish_non_exhaustive()
    }
}

impl Link {
    /// A network whose messages take a time within these bounds, in milliseconds.
    pub fn new(name: &str, random: fastrand::Rng, milliseconds: (u64, u64)) -> Self {
        Self(Arc::new(Line {
            name: name.into(),
            cut: AtomicBool::new(false),
            killed: tokio::sync::Notify::new(),
            requests: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            milliseconds,
            random: Mutex::new(random),
            fault: Mutex::new(None),
            lag: AtomicU64::new(0),
            rumour: Mutex::default(),
            stall: Mutex::default(),
            unanswered: AtomicU8::new(0),
            guard: Mutex::new(None),
            polls: AtomicU64::new(0),
            dies_at_poll: AtomicU64::new(u64::MAX),
            late: Mutex::default(),
        }))
    }

    /// Lets this decide what becomes of requests from now on.
    pub fn set_fault(&self, fault: Box<dyn Fault>) {
        *self.0.fault.lock() = Some(fault);
    }

    /// Lets this look at each request from now on.
    pub fn set_guard(&self, guard: Guard) {
        *self.0.guard.lock() = Some(guard);
    }

    /// Nothing passes any more: whoever is at its end has died.
    pub fn cut(&self) {
        self.0.cut.store(true, Relaxed);
        self.0.killed.notify_one();
    }

    /// Returns when the process at its end has to die, because a fault says so.
    pub async fn killed(&self) {
        self.0.killed.notified().await;
    }

    /// The process dies when it would go on for the time of this number, from wherever it awaits something.
    pub fn die_at_poll(&self, poll: u64) {
        self.0.dies_at_poll.store(poll, Relaxed);
    }

    /// How often anything of the process has gone on.
    pub fn polls(&self) -> u64 {
        self.0.polls.load(Relaxed)
    }

    /// A part of the process: it goes on as long as that lives.
    pub fn part<F: Future>(&self, part: F) -> impl Future<Output = F::Output> + use<F> {
        let (link, mut part) = (self.clone(), Box::pin(part));
        poll_fn(move |context| {
            let poll = link.0.polls.fetch_add(1, Relaxed);
            if poll == link.0.dies_at_poll.load(Relaxed) {
                link.cut();
            }
            if link.0.cut.load(Relaxed) { Poll::Pending } else { part.as_mut().poll(context) }
        })
    }

    /// How long the next message takes.
    pub(super) fn latency(&self) -> Duration {
        let (from, to) = self.0.milliseconds;
        Duration::from_millis(self.0.random.lock().u64(from..=to))
    }

    /// From now on each watch tells its news up to so much later, each for itself.
    pub fn set_lag(&self, most: Duration) {
        self.0.lag.store(u64::try_from(most.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// From now on news of watches travels like this.
    pub fn set_rumour(&self, rumour: Rumour) {
        *self.0.rumour.lock() = rumour;
    }

    /// For its time, from then on, these watches hear nothing.
    pub fn set_stall(&self, after: Duration, stall: Stall) {
        let from = Instant::now() + after;
        *self.0.stall.lock() = Some((stall, from..from + stall.lasts));
    }

    /// Until when a watch of this kind hears nothing, and whether the server has forgotten by then what it has missed.
    pub(super) fn stalled(&self, kind: Kind) -> Option<(Instant, bool)> {
        let stall = self.0.stall.lock();
        let (stall, time) = stall.as_ref().filter(|(_, time)| time.contains(&Instant::now()))?;
        stall.kind.is_none_or(|of| of == kind).then_some((time.end, stall.forgotten))
    }

    /// From now on, of a hundred events for people, so many are taken, and the answer is lost.
    pub fn set_unanswered(&self, part: u8) {
        self.0.unanswered.store(part, Relaxed);
    }

    /// Whether the answer to the next event is lost. Where none ever is, no chance is drawn.
    pub(super) fn loses_answer(&self) -> bool {
        let part = self.0.unanswered.load(Relaxed);
        part > 0 && self.0.random.lock().u8(0..100) < part
    }

    /// How the next news of a watch arrives.
    pub(super) fn delivery(&self) -> Delivery {
        self.0.rumour.lock().draw(&mut self.0.random.lock())
    }

    /// How far the replica is behind that answers a list, or the first look of a watch.
    pub(super) fn behind(&self) -> Duration {
        let old = u64::try_from(self.0.rumour.lock().old.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(if old == 0 { 0 } else { self.0.random.lock().u64(0..=old) })
    }

    /// How long the next news of a watch takes.
    pub(super) fn news(&self) -> Duration {
        let lag = self.0.lag.load(Relaxed);
        let more = if lag == 0 { 0 } else { self.0.random.lock().u64(0..=lag) };
        self.latency() + Duration::from_millis(more)
    }

    /// Goes on only if the link still stands.
    pub(super) async fn passes(&self) {
        if self.0.cut.load(Relaxed) {
            pending::<()>().await;
        }
    }

    /// A request of this time was long on its way: it, and what was decided with it, arrives from now on for a moment.
    pub(super) fn delayed(&self, asked: Timestamp) {
        *self.0.late.lock() = Some((asked, Instant::now() + KNOWN_AFTER));
    }

    /// When that which arrives now was decided, if that may be long ago.
    pub(super) fn asked(&self) -> Option<Timestamp> {
        self.0.late.lock().filter(|(_, until)| Instant::now() < *until).map(|(asked, _)| asked)
    }

    /// Requests that were sent so far.
    pub fn requests(&self) -> u64 {
        self.0.requests.load(Relaxed)
    }

    /// Writes that were sent so far.
    pub fn writes(&self) -> u64 {
        self.0.writes.load(Relaxed)
    }

    /// The name of its client in the trace.
    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    /// What becomes of the next request.
    pub(super) fn judge(&self, call: &Call) -> Disposition {
        if let Some(guard) = &*self.0.guard.lock() {
            guard(call);
        }
        let number = self.0.requests.fetch_add(1, Relaxed);
        let write = if call.verb.writes() { self.0.writes.fetch_add(1, Relaxed) } else { self.0.writes.load(Relaxed) };
        self.0.fault.lock().as_mut().map_or(Disposition::Pass, |fault| fault.judge(call, number, write))
    }
}
