//! Pods that a step, or going back, needs.

use lockkeeper_api::{release::CanaryScale, release::Step};
use lockkeeper_engine::plan::Target;

use super::Warning;
use crate::rehearse::Case;

/// All warnings about pods. Only of Deployments that are among the files.
pub fn warnings(case: &Case) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let steps = &case.plan.steps;
    for (workload, replicas) in case.plan.workloads.iter().zip(&case.replicas) {
        let name = &workload.deployment;
        if let Some(replicas) = replicas.filter(|replicas| *replicas > 0) {
            if case.plan.bake().is_zero() {
                warnings.push(Warning::new(
                    "rollback-needs-pods",
                    format!(
                        "going back from {name} after promotion would need {replicas} more {}, started first: without a bake the old ones are \
                         gone at once; give the policy a bake",
                        pods(replicas)
                    ),
                ));
            }
            for (index, step) in steps.iter().enumerate().filter(|(_, step)| changes(step)) {
                let target = Target::at(steps, index);
                let own = target.replicas(replicas, workload.routed());
                let needed = (u64::from(replicas) * u64::from(target.weight)).div_ceil(100);
                let set = !matches!(target.scale, CanaryScale::MatchTrafficWeight(_));
                if set && workload.routed() && u64::from(own) < needed {
                    warnings.push(Warning::new(
                        "too-few-pods",
                        format!(
                            "step {} sends {} % of the traffic of {name} to {own} {}, where the stable version has {needed} for as much: \
                             raise setCanaryScale",
                            index + 1,
                            target.weight,
                            pods(own)
                        ),
                    ));
                }
                if let (false, false, Step::SetWeight(weight @ 1..=99)) = (workload.routed(), set, step) {
                    let share = (100.0 * f64::from(own) / f64::from(own + replicas)).round();
                    if share > f64::from(*weight) + 2.0 {
                        warnings.push(Warning::new(
                            "weight-is-coarse",
                            format!(
                                "step {} asks for {weight} % of the traffic of {name}, which has no route: {own} of {} pods is {share} %; \
                                 add a route, or more replicas",
                                index + 1,
                                own + replicas
                            ),
                        ));
                    }
                }
            }
        }
    }
    warnings
}

const fn changes(step: &Step) -> bool {
    match step {
        Step::SetWeight(_) | Step::SetCanaryScale(_) => true,
        Step::Pause(_) | Step::Analysis(_) | Step::Approval(_) => false,
    }
}

const fn pods(count: u32) -> &'static str {
    if count == 1 { "pod" } else { "pods" }
}
