//! What has happened, in order: each request and its answer, each change of an object, each event for people.

use std::{fmt::Write, hash::BuildHasher, sync::Arc};

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
    line: String,
    lines: Option<Vec<String>>,
    events: Vec<Told>,
    requests: u64,
}

impl Trace {
    /// A trace that keeps its lines, or only their digest.
    pub fn new(lines: bool) -> Self {
        Self { digest: 0, line: String::new(), lines: lines.then(Vec::new), events: Vec::new(), requests: 0 }
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
        self.note(format_args!("{at} {link} {method} {place} body={body:016x} -> {code} answer={answer:016x}"));
    }

    /// An event.
    pub fn event(&mut self, at: Timestamp, about: &str, reason: &str, note: &str) {
        self.note(format_args!("{at} event {about} {reason}: {note}"));
        self.events.push(Told { at, about: about.into(), reason: reason.into(), note: note.into() });
    }

    /// Anything else.
    pub fn note(&mut self, line: std::fmt::Arguments<'_>) {
        self.line.clear();
        // Writing to a string cannot fail.
        let _ = self.line.write_fmt(line);
        self.digest = FixedState::default().hash_one((self.digest, &self.line));
        if let Some(lines) = &mut self.lines {
            lines.push(self.line.clone());
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
        let what = if *gone { "gone" } else { "is" };
        let digest = digest(&object.json());
        self.0.lock().note(format_args!("{at} {version} {by}: {key} {what} {digest:016x}"));
    }
}
