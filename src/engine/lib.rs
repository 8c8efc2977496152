//! Lockkeeper's decisions as pure functions of plan, world, status and time.
//!
//! The one door is [`decide`]: it reads a parsed [`plan::Plan`], an observed [`world::World`], the persisted status and
//! the time, and returns the next status and the writes that are safe now. Nothing here knows a client, a clock or a
//! random number, so the same code runs in the operator, in tests and in a simulation.

pub mod analysis;
mod condition;
pub mod contest;
mod converge;
mod decide;
mod digest;
mod gate;
pub mod orphan;
pub mod plan;
mod revision;
pub mod sharing;
pub mod traffic;
mod verdict;
pub mod window;
pub mod world;
pub mod write;

pub use decide::{Event, Outcome, decide};
pub use digest::{digest, template_digest, version_digest};
