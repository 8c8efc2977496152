mod faults;
mod properties;

use super::*;

fn schedule(yaml: &str) -> Schedule {
    serde_saphyr::from_str(yaml).unwrap()
}

fn calendar(yaml: &str) -> Calendar {
    Calendar::parse(&schedule(yaml)).unwrap()
}

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Checks rows of (schedule, now, active, next start, next end), `-` being none.
fn check(rows: &[(&str, &str, bool, &str, &str)]) {
    for (yaml, now, active, next_start, next_end) in rows {
        let optional = |text: &str| (text != "-").then(|| instant(text));
        let state = calendar(yaml).at(instant(now));
        let told = (state.active, state.next_start, state.next_end);
        assert_eq!(told, (*active, optional(next_start), optional(next_end)), "{yaml} at {now}");
        if state.next_end.is_some() {
            assert_eq!(state.holds_until, state.next_start.into_iter().chain(state.next_end).min(), "{yaml} at {now}");
        }
    }
}

const OFFICE: &str =
    "{start: '2026-01-06T09:00:00', timeZone: Europe/Berlin, duration: 8h, recurrence: 'FREQ=WEEKLY;BYDAY=TU,WE,TH'}";
const CHRISTMAS: &str = "{from: '2026-12-20T00:00:00', until: '2027-01-04T00:00:00', timeZone: Europe/Berlin}";

#[test]
fn a_window_is_active_from_its_start_up_to_but_without_its_end() {
    check(&[
        (OFFICE, "2026-01-01T00:00:00Z", false, "2026-01-06T08:00:00Z", "2026-01-06T16:00:00Z"),
        (OFFICE, "2026-01-06T07:59:59Z", false, "2026-01-06T08:00:00Z", "2026-01-06T16:00:00Z"),
        (OFFICE, "2026-01-06T08:00:00Z", true, "2026-01-07T08:00:00Z", "2026-01-06T16:00:00Z"),
        (OFFICE, "2026-01-06T15:59:59.999Z", true, "2026-01-07T08:00:00Z", "2026-01-06T16:00:00Z"),
        (OFFICE, "2026-01-06T16:00:00Z", false, "2026-01-07T08:00:00Z", "2026-01-07T16:00:00Z"),
        (CHRISTMAS, "2026-12-19T22:59:59Z", false, "2026-12-19T23:00:00Z", "2027-01-03T23:00:00Z"),
        (CHRISTMAS, "2026-12-19T23:00:00Z", true, "-", "2027-01-03T23:00:00Z"),
        (CHRISTMAS, "2027-01-03T23:00:00Z", false, "-", "-"),
    ]);
}

#[test]
fn local_hours_stay_the_same_across_a_change_of_offset() {
    check(&[
        (OFFICE, "2026-03-26T17:00:00Z", false, "2026-03-31T07:00:00Z", "2026-03-31T15:00:00Z"),
        (OFFICE, "2026-10-22T16:00:00Z", false, "2026-10-27T08:00:00Z", "2026-10-27T16:00:00Z"),
    ]);
}

#[test]
fn a_start_in_a_daylight_saving_gap_is_the_next_valid_instant_and_lasts_its_elapsed_time() {
    let cron = |time: &str, zone: &str| format!("{{cron: '{time} * * *', timeZone: {zone}, duration: 1h}}");
    for (yaml, now, start, end) in [
        (cron("30 2", "Europe/Berlin"), "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"),
        (cron("0 2", "Europe/Berlin"), "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"),
        (cron("59 2", "America/New_York"), "2026-03-08T06:00:00Z", "2026-03-08T07:00:00Z", "2026-03-08T08:00:00Z"),
        // Half an hour: 02:00 to 02:30 do not exist on 4 October.
        (cron("15 2", "Australia/Lord_Howe"), "2026-10-03T15:00:00Z", "2026-10-03T15:30:00Z", "2026-10-03T16:30:00Z"),
    ] {
        check(&[(&yaml, now, false, start, end)]);
    }
}

#[test]
fn a_start_in_the_repeated_hour_happens_once_the_first_time() {
    let cron = |time: &str, zone: &str| format!("{{cron: '{time} * * *', timeZone: {zone}, duration: 10m}}");
    for (yaml, first, end, second, tomorrow) in [
        (
            cron("30 2", "Europe/Berlin"),
            "2026-10-25T00:30:00Z",
            "2026-10-25T00:40:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-26T01:30:00Z",
        ),
        (
            cron("30 1", "America/New_York"),
            "2026-11-01T05:30:00Z",
            "2026-11-01T05:40:00Z",
            "2026-11-01T06:30:00Z",
            "2026-11-02T06:30:00Z",
        ),
        (
            cron("45 1", "Australia/Lord_Howe"),
            "2026-04-04T14:45:00Z",
            "2026-04-04T14:55:00Z",
            "2026-04-04T15:15:00Z",
            "2026-04-05T15:15:00Z",
        ),
    ] {
        let calendar = calendar(&yaml);
        assert_eq!(calendar.at(instant(first)).next_end, Some(instant(end)), "{yaml}");
        let again = calendar.at(instant(second));
        assert_eq!((again.active, again.next_start), (false, Some(instant(tomorrow))), "{yaml}");
    }
}

#[test]
fn a_window_over_a_change_of_offset_lasts_elapsed_time_and_one_with_until_ends_at_local_time() {
    let elapsed = "{cron: '0 0 * * *', timeZone: Europe/Berlin, duration: 6h}";
    let local = "{from: '2026-10-25T00:00:00', until: '2026-10-25T06:00:00', timeZone: Europe/Berlin}";
    check(&[
        (elapsed, "2026-10-24T22:00:00Z", true, "2026-10-25T23:00:00Z", "2026-10-25T04:00:00Z"),
        (local, "2026-10-24T22:00:00Z", true, "-", "2026-10-25T05:00:00Z"),
    ]);
}

#[test]
fn years_end_and_leap_days_come() {
    let silvester = "{cron: '0 22 31 12 *', timeZone: UTC, duration: 4h}";
    let leap = "{cron: '0 0 29 2 *', timeZone: UTC, duration: 24h}";
    let yearly = "{start: '2024-02-29T00:00:00', timeZone: UTC, duration: 24h, recurrence: 'FREQ=YEARLY'}";
    let last_day =
        "{start: '2026-01-01T08:00:00', timeZone: UTC, duration: 1h, recurrence: 'FREQ=MONTHLY;BYMONTHDAY=-1'}";
    let day_31 = "{start: '2026-01-31T08:00:00', timeZone: UTC, duration: 1h, recurrence: 'FREQ=MONTHLY'}";
    check(&[
        (silvester, "2027-01-01T01:00:00Z", true, "2027-12-31T22:00:00Z", "2027-01-01T02:00:00Z"),
        (leap, "2026-06-01T00:00:00Z", false, "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"),
        (leap, "2096-03-01T00:00:00Z", false, "2104-02-29T00:00:00Z", "2104-03-01T00:00:00Z"),
        (yearly, "2026-06-01T00:00:00Z", false, "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"),
        (last_day, "2028-02-01T00:00:00Z", false, "2028-02-29T08:00:00Z", "2028-02-29T09:00:00Z"),
        (day_31, "2026-02-01T00:00:00Z", false, "2026-03-31T08:00:00Z", "2026-03-31T09:00:00Z"),
    ]);
}

#[test]
fn cron_days_of_the_week_are_read_in_every_form() {
    // 23 November 2026 is a Monday.
    for (cron, start) in [
        ("0 9 * * 1", "2026-11-23T09:00:00Z"),
        ("0 9 * * 0", "2026-11-29T09:00:00Z"),
        ("0 9 * * 7", "2026-11-29T09:00:00Z"),
        ("0 9 * * SUN", "2026-11-29T09:00:00Z"),
        ("0 9 * * tue-thu", "2026-11-24T09:00:00Z"),
        ("0 9 * * 2-4", "2026-11-24T09:00:00Z"),
        ("0 9 * * 5,6", "2026-11-27T09:00:00Z"),
        ("0 9 * * 5#2", "2026-12-11T09:00:00Z"),
        ("0 9 * * 5L", "2026-11-27T09:00:00Z"),
        ("0 9 1,28 * 3", "2026-11-25T09:00:00Z"),
        ("*/15 9-17 * * *", "2026-11-23T09:00:00Z"),
        ("0 9 L * *", "2026-11-30T09:00:00Z"),
    ] {
        let yaml = format!("{{cron: '{cron}', timeZone: UTC, duration: 5m}}");
        assert_eq!(calendar(&yaml).at(instant("2026-11-23T00:00:00Z")).next_start, Some(instant(start)), "{cron}");
    }
}

#[test]
fn overlapping_and_adjacent_occurrences_are_one() {
    let rule = |duration: &str, rule: &str| {
        format!("{{start: '2026-01-01T00:00:00', timeZone: UTC, duration: {duration}, recurrence: '{rule}'}}")
    };
    let adjacent = rule("24h", "FREQ=DAILY;UNTIL=20260301T000000");
    let counted = rule("3h", "FREQ=HOURLY;COUNT=10");
    let single = rule("3h", "FREQ=HOURLY;COUNT=1");
    let until = rule("90m", "FREQ=HOURLY;UNTIL=20260101T030000");
    let weekdays = "{cron: '0 0 * * 1-5', timeZone: UTC, duration: 36h}";
    let office_minutes = "{cron: '* 9-17 * * 1-5', timeZone: UTC, duration: 1m}";
    check(&[
        (&adjacent, "2026-01-10T12:00:00Z", true, "-", "2026-03-02T00:00:00Z"),
        (&counted, "2026-01-01T11:30:00Z", true, "-", "2026-01-01T12:00:00Z"),
        (&counted, "2026-01-01T12:00:00Z", false, "-", "-"),
        (&single, "2026-01-01T02:00:00Z", true, "-", "2026-01-01T03:00:00Z"),
        (&until, "2026-01-01T00:00:00Z", true, "-", "2026-01-01T04:30:00Z"),
        (weekdays, "2026-11-24T13:00:00Z", true, "2026-11-30T00:00:00Z", "2026-11-28T12:00:00Z"),
        (office_minutes, "2026-11-24T09:00:30Z", true, "2026-11-25T09:00:00Z", "2026-11-24T18:00:00Z"),
        (office_minutes, "2026-11-24T08:00:00Z", false, "2026-11-24T09:00:00Z", "2026-11-24T18:00:00Z"),
    ]);
}

#[test]
fn an_end_out_of_sight_is_not_told_but_the_time_until_which_the_window_is_active_for_certain() {
    for forever in [
        "{start: '1970-01-01T00:00:00', timeZone: UTC, duration: 24h, recurrence: 'FREQ=DAILY'}",
        "{cron: '* * * * *', timeZone: UTC, duration: 8784h}",
        "{cron: '* * * * *', timeZone: UTC, duration: 1m}",
    ] {
        let (calendar, now) = (calendar(forever), instant("2026-01-10T12:00:00Z"));
        let state = calendar.at(now);
        assert_eq!((state.active, state.next_start, state.next_end), (true, None, None), "{forever}");
        let holds_until = state.holds_until.unwrap();
        assert!(holds_until > now && calendar.at(holds_until).active, "{forever}: {state:?}");
    }
    // Days of 24 hours leave an hour out where clocks go back.
    let day = "{cron: '0 0 * * *', timeZone: Europe/Berlin, duration: 24h}";
    check(&[(day, "2026-09-01T00:00:00Z", true, "2026-10-25T23:00:00Z", "2026-10-25T22:00:00Z")]);
}

#[test]
fn until_may_be_local_or_in_utc_and_is_the_last_start_allowed() {
    let berlin = |until: &str| {
        let rule = format!("FREQ=DAILY;UNTIL={until}");
        format!("{{start: '2026-06-01T09:00:00', timeZone: Europe/Berlin, duration: 1h, recurrence: '{rule}'}}")
    };
    let now = "2026-06-30T00:00:00Z";
    check(&[
        (&berlin("20260630T090000"), now, false, "2026-06-30T07:00:00Z", "2026-06-30T08:00:00Z"),
        (&berlin("20260630T085959"), now, false, "-", "-"),
        (&berlin("20260630T070000Z"), now, false, "2026-06-30T07:00:00Z", "2026-06-30T08:00:00Z"),
        (&berlin("20260630T065959Z"), now, false, "-", "-"),
    ]);
}

#[test]
fn a_rule_that_began_in_1970_is_entered_now_and_not_counted_through() {
    // Counting through takes half a million steps; the library ends after 100,000 that lead nowhere.
    let hourly = "{start: '1970-01-01T00:00:00', timeZone: UTC, duration: 5m, recurrence: 'FREQ=HOURLY;INTERVAL=7'}";
    let mondays = "{start: '1970-01-05T09:00:00', timeZone: UTC, duration: 5m, recurrence: 'FREQ=WEEKLY;INTERVAL=2'}";
    check(&[
        // 498,720 hours after the start, which is 5 more than a multiple of 7.
        (hourly, "2026-11-23T00:00:00Z", false, "2026-11-23T02:00:00Z", "2026-11-23T02:05:00Z"),
        // 2,968 weeks after the start.
        (mondays, "2026-11-20T00:00:00Z", false, "2026-11-23T09:00:00Z", "2026-11-23T09:05:00Z"),
    ]);
}
