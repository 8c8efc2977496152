//! A report as a page of its own: no scripts, nothing loaded from elsewhere, for light and dark.

mod axis;
mod plot;

use std::fmt::Write;

use jiff::tz::TimeZone;
use lockkeeper_simulator::rehearse::{Rehearsal, Report, Sheet, advice::Warning};

use super::{
    escape,
    text::{clock, summary, word},
};

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5a6675; --line: #d5dbe3; --page: #fff; --box: #f5f7fa;
  --weight: #2563b8; --good: #1f7a3d; --bad: #b3261e; --wait: #b26a00; --nothing: #8a94a1; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #a3aebc; --line: #3a4554; --page: #12171e; --box: #1b222c;
  --weight: #6ba7f5; --good: #5cc47f; --bad: #f2837b; --wait: #e5a54b; --nothing: #77828f; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); } h3 { margin-top: 2rem; }
.verdict { font-size: .8em; padding: .1em .5em; border-radius: .4em; border: 1px solid; white-space: nowrap; }
.good { color: var(--good); } .bad { color: var(--bad); } .soft { color: var(--soft); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; } dt { color: var(--soft); } dd { margin: 0; }
.warnings { background: var(--box); border-left: 4px solid var(--wait); padding: .5rem 1rem .5rem 2rem; }
table { border-collapse: collapse; width: 100%; } td { padding: .15rem .6rem .15rem 0; vertical-align: top; border-top: 1px solid var(--line); }
td:first-child { font-variant-numeric: tabular-nums; white-space: nowrap; text-align: right; } td:nth-child(2) { color: var(--soft); }
tr.back td, tr.trouble td { color: var(--bad); }
svg { width: 100%; height: auto; background: var(--box); border-radius: .4rem; margin: .8rem 0; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; } svg .label { fill: var(--ink); }
";

/// The page.
pub fn page(report: &Report) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Rehearsal</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>Rehearsal</h1>\n"
    );
    let start = report.start.to_zoned(TimeZone::UTC).strftime("%A %Y-%m-%d %H:%M:%S UTC");
    let _ = writeln!(
        page,
        "<p>The new versions are asked for on {start}; times count from there. Nothing of this has run in a cluster.</p>"
    );
    warnings(&mut page, &report.warnings);
    for sheet in &report.releases {
        self::sheet(&mut page, sheet);
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn sheet(page: &mut String, sheet: &Sheet) {
    let _ = writeln!(page, "<section>\n<h2>{}</h2>", escape(&sheet.release));
    warnings(page, &sheet.warnings);
    let items: String = sheet.assumed.iter().map(|assumed| format!("<li>{}</li>", escape(assumed))).collect();
    let _ = writeln!(page, "<details><summary>What was assumed</summary><ul>{items}</ul></details>");
    for rehearsal in &sheet.rehearsals {
        self::rehearsal(page, rehearsal);
    }
    page.push_str("</section>\n");
}

fn warnings(page: &mut String, warnings: &[Warning]) {
    if !warnings.is_empty() {
        let items: String = warnings.iter().map(|warning| format!("<li>{}</li>\n", escape(&warning.text))).collect();
        let _ = writeln!(page, "<ul class=\"warnings\">\n{items}</ul>");
    }
}

fn rehearsal(page: &mut String, rehearsal: &Rehearsal) {
    let class = if rehearsal.as_expected() { "good" } else { "bad" };
    let _ = writeln!(
        page,
        "<article>\n<h3>Version {} <span class=\"verdict {class}\">{:?}{}</span></h3>",
        escape(&rehearsal.version),
        rehearsal.end.end,
        if rehearsal.as_expected() { String::new() } else { format!(", expected {:?}", rehearsal.expected) }
    );
    let facts: String =
        summary(rehearsal).iter().map(|(name, value)| format!("<dt>{name}</dt><dd>{}</dd>", escape(value))).collect();
    let _ = writeln!(page, "<dl>{facts}</dl>");
    page.push_str(&plot::svg(rehearsal));
    warnings(page, &rehearsal.warnings);
    page.push_str("<details open><summary>Timeline</summary>\n<table>\n");
    for beat in &rehearsal.timeline {
        let kind = word(beat.kind);
        let _ = writeln!(
            page,
            "<tr class=\"{}\"><td>{}</td><td>{kind}</td><td>{}</td></tr>",
            kind.to_lowercase(),
            clock(beat.after),
            escape(&beat.text)
        );
    }
    page.push_str("</table>\n</details>\n</article>\n");
}
