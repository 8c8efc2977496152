//! Warnings: what is likely to surprise, told from the parsed plan alone, in sentences with the mend.

use lockkeeper_engine::analysis::{self, Measurement, PolicyPlan, Reading};
use lockkeeper_api::release::CheckOutcome;
use jiff::Timestamp;

use super::{
    Case, Recording, Scenario,
    outcome::Ended,
    source::{Answer, Questions},
};
use lockkeeper_api::release::ReleaseStatus;

/// Whether a value of a check (`policy/check`) is a success, by the engine's own judgement.
pub fn succeeds(case: &Case, check: &str, value: f64) -> bool {
    let Some((policy, _)) = check.split_once('/') else { return false };
    let Some(spec) = case.policies.get(policy) else { return false };
    let Ok(plan) = PolicyPlan::parse(policy, spec) else { return false };
    let measurement =
        Measurement { taken: Timestamp::UNIX_EPOCH, reading: Reading::Value(value), samples: Some(Reading::Value(f64::MAX)) };
    let mut checks = Vec::new();
    analysis::fold(&plan, &mut checks, &[(check.to_owned(), measurement)].into());
    checks.iter().any(|status| status.name == check && status.outcome == CheckOutcome::Success)
}

/// What only playing it shows.
pub fn of_play(
    _: &Case,
    _: &Scenario,
    _: &Recording,
    questions: &Questions,
    _: &ReleaseStatus,
    _: &Ended,
) -> Vec<String> {
    let unknown = questions.all().iter().filter(|question| question.answer == Answer::Unknown);
    unknown.map(|question| question.check.clone()).collect()
}
