//! When a window is active.

use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};
use lockkeeper_api::{deployment_window::Schedule, scalar::Duration};

use super::starts::Starts;

/// Shortest length of an occurrence, in seconds.
const DURATION_MIN_SECONDS: u64 = 60;
/// How many overlapping or adjacent occurrences are followed to find the end of a time of activity.
const MERGED_MAX: usize = 128;
/// Starts that are looked at for the next one: more than a repeated hour can hold, which are all that may lie behind.
const STARTS_MAX: usize = 2000;

/// A window's schedule, read and found sound.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: TimeZone,
    occurrences: Occurrences,
}

#[derive(Clone, Debug)]
enum Occurrences {
    Once { from: Timestamp, until: Timestamp },
    Recurring { starts: Starts, duration: SignedDuration },
}

/// What a calendar says of one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Whether the window is active.
    pub active: bool,
    /// When it becomes active next, after the present activity if it is active; none if it never does again, or if the end
    /// of the present activity is too far away to be told.
    pub next_start: Option<Timestamp>,
    /// When the present activity or, if there is none, the next one ends, overlapping and adjacent occurrences being one; none
    /// if there is none or it goes on for more occurrences than are followed (128).
    pub next_end: Option<Timestamp>,
}

impl Calendar {
    /// Reads a schedule.
    ///
    /// # Errors
    /// Every fault, each in a sentence that tells how to mend it.
    pub fn parse(schedule: &Schedule) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let zone = keep(zone(schedule.time_zone()).map_err(|fault| vec![fault]), &mut faults);
        let occurrences = match schedule {
            Schedule::Once { from, until, time_zone: _ } => {
                let from = keep(local("from", from), &mut faults);
                let until = keep(local("until", until), &mut faults);
                match (from, until, &zone) {
                    (Some(from), Some(until), Some(zone)) => keep(once(from, until, zone), &mut faults),
                    _ => None,
                }
            }
            Schedule::Recurring { start, recurrence, duration, time_zone: _ } => {
                let duration = keep(length(*duration), &mut faults);
                let starts = keep(local("start", start), &mut faults)
                    .and_then(|start| keep(Starts::rule(recurrence, start), &mut faults));
                starts.zip(duration).map(|(starts, duration)| Occurrences::Recurring { starts, duration })
            }
            Schedule::Cron { cron, duration, time_zone: _ } => {
                let duration = keep(length(*duration), &mut faults);
                let starts = keep(Starts::cron(cron).map_err(|fault| vec![fault]), &mut faults);
                starts.zip(duration).map(|(starts, duration)| Occurrences::Recurring { starts, duration })
            }
        };
        zone.zip(occurrences).map(|(zone, occurrences)| Self { zone, occurrences }).ok_or(faults)
    }

    /// The zone in which the schedule is written.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// What the calendar says of `now`.
    pub fn at(&self, now: Timestamp) -> State {
        match self.occurrences {
            Occurrences::Once { from, until } => {
                let active = from <= now && now < until;
                State { active, next_start: (now < from).then_some(from), next_end: (now < until).then_some(until) }
            }
            Occurrences::Recurring { ref starts, duration } => {
                let occurring = Occurring { zone: &self.zone, starts, duration };
                match occurring.latest(now) {
                    Some(start) => {
                        let end = occurring.end(start);
                        State { active: true, next_start: end.and_then(|end| occurring.next(end)), next_end: end }
                    }
                    None => {
                        let start = occurring.next(now);
                        State {
                            active: false,
                            next_start: start,
                            next_end: start.and_then(|start| occurring.end(start)),
                        }
                    }
                }
            }
        }
    }
}

/// A recurring window's occurrences as instants. All is built on one question, when the next one starts.
struct Occurring<'a> {
    zone: &'a TimeZone,
    starts: &'a Starts,
    duration: SignedDuration,
}

impl Occurring<'_> {
    /// The first start after `after`.
    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        // An earlier local time is never a later instant, so no start before this one is left out.
        let local = after.to_zoned(self.zone.clone()).datetime();
        self.starts
            .from(local)
            .take(STARTS_MAX)
            .map_while(|start| resolve(start, self.zone))
            .find(|start| *start > after)
    }

    /// The latest start at or before `at` whose occurrence is not over by then.
    fn latest(&self, at: Timestamp) -> Option<Timestamp> {
        let before = |start: &Timestamp| *start <= at;
        let mut latest = self.next(at.checked_sub(self.duration).ok()?).filter(before)?;
        // Mostly that was the only one. If not, halve the time that may hold a later one.
        let Some(second) = self.next(latest).filter(before) else { return Some(latest) };
        latest = second;
        let mut none_after = at;
        while let half = none_after.duration_since(latest).as_secs() / 2
            && half > 0
        {
            let middle = latest.checked_add(SignedDuration::from_secs(half)).ok()?;
            match self.next(middle).filter(before) {
                Some(later) => latest = later,
                None => none_after = middle,
            }
        }
        // A start between the last two seconds looked at.
        Some(self.next(latest).filter(before).unwrap_or(latest))
    }

    /// The end of the activity to which the occurrence of this start belongs.
    fn end(&self, start: Timestamp) -> Option<Timestamp> {
        let mut end = start.checked_add(self.duration).ok()?;
        for _ in 0..MERGED_MAX {
            let Some(next) = self.latest(end) else { return Some(end) };
            end = next.checked_add(self.duration).ok()?;
        }
        None
    }
}

/// The instant at which local clocks show this time: in a daylight-saving gap the next valid one, in a repeated hour the first.
fn resolve(local: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, after: _ } => {
            offset.to_timestamp(local).ok()
        }
        AmbiguousOffset::Gap { before, after: _ } => {
            // By the offset that no longer holds, the time lies at or behind the end of the gap, which is a transition.
            let behind = before.to_timestamp(local).ok()?.checked_add(SignedDuration::from_nanos(1)).ok()?;
            zone.preceding(behind).next().map(|transition| transition.timestamp())
        }
    }
}

/// The value, or none with its faults added to all others.
fn keep<T>(read: Result<T, Vec<String>>, faults: &mut Vec<String>) -> Option<T> {
    read.map_err(|found| faults.extend(found)).ok()
}

fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| {
        format!("timeZone {name:?} is unknown: use an IANA name, like Europe/Berlin, America/New_York or UTC")
    })
}

fn local(field: &str, text: &str) -> Result<DateTime, Vec<String>> {
    text.parse::<DateTime>()
        .ok()
        // The reader takes more than one way to write it, also ones with an offset that would then count for nothing.
        .filter(|at| text == format!("{at}"))
        .ok_or_else(|| vec![format!("{field} {text:?} is no local date and time: write it like 2026-12-20T00:00:00")])
}

fn length(duration: Duration) -> Result<SignedDuration, Vec<String>> {
    if duration.as_secs() < DURATION_MIN_SECONDS {
        return Err(vec![format!("duration {duration} is too short: use at least 1m")]);
    }
    Ok(duration.into())
}

fn once(from: DateTime, until: DateTime, zone: &TimeZone) -> Result<Occurrences, Vec<String>> {
    let late = || vec![format!("until {until} is not after from {from}: let the window end after it begins")];
    // As instants too: both may lie in the same daylight-saving gap.
    let (from_instant, until_instant) = resolve(from, zone).zip(resolve(until, zone)).ok_or_else(late)?;
    if until <= from || until_instant <= from_instant {
        return Err(late());
    }
    Ok(Occurrences::Once { from: from_instant, until: until_instant })
}
