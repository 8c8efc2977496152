//! Approvals that nobody may give, as far as that can be known without a directory of groups.

use std::collections::BTreeSet;

use super::Warning;
use crate::rehearse::Case;

/// All warnings about approvals.
pub fn warnings(case: &Case) -> Vec<Warning> {
    let gates = &case.plan.gates;
    let mut warnings = Vec::new();
    for gate in &gates.approvals {
        if gate.from.groups.is_empty() && !gate.from.users.is_empty() {
            let mut people: BTreeSet<&str> = gate.from.users.iter().map(String::as_str).collect();
            if gate.exclude_requester && gates.requester.as_ref().is_some_and(|asks| people.remove(asks.as_str())) {
                warnings.push(Warning::new(
                    "requester-cannot-approve",
                    format!(
                        "gate {} names {}, who asks for the version and whose approval does not count (excludeRequester)",
                        gate.name,
                        gates.requester.as_deref().unwrap_or_default()
                    ),
                ));
            }
            if people.len() < usize::from(gate.required) {
                warnings.push(Warning::new(
                    "nobody-may-approve",
                    format!(
                        "gate {} can never open: it needs {} people and only {} may approve; name more in from, or lower required",
                        gate.name,
                        gate.required,
                        people.len()
                    ),
                ));
            }
        }
    }
    warnings
}
