//! A report as JUnit XML, as CI systems read it: a suite for each Release, a case for each version.

use std::fmt::Write;

use lockkeeper_simulator::rehearse::{Rehearsal, Report};

use super::{
    escape,
    text::{clock, summary},
};

/// The suites.
pub fn suites(report: &Report) -> String {
    let mut xml =
        String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"lockkeeper simulate\">\n");
    for sheet in &report.releases {
        let failures = sheet.rehearsals.iter().filter(|rehearsal| !rehearsal.as_expected()).count();
        // Writing to a string cannot fail.
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\">",
            escape(&sheet.release),
            sheet.rehearsals.len()
        );
        for rehearsal in &sheet.rehearsals {
            case(&mut xml, rehearsal);
        }
        if !sheet.warnings.is_empty() {
            let lines: Vec<String> = sheet.warnings.iter().map(|warning| warning.text.clone()).collect();
            let _ = writeln!(xml, "    <system-err>{}</system-err>", escape(&lines.join("\n")));
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn case(xml: &mut String, rehearsal: &Rehearsal) {
    let _ = writeln!(
        xml,
        "    <testcase classname=\"{}\" name=\"{} ends {:?}\" time=\"{:.3}\">",
        escape(&rehearsal.release),
        escape(&rehearsal.version),
        rehearsal.expected,
        rehearsal.end.ended_after
    );
    if !rehearsal.as_expected() {
        let _ = writeln!(
            xml,
            "      <failure message=\"ended {:?}, expected {:?}\">{}</failure>",
            rehearsal.end.end,
            rehearsal.expected,
            escape(&rehearsal.end.message)
        );
    }
    let beats = rehearsal.timeline.iter().map(|beat| format!("{} {}", clock(beat.after), beat.text));
    let lines = summary(rehearsal).into_iter().map(|(name, value)| format!("{name}: {value}"));
    let all: Vec<String> = beats.chain(lines).collect();
    let _ = writeln!(xml, "      <system-out>{}</system-out>\n    </testcase>", escape(&all.join("\n")));
}
