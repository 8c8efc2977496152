//! Promises over any rule, against what clocks show minute by minute.

use std::collections::BTreeSet;

use jiff::civil::{Date, date};
use proptest::prelude::*;

use super::*;

/// A rule of weeks, and what it means.
#[derive(Clone, Debug)]
struct Weekly {
    first: Date,
    days: BTreeSet<i8>,
    hour: i8,
    minute: i8,
    interval: i64,
    length: i64,
    zone: &'static str,
}

const PLACES: [&str; 5] = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC"];

fn weekly() -> impl Strategy<Value = Weekly> {
    (
        0..900i64,
        prop::collection::btree_set(0..7i8, 1..5),
        // Mostly in the hours in which clocks change.
        (prop_oneof![1..4i8, 0..24i8], 0..60i8),
        1..4i64,
        prop_oneof![1..200i64, 1..5000i64],
        prop::sample::select(&PLACES[..]),
    )
        .prop_map(|(first, days, (hour, minute), interval, length, zone)| Weekly {
            first: date(2024, 1, 1).checked_add(jiff::Span::new().days(first)).unwrap(),
            days,
            hour,
            minute,
            interval,
            length,
            zone,
        })
}

impl Weekly {
    fn schedule(&self) -> String {
        let days = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];
        let by_day: Vec<&str> = self.days.iter().map(|day| days[usize::try_from(*day).unwrap()]).collect();
        format!(
            "{{start: '{}', timeZone: {}, duration: {}m, recurrence: 'FREQ=WEEKLY;INTERVAL={};BYDAY={}'}}",
            self.first.at(self.hour, self.minute, 0, 0),
            self.zone,
            self.length,
            self.interval,
            by_day.join(",")
        )
    }

    /// All starts within so many days of a day, found day by day and, in gaps, minute by minute.
    fn starts(&self, around: Date, days: i64) -> Vec<Timestamp> {
        let zone = ZONES.get(self.zone).unwrap();
        let monday =
            |day: Date| day.checked_sub(jiff::Span::new().days(day.weekday().to_monday_zero_offset())).unwrap();
        let days = (-days..=days).map(|day| around.checked_add(jiff::Span::new().days(day)).unwrap());
        days.filter(|day| *day >= self.first && self.days.contains(&day.weekday().to_monday_zero_offset()))
            .filter(|day| (monday(*day) - monday(self.first)).get_days() % 7 == 0)
            .filter(|day| i64::from((monday(*day) - monday(self.first)).get_days()) / 7 % self.interval == 0)
            .map(|day| {
                let wanted = day.at(self.hour, self.minute, 0, 0);
                // The first instant, minute by minute, at which clocks show this time or, in a gap, a later one.
                let early = TimeZone::UTC.to_timestamp(wanted).unwrap() - minutes(26 * 60);
                (0..).map(|n| early + minutes(n)).find(|at| zone.to_datetime(*at) >= wanted).unwrap()
            })
            .collect()
    }
}

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_weekly_window_agrees_with_a_scan_of_all_minutes(rule in weekly(), day in 0..900i64, minute in 0..1440i64) {
        let calendar = calendar(&rule.schedule());
        let day = date(2024, 1, 1).checked_add(jiff::Span::new().days(day)).unwrap();
        let now = TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).unwrap() + minutes(minute);
        let starts = rule.starts(day, 30);
        let active = |at: Timestamp| {
            starts.iter().any(|start| *start <= at && at < *start + minutes(rule.length))
        };
        // Three weeks ahead the list of starts is whole, whatever the length.
        let scan = (0..21 * 1440).map(|n| now + minutes(n)).map(|at| (at, active(at))).collect::<Vec<_>>();
        let change = |to: bool| {
            scan.windows(2).find(|pair| pair[0].1 != to && pair[1].1 == to).map(|pair| pair[1].0)
        };
        let state = calendar.at(now);
        let known = |told: Option<Timestamp>| told.filter(|told| *told < now + minutes(21 * 1440));
        prop_assert_eq!(state.active, active(now), "{:?} at {}", rule, now);
        prop_assert_eq!(known(state.next_start), change(true), "start of {:?} at {}", rule, now);
        prop_assert_eq!(known(state.next_end), change(false), "end of {:?} at {}", rule, now);
    }

    #[test]
    fn what_is_told_are_real_changes_and_nothing_changes_before(
        rule in weekly(),
        seconds in 1_704_067_200..1_800_000_000i64,
        fraction in 0..1000i64,
    ) {
        let calendar = calendar(&rule.schedule());
        let now = Timestamp::from_second(seconds).unwrap();
        let state = calendar.at(now);
        let a_moment = SignedDuration::from_nanos(1);
        for (told, active) in [(state.next_start, true), (state.next_end, false)] {
            if let Some(told) = told {
                prop_assert_eq!(calendar.at(told).active, active, "{:?} at {}", rule, told);
                prop_assert_eq!(calendar.at(told - a_moment).active, !active, "{:?} just before {}", rule, told);
            }
        }
        if let Some(holds_until) = state.holds_until {
            let between = now + SignedDuration::from_secs(holds_until.duration_since(now).as_secs() * fraction / 1000);
            prop_assert_eq!(calendar.at(between).active, state.active, "{:?} at {}", rule, between);
            // With no end in sight, a later look sees further.
            if state.next_end.is_some() {
                prop_assert_eq!(calendar.at(between), state, "{:?} at {}", rule, between);
            }
        }
    }
}
