//! Warnings: what is likely to surprise, told from the parsed plan alone, in sentences that name the mend.
//!
//! | module | about |
//! |---|---|
//! | `checks` | checks that cannot fail, or too late, or that have too little to look at |
//! | `calendar` | windows: too short, closed for good, about nothing; approvals that expire before one opens |
//! | `people` | approvals that nobody may give |
//! | `capacity` | pods that a step, or going back, needs |

mod calendar;
mod capacity;
mod checks;
mod people;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use lockkeeper_api::{release::ReleaseStatus, scalar::Duration};
use serde::Serialize;

pub use self::{
    calendar::idle_window,
    checks::{Detection, detection, succeeds},
};
use super::{
    Case,
    outcome::Ended,
    scenario::{End, Load},
    source::{Answer, Questions},
};

/// A warning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    /// Its kind, for programs: stays the same from version to version.
    pub code: &'static str,
    /// What it is about, with the mend.
    pub text: String,
}

impl Warning {
    fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// All warnings about a Release. `load` is how many requests a second there are, where that is known.
pub fn of_case(case: &Case, load: Option<f64>, at: Timestamp) -> Vec<Warning> {
    let mut warnings = checks::warnings(case, load, at);
    warnings.extend(calendar::warnings(case, at));
    warnings.extend(people::warnings(case));
    warnings.extend(capacity::warnings(case));
    warnings
}

/// The fewest requests per second of a scenario.
pub fn least(load: &[Load]) -> Option<f64> {
    load.iter().map(|load| load.requests_per_second).reduce(f64::min)
}

/// What only playing it shows.
pub fn of_play(questions: &Questions, status: &ReleaseStatus, ended: &Ended, limit: Duration) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for question in questions.all().iter().filter(|question| question.answer == Answer::Unknown) {
        let (check, what) = (&question.check, if question.samples { " number of samples" } else { "" });
        let key = if question.samples { format!("{check}:samples") } else { check.clone() };
        warnings.push(Warning::new(
            "unknown-answer",
            format!(
                "the answer to the{what} query of check {check} is not known, so it had no data: PromQL is not evaluated, and the \
                 query is of no form that is recognised. Give values in the scenario (checks: {{{key}: {{good: 0, bad: 1}}}}) or \
                 recorded ones (--metrics FILE)"
            ),
        ));
    }
    if ended.end == End::Unfinished {
        let at = &status.message;
        let text = if ended.ended_after >= limit.as_secs() as f64 {
            format!("it had not ended within {limit}, the limit of the scenario; it stood at \"{at}\"")
        } else {
            format!("nothing more was going to happen; it stood at \"{at}\"")
        };
        warnings.push(Warning::new("unfinished", text));
    }
    warnings
}
