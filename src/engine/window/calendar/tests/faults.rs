//! Schedules that cannot be meant.

use super::{Calendar, schedule};

#[test]
fn every_fault_is_told_with_its_mend() {
    let recurring =
        |rule: &str| format!("{{start: '2026-01-01T09:00:00', timeZone: UTC, duration: 1h, recurrence: '{rule}'}}");
    let cron = |cron: &str| format!("{{cron: '{cron}', timeZone: UTC, duration: 1h}}");
    let once = |from: &str, until: &str, zone: &str| format!("{{from: '{from}', until: '{until}', timeZone: {zone}}}");
    let many = "BYMINUTE=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24";
    for (yaml, mends) in [
        (
            "{cron: '0 9 * *', timeZone: Europe/Berln, duration: 30s}".to_owned(),
            &["five fields", "IANA", "at least 1m"][..],
        ),
        (
            "{start: '2026-02-30T00:00:00', timeZone: X, duration: 0s, recurrence: 'FREQ=DAILY'}".to_owned(),
            &["2026-12-20T00:00:00", "IANA", "at least 1m"],
        ),
        (once("2026-02-01T00:00:00", "2026-01-01T00:00:00", "UTC"), &["not after from"]),
        (once("2026-02-01T00:00:00", "2026-02-01T00:00:00", "UTC"), &["not after from"]),
        // Both in the gap, so that nothing lies between them.
        (once("2026-03-29T02:10:00", "2026-03-29T02:50:00", "Europe/Berlin"), &["not after from"]),
        (once("2026-01-01T00:00:00+02:00", "2027", "Local"), &["from \"2026", "until \"2027", "IANA"]),
        (once("2026-01-01T00:00:00", "2027-01-01T00:00:00", "Etc/Unknown"), &["IANA"]),
        (cron("0 9 * * 8"), &["cannot be read"]),
        (cron("0 9 * * MO"), &["cannot be read"]),
        (cron("@daily"), &["five fields"]),
        (cron("0 0 9 * * 1"), &["five fields"]),
        (cron("0 0 30 2 *"), &["never occurs"]),
        (recurring("FREQ=SOMETIMES"), &["cannot be read"]),
        (recurring("BYDAY=MO"), &["cannot be read"]),
        (recurring("FREQ=DAILY;BYNIGHT=1"), &["cannot be read"]),
        (recurring("FREQ=DAILY;BYHOUR=24"), &["cannot be read"]),
        (recurring("FREQ=WEEKLY;BYMONTHDAY=1"), &["cannot be read"]),
        (recurring("FREQ=DAILY;FREQ=WEEKLY"), &["FREQ twice"]),
        (recurring("FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30"), &["never occurs"]),
        (recurring("FREQ=HOURLY;INTERVAL=2;BYHOUR=10"), &["never occurs"]),
        (recurring("FREQ=DAILY;UNTIL=20250101T000000"), &["UNTIL be after start"]),
        (recurring("FREQ=DAILY;UNTIL=20270101"), &["like 20261231T235959"]),
        (recurring("FREQ=DAILY;UNTIL=20270230T000000"), &["like 20261231T235959"]),
        (recurring("FREQ=DAILY;COUNT=3;UNTIL=20270101T000000"), &["leave one of them out"]),
        (recurring("FREQ=SECONDLY"), &["use FREQ=HOURLY"]),
        (recurring("FREQ=MINUTELY;INTERVAL=30"), &["use FREQ=HOURLY"]),
        (recurring("FREQ=DAILY;INTERVAL=0;COUNT=2000"), &["use 1 or more", "or UNTIL"]),
        (recurring("FREQ=DAILY;COUNT=0"), &["COUNT=0"]),
        (recurring(&format!("FREQ=DAILY;BYHOUR=0,1;{many}")), &["48 times"]),
        (recurring(&format!("FREQ=HOURLY;BYSECOND=0,30;{many}")), &["48 times"]),
        (recurring("FREQ=MONTHLY;BYDAY=Q1MO"), &["1MO or -1FR"]),
        (recurring("FREQ=MONTHLY;BYDAY=0MO"), &["1MO or -1FR"]),
        (recurring("FREQ=WEEKLY;BYDAY=2TU"), &["FREQ=MONTHLY or YEARLY"]),
        (recurring("FREQ=MONTHLY;BYDAY=1MO,TU"), &["one kind"]),
        (recurring("FREQ=YEARLY;BYWEEKNO=3;BYDAY=1MO"), &["beside BYWEEKNO"]),
    ] {
        let faults = Calendar::parse(&schedule(&yaml)).map(|_| ()).expect_err(&yaml);
        assert_eq!(faults.len(), mends.len(), "{yaml}: {faults:?}");
        for mend in mends {
            assert!(faults.iter().any(|fault| fault.contains(mend)), "{yaml}: {mend} is not in {faults:?}");
        }
    }
}
