//! A report as a page of its own, with plots.

use lockkeeper_simulator::rehearse::Report;

/// The page.
pub fn page(_: &Report) -> String {
    String::new()
}
