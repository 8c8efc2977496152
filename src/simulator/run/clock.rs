//! Time that goes on only when nobody has anything to do.

use jiff::Timestamp;
use lockkeeper_operator::context::Clock;
use tokio::time::Instant;

/// When every run begins: a Wednesday at ten, within office hours. In seconds.
pub const BEGINNING: i64 = 1_780_480_800;

/// A clock that follows the runtime's own. To be made, and asked, within a paused runtime.
pub fn virtual_clock() -> Clock {
    let base = Timestamp::from_second(BEGINNING).unwrap_or_default();
    let start = Instant::now();
    Clock::new(move || base + start.elapsed())
}
