//! What a story is told with.

mod app;
mod audited;
mod decisions;
mod diary;
mod evidence;
mod exposure;
mod failure;
mod manifests;
mod operators;
mod specs;
mod stage;
mod story;
mod told;

use std::time::Duration;

pub use app::{App, none_failed};
pub use audited::is_event;
pub use decisions::{decision, refused};
pub use diary::Diary;
pub use evidence::{ACCOUNT, ASKED_BY_ADMISSION, Evidence};
pub use exposure::Exposure;
pub use failure::shown;
pub use manifests::{GATE_AND_BAKE, bake, with_images, without_images};
pub use specs::Specs;
pub use stage::{SHARED_OPERATOR, Stage};
pub use story::{Story, condition};
pub(crate) use told::stories;
pub use told::told;

/// For anything to come about, on a busy machine with several stories at once. A story that passes never waits this long.
pub const LIMIT: Duration = Duration::from_secs(120);
