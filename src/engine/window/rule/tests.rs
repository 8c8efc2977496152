use std::collections::BTreeSet;

use proptest::{
    prelude::*,
    sample::{select, subsequence},
};

use super::*;

const MONDAY: Date = date(2024, 1, 1);
const WEEKDAYS: [&str; 7] = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];

fn starts(text: &str, start: &str, at: &str, count: usize) -> Vec<String> {
    let (rule, _) = Rule::parse(text, start.parse().unwrap(), &TimeZone::UTC).unwrap();
    rule.from(at.parse().unwrap()).take(count).map(|start| start.to_string()).collect()
}

#[test]
fn rules_of_the_rfc_are_read_as_people_mean_them() {
    for (rule, start, expected) in [
        ("FREQ=WEEKLY;BYDAY=TU,WE,TH", "2026-01-06T09:00:00", ["2026-11-24", "2026-11-25", "2026-11-26"]),
        ("FREQ=WEEKLY;INTERVAL=2", "2026-01-05T09:00:00", ["2026-11-23", "2026-12-07", "2026-12-21"]),
        ("FREQ=MONTHLY;BYDAY=2TU", "2026-01-01T09:00:00", ["2026-12-08", "2027-01-12", "2027-02-09"]),
        ("FREQ=MONTHLY;BYDAY=-1FR", "2026-01-01T09:00:00", ["2026-11-27", "2026-12-25", "2027-01-29"]),
        // The last working day.
        (
            "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
            "2026-01-01T09:00:00",
            ["2026-11-30", "2026-12-31", "2027-01-29"],
        ),
        ("FREQ=MONTHLY;INTERVAL=5", "2026-01-31T09:00:00", ["2028-07-31", "2028-12-31", "2029-05-31"]),
        ("FREQ=YEARLY", "2024-02-29T09:00:00", ["2028-02-29", "2032-02-29", "2036-02-29"]),
        ("FREQ=YEARLY;BYYEARDAY=-1", "2026-01-01T09:00:00", ["2026-12-31", "2027-12-31", "2028-12-31"]),
        ("FREQ=YEARLY;BYWEEKNO=1;BYDAY=MO", "2026-01-01T09:00:00", ["2027-01-04", "2028-01-03", "2029-01-01"]),
        ("FREQ=DAILY;INTERVAL=10;BYMONTH=12", "2026-01-01T09:00:00", ["2026-12-07", "2026-12-17", "2026-12-27"]),
    ] {
        let expected = expected.map(|day| format!("{day}T09:00:00"));
        assert_eq!(starts(rule, start, "2026-11-23T00:00:00", 3), expected, "{rule}");
    }
}

#[test]
fn a_rule_that_skips_is_in_step_however_late_it_is_looked_at() {
    for (rule, start, expected) in [
        ("FREQ=YEARLY;INTERVAL=3", "2020-05-04T09:00:00", ["2029-05-04", "2032-05-04", "2035-05-04"]),
        ("FREQ=YEARLY;INTERVAL=2", "2020-05-04T09:00:00", ["2028-05-04", "2030-05-04", "2032-05-04"]),
        ("FREQ=YEARLY;INTERVAL=4", "2019-05-04T09:00:00", ["2027-05-04", "2031-05-04", "2035-05-04"]),
        ("FREQ=MONTHLY;INTERVAL=7", "2026-01-15T09:00:00", ["2027-03-15", "2027-10-15", "2028-05-15"]),
        ("FREQ=MONTHLY;INTERVAL=7", "2019-10-15T09:00:00", ["2027-05-15", "2027-12-15", "2028-07-15"]),
        ("FREQ=WEEKLY;INTERVAL=3", "2026-01-05T09:00:00", ["2026-12-07", "2026-12-28", "2027-01-18"]),
        ("FREQ=DAILY;INTERVAL=10", "2026-01-01T09:00:00", ["2026-11-27", "2026-12-07", "2026-12-17"]),
        ("FREQ=HOURLY;INTERVAL=72", "2026-01-01T09:00:00", ["2026-11-24", "2026-11-27", "2026-11-30"]),
    ] {
        let expected = expected.map(|day| format!("{day}T09:00:00"));
        assert_eq!(starts(rule, start, "2026-11-23T00:00:00", 3), expected, "{rule}");
    }
}

#[test]
fn the_first_period_counts_and_a_rule_may_have_begun_long_before() {
    for (rule, start, expected) in [
        ("FREQ=YEARLY", "2026-12-01T09:00:00", ["2026-12-01T09:00:00", "2027-12-01T09:00:00", "2028-12-01T09:00:00"]),
        ("FREQ=MONTHLY", "2026-12-01T09:00:00", ["2026-12-01T09:00:00", "2027-01-01T09:00:00", "2027-02-01T09:00:00"]),
        ("FREQ=HOURLY", "1970-01-01T00:30:00", ["2026-11-23T00:30:00", "2026-11-23T01:30:00", "2026-11-23T02:30:00"]),
    ] {
        assert_eq!(starts(rule, start, "2026-11-23T00:00:00", 3), expected, "{rule}");
    }
}

#[test]
fn numbers_before_weekdays_are_read_or_refused() {
    let faults = |days: &str| {
        let rule = format!("FREQ=MONTHLY;BYDAY={days}");
        Rule::parse(&rule, "2026-01-01T09:00:00".parse().unwrap(), &TimeZone::UTC).err().unwrap_or_default()
    };
    for days in ["MO", "1MO", "-1FR", "+2TU", "MO,SU"] {
        assert_eq!(faults(days), [] as [String; 0], "{days}");
    }
    for (days, wrong) in [("0MO", "0MO"), ("xMO", "xMO"), ("1XX", "1XX"), ("XX", "XX"), ("M", "M"), ("MO,", "")] {
        assert!(faults(days)[0].starts_with(&format!("has {wrong:?} in BYDAY")), "{days}: {:?}", faults(days));
    }
}

#[test]
fn a_day_or_hour_has_48_starts_and_no_more() {
    let list = |count: i64, by: i64| (0..count).map(|index| (index * by).to_string()).collect::<Vec<_>>().join(",");
    let parse = |rule: String| Rule::parse(&rule, "2026-01-01T09:00:00".parse().unwrap(), &TimeZone::UTC);
    for (rule, most) in [
        ("FREQ=DAILY;BYHOUR=HOURS;BYMINUTE=SOME", 2),
        ("FREQ=WEEKLY;BYHOUR=HOURS;BYMINUTE=SOME", 2),
        ("FREQ=MONTHLY;BYHOUR=HOURS;BYMINUTE=SOME", 2),
        ("FREQ=HOURLY;BYMINUTE=SOME;BYSECOND=0,15,30,45", 12),
        ("FREQ=DAILY;BYMINUTE=SOME;BYSECOND=0,15,30,45", 12),
    ] {
        let rule = |count| rule.replace("HOURS", &list(24, 1)).replace("SOME", &list(count, 3));
        assert!(parse(rule(most)).is_ok(), "{}", rule(most));
        let faults = parse(rule(most + 1)).unwrap_err();
        assert!(faults[0].contains("48 times"), "{faults:?}");
    }
}

#[test]
fn a_position_in_the_week_does_not_depend_on_when_the_rule_is_entered() {
    let first_of_week = "FREQ=WEEKLY;BYDAY=MO,WE,FR;BYSETPOS=1";
    // Its start is a Wednesday, and the Monday before is not part of it.
    for at in ["2026-11-18T00:00:00", "2026-11-19T00:00:00", "2026-11-23T09:00:00"] {
        assert_eq!(starts(first_of_week, "2026-11-18T09:00:00", at, 1), ["2026-11-23T09:00:00"], "{at}");
    }
}

#[test]
fn weeks_of_a_rule_begin_where_it_says() {
    // As in the RFC: with two weeks between, Sunday belongs to the week before or behind it.
    for (week_start, expected) in
        [("MO", ["1997-08-05", "1997-08-10", "1997-08-19"]), ("SU", ["1997-08-05", "1997-08-17", "1997-08-19"])]
    {
        let rule = format!("FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST={week_start}");
        let expected = expected.map(|day| format!("{day}T09:00:00"));
        assert_eq!(starts(&rule, "1997-08-05T09:00:00", "1997-08-05T09:00:00", 3), expected);
        assert_eq!(starts(&rule, "1997-08-05T09:00:00", "1997-08-18T00:00:00", 1), expected[2..]);
    }
}

/// A rule without positions, so that each moment tells by itself whether it is a start.
#[derive(Clone, Debug)]
struct Plain {
    freq: &'static str,
    interval: i64,
    months: Vec<i8>,
    month_days: Vec<i8>,
    weekdays: Vec<i8>,
    hours: Vec<i8>,
    start: DateTime,
}

fn plain() -> impl Strategy<Value = Plain> {
    let some = |values: Vec<i8>, most: usize| subsequence(values, 0..=most);
    (
        select(&["HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"][..]),
        1..5i64,
        prop_oneof![Just(Vec::new()), some((1..=12).collect(), 4)],
        prop_oneof![Just(Vec::new()), some((-31..=31).filter(|day| *day != 0).collect(), 5)],
        prop_oneof![Just(Vec::new()), some((0..7).collect(), 4)],
        some((0..24).collect(), 3),
        (0..800i64, 0..24i8, 0..60i8),
    )
        .prop_map(|(freq, interval, months, month_days, weekdays, hours, (day, hour, minute))| Plain {
            freq,
            interval,
            months,
            month_days: if freq == "WEEKLY" { Vec::new() } else { month_days },
            weekdays,
            hours,
            start: MONDAY.checked_add(day.days()).unwrap().at(hour, minute, 0, 0),
        })
}

impl Plain {
    fn text(&self) -> String {
        let list = |values: &[i8]| values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let weekdays: Vec<&str> = self.weekdays.iter().map(|day| WEEKDAYS[usize::try_from(*day).unwrap()]).collect();
        let parts = [
            ("BYMONTH", list(&self.months)),
            ("BYMONTHDAY", list(&self.month_days)),
            ("BYDAY", weekdays.join(",")),
            ("BYHOUR", list(&self.hours)),
        ];
        let parts: String = parts
            .iter()
            .filter(|(_, values)| !values.is_empty())
            .map(|(name, values)| format!(";{name}={values}"))
            .collect();
        format!("FREQ={};INTERVAL={}{parts}", self.freq, self.interval)
    }

    /// Whether the rule starts in this hour, at the minute of its start.
    fn starts(&self, at: DateTime) -> bool {
        let first = self.start;
        let monday = |at: DateTime| at.date().checked_sub(at.weekday().to_monday_zero_offset().days()).unwrap();
        let months = |at: DateTime| i64::from(at.year()) * 12 + i64::from(at.month());
        let days = |from: Date, to: Date| i64::from((to - from).get_days());
        let dayless = self.month_days.is_empty() && self.weekdays.is_empty();
        let (period, default_day) = match self.freq {
            "HOURLY" => (at.duration_since(first).as_hours(), true),
            "DAILY" => (days(first.date(), at.date()), true),
            "WEEKLY" => (days(monday(first), monday(at)) / 7, at.weekday() == first.weekday()),
            "MONTHLY" => (months(at) - months(first), at.day() == first.day()),
            "YEARLY" => {
                let month = !self.months.is_empty() || at.month() == first.month();
                (i64::from(at.year() - first.year()), month && at.day() == first.day())
            }
            other => panic!("{other}"),
        };
        let from_end = at.day() - at.days_in_month() - 1;
        let listed = |values: &[i8], value: i8| values.is_empty() || values.contains(&value);
        let hour = match (self.hours.is_empty(), self.freq) {
            (true, "HOURLY") => true,
            (true, _) => at.hour() == first.hour(),
            (false, _) => self.hours.contains(&at.hour()),
        };
        period % self.interval == 0
            && listed(&self.months, at.month())
            && (listed(&self.month_days, at.day()) || self.month_days.contains(&from_end))
            && listed(&self.weekdays, at.weekday().to_monday_zero_offset())
            && (!dayless || default_day)
            && hour
    }
}

/// Text that looks like a rule.
fn anything() -> impl Strategy<Value = String> {
    let names = [
        "FREQ",
        "INTERVAL",
        "COUNT",
        "UNTIL",
        "WKST",
        "BYSETPOS",
        "BYMONTH",
        "BYMONTHDAY",
        "BYYEARDAY",
        "BYWEEKNO",
        "BYDAY",
        "BYHOUR",
        "BYMINUTE",
        "BYSECOND",
        "X",
    ];
    let number = || prop_oneof![(-400..400i64).prop_map(|number| number.to_string()), Just("65536".to_owned())];
    let value = prop_oneof![
        prop::collection::vec(number(), 1..4).prop_map(|numbers| numbers.join(",")),
        subsequence(WEEKDAYS.to_vec(), 1..4).prop_map(|days| days.join(",")),
        (number(), select(&WEEKDAYS[..])).prop_map(|(number, day)| format!("{number}{day}")),
        Just("20270101T000000".to_owned()),
        "[A-Z0-9,+-]{0,8}",
    ];
    let part = (select(names.to_vec()), value).prop_map(|(name, value)| format!("{name}={value}"));
    let freq = select(&["HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"][..]);
    (freq, prop::collection::vec(part, 0..4))
        .prop_map(|(freq, parts)| std::iter::once(format!("FREQ={freq}")).chain(parts).collect::<Vec<_>>().join(";"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_rule_entered_at_any_time_agrees_with_a_scan_of_all_hours(plain in plain(), enter in 0..9000i64) {
        let (rule, _) = Rule::parse(&plain.text(), plain.start, &TimeZone::UTC).unwrap();
        let enter = plain.start + SignedDuration::from_hours(enter);
        let hours = |count: i64| (0..count).map(|hour| enter + SignedDuration::from_hours(hour));
        // Half a year of hours from there on.
        let scanned: BTreeSet<DateTime> = hours(4400).filter(|at| plain.starts(*at)).collect();
        let end = enter + SignedDuration::from_hours(4400);
        let told: BTreeSet<DateTime> = rule.from(enter).take_while(|at| *at < end).collect();
        prop_assert_eq!(told, scanned, "{} from {} entered at {}", plain.text(), plain.start, enter);
    }

    #[test]
    fn any_text_is_read_or_refused_with_a_reason(text in anything(), enter in 0..9000i64) {
        let start = MONDAY.at(9, 0, 0, 0);
        match Rule::parse(&text, start, &TimeZone::UTC) {
            Ok((rule, _)) => {
                let enter = start + SignedDuration::from_hours(enter);
                let starts: Vec<DateTime> = rule.from(enter).take(20).collect();
                prop_assert!(starts.is_sorted() && starts.iter().all(|at| *at >= enter), "{text}: {starts:?}");
            }
            Err(faults) => prop_assert!(!faults.is_empty(), "{text}"),
        }
    }
}
