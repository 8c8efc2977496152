//! What users rehearse: their own Releases, policies and windows, played by the operator's own code on a virtual clock.
//!
//! ```text
//! files ──▶ Manifest ──▶ Cast (what is missing is made up, and said) ──▶ stage::play ──▶ Rehearsal (timeline, verdict, numbers)
//! Scenario ─────────────────┘                                                              ▲
//! recorded metrics ──▶ Recording ──▶ Source (answers checks from the Ledger of traffic) ───┘
//!
//! Manifest ──▶ Case (the engine's parsed plan) ──▶ advice (warnings), outline (when, how long, which gates)
//! ```
//!
//! Everything but [`play`] is a pure function. Nothing here knows a cluster or a network.

pub mod advice;
mod case;
mod cast;
mod chronicle;
mod director;
mod form;
mod ledger;
mod manifest;
mod outcome;
pub mod outline;
mod recording;
mod report;
pub mod scenario;
mod scenery;
mod source;
mod stage;
mod tasks;

pub use self::{
    case::Case,
    form::{Form, Subject, classify},
    manifest::{Fault, Manifest},
    outcome::{Beat, BeatKind, Ended, Loss, Plot, Point, Rehearsal},
    recording::{Recording, RecordingError},
    report::{Report, ReportError, Selection, Sheet},
    scenario::{End, Scenario, ScenarioError},
    stage::{PlayError, play},
};
