//! Time that goes on only when nobody has anything to do, and clocks that go wrong.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use lockkeeper_operator::context::Clock;
use parking_lot::Mutex;
use tokio::time::Instant;

/// When every run begins, if its plot does not say otherwise: a Wednesday at ten, within office hours. In seconds.
pub const BEGINNING: i64 = 1_780_480_800;

/// A clock that follows the runtime's own, from this time on. To be made, and asked, within a paused runtime.
pub fn virtual_clock(begins: Timestamp) -> Clock {
    let start = Instant::now();
    Clock::new(move || begins + start.elapsed())
}

/// How far the operators' clock is from the true time. It may jump, forwards and backwards; waits go on as before.
#[derive(Clone, Debug, Default)]
pub struct Skew(Arc<Mutex<Jumped>>);

#[derive(Debug, Default)]
struct Jumped {
    ahead: SignedDuration,
    at: Option<Timestamp>,
}

impl Skew {
    /// The clock that is so far from this one, whenever it is asked.
    pub fn of(&self, clock: &Clock) -> Clock {
        let (clock, skew) = (clock.clone(), self.clone());
        Clock::new(move || clock.now() + skew.ahead())
    }

    /// How far it is ahead.
    pub fn ahead(&self) -> SignedDuration {
        self.0.lock().ahead
    }

    /// It jumps at this true time.
    pub fn jump(&self, by: SignedDuration, now: Timestamp) {
        let mut jumped = self.0.lock();
        jumped.ahead += by;
        jumped.at = Some(now);
    }

    /// The true time at which it last jumped.
    pub fn jumped(&self) -> Option<Timestamp> {
        self.0.lock().at
    }
}
