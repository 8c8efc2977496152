//! A report for terminals.

use std::fmt::Write;

use jiff::tz::TimeZone;
use lockkeeper_simulator::rehearse::{BeatKind, Rehearsal, Report, Sheet, advice::Warning};

/// A report.
pub fn report(report: &Report) -> String {
    let mut text = String::new();
    for sheet in &report.releases {
        self::sheet(&mut text, report, sheet);
    }
    warnings(&mut text, "Warnings about the files", &report.warnings);
    text
}

// Writing to a string cannot fail.
fn sheet(text: &mut String, report: &Report, sheet: &Sheet) {
    let _ = writeln!(text, "Release {}", sheet.release);
    let start = report.start.to_zoned(TimeZone::UTC).strftime("%a %Y-%m-%d %H:%M:%S UTC");
    let _ = writeln!(text, "  asked for at {start}");
    for assumed in &sheet.assumed {
        let _ = writeln!(text, "  assumed: {assumed}");
    }
    for rehearsal in &sheet.rehearsals {
        timeline(text, rehearsal);
    }
    let _ = writeln!(text);
    warnings(text, &format!("Warnings about {}", sheet.release), &sheet.warnings);
}

fn timeline(text: &mut String, rehearsal: &Rehearsal) {
    let _ = writeln!(text, "\nVersion {}", rehearsal.version);
    let mut last = String::new();
    for beat in &rehearsal.timeline {
        let at = clock(beat.after);
        let shown = if at == last { "" } else { &at };
        let _ = writeln!(text, "  {shown:>12}  {:<8} {}", word(beat.kind), beat.text);
        last = at;
    }
    for (name, value) in summary(rehearsal) {
        let _ = writeln!(text, "  {name}: {value}");
    }
    for warning in &rehearsal.warnings {
        let _ = writeln!(text, "  warning: {}", warning.text);
    }
}

fn warnings(text: &mut String, title: &str, warnings: &[Warning]) {
    if warnings.is_empty() {
        return;
    }
    let _ = writeln!(text, "{title}");
    for warning in warnings {
        let _ = writeln!(text, "  - {}", warning.text);
    }
    let _ = writeln!(text);
}

/// What there is to say in the end, as names and values.
pub fn summary(rehearsal: &Rehearsal) -> Vec<(&'static str, String)> {
    let (end, loss) = (&rehearsal.end, &rehearsal.loss);
    let expected = match (rehearsal.as_expected(), rehearsal.expected) {
        (true, _) => "as expected".to_owned(),
        (false, expected) => format!("EXPECTED {expected:?}"),
    };
    let mut lines = vec![("verdict", format!("{:?} after {}, {expected}", end.end, span(end.ended_after)))];
    let since = if end.worse_after.is_some() { "first bad request" } else { "first traffic" };
    match (end.detected_after, end.back_after) {
        (Some(found), Some(back)) => lines.push((
            "time to rollback",
            format!("{} from its {since} until all traffic was back; decided after {}", span(back), span(found)),
        )),
        (Some(found), None) => lines.push((
            "time to rollback",
            format!("decided {} after its {since}; traffic was not all back yet", span(found)),
        )),
        (None, _) if end.worse_after.is_some() => lines.push(("time to rollback", "it never went back".into())),
        (None, _) => {}
    }
    lines.push((
        "requests",
        format!(
            "{:.0}, of which the new version got {:.0} (at most {:.0} %) and failed {:.0}",
            loss.requests, loss.to_new, loss.largest_share, loss.failed
        ),
    ));
    lines
}

/// Seconds as they stand on a clock: hours, minutes, seconds, and days before them.
pub fn clock(seconds: f64) -> String {
    let total = seconds.max(0.0).floor() as u64;
    let (days, rest) = (total / 86_400, total % 86_400);
    let time = format!("{}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if days > 0 { format!("{days}d {time}") } else { time }
}

/// Seconds in words.
pub fn span(seconds: f64) -> String {
    let total = seconds.max(0.0).round() as u64;
    let parts = [(86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')];
    let (mut rest, mut text) = (total, String::new());
    for (size, unit) in parts {
        if rest >= size {
            let _ = write!(text, "{}{unit}", rest / size);
            rest %= size;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// A kind in a word.
pub const fn word(kind: BeatKind) -> &'static str {
    match kind {
        BeatKind::Asked => "asked",
        BeatKind::Phase => "phase",
        BeatKind::Step => "step",
        BeatKind::Traffic => "traffic",
        BeatKind::Gate => "gate",
        BeatKind::Check => "check",
        BeatKind::Person => "person",
        BeatKind::Trouble => "TROUBLE",
        BeatKind::Back => "back",
        BeatKind::End => "end",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_for_people() {
        for (seconds, at, long) in [
            (0.4, "0:00:00", "0s"),
            (91.6, "0:01:31", "1m32s"),
            (3600.0, "1:00:00", "1h"),
            (93_784.0, "1d 2:03:04", "1d2h3m4s"),
        ] {
            assert_eq!((clock(seconds).as_str(), span(seconds).as_str()), (at, long));
        }
    }
}
