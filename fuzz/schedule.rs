//! Schedules of windows. The lines of an input are the fields.

use jiff::{SignedDuration, Timestamp};
use lockkeeper_api::{deployment_window::Schedule, scalar::Duration};
use lockkeeper_engine::window::Calendar;

/// Moments at which a schedule is asked: early, in a gap and a repeated hour of European clocks, in summer, on a leap day, late.
const MOMENTS: [&str; 6] = [
    "1971-01-01T00:00:00Z",
    "2026-03-29T01:00:00Z",
    "2026-07-15T12:34:56Z",
    "2026-10-25T00:30:00Z",
    "2028-02-29T23:59:59Z",
    "2199-12-31T23:59:59Z",
];
/// Behind this, ends are cut to the end of time.
const FAR: &str = "9000-01-01T00:00:00Z";

/// A cron expression: zone, duration, expression.
pub fn cron(data: &[u8]) {
    let Some([time_zone, duration, cron]) = lines(data) else { return };
    check(&Schedule::Cron { cron: cron.into(), time_zone: time_zone.into(), duration: length(duration) });
}

/// A recurrence rule: zone, duration, start, rule.
pub fn recurrence(data: &[u8]) {
    let Some([time_zone, duration, start, recurrence]) = lines(data) else { return };
    let (start, time_zone, recurrence) = (start.into(), time_zone.into(), recurrence.into());
    check(&Schedule::Recurring { start, time_zone, duration: length(duration), recurrence });
}

/// Local times in a zone: zone, from, until.
pub fn time_zone(data: &[u8]) {
    let Some([time_zone, from, until]) = lines(data) else { return };
    check(&Schedule::Once { from: from.into(), until: until.into(), time_zone: time_zone.into() });
}

/// What admission would let in, by length.
fn lines<const N: usize>(data: &[u8]) -> Option<[&str; N]> {
    let text = std::str::from_utf8(data).ok().filter(|text| text.len() <= 512)?;
    text.strip_suffix('\n').unwrap_or(text).split('\n').collect::<Vec<_>>().try_into().ok()
}

fn length(text: &str) -> Duration {
    text.parse().unwrap_or(Duration::from_secs(3600))
}

/// A schedule that can be read has a state at any time, which ends in the future and not before it says so.
fn check(schedule: &Schedule) {
    let calendar = match Calendar::parse(schedule) {
        Ok(calendar) => calendar,
        Err(faults) => {
            assert!(!faults.is_empty() && faults.iter().all(|fault| !fault.is_empty()), "{schedule:?}");
            return;
        }
    };
    let far: Timestamp = FAR.parse().unwrap();
    for now in MOMENTS.map(|moment| moment.parse::<Timestamp>().unwrap()) {
        let state = calendar.at(now);
        let told = || format!("{schedule:?} at {now}: {state:?}");
        for moment in [state.next_start, state.next_end, state.holds_until].into_iter().flatten() {
            assert!(moment > now, "{}", told());
        }
        if !state.active {
            assert_eq!(state.holds_until, state.next_start, "{}", told());
        }
        let Some(until) = state.holds_until.filter(|until| *until < far) else { continue };
        if state.in_sight() {
            assert_ne!(calendar.at(until).active, state.active, "{}", told());
        }
        let just_before = until.checked_sub(SignedDuration::from_nanos(1)).unwrap().max(now);
        assert_eq!(calendar.at(just_before).active, state.active, "{}", told());
    }
}
