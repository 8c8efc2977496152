//! Starts of a recurring window as local wall-clock times, without zone: first what the rule says, then what the zone
//! makes of it (`calendar`).

use std::iter;

use chrono::{Datelike, TimeZone, Timelike};
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{
    SignedDuration, ToSpan,
    civil::{Date, DateTime, date},
    tz::TimeZone as Zone,
};
use rrule::{Frequency, NWeekday, RRule, RRuleSet, Tz, Unvalidated};

/// Occurrences that a rule with COUNT may have: they are listed once, as where they end depends on where they begin.
const COUNT_MAX: u32 = 1000;
/// Starts a day that a rule of days, weeks, months or years may have: the library computes those of a whole period at once.
const STARTS_PER_DAY_MAX: usize = 96;

/// Where starts come from.
#[derive(Clone, Debug)]
pub(super) enum Starts {
    /// A rule without end, or with one in time.
    Rule(Box<Rule>),
    /// A rule with COUNT: all of its starts, in order.
    Listed(Vec<DateTime>),
    /// A cron expression.
    Cron(Box<Cron>),
}

/// A recurrence rule that can be entered at any time.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    rule: RRule,
    start: DateTime,
}

impl Starts {
    /// Starts at or after this time, in order; it may name one twice.
    pub(super) fn from(&self, at: DateTime) -> Box<dyn Iterator<Item = DateTime> + '_> {
        match self {
            Self::Rule(rule) => rule.from(at),
            Self::Listed(starts) => Box::new(starts[starts.partition_point(|start| *start < at)..].iter().copied()),
            Self::Cron(cron) => {
                // Zoned only as the library asks for it: UTC has neither gaps nor repeats, so local time stays as it is.
                let next = |at: DateTime, inclusive| {
                    let at = at.to_zoned(Zone::UTC).ok()?;
                    cron.find_next_occurrence(&at, inclusive).ok().map(|found| found.datetime())
                };
                Box::new(iter::successors(next(at, true), move |last| next(*last, false)))
            }
        }
    }

    /// Reads a cron expression of five fields.
    pub(super) fn cron(text: &str) -> Result<Self, String> {
        if text.split_whitespace().count() != 5 {
            return Err(format!(
                "cron {text:?} must have five fields (minute, hour, day of month, month, day of week), like 0 9 * * 2-4"
            ));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(text).map_err(|error| format!("cron {text:?} cannot be read: {error}"))?;
        let starts = Self::Cron(Box::new(cron));
        if starts.from(EPOCH.at(0, 0, 0, 0)).next().is_none() {
            return Err(format!("cron {text:?} never occurs: name a day that its months have"));
        }
        Ok(starts)
    }

    /// Reads a recurrence rule that counts from `start`; all of its faults.
    pub(super) fn rule(text: &str, start: DateTime) -> Result<Self, Vec<String>> {
        let one = |fault: String| vec![format!("recurrence {text:?} {fault}")];
        let unread: RRule<Unvalidated> =
            floating(text).map_err(one)?.parse().map_err(|error| one(format!("cannot be read: {error}")))?;
        let faults = limits(&unread);
        if !faults.is_empty() {
            return Err(faults.into_iter().flat_map(one).collect());
        }
        let origin = to_chrono(start).ok_or_else(|| one("starts at an impossible time".into()))?;
        let count = unread.get_count();
        let rule = unread.validate(origin).map_err(|error| one(format!("cannot be read: {error}")))?;
        let rule = Rule { rule, start };
        let mut first = rule.from(start);
        let starts = match count {
            Some(_) => Self::Listed(first.by_ref().take(COUNT_MAX as usize).collect()),
            None => Self::Rule(Box::new(rule.clone())),
        };
        if starts.from(start).next().is_none() {
            return Err(one("never occurs: name a day and time that exist, and let UNTIL be after start".into()));
        }
        Ok(starts)
    }
}

/// Day from which a cron expression is tried out; any would do.
const EPOCH: Date = date(2000, 1, 1);

impl Rule {
    fn from(&self, at: DateTime) -> Box<dyn Iterator<Item = DateTime> + '_> {
        let at = at.max(self.start);
        let Some(entry) = self.entry(at).and_then(to_chrono) else { return Box::new(iter::empty()) };
        // The library's own limit ends the search of a rule that has no further occurrence.
        let set = &RRuleSet::new(entry).rrule(self.rule.clone()).limit();
        let starts = set.into_iter().map_while(|start| from_chrono(&start));
        Box::new(starts.skip_while(move |start| *start < at))
    }

    /// A time from which the rule gives the same occurrences at or after `at` as from its start: whole intervals later,
    /// close before `at`. Without it, a rule of minutes that began years ago would be counted through.
    fn entry(&self, at: DateTime) -> Option<DateTime> {
        if self.rule.get_count().is_some() {
            return Some(self.start);
        }
        let interval = i64::from(self.rule.get_interval());
        let elapsed = at.duration_since(self.start).as_secs();
        let whole = |seconds: i64| {
            let period = interval * seconds;
            self.start.checked_add(SignedDuration::from_secs(elapsed / period * period)).ok()
        };
        let months = |months: i64| {
            let period = interval * months;
            let between = i64::from(at.year() - self.start.year()) * 12 + i64::from(at.month() - self.start.month());
            // Rules of months and years say their days and hours themselves: only the month they are entered in matters.
            let first = self.start.date().first_of_month().to_datetime(jiff::civil::Time::midnight());
            first.checked_add((between / period * period).months()).ok()
        };
        match self.rule.get_freq() {
            Frequency::Secondly => whole(1),
            Frequency::Minutely => whole(60),
            Frequency::Hourly => whole(3600),
            Frequency::Daily => whole(24 * 3600),
            Frequency::Weekly => whole(7 * 24 * 3600),
            Frequency::Monthly => months(1),
            Frequency::Yearly => months(12),
        }
    }
}

/// The rule with UNTIL as the library reads it: it knows no floating time, and UTC stands for local time here.
fn floating(text: &str) -> Result<String, String> {
    let mut parts = Vec::new();
    for part in text.split(';') {
        parts.push(match part.split_once('=') {
            Some(("UNTIL", until)) if until.ends_with('Z') => {
                return Err("has UNTIL in UTC, but all times are local: leave the Z out".into());
            }
            Some(("UNTIL", until)) if !until.contains('T') => format!("UNTIL={until}T235959Z"),
            Some(("UNTIL", until)) => format!("UNTIL={until}Z"),
            _ => part.to_owned(),
        });
    }
    Ok(parts.join(";"))
}

/// What the rule may not say, because it cannot be evaluated quickly or has no good meaning.
fn limits(rule: &RRule<Unvalidated>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut refuse = |refused: bool, fault: &str| {
        if refused {
            faults.push(fault.to_owned());
        }
    };
    refuse(rule.get_interval() == 0, "has INTERVAL=0: use 1 or more");
    refuse(rule.get_count().is_some_and(|count| count > COUNT_MAX), "has a COUNT above 1000: use UNTIL");
    refuse(rule.get_count() == Some(0), "has COUNT=0: use 1 or more, or leave it out");
    refuse(rule.get_by_second().len() > 1, "has several BYSECOND: windows start at most once a minute");
    match rule.get_freq() {
        Frequency::Secondly => refuse(true, "occurs every second: use FREQ=MINUTELY or a rarer one"),
        Frequency::Minutely | Frequency::Hourly => {
            // Left with hours and weekdays, such a rule repeats after a week's steps, which bounds the search.
            let by_date = !rule.get_by_month().is_empty()
                || !rule.get_by_month_day().is_empty()
                || !rule.get_by_year_day().is_empty()
                || !rule.get_by_set_pos().is_empty()
                || rule.get_by_weekday().iter().any(|day| matches!(day, NWeekday::Nth(..)));
            refuse(
                by_date,
                "picks dates from hours or minutes: use FREQ=DAILY, MONTHLY or YEARLY with BYHOUR and BYMINUTE",
            );
        }
        Frequency::Daily | Frequency::Weekly | Frequency::Monthly | Frequency::Yearly => {
            let per_day = rule.get_by_hour().len().max(1) * rule.get_by_minute().len().max(1);
            refuse(
                per_day > STARTS_PER_DAY_MAX,
                "starts more than 96 times a day: use fewer BYHOUR and BYMINUTE and a longer duration",
            );
        }
    }
    faults
}

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
