//! The table of a run: ours beside plain Deployments and the peers.

use crate::at_once::AtOnce;
use crate::at_rest::AtRest;
use crate::decide::Times;
use crate::killed::{Killed, Successor};
use crate::report::Report;
use crate::scenario::{Binary, Measured};
use crate::verdict::Verdict;

/// A line: what, ours, plain Deployments, Argo Rollouts, Flagger.
struct Line([String; 5]);

const HEAD: [&str; 5] = ["", "Lockkeeper", "plain Deployments", "Argo Rollouts", "Flagger"];

/// As Markdown, which a terminal shows well, too.
pub fn markdown(report: &Report) -> String {
    let lines: Vec<Line> = report.rows.iter().flat_map(|row| lines(&row.measured)).collect();
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line.0[column].as_str()).chain([HEAD[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; 5] = std::array::from_fn(width);
    let row = |cells: [&str; 5]| {
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!(" {cell:<width$} |"));
        format!("|{}\n", cells.collect::<String>())
    };
    let rule: String = widths.iter().map(|width| format!("{}|", "-".repeat(width + 2))).collect();
    let body = lines.iter().map(|line| row(std::array::from_fn(|column| line.0[column].as_str())));
    format!("{}|{rule}\n{}", row(HEAD), body.collect::<String>())
}

fn lines(measured: &Measured) -> Vec<Line> {
    match measured {
        Measured::Binary(binary) => of_binary(binary),
        Measured::Decide { samples } => of_decide(samples),
        Measured::AtOnce(row) => of_at_once(row),
        Measured::AtRest(row) => of_at_rest(row),
        Measured::Verdict(row) => of_verdict(row),
        Measured::Killed { runs } => runs.iter().map(of_killed).collect(),
    }
}

/// With the figures of others, where there are any: plain Deployments, Argo Rollouts, Flagger.
fn line(what: String, ours: String, others: [&str; 3]) -> Line {
    let [plain, argo, flagger] = others.map(str::to_owned);
    Line([what, ours, plain, argo, flagger])
}

const NOBODY: [&str; 3] = ["", "", ""];

fn of_binary(binary: &Binary) -> Vec<Line> {
    vec![
        line("binary".to_owned(), format!("{:.1} MB", binary.megabytes), NOBODY),
        line("fresh process, memory".to_owned(), format!("{:.1} MiB", binary.fresh_rss_mib), NOBODY),
    ]
}

fn of_decide(samples: &[Times]) -> Vec<Line> {
    let (plans, phases): (Vec<&Times>, Vec<&Times>) = samples.iter().partition(|times| times.situation == "(plan)");
    let slowest = |all: &[&Times]| all.iter().map(|times| times.median_microseconds).fold(0.0, f64::max);
    vec![
        line("one decision, median of the slowest phase".to_owned(), format!("{:.0} µs", slowest(&phases)), NOBODY),
        line("reading a spec before it".to_owned(), format!("{:.0} µs", slowest(&plans)), NOBODY),
    ]
}

fn of_at_once(row: &AtOnce) -> Vec<Line> {
    let count = row.releases;
    let each = |number: u64| format!("{:.1}", number as f64 / count as f64);
    let with = if row.gateway == crate::acceptor::GATEWAY { "" } else { ", Traefik" };
    let (argo, flagger) = match count {
        100 => ("397 s (27.8 s with limits raised)", "115 s"),
        500 => ("154 s with limits raised", "211 s"),
        _ => ("", ""),
    };
    let requests = &row.requests;
    let ours = format!("{} + {} + {}", each(requests.reads), each(requests.writes), each(requests.events));
    let what = |what: &str| format!("{count} releases of five weights at once{with}: {what}");
    vec![
        line(
            what("all done"),
            format!("{:.1} s", row.seconds),
            [&format!("{:.1} s", row.plain_seconds), argo, flagger],
        ),
        line(what("reads + writes + events each"), ours, ["", "31 + 24 + 14 to 21", "148 to 247 + 18"]),
        line(
            what("processor time each"),
            format!("{:.1} ms", row.cpu_seconds * 1000.0 / count as f64),
            ["", "110 to 170 ms", "130 ms"],
        ),
        line(what("peak memory"), format!("{:.0} MiB", row.peak_mib), ["", "158 to 226 MB", "76 to 120 MB"]),
    ]
}

fn of_at_rest(row: &AtRest) -> Vec<Line> {
    let count = row.releases;
    let minutes = row.rest_seconds / 60.0;
    let asked = row.requests.reads + row.requests.writes + row.requests.events;
    let what = |what: &str| format!("{count} releases at rest: {what}");
    let (argo, flagger) = if count == 500 { ("201 MB", "5,000 to 30,000") } else { ("", "") };
    vec![
        line(
            what("requests a minute, without watches and Lease"),
            format!("{:.0}", asked as f64 / minutes),
            ["", "", flagger],
        ),
        line(what("processor time a minute"), format!("{:.2} s", row.cpu_seconds / minutes), NOBODY),
        line(what("memory (peak)"), format!("{:.0} MiB ({:.0})", row.rss_mib, row.peak_mib), ["", argo, ""]),
        line(
            format!("start among {count} releases until the first action"),
            format!("{:.1} s", row.start_to_action_seconds),
            NOBODY,
        ),
    ]
}

fn of_verdict(row: &Verdict) -> Vec<Line> {
    let others = if row.releases == 8 { ["", "10.6 s (0.8 s with limits raised)", "9.8 s"] } else { NOBODY };
    let middle_and_worst = |ascending: &[f64]| {
        let worst = ascending.last().copied().unwrap_or_default();
        format!("{:.0} ms ({worst:.0} ms)", ascending.get(row.releases / 2).copied().unwrap_or_default())
    };
    let what = |what: &str| format!("{} at 50 % go back: {what}, median (worst)", row.releases);
    let all = middle_and_worst(&row.milliseconds);
    vec![
        line(what("from the deciding answer to weight 0"), all, others),
        line(what("without the API server's part"), middle_and_worst(&row.own_milliseconds), NOBODY),
    ]
}

fn of_killed(run: &Killed) -> Line {
    let (what, others) = match run.successor {
        Successor::Nobody => ("one weight to the next, undisturbed", NOBODY),
        Successor::Standby => ("SIGKILL to the next weight: a standby", ["", "30 s", "10.8 s"]),
        Successor::Replacement => ("SIGKILL to the next weight: a new process", NOBODY),
        Successor::Restart => ("SIGKILL to the next weight: restarted in its pod", NOBODY),
        Successor::RestartAlone => ("SIGKILL to the next weight: restarted, no election", NOBODY),
    };
    let middle = run.seconds.get(run.seconds.len() / 2).copied().unwrap_or_default();
    let worst = run.seconds.last().copied().unwrap_or_default();
    line(what.to_owned(), format!("{middle:.1} s ({worst:.1} s)"), others)
}
