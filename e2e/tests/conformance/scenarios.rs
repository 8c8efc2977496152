//! What is played.

mod admission;
mod api;
mod deletion;
mod deployment;
mod midway;
mod objects;
mod replica_set;
mod service;
mod watch;
mod whole;

use lockkeeper_e2e::Test;
pub use objects::host;

use super::world::Stage;
use crate::{Operator, conforms};

/// A scenario by its path, which is its name.
macro_rules! scenarios {
    ($operator:ident: $($module:ident :: $scenario:ident),* $(,)?) => {
        vec![$(conforms(
            concat!(stringify!($module), "::", stringify!($scenario)),
            Operator::$operator,
            $module::$scenario,
        )),*]
    };
}

pub fn all() -> Vec<Test<Stage>> {
    let single = scenarios![IsNotThere:
        deployment::crashes,
        deployment::room,
        deployment::history,
        deployment::scaled_between_three,
        deployment::meddled_with,
        deployment::autoscaled,
        deployment::scaled_midway,
        service::endpoints,
        deployment::rolled_out,
        deployment::paused,
        deployment::created_paused,
        deployment::history_while_paused,
        deployment::annotated,
        deployment::recreated,
        deployment::ready_late,
        deployment::deadline,
        deployment::deadline_of_the_first,
        deployment::deleted,
        midway::disowned,
        midway::old_released,
        midway::old_released_at_once,
        midway::new_released,
        midway::both_released,
        midway::both_released_the_old_one_first,
        midway::history_released,
        midway::scaled_by_hand,
        midway::scaled_to_nothing_by_hand,
        midway::set_deleted,
        midway::released_while_rolling,
        midway::newest_released,
        midway::template_released,
        replica_set::handed_over,
        replica_set::adopted_first,
        replica_set::released_with_history,
        replica_set::adopted,
        replica_set::twins,
        replica_set::found,
        replica_set::released,
        replica_set::pods,
        replica_set::of_somebody_else,
        replica_set::scaled_in_the_gap,
        replica_set::scaled_to_nothing_in_the_gap,
        replica_set::adopted_beside_its_twin,
        replica_set::borrowed,
        replica_set::orphaned,
        replica_set::kept,
        replica_set::selected_by_expressions,
        service::pinned,
        service::routed,
        service::without_gateway,
        service::ports,
        service::rules,
        service::nobodys,
        api::created,
        api::merged,
        api::generations,
        api::strategic,
        api::owned,
        api::json_patched,
        api::applied,
        api::replaced,
        api::status,
        api::guarded,
        api::scaled,
        deletion::deleted,
        deletion::collected,
        deletion::propagated,
        api::listed,
        api::refused,
        watch::after_a_list,
        watch::of_a_selection,
        watch::from_what_there_is,
        watch::too_old,
        watch::ended,
        watch::recreated,
        admission::decisions,
        admission::governed,
        admission::held,
        admission::paused,
        admission::authored,
        admission::pinned,
    ];
    let whole = scenarios![Acts:
        whole::judged,
        whole::answered,
        whole::answered_badly,
        whole::answered_by_nothing,
        whole::answered_late,
        whole::accepted_late,
        whole::never_accepted,
        whole::never_ready,
        whole::good,
        whole::stepped,
        whole::rolled_back,
        whole::aborted,
        whole::carried,
    ];
    // The longest first.
    whole.into_iter().chain(single).collect()
}
