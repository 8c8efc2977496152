//! `lockkeeper plan`: when a release could start, how long it takes at least, which gates stand in the way.

use std::{fmt::Write as _, io::Write};

use clap::{Args, ValueEnum};
use jiff::{Timestamp, tz::TimeZone};
use lockkeeper_simulator::rehearse::{
    Case,
    outline::{self, Outline},
};
use serde_json::json;

use crate::{
    error::Error,
    files,
    simulate::{clock, span},
};

/// What to look at.
#[derive(Args, Debug)]
#[command(
    after_help = "Nothing but the files is read: no cluster, no network.\n\nExit codes:\n  0  each Release can work and start\n  1  a file cannot be read\n  2  wrong arguments or input\n  3  a Release cannot work, or no window lets it start within sight"
)]
pub struct Plan {
    /// YAML files with Releases, RollbackPolicies, DeploymentWindows, Deployments; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// The moment that is asked about, like 2026-01-06T09:00:00Z; default: now
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Namespace of objects that name none
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default")]
    namespace: String,
    /// How to show it
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// For people
    Text,
    /// Everything, as JSON
    Json,
}

impl Plan {
    /// Prints what can be said.
    ///
    /// # Errors
    /// If files cannot be read or are wrong, or a Release cannot work.
    pub fn run(self) -> Result<(), Error> {
        let manifest = files::manifest(&self.files, &self.namespace)?;
        let at = self.at.unwrap_or_else(Timestamp::now);
        let at = Timestamp::from_second(at.as_second()).unwrap_or(at);
        let outlines = outline::all(&manifest, at);
        let idle = outline::idle_windows(&manifest, &Case::all(&manifest));
        let shown = match self.output {
            Output::Json => serde_json::to_string_pretty(&json!({"releases": outlines, "warnings": idle}))? + "\n",
            Output::Text => {
                let mut text: String = outlines.iter().map(outline).collect();
                text.extend(idle.iter().map(|warning| format!("warning: {}\n", warning.text)));
                text
            }
        };
        std::io::stdout().write_all(shown.as_bytes())?;
        match outlines.iter().find(|outline| !outline.missing.is_empty()) {
            None => Ok(()),
            Some(outline) => Err(Error::Surprise {
                code: 3,
                message: format!("{} cannot start: {}", outline.release, outline.missing.join("; ")),
            }),
        }
    }
}

// Writing to a string cannot fail.
fn outline(outline: &Outline) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "Release {}", outline.release);
    let start = match (outline.start.now, outline.start.earliest) {
        (true, _) => "now".to_owned(),
        (false, Some(earliest)) => format!("{}{}", utc(earliest), zones(&outline.start.local)),
        (false, None) => "never, as far as can be seen".into(),
    };
    let _ = writeln!(text, "  can start: {start}\n  windows: {}", outline.start.message);
    let course = &outline.course;
    match (course.promoted, course.over, course.seconds) {
        (Some(promoted), Some(over), Some(seconds)) => {
            let _ = writeln!(
                text,
                "  takes: {} at least to promotion ({}), and {} of bake (over {})",
                span(seconds as f64),
                utc(promoted),
                span(course.bake_seconds as f64),
                utc(over)
            );
        }
        (_, _, _) => {
            let _ = writeln!(text, "  takes: windows keep it from its promotion");
        }
    }
    let first = course.stages.first().map_or(outline.at, |stage| stage.at);
    let _ = writeln!(text, "  steps, if people answer at once and nothing goes wrong:");
    for stage in &course.stages {
        let after = clock(stage.at.duration_since(first).as_secs_f64());
        let _ = writeln!(text, "    {after:>11}  {}. {} ({} %)", stage.step, stage.what, stage.weight);
        if let Some(waits) = &stage.waits {
            let _ = writeln!(text, "                 waits before: {waits}");
        }
    }
    if !outline.gates.is_empty() {
        let _ = writeln!(text, "  gates:");
    }
    for gate in &outline.gates {
        let _ = writeln!(text, "    {} ({}): {}", gate.name, gate.when, gate.needs);
    }
    for missing in &outline.missing {
        let _ = writeln!(text, "  MISSING: {missing}");
    }
    for warning in &outline.warnings {
        let _ = writeln!(text, "  warning: {}", warning.text);
    }
    text.push('\n');
    text
}

fn utc(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%a %Y-%m-%d %H:%M UTC").to_string()
}

fn zones(local: &[String]) -> String {
    if local.is_empty() { String::new() } else { format!(" ({})", local.join(", ")) }
}
