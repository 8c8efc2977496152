//! Clocks that are put right while releases run.
//!
//! Statuses carry moments since when something is waited for: a pause, a deadline, the settle time of a gateway. If the system's clock jumps, those
//! of before would be hours too old, or in the future. So jumps are noticed by comparing that clock with the runtime's, which only counts
//! what passes, and those moments move along. What is a date for people (windows, the end of an Override) does not.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lockkeeper_api::ReleaseStatus;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Less is a correction that every clock goes through.
const LEAST: SignedDuration = SignedDuration::from_secs(2);

/// How far the system's clock has jumped since this process began.
#[derive(Debug)]
pub struct Jumps(Mutex<Seen>);

#[derive(Debug)]
struct Seen {
    total: SignedDuration,
    wall: Timestamp,
    at: Instant,
}

impl Jumps {
    /// None yet.
    pub fn new(now: Timestamp) -> Self {
        Self(Mutex::new(Seen { total: SignedDuration::ZERO, wall: now, at: Instant::now() }))
    }

    /// All jumps together, in whole seconds, when the system's clock says `now`; and what that was before, if the last has just been noticed.
    pub fn total(&self, now: Timestamp) -> (SignedDuration, Option<SignedDuration>) {
        let mut seen = self.0.lock();
        let passed = SignedDuration::try_from(seen.at.elapsed()).unwrap_or(SignedDuration::MAX);
        let by = now.duration_since(seen.wall).saturating_sub(passed);
        let before = seen.total;
        if by.abs() >= LEAST {
            seen.total = seen.total.saturating_add(SignedDuration::from_secs(by.as_secs()));
        }
        (seen.wall, seen.at) = (now, Instant::now());
        (seen.total, Some(before).filter(|before| *before != seen.total))
    }
}

/// A status of before the clock has jumped by so much: what is waited for moves along.
pub fn shift(status: &mut ReleaseStatus, by: SignedDuration) {
    let along = |time: Timestamp| time.saturating_add(by).unwrap_or(time);
    each(status, along);
    if let Some(Time(until)) = &mut status.bake_until {
        *until = along(*until);
    }
}

/// A status that another clock has written: what is waited for began now, if by this clock it has not begun yet.
pub fn begun(status: &mut ReleaseStatus, now: Timestamp) {
    each(status, |time| time.min(now));
}

/// The moments since when something is waited for, not those that people have set or that are told only.
fn each(status: &mut ReleaseStatus, change: impl Fn(Timestamp) -> Timestamp) {
    let ReleaseStatus { exposed, unavailable_since, step, going_back, checks, .. } = status;
    let step = step.iter_mut().flat_map(|step| [Some(&mut step.started), step.waiting.as_mut()]);
    let back = going_back.iter_mut().flat_map(|back| [Some(&mut back.started), back.finished.as_mut()]);
    let checks = checks.iter_mut().map(|check| check.last_measured.as_mut());
    let all = [exposed.as_mut(), unavailable_since.as_mut()].into_iter().chain(step).chain(back).chain(checks);
    all.flatten().for_each(|Time(time)| *time = change(*time));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    fn seconds(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_and_small_corrections_are_no_jumps_and_others_add_up() {
        let jumps = Jumps::new(seconds(1000));
        let mut wall = 1000;
        for (passes, says, total) in
            [(3600, 3600, 0), (10, 11, 0), (10, 9, 0), (5, 3605, 3600), (5, -3595, 0), (1, -59, -60)]
        {
            advance(Duration::from_secs(passes)).await;
            wall += says;
            assert_eq!(jumps.total(seconds(wall)).0, SignedDuration::from_secs(total), "{passes} {says}");
        }
    }

    #[test]
    fn what_is_waited_for_moves_along_and_never_lies_in_the_future() {
        let mut status = ReleaseStatus {
            exposed: Some(Time(seconds(100))),
            since: Some(Time(seconds(100))),
            bake_until: Some(Time(seconds(500))),
            ..ReleaseStatus::default()
        };
        shift(&mut status, SignedDuration::from_secs(50));
        begun(&mut status, seconds(120));
        assert_eq!(status.exposed, Some(Time(seconds(120))));
        assert_eq!(status.bake_until, Some(Time(seconds(550))));
        assert_eq!(status.since, Some(Time(seconds(100))), "what is told stays");
    }
}
