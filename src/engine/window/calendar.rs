//! When a window is active.

use std::sync::LazyLock;

use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};
use lockkeeper_api::{deployment_window::Schedule, scalar::Duration};

use super::starts::Starts;

/// Shortest length of an occurrence, in seconds.
const DURATION_MIN_SECONDS: u64 = 60;
/// Overlapping or adjacent occurrences that are followed to find the end: more than a year of days, or nine hours of
/// minutes.
const IN_A_ROW_MAX: usize = 600;

/// The zones that are built in, so that nothing is read from the machine that this runs on.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A window's schedule, read and found sound.
#[derive(Clone, Debug, PartialEq)]
pub struct Calendar {
    zone: TimeZone,
    occurrences: Occurrences,
}

#[derive(Clone, Debug, PartialEq)]
enum Occurrences {
    Once { from: Timestamp, until: Timestamp },
    Recurring { starts: Starts, duration: SignedDuration },
}

/// What a calendar says of one instant. Overlapping and adjacent occurrences count as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Whether the window is active.
    pub active: bool,
    /// When it becomes active next, after the present activity if it is active; none if it never does again, or if it
    /// is active with no end in sight.
    pub next_start: Option<Timestamp>,
    /// When the present activity or, if there is none, the next one ends; none if there is none, or with no end in
    /// sight: more than 600 occurrences in a row.
    pub next_end: Option<Timestamp>,
    /// `active` holds until then at least: the next start or end if it is in sight; none if it holds for good.
    pub holds_until: Option<Timestamp>,
}

impl Calendar {
    /// Reads a schedule.
    ///
    /// # Errors
    /// Every fault, each in a sentence that tells how to mend it.
    pub fn parse(schedule: &Schedule) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let zone = keep(zone(schedule.time_zone()), &mut faults);
        // Faults of the rest are wanted beside an unknown zone as well; the value is then not used.
        let any_zone = zone.clone().unwrap_or(TimeZone::UTC);
        let occurrences = match schedule {
            Schedule::Once { from, until, time_zone: _ } => {
                let from = keep(local("from", from), &mut faults);
                let until = keep(local("until", until), &mut faults);
                from.zip(until).and_then(|(from, until)| keep(once(from, until, &any_zone), &mut faults))
            }
            Schedule::Recurring { start, recurrence, duration, time_zone: _ } => {
                let duration = keep(length(*duration), &mut faults);
                let starts = keep(local("start", start), &mut faults)
                    .and_then(|start| keep(Starts::rule(recurrence, start, &any_zone), &mut faults));
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

    /// What the calendar says of `now`. Looks at a bounded number of occurrences close to it, however old the schedule
    /// is.
    pub fn at(&self, now: Timestamp) -> State {
        match &self.occurrences {
            Occurrences::Once { from, until } => match now {
                now if now < *from => State::idle_until(*from, Some(*until)),
                now if now < *until => State::active_until(*until, None),
                _ => State::default(),
            },
            Occurrences::Recurring { starts, duration } => self.recurring(starts, *duration, now),
        }
    }

    fn recurring(&self, starts: &Starts, duration: SignedDuration, now: Timestamp) -> State {
        let end_of = |start: Timestamp| start.checked_add(duration).unwrap_or(Timestamp::MAX);
        let earliest = now.checked_sub(duration).unwrap_or(Timestamp::MIN);
        // An earlier local time is never a later instant, so no occurrence that lasts until now is left out.
        let mut starts = starts
            .from(self.zone.to_datetime(earliest))
            .map_while(|start| resolve(start, &self.zone))
            .skip_while(|start| end_of(*start) <= now);
        let Some(start) = starts.next() else { return State::default() };
        let active = start <= now;
        let mut end = end_of(start);
        for _ in 0..IN_A_ROW_MAX {
            match starts.next() {
                Some(next) if next <= end => end = end_of(next),
                next if active => return State::active_until(end, next),
                _ => return State::idle_until(start, Some(end)),
            }
        }
        match active {
            true => State { active, holds_until: Some(end), ..State::default() },
            false => State::idle_until(start, None),
        }
    }
}

impl State {
    /// Whether `holds_until` is when the window changes, and not only how far ahead has been looked.
    pub fn in_sight(&self) -> bool {
        !self.active || self.next_end.is_some()
    }

    fn active_until(end: Timestamp, next_start: Option<Timestamp>) -> Self {
        Self { active: true, next_start, next_end: Some(end), holds_until: Some(end) }
    }

    fn idle_until(start: Timestamp, next_end: Option<Timestamp>) -> Self {
        Self { active: false, next_start: Some(start), next_end, holds_until: Some(start) }
    }
}

/// The instant at which local clocks show this time: in a daylight-saving gap the next valid one, in a repeated hour
/// the first.
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

fn zone(name: &str) -> Result<TimeZone, Vec<String>> {
    ZONES.get(name).ok().filter(|zone| !zone.is_unknown()).ok_or_else(|| {
        vec![format!("timeZone {name:?} is unknown: use an IANA name, like Europe/Berlin, America/New_York or UTC")]
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

#[cfg(test)]
mod tests;
