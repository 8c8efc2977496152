//! Checkers: what must hold after every single write.

use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::{api::Server, world::InForce};

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// Which promise: `S1` and so on.
    pub promise: &'static str,
    /// When.
    pub at: Timestamp,
    /// By the change with this resource version.
    pub version: u64,
    /// What was seen.
    pub what: String,
}

/// What the checkers of a run have found.
#[derive(Clone, Debug, Default)]
pub struct Report(Arc<Mutex<Vec<Violation>>>);

impl Report {
    /// Adds what was found.
    pub fn broken(&self, violation: Violation) {
        self.0.lock().push(violation);
    }

    /// What was found, in order.
    pub fn violations(&self) -> Vec<Violation> {
        self.0.lock().clone()
    }
}

/// Lets all checkers look at a server.
pub fn install(_server: &mut Server, _report: &Report, _in_force: &InForce) {}
