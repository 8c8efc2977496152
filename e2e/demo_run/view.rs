//! What the viewer sees while it goes on: a block that is drawn anew on a terminal, a line a second elsewhere.

use std::io::{IsTerminal, stdout};

use lockkeeper_api::release::ReleaseStatus;
use lockkeeper_e2e::Totals;

const BAR: usize = 40;

pub struct View {
    version: String,
    /// Whether a block is on the terminal, to be drawn over.
    drawn: Option<bool>,
}

impl View {
    pub fn new(version: &str) -> View {
        println!("\nrelease {version}");
        View { version: version.to_owned(), drawn: stdout().is_terminal().then_some(false) }
    }

    pub fn show(&mut self, status: &ReleaseStatus, totals: &Totals) {
        let weight = status.weight.map_or(0, |weight| weight.confirmed);
        let step = status.step.as_ref().map_or("-", |step| &step.position);
        let head = format!("{} {:<11} step {step:<4} weight {weight:>3} %", self.version, status.phase.to_string());
        let users = format!("{} requests, {} failed", totals.requests, totals.failed());
        match &mut self.drawn {
            None => println!("{head}  {users}  {}", status.message),
            Some(drawn) => {
                if *drawn {
                    // Up four lines, and everything below away.
                    print!("\x1b[4A\x1b[J");
                }
                *drawn = true;
                let filled = BAR * usize::from(weight) / 100;
                println!(
                    "{head}\n[{}{}]\n{users}\n{}",
                    "#".repeat(filled),
                    ".".repeat(BAR - filled),
                    one_line(&status.message)
                );
            }
        }
    }
}

/// A message that wraps would spoil the counting of lines.
fn one_line(message: &str) -> String {
    message.chars().take(79).collect()
}
