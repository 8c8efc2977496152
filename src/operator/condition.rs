//! The condition Ready of windows and policies.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Whether something can do its work, in one word and one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The condition's status.
    pub ready: bool,
    /// One word.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}

impl Verdict {
    /// Every fault of a spec, or that there is none.
    pub fn of(faults: &[String]) -> Self {
        if faults.is_empty() {
            Self { ready: true, reason: "Valid", message: "no faults".into() }
        } else {
            Self { ready: false, reason: "Invalid", message: faults.join("; ") }
        }
    }
}

/// The condition Ready. It keeps its time while its status stays.
pub fn ready(before: &[Condition], generation: Option<i64>, verdict: Verdict, now: Timestamp) -> Condition {
    let status = if verdict.ready { "True" } else { "False" };
    let since = before.iter().find(|condition| condition.type_ == "Ready" && condition.status == status);
    let second = Timestamp::from_second(now.as_second()).unwrap_or(now);
    Condition {
        type_: "Ready".into(),
        status: status.into(),
        reason: verdict.reason.into(),
        message: verdict.message,
        last_transition_time: since.map_or(Time(second), |condition| condition.last_transition_time.clone()),
        observed_generation: generation,
    }
}
