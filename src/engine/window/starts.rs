//! Starts of a recurring window as local wall-clock times, without zone: first what the rule says, then what the zone
//! makes of it (`calendar`).

use std::iter;

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{
    civil::{DateTime, date},
    tz::TimeZone,
};

use super::rule::Rule;

/// Where starts come from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Starts {
    /// A recurrence rule without COUNT.
    Rule(Box<Rule>),
    /// A recurrence rule with COUNT: all of its starts, in order, as where they end depends on where they begin.
    Listed(Vec<DateTime>),
    /// A cron expression.
    Cron(Box<Cron>),
}

/// Day from which a cron expression is tried out; any would do.
const CRON_TRIED_FROM: DateTime = date(2000, 1, 1).at(0, 0, 0, 0);

/// Years for which the starts of a rule with COUNT are listed: some rules meet their day once in a generation.
const LISTED_YEARS: i64 = 100;

impl Starts {
    /// Starts at or after this time, in order.
    pub(super) fn from(&self, at: DateTime) -> Box<dyn Iterator<Item = DateTime> + '_> {
        match self {
            Self::Rule(rule) => rule.from(at),
            Self::Listed(starts) => Box::new(starts[starts.partition_point(|start| *start < at)..].iter().copied()),
            Self::Cron(cron) => {
                // Zoned only as the library asks for it: UTC has neither gaps nor repeats, so local time stays as it
                // is.
                let next = |at: DateTime, inclusive| {
                    let at = at.to_zoned(TimeZone::UTC).ok()?;
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
        let cron = parser.parse(text).map_err(|error| {
            let error = error.to_string();
            format!("cron {text:?} cannot be read: {}: write it like 0 9 * * 2-4", error.trim_end_matches('.'))
        })?;
        let starts = Self::Cron(Box::new(cron));
        if starts.from(CRON_TRIED_FROM).next().is_none() {
            return Err(format!("cron {text:?} never occurs: name a day that its months have"));
        }
        Ok(starts)
    }

    /// Reads a recurrence rule that counts from `start`; all of its faults. UNTIL in UTC is read in `zone`.
    pub(super) fn rule(text: &str, start: DateTime, zone: &TimeZone) -> Result<Self, Vec<String>> {
        let named = |fault: String| format!("recurrence {text:?} {fault}");
        let (rule, count) =
            Rule::parse(text, start, zone).map_err(|faults| faults.into_iter().map(named).collect::<Vec<_>>())?;
        let starts = match count {
            Some(count) => {
                let in_sight = |at: &DateTime| i64::from(at.year()) - i64::from(start.year()) < LISTED_YEARS;
                Self::Listed(rule.from(start).take_while(in_sight).take(count).collect())
            }
            None => Self::Rule(Box::new(rule)),
        };
        if starts.from(start).next().is_none() {
            return Err(vec![named(
                "never occurs: name a day and time that exist, and let UNTIL be after start".into(),
            )]);
        }
        Ok(starts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_with_a_count_is_listed_for_a_hundred_years_and_no_longer() {
        let start = date(1970, 6, 1).at(9, 0, 0, 0);
        let starts = Starts::rule("FREQ=YEARLY;COUNT=1000", start, &TimeZone::UTC).unwrap();
        let from = |year| starts.from(date(year, 1, 1).at(0, 0, 0, 0)).next();
        assert_eq!(from(2069), Some(date(2069, 6, 1).at(9, 0, 0, 0)));
        assert_eq!(from(2070), None);
    }
}
