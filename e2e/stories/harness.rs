//! What a story is told with.

mod app;
mod audited;
mod decisions;
mod diary;
mod exposure;
mod failure;
mod operators;
mod specs;
mod stage;
mod story;

use std::time::Duration;

pub use app::{App, none_failed};
pub use audited::is_event;
pub use decisions::{decision, refused};
pub use diary::Diary;
pub use failure::shown;
pub use specs::Specs;
pub use stage::Stage;
pub use story::{Story, condition};

/// For anything to come about, on a busy machine with several stories at once. A story that passes never waits this long.
pub const LIMIT: Duration = Duration::from_secs(120);
