//! What has happened, in order: each request and its answer, each change of an object, each event for people.

use std::{
    fmt::Arguments,
    hash::{BuildHasher, Hash},
    sync::Arc,
};

use foldhash::fast::FixedState;
use jiff::Timestamp;
use parking_lot::Mutex;

use crate::api::{Change, Observer, Snapshot};

/// An event for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// When.
    pub at: Timestamp,
    /// Name of the object that it is about.
    pub about: String,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub note: String,
}

/// A trace that several write.
pub type SharedTrace = Arc<Mutex<Trace>>;

/// What has happened. Its digest is always made; the lines are kept for people on demand.
#[derive(Debug)]
pub struct Trace {
    digest: u64,
    lines: Option<Vec<String>>,
    events: Vec<Told>,
    requests: u64,
}

impl Trace {
    /// A trace that keeps its lines, or only their digest.
    pub fn new(lines: bool) -> Self {
        Self { digest: 0, lines: lines.then(Vec::new), events: Vec::new(), requests: 0 }
    }

    /// A request and its answer.
    #[allow(clippy::too_many_arguments, reason = "the parts of one line")]
    pub fn request(
        &mut self,
        at: Timestamp,
        link: &str,
        method: &str,
        place: &str,
        body: &[u8],
        code: u16,
        answer: &[u8],
    ) {
        self.requests += 1;
        let (body, answer) = (digest(body), digest(answer));
        let line = format_args!("{at} {link} {method} {place} body={body:016x} -> {code} answer={answer:016x}");
        self.note((at, link, method, place, body, code, answer), line);
    }

    /// An event.
    pub fn event(&mut self, at: Timestamp, about: &str, reason: &str, note: &str) {
        self.note((at, about, reason, note), format_args!("{at} event {about} {reason}: {note}"));
        self.events.push(Told { at, about: about.into(), reason: reason.into(), note: note.into() });
    }

    /// Anything else: what makes it what it is, and how it is told. (To write all lines that nobody reads would take as long as to decide.)
    pub fn note(&mut self, what: impl Hash, line: Arguments<'_>) {
        self.digest = FixedState::default().hash_one((self.digest, what));
        if let Some(lines) = &mut self.lines {
            lines.push(line.to_string());
        }
    }

    /// One number for all that has happened: equal runs have equal ones.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The lines, if they are kept.
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }

    /// The events.
    pub fn events(&self) -> &[Told] {
        &self.events
    }

    /// How many requests there were.
    pub fn requests(&self) -> u64 {
        self.requests
    }
}

fn digest(bytes: &[u8]) -> u64 {
    FixedState::default().hash_one(bytes)
}

/// Notes each change of an object in a trace.
#[derive(Debug)]
pub struct Writer(pub SharedTrace);

impl Observer for Writer {
    fn changed(&mut self, change: &Change, _: &Snapshot, _: &Snapshot) {
        let Change { version, at, key, by, gone, object, .. } = change;
        let (told, digest) = (if *gone { "gone" } else { "is" }, digest(&object.json()));
        self.0.lock().note(
            (at, version, by, key, gone, digest),
            format_args!("{at} {version} {by}: {key} {told} {digest:016x}"),
        );
    }
}
