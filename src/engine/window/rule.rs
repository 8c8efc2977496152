//! Recurrence rules of RFC 5545, on local wall-clock time.
//!
//! The library expands one period of the rule (a year, month, week, day or hour) after the other. It does so from the
//! rule's start; [`Rule::from`] lets it begin at the period that holds the time asked about. COUNT and UNTIL are kept
//! from it: COUNT means something only from the start, and UNTIL has to be read in the window's zone.

use std::{collections::BTreeSet, iter};

use chrono::{Datelike, TimeZone as _, Timelike};
use jiff::{
    SignedDuration, ToSpan,
    civil::{Date, DateTime, Time, Weekday, date},
    tz::TimeZone,
};
use rrule::{Frequency, NWeekday, RRule, RRuleSet, Tz, Unvalidated};

/// Occurrences that a rule with COUNT may have; they are kept as a list.
const COUNT_MAX: usize = 1000;
/// Starts that a rule may have a day: the library expands a whole period at once, which may be a year.
const STARTS_PER_DAY_MAX: usize = 48;

/// A recurrence rule that can be entered at any time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rule {
    rule: RRule,
    start: DateTime,
    until: Option<DateTime>,
}

impl Rule {
    /// Reads a rule that counts from `start`, and its COUNT; or all faults.
    pub(super) fn parse(text: &str, start: DateTime, zone: &TimeZone) -> Result<(Self, Option<usize>), Vec<String>> {
        let mut faults = Vec::new();
        let Parts { rule, count, until } = parts(text, zone, &mut faults);
        let unread: RRule<Unvalidated> = match rule.parse() {
            Ok(rule) => rule,
            Err(error) => {
                faults.push(unreadable(&error));
                return Err(faults);
            }
        };
        faults.extend(limits(&unread));
        if count.is_some() && until.is_some() {
            faults.push("has COUNT and UNTIL: leave one of them out".into());
        }
        let Some(origin) = to_chrono(start) else {
            return Err(vec![format!("counts from {start}, which is out of range: use a year from 1970 on")]);
        };
        match unread.validate(origin) {
            Ok(rule) if faults.is_empty() => return Ok((Self { rule, start, until }, count)),
            Ok(_) => {}
            Err(error) => faults.push(unreadable(&error)),
        }
        Err(faults)
    }

    /// Occurrences at or after this time, in order.
    pub(super) fn from(&self, at: DateTime) -> Box<dyn Iterator<Item = DateTime> + '_> {
        let at = at.max(self.start);
        let Some(entry) = self.period(at).and_then(to_chrono) else { return Box::new(iter::empty()) };
        // `limit` is what ends the library's search when there is no further occurrence.
        let set = &RRuleSet::new(entry).rrule(self.rule.clone()).limit();
        let starts = set.into_iter().map_while(|start| from_chrono(&start));
        let until = self.until;
        Box::new(
            starts
                .skip_while(move |start| *start < at)
                .take_while(move |start| until.is_none_or(|until| *start <= until)),
        )
    }

    /// The begin of the period of the rule that holds `at`, or of the last one before if the rule skips that
    /// (INTERVAL).
    fn period(&self, at: DateTime) -> Option<DateTime> {
        let interval = i64::from(self.rule.get_interval());
        let begin_of_day = |day: Date| day.to_datetime(Time::midnight());
        let whole = |first: DateTime, hours: i64| {
            let length = interval * hours * 3600;
            let elapsed = at.duration_since(first).as_secs();
            first.checked_add(SignedDuration::from_secs(elapsed.div_euclid(length) * length)).ok()
        };
        match self.rule.get_freq() {
            Frequency::Yearly => {
                let years = i64::from(at.year() - self.start.year());
                date(self.start.year(), 1, 1).checked_add((years / interval * interval).years()).ok().map(begin_of_day)
            }
            Frequency::Monthly => {
                let first = self.start.date().first_of_month();
                let months =
                    i64::from(at.year() - first.year()) * 12 + i64::from(at.month()) - i64::from(first.month());
                first.checked_add((months / interval * interval).months()).ok().map(begin_of_day)
            }
            Frequency::Weekly => {
                let day = self.start.date();
                let into_week = day.weekday().since(weekday(self.rule.get_week_start()));
                whole(begin_of_day(day.checked_sub(i64::from(into_week).days()).ok()?), 7 * 24)
            }
            Frequency::Daily => whole(begin_of_day(self.start.date()), 24),
            // Minutes and seconds are refused by `limits`.
            Frequency::Hourly | Frequency::Minutely | Frequency::Secondly => {
                whole(self.start.date().at(self.start.hour(), 0, 0, 0), 1)
            }
        }
    }
}

/// A rule apart from what bounds it.
struct Parts {
    rule: String,
    count: Option<usize>,
    until: Option<DateTime>,
}

/// Takes COUNT and UNTIL out of the rule, and looks at what the library reads too kindly.
fn parts(text: &str, zone: &TimeZone, faults: &mut Vec<String>) -> Parts {
    let (mut rule, mut count, mut until) = (Vec::new(), None, None);
    let mut names = BTreeSet::new();
    for part in text.split(';') {
        let name = part.split_once('=').map_or(part, |(name, _)| name);
        if !names.insert(name) {
            faults.push(format!("has {name} twice: leave one of them out"));
            continue;
        }
        let read = match part.split_once('=') {
            Some(("COUNT", number)) => read_count(number).map(|number| count = Some(number)),
            Some(("UNTIL", time)) => read_until(time, zone).map(|time| until = Some(time)),
            Some(("BYDAY", days)) => {
                rule.push(part);
                read_days(days)
            }
            Some(_) | None => {
                rule.push(part);
                Ok(())
            }
        };
        faults.extend(read.err());
    }
    Parts { rule: rule.join(";"), count, until }
}

fn read_count(number: &str) -> Result<usize, String> {
    number
        .parse()
        .ok()
        .filter(|count| (1..=COUNT_MAX).contains(count))
        .ok_or_else(|| format!("has COUNT={number}: use 1 to {COUNT_MAX}, or UNTIL"))
}

fn read_until(time: &str, zone: &TimeZone) -> Result<DateTime, String> {
    let (digits, utc) = time.strip_suffix('Z').map_or((time, false), |digits| (digits, true));
    let until = DateTime::strptime("%Y%m%dT%H%M%S", digits).map_err(|_| {
        format!("has UNTIL={time}: write the last start allowed in local time like 20261231T235959, or in UTC with a Z")
    })?;
    match utc {
        // Within years that can be written, so that the conversion does not fail.
        true => TimeZone::UTC
            .to_timestamp(until)
            .map(|until| zone.to_datetime(until))
            .map_err(|_| format!("has UNTIL={time}, which is out of range: leave it out")),
        false => Ok(until),
    }
}

/// The library takes any text before a weekday for no number at all.
fn read_days(days: &str) -> Result<(), String> {
    let readable = |day: &str| {
        let Some((number, name)) = day.len().checked_sub(2).and_then(|at| day.split_at_checked(at)) else {
            return false;
        };
        ["MO", "TU", "WE", "TH", "FR", "SA", "SU"].contains(&name)
            && (number.is_empty() || number.parse::<i16>().is_ok_and(|number| number != 0))
    };
    match days.split(',').find(|day| !readable(day)) {
        Some(day) => {
            Err(format!("has {day:?} in BYDAY: use MO, TU, WE, TH, FR, SA, SU, or with a number like 1MO or -1FR"))
        }
        None => Ok(()),
    }
}

fn unreadable(error: &rrule::RRuleError) -> String {
    let error = error.to_string();
    format!("cannot be read: {}: write it like FREQ=WEEKLY;BYDAY=TU,WE,TH", error.trim_end_matches('.'))
}

/// What a rule may not say, because it cannot be evaluated quickly or rightly, or has no good meaning.
fn limits(rule: &RRule<Unvalidated>) -> Vec<String> {
    let numbered = |day: &&NWeekday| matches!(day, NWeekday::Nth(..));
    let (days, hours) = (rule.get_by_weekday(), rule.get_by_hour().len().max(1));
    let nth = days.iter().filter(numbered).count();
    let of_hour = rule.get_by_minute().len().max(1) * rule.get_by_second().len().max(1);
    let (frequent, of_months, of_day) = match rule.get_freq() {
        Frequency::Secondly | Frequency::Minutely => (true, false, of_hour),
        Frequency::Hourly => (false, false, of_hour),
        Frequency::Daily | Frequency::Weekly => (false, false, of_hour * hours),
        Frequency::Monthly | Frequency::Yearly => (false, true, of_hour * hours),
    };
    let refused = [
        (
            frequent,
            "recurs too often for a window: use FREQ=HOURLY or a rarer one, with BYMINUTE, and a longer duration",
        ),
        (rule.get_interval() == 0, "has INTERVAL=0: use 1 or more"),
        (of_day > STARTS_PER_DAY_MAX, "starts more than 48 times a day or hour: use fewer and a longer duration"),
        (nth > 0 && !of_months, "has numbers in BYDAY, which count in months and years: use FREQ=MONTHLY or YEARLY"),
        (nth > 0 && nth < days.len(), "mixes weekdays with and without number in BYDAY: use one kind"),
        (nth > 0 && !rule.get_by_week_no().is_empty(), "has numbers in BYDAY beside BYWEEKNO: leave one of them out"),
    ];
    refused.into_iter().filter(|(refused, _)| *refused).map(|(_, fault)| fault.into()).collect()
}

fn weekday(day: chrono::Weekday) -> Weekday {
    match day {
        chrono::Weekday::Mon => Weekday::Monday,
        chrono::Weekday::Tue => Weekday::Tuesday,
        chrono::Weekday::Wed => Weekday::Wednesday,
        chrono::Weekday::Thu => Weekday::Thursday,
        chrono::Weekday::Fri => Weekday::Friday,
        chrono::Weekday::Sat => Weekday::Saturday,
        chrono::Weekday::Sun => Weekday::Sunday,
    }
}

/// The library knows no floating time, so UTC stands for it: it has neither gaps nor repeats.
fn to_chrono(at: DateTime) -> Option<chrono::DateTime<Tz>> {
    let part = |number: i8| u32::try_from(number).ok();
    let (month, day) = (part(at.month())?, part(at.day())?);
    let (hour, minute, second) = (part(at.hour())?, part(at.minute())?, part(at.second())?);
    Tz::UTC.with_ymd_and_hms(at.year().into(), month, day, hour, minute, second).single()
}

fn from_chrono(at: &chrono::DateTime<Tz>) -> Option<DateTime> {
    let part = |number: u32| i8::try_from(number).ok();
    let date = Date::new(i16::try_from(at.year()).ok()?, part(at.month())?, part(at.day())?).ok()?;
    Some(date.at(part(at.hour())?, part(at.minute())?, part(at.second())?, 0))
}

#[cfg(test)]
mod tests;
